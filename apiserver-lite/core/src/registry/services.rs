//! Cluster addresses and node ports of Services.
//!
//! The allocator lives in memory and is rebuilt from the store's Services at start; nothing of it is stored. An address is
//! held from the moment a write is decided until it has failed, or until the Service that has it is gone.

use crate::status::{ApiError, Finding, FindingKind};
use ipnet::Ipv4Net;
use kedge_api::kinds::Kind;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Mutex, MutexGuard};

const NODE_PORTS: std::ops::RangeInclusive<u16> = 30000..=32767;

/// Addresses and ports that are held.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reservation {
    addresses: Vec<IpAddr>,
    ports: Vec<(String, u16)>,
}

/// Which addresses and ports are taken. The lock is held for one assignment.
pub struct Allocator {
    cidr: Ipv4Net,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    addresses: BTreeSet<IpAddr>,
    /// By protocol: TCP and UDP may share a number.
    ports: BTreeSet<(String, u16)>,
    /// Where the search for the next free one starts, so that what was given back rests for a while.
    next_address: u32,
    next_port: u16,
}

impl Allocator {
    pub fn new(cidr: Ipv4Net) -> Allocator {
        Allocator { cidr, taken: Mutex::default() }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().expect("assignments do not panic")
    }

    /// Marks what a stored Service has.
    pub fn observe(&self, service: &Value) {
        let held = held_by(service);
        let mut taken = self.taken();
        taken.addresses.extend(held.addresses);
        taken.ports.extend(held.ports);
    }

    pub fn release(&self, reservation: &Reservation) {
        let mut taken = self.taken();
        for address in &reservation.addresses {
            taken.addresses.remove(address);
        }
        for port in &reservation.ports {
            taken.ports.remove(port);
        }
    }

    /// What `old` holds and `new` does not.
    pub fn freed(&self, kind: &Kind, new: Option<&Value>, old: &Value) -> Reservation {
        if !is_service(kind) {
            return Reservation::default();
        }
        let mut held = held_by(old);
        if let Some(new) = new {
            let kept = held_by(new);
            held.addresses.retain(|address| !kept.addresses.contains(address));
            held.ports.retain(|port| !kept.ports.contains(port));
        }
        held
    }

    /// Fills in clusterIP(s), IP families and node ports; returns what was newly taken. Other kinds pass untouched.
    pub fn assign(
        &self,
        kind: &Kind,
        service: &mut Value,
        old: Option<&Value>,
        dry_run: bool,
    ) -> Result<Reservation, ApiError> {
        if !is_service(kind) {
            return Ok(Reservation::default());
        }
        let before = old.map(held_by).unwrap_or_default();
        let mut reservation = Reservation::default();
        let result = self
            .assign_address(service, old, &before, &mut reservation, dry_run)
            .and_then(|()| self.assign_ports(service, old, &before, &mut reservation, dry_run));
        match result {
            Ok(()) => Ok(reservation),
            Err(finding) => {
                self.release(&reservation);
                let name = service["metadata"]["name"].as_str().unwrap_or_default();
                Err(ApiError::invalid("", "Service", name, &[finding]))
            }
        }
    }

    fn assign_address(
        &self,
        service: &mut Value,
        old: Option<&Value>,
        before: &Reservation,
        reservation: &mut Reservation,
        dry_run: bool,
    ) -> Result<(), Finding> {
        if service["spec"]["type"] == "ExternalName" {
            if old.is_some_and(|old| old["spec"]["type"] != "ExternalName")
                && let Some(spec) = service["spec"].as_object_mut()
            {
                let dropped =
                    ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"];
                for key in dropped {
                    spec.remove(key);
                }
            }
            return Ok(());
        }
        let spec = &mut service["spec"];
        if let Some(old) = old {
            keep(spec, &old["spec"], &["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"]);
        }
        let named = spec["clusterIP"].as_str().is_some_and(|address| !address.is_empty());
        if !named && spec["clusterIPs"].as_array().is_some_and(|addresses| !addresses.is_empty()) {
            let message = format!(
                "Invalid value: {}: must be empty when `clusterIP` is not specified",
                spec["clusterIPs"]
            );
            let field = "spec.clusterIPs".to_owned();
            return Err(Finding { kind: FindingKind::Invalid, field, message });
        }
        let asked =
            spec["clusterIP"].as_str().or(spec["clusterIPs"][0].as_str()).unwrap_or_default().to_owned();
        let address = match asked.as_str() {
            "None" => "None".to_owned(),
            // Nothing is kept of it, so upstream does not look for a free one either.
            "" if dry_run => Ipv4Addr::from(u32::from(self.cidr.network()) + 1).to_string(),
            "" => self.next_address(reservation)?.to_string(),
            text => self.this_address(text, before, reservation, dry_run)?,
        };
        spec["clusterIP"] = address.clone().into();
        spec["clusterIPs"] = json!([address]);
        if spec["ipFamilies"].as_array().is_none_or(Vec::is_empty) {
            spec["ipFamilies"] = json!(["IPv4"]);
        }
        if spec["ipFamilyPolicy"].is_null() {
            spec["ipFamilyPolicy"] = "SingleStack".into();
        }
        Ok(())
    }

    fn this_address(
        &self,
        text: &str,
        before: &Reservation,
        reservation: &mut Reservation,
        dry_run: bool,
    ) -> Result<String, Finding> {
        let refuse = |why: String| {
            let message = format!("Invalid value: [\"{text}\"]: {why}");
            Finding { kind: FindingKind::Invalid, field: "spec.clusterIPs".to_owned(), message }
        };
        // What is no address at all is for validation to say.
        let Ok(address) = text.parse::<IpAddr>() else { return Ok(text.to_owned()) };
        if before.addresses.contains(&address) {
            return Ok(text.to_owned());
        }
        if !matches!(address, IpAddr::V4(v4) if self.cidr.contains(&v4)) {
            return Err(refuse(format!(
                "failed to allocate IP {text}: the provided IP ({text}) is not in the valid range. \
                 The range of valid IPs is {}",
                self.cidr
            )));
        }
        // A dry run neither takes it nor asks whether it could.
        if dry_run {
            return Ok(text.to_owned());
        }
        if !self.taken().addresses.insert(address) {
            return Err(refuse(format!("failed to allocate IP {text}: provided IP is already allocated")));
        }
        reservation.addresses.push(address);
        Ok(text.to_owned())
    }

    /// The upper part of the range is used first, as upstream does: the lower stays free for addresses that are asked for.
    fn next_address(&self, reservation: &mut Reservation) -> Result<IpAddr, Finding> {
        let base = u32::from(self.cidr.network());
        let size = 1u32.checked_shl(32 - u32::from(self.cidr.prefix_len())).unwrap_or(u32::MAX);
        let low = (size / 16).clamp(1, 256).min(size.saturating_sub(1)).max(1);
        let mut taken = self.taken();
        let upper = size.saturating_sub(1).saturating_sub(low).max(1);
        let start = taken.next_address;
        let candidates = (0..upper).map(|step| low + (start + step) % upper).chain(1..low);
        for offset in candidates {
            let address = IpAddr::V4(Ipv4Addr::from(base + offset));
            if taken.addresses.insert(address) {
                taken.next_address = (offset + 1).saturating_sub(low) % upper;
                reservation.addresses.push(address);
                return Ok(address);
            }
        }
        let message = format!("Internal error: failed to allocate a serviceIP: range {} is full", self.cidr);
        Err(Finding { kind: FindingKind::InternalError, field: "spec.clusterIPs".to_owned(), message })
    }

    fn assign_ports(
        &self,
        service: &mut Value,
        old: Option<&Value>,
        before: &Reservation,
        reservation: &mut Reservation,
        dry_run: bool,
    ) -> Result<(), Finding> {
        let wanted = match service["spec"]["type"].as_str() {
            Some("NodePort") => true,
            Some("LoadBalancer") => service["spec"]["allocateLoadBalancerNodePorts"] != false,
            _ => false,
        };
        let old_ports = old.map(|old| old["spec"]["ports"].clone()).unwrap_or_default();
        let ports = service["spec"].get_mut("ports").and_then(Value::as_array_mut);
        for (index, port) in ports.into_iter().flatten().enumerate() {
            let protocol = port["protocol"].as_str().unwrap_or("TCP").to_owned();
            if port["nodePort"].as_u64().unwrap_or(0) == 0
                && wanted
                && let Some(number) = kept_port(&old_ports, port)
            {
                port["nodePort"] = number.into();
            }
            match port["nodePort"].as_u64().unwrap_or(0) {
                0 if wanted => port["nodePort"] = self.next_port(&protocol, reservation)?.into(),
                0 => {}
                // Whether it could be had is not asked, as upstream.
                _ if dry_run => {}
                number => self.this_port(index, number, protocol, before, reservation)?,
            }
        }
        Ok(())
    }

    fn this_port(
        &self,
        index: usize,
        number: u64,
        protocol: String,
        before: &Reservation,
        reservation: &mut Reservation,
    ) -> Result<(), Finding> {
        let refuse = |why: &str| {
            let message = format!("Invalid value: {number}: {why}");
            let field = format!("spec.ports[{index}].nodePort");
            Finding { kind: FindingKind::Invalid, field, message }
        };
        let Some(port) = u16::try_from(number).ok().filter(|port| NODE_PORTS.contains(port)) else {
            let (low, high) = (NODE_PORTS.start(), NODE_PORTS.end());
            let why =
                format!("provided port is not in the valid range. The range of valid ports is {low}-{high}");
            return Err(refuse(&why));
        };
        let key = (protocol, port);
        if before.ports.contains(&key) || reservation.ports.contains(&key) {
            return Ok(());
        }
        if !self.taken().ports.insert(key.clone()) {
            return Err(refuse("provided port is already allocated"));
        }
        reservation.ports.push(key);
        Ok(())
    }

    /// A port that is free for every protocol, so that TCP and UDP of one Service can share it when asked to.
    fn next_port(&self, protocol: &str, reservation: &mut Reservation) -> Result<u16, Finding> {
        let mut taken = self.taken();
        let count = NODE_PORTS.end() - NODE_PORTS.start() + 1;
        let start = taken.next_port;
        for step in 0..count {
            let offset = (start + step) % count;
            let port = NODE_PORTS.start() + offset;
            let used = taken.ports.range((String::new(), 0)..).any(|(_, number)| *number == port);
            if !used {
                taken.next_port = (offset + 1) % count;
                taken.ports.insert((protocol.to_owned(), port));
                reservation.ports.push((protocol.to_owned(), port));
                return Ok(port);
            }
        }
        let message = "Internal error: failed to allocate a nodePort: range is full".to_owned();
        Err(Finding { kind: FindingKind::InternalError, field: "spec.ports".to_owned(), message })
    }
}

fn is_service(kind: &Kind) -> bool {
    kind.group.is_empty() && kind.kind == "Service"
}

fn keep(spec: &mut Value, old: &Value, keys: &[&str]) {
    for key in keys {
        if spec[*key].is_null() && !old[*key].is_null() {
            spec[*key] = old[*key].clone();
        }
    }
    if spec["clusterIP"] == "" {
        spec["clusterIP"] = old["clusterIP"].clone();
    }
}

/// The node port that the same port had before.
fn kept_port(old: &Value, port: &Value) -> Option<u64> {
    let same = |old: &&Value| old["port"] == port["port"] && old["protocol"] == port["protocol"];
    old.as_array()?.iter().find(same)?["nodePort"].as_u64().filter(|number| *number != 0)
}

fn held_by(service: &Value) -> Reservation {
    let spec = &service["spec"];
    let ports = spec["ports"].as_array().into_iter().flatten();
    Reservation {
        addresses: super::metadata::strings(&spec["clusterIPs"])
            .iter()
            .filter_map(|ip| ip.parse().ok())
            .collect(),
        ports: ports
            .filter_map(|port| {
                let number = u16::try_from(port["nodePort"].as_u64()?).ok().filter(|number| *number != 0)?;
                Some((port["protocol"].as_str().unwrap_or("TCP").to_owned(), number))
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kedge_api::kinds::lookup;

    fn kind() -> &'static Kind {
        lookup("", "v1", "services").unwrap()
    }

    fn service(spec: Value) -> Value {
        json!({"metadata": {"name": "s"}, "spec": spec})
    }

    #[test]
    fn addresses_are_taken_given_back_and_refused() {
        let allocator = Allocator::new("10.96.0.0/30".parse().unwrap());
        let mut first = service(json!({"type": "ClusterIP"}));
        let taken = allocator.assign(kind(), &mut first, None, false).unwrap();
        assert_eq!(first["spec"]["ipFamilies"], json!(["IPv4"]));
        let ask = first["spec"]["clusterIP"].clone();
        let refused =
            allocator.assign(kind(), &mut service(json!({"clusterIP": ask})), None, false).unwrap_err();
        assert!(refused.message.contains("provided IP is already allocated"), "{}", refused.message);
        let mut second = service(json!({}));
        allocator.assign(kind(), &mut second, None, false).unwrap();
        let full = allocator.assign(kind(), &mut service(json!({})), None, false).unwrap_err();
        assert!(full.message.contains("is full"), "{}", full.message);
        allocator.release(&taken);
        allocator.assign(kind(), &mut service(json!({"clusterIP": ask})), None, false).unwrap();
        let outside =
            allocator.assign(kind(), &mut service(json!({"clusterIP": "1.2.3.4"})), None, false).unwrap_err();
        assert!(outside.message.contains("is not in the valid range"), "{}", outside.message);
    }

    #[test]
    fn headless_and_external_names_take_nothing() {
        let allocator = Allocator::new("10.96.0.0/16".parse().unwrap());
        for spec in [json!({"clusterIP": "None"}), json!({"type": "ExternalName"})] {
            let mut assigned = service(spec.clone());
            let taken = allocator.assign(kind(), &mut assigned, None, false).unwrap();
            assert_eq!(taken, Reservation::default());
            assert_eq!(assigned["spec"].get("ports"), None, "a list that nobody gave does not become null");
        }
    }

    #[test]
    fn an_update_keeps_address_and_ports() {
        let allocator = Allocator::new("10.96.0.0/16".parse().unwrap());
        let mut old = service(json!({"type": "NodePort", "ports": [{"port": 80, "protocol": "TCP"}]}));
        allocator.assign(kind(), &mut old, None, false).unwrap();
        let mut new = service(json!({"type": "NodePort", "ports": [{"port": 80, "protocol": "TCP"}]}));
        let taken = allocator.assign(kind(), &mut new, Some(&old), false).unwrap();
        assert_eq!((taken, &new), (Reservation::default(), &old));
        let freed = allocator.freed(kind(), None, &old);
        assert_eq!((freed.addresses.len(), freed.ports.len()), (1, 1));
    }
}
