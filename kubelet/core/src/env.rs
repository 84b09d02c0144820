//! The environment of a container: `env`, `envFrom` and service links, in the precedence of the API.

use std::collections::BTreeMap;

use kedge_api::pod::{Container, EnvVarSource, FileKeySelector, KeySelector, Pod};
use kedge_api::service::Service;

use crate::fields::{self, FieldContext};

/// A ConfigMap as the node reads it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigMap {
    pub data: BTreeMap<String, String>,
    pub binary_data: BTreeMap<String, Vec<u8>>,
}

/// A Secret, decoded. Never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret {
    pub data: BTreeMap<String, Vec<u8>>,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secret with {} keys", self.data.len())
    }
}

/// The objects of the pod's namespace that were found. A name that is absent does not exist.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    pub config_maps: BTreeMap<String, ConfigMap>,
    pub secrets: BTreeMap<String, Secret>,
}

impl Sources {
    pub fn config_map(&self, name: &str) -> Result<&ConfigMap, String> {
        self.config_maps.get(name).ok_or_else(|| format!("configmap {} not found", fields::go_quote(name)))
    }

    pub fn secret(&self, name: &str) -> Result<&Secret, String> {
        self.secrets.get(name).ok_or_else(|| format!("secret {} not found", fields::go_quote(name)))
    }
}

/// Reads a variable out of a file of a volume (`fileKeyRef`); the shell hands it in, since it is a read of the disk.
pub type ReadFileKey<'a> = &'a dyn Fn(&FileKeySelector) -> Result<Option<String>, String>;

/// The variables of a container, sorted by name. Err is the message of `CreateContainerConfigError`.
pub fn resolve(
    pod: &Pod,
    container: &Container,
    sources: &Sources,
    services: &BTreeMap<String, String>,
    context: &FieldContext,
    read_file_key: ReadFileKey<'_>,
) -> Result<Vec<(String, String)>, String> {
    let mut env = from_whole_objects(container, sources)?;
    for variable in &container.env {
        let value = match (&variable.value_from, variable.value.is_empty()) {
            (Some(source), true) => {
                let one = Variable { pod, container, sources, context, read_file_key };
                match one.value(source)? {
                    Some(value) => value,
                    // Optional and absent: the variable is not set at all.
                    None => continue,
                }
            }
            _ => expand(&variable.value, |name| env.get(name).or_else(|| services.get(name)).cloned()),
        };
        env.insert(variable.name.clone(), value);
    }
    for (name, value) in services {
        env.entry(name.clone()).or_insert_with(|| value.clone());
    }
    Ok(env.into_iter().collect())
}

fn from_whole_objects(container: &Container, sources: &Sources) -> Result<BTreeMap<String, String>, String> {
    let mut env = BTreeMap::new();
    for from in &container.env_from {
        let prefix = &from.prefix;
        if let Some(reference) = &from.config_map_ref {
            match sources.config_map(&reference.name) {
                Ok(map) => {
                    env.extend(map.data.iter().map(|(key, value)| (format!("{prefix}{key}"), value.clone())))
                }
                Err(_) if reference.optional == Some(true) => {}
                Err(message) => return Err(message),
            }
        } else if let Some(reference) = &from.secret_ref {
            match sources.secret(&reference.name) {
                Ok(secret) => {
                    env.extend(secret.data.iter().map(|(key, value)| (format!("{prefix}{key}"), text(value))))
                }
                Err(_) if reference.optional == Some(true) => {}
                Err(message) => return Err(message),
            }
        }
    }
    Ok(env)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

struct Variable<'a> {
    pod: &'a Pod,
    container: &'a Container,
    sources: &'a Sources,
    context: &'a FieldContext,
    read_file_key: ReadFileKey<'a>,
}

impl Variable<'_> {
    fn value(&self, source: &EnvVarSource) -> Result<Option<String>, String> {
        if let Some(selector) = &source.field_ref {
            return fields::field(&selector.field_path, self.pod, self.context).map(Some);
        }
        if let Some(selector) = &source.resource_field_ref {
            return fields::resource(selector, self.pod, Some(self.container), self.context).map(Some);
        }
        if let Some(selector) = &source.config_map_key_ref {
            let map = self.sources.config_map(&selector.name);
            let value = map.map(|map| map.data.get(&selector.key).cloned());
            return self.keyed(selector, "ConfigMap", value);
        }
        if let Some(selector) = &source.secret_key_ref {
            let secret = self.sources.secret(&selector.name);
            let value = secret.map(|secret| secret.data.get(&selector.key).map(|value| text(value)));
            return self.keyed(selector, "Secret", value);
        }
        match &source.file_key_ref {
            Some(selector) => (self.read_file_key)(selector),
            None => Ok(Some(String::new())),
        }
    }

    fn keyed(
        &self,
        selector: &KeySelector,
        kind: &str,
        value: Result<Option<String>, String>,
    ) -> Result<Option<String>, String> {
        match value {
            Ok(Some(value)) => Ok(Some(value)),
            _ if selector.optional == Some(true) => Ok(None),
            Ok(None) => {
                let namespace = &self.pod.metadata.namespace;
                Err(format!("couldn't find key {} in {kind} {namespace}/{}", selector.key, selector.name))
            }
            Err(message) => Err(message),
        }
    }
}

/// Replaces `$(NAME)` by its value; `$$` is a dollar sign; a name without a value stays as written.
pub fn expand(text: &str, lookup: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix("$$") {
            out.push('$');
            rest = after;
            continue;
        }
        let name = rest.strip_prefix("$(").and_then(|body| body.split_once(')'));
        match name {
            Some((name, after)) => {
                out.push_str(&lookup(name).unwrap_or_else(|| format!("$({name})")));
                rest = after;
            }
            None => {
                out.push('$');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

/// Expands every `$(NAME)` of a `subPathExpr`; a name without a value is an error there.
pub fn expand_strict(text: &str, env: &[(String, String)]) -> Result<String, String> {
    let missing = std::cell::RefCell::new(Vec::new());
    let expanded = expand(text, |name| {
        let value = env.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        if value.is_none() {
            missing.borrow_mut().push(name.to_owned());
        }
        value
    });
    let missing = missing.into_inner();
    if missing.is_empty() { Ok(expanded) } else { Err(format!("missing value for {}", missing.join(", "))) }
}

/// Service links: the services of the pod's namespace (only with `enableServiceLinks`), and always `default/kubernetes`.
pub fn service_links<'a>(pod: &Pod, services: impl Iterator<Item = &'a Service>) -> BTreeMap<String, String> {
    let links = pod.spec.enable_service_links != Some(false);
    let mut own = Vec::new();
    let mut api_server = None;
    for service in services.filter(|service| !service.cluster_addresses().is_empty()) {
        if links && service.metadata.namespace == pod.metadata.namespace {
            own.push(service);
        }
        if service.metadata.namespace == "default" && service.metadata.name == "kubernetes" {
            api_server = Some(service);
        }
    }
    let named = own.iter().any(|service| service.metadata.name == "kubernetes");
    let mut env = BTreeMap::new();
    for service in own.into_iter().chain(api_server.filter(|_| !named)) {
        add_links(&mut env, service);
    }
    env
}

fn variable_name(name: &str) -> String {
    name.to_uppercase().replace('-', "_")
}

fn add_links(env: &mut BTreeMap<String, String>, service: &Service) {
    let Some(address) = service.cluster_addresses().first().copied() else {
        return;
    };
    let Some(first) = service.spec.ports.first() else {
        return;
    };
    let prefix = variable_name(&service.metadata.name);
    env.insert(format!("{prefix}_SERVICE_HOST"), address.to_string());
    env.insert(format!("{prefix}_SERVICE_PORT"), first.port.to_string());
    for port in service.spec.ports.iter().filter(|port| !port.name.is_empty()) {
        env.insert(format!("{prefix}_SERVICE_PORT_{}", variable_name(&port.name)), port.port.to_string());
    }
    for (index, port) in service.spec.ports.iter().enumerate() {
        let protocol = port.protocol.as_str();
        let url = format!("{}://{}", protocol.to_lowercase(), host_port(address, port.port));
        if index == 0 {
            env.insert(format!("{prefix}_PORT"), url.clone());
        }
        let port_prefix = format!("{prefix}_PORT_{}_{protocol}", port.port);
        env.insert(format!("{port_prefix}_PROTO"), protocol.to_lowercase());
        env.insert(format!("{port_prefix}_PORT"), port.port.to_string());
        env.insert(format!("{port_prefix}_ADDR"), address.to_string());
        env.insert(port_prefix, url);
    }
}

pub fn host_port(address: std::net::IpAddr, port: u16) -> String {
    std::net::SocketAddr::new(address, port).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expansion() {
        let lookup = |name: &str| (name == "A").then(|| "1".to_owned());
        for (text, expanded) in [
            ("$(A)", "1"),
            ("x$(A)y$(A)", "x1y1"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$1"),
            ("$(B)", "$(B)"),
            ("$(A", "$(A"),
            ("$A $ $$", "$A $ $"),
            ("", ""),
        ] {
            assert_eq!(expand(text, lookup), expanded, "{text}");
        }
        assert_eq!(expand_strict("a/$(A)", &[("A".into(), "1".into())]).unwrap(), "a/1");
        assert_eq!(expand_strict("$(NOPE)", &[]).unwrap_err(), "missing value for NOPE");
    }

    fn check(container: serde_json::Value, expected: Result<&[(&str, &str)], &str>) {
        let pod: Pod = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "p", "namespace": "n"}, "spec": {"containers": [container]}}))
        .unwrap();
        let sources = Sources {
            config_maps: [(
                "cm".to_owned(),
                ConfigMap { data: [("k".to_owned(), "v".to_owned())].into(), ..ConfigMap::default() },
            )]
            .into(),
            secrets: [("s".to_owned(), Secret { data: [("pw".to_owned(), b"x".to_vec())].into() })].into(),
        };
        let services = [("DB_SERVICE_HOST".to_owned(), "10.96.0.9".to_owned())].into();
        let seen =
            resolve(&pod, &pod.spec.containers[0], &sources, &services, &FieldContext::default(), &|_| {
                Ok(None)
            });
        let seen =
            seen.map(|env| env.into_iter().filter(|(name, _)| name != "DB_SERVICE_HOST").collect::<Vec<_>>());
        let expected = expected
            .map(|env| env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<Vec<_>>())
            .map_err(str::to_owned);
        assert_eq!(seen, expected);
    }

    #[test]
    fn all_ways() {
        check(
            serde_json::json!({"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "$(A)$(C)"}]}),
            Ok(&[("A", "1"), ("B", "1$(C)")]),
        );
        check(
            serde_json::json!({"env": [{"name": "A", "value": "$(DB_SERVICE_HOST)"}]}),
            Ok(&[("A", "10.96.0.9")]),
        );
        check(
            serde_json::json!({"envFrom": [{"prefix": "P_", "configMapRef": {"name": "cm"}}, {"secretRef": {"name": "s"}}]}),
            Ok(&[("P_k", "v"), ("pw", "x")]),
        );
        check(
            serde_json::json!({"envFrom": [{"configMapRef": {"name": "cm"}}], "env": [{"name": "k", "value": "mine"}]}),
            Ok(&[("k", "mine")]),
        );
        check(
            serde_json::json!({"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "k"}}},
            {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "pw"}}},
            {"name": "C", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}),
            Ok(&[("A", "v"), ("B", "x"), ("C", "p")]),
        );
    }

    #[test]
    fn what_is_missing() {
        let key = |name: &str, key: &str, optional: bool| {
            serde_json::json!({"env": [{"name": "A", "valueFrom": {"configMapKeyRef":
                {"name": name, "key": key, "optional": optional}}}]})
        };
        check(key("none", "k", false), Err("configmap \"none\" not found"));
        check(key("none", "k", true), Ok(&[]));
        check(key("cm", "x", false), Err("couldn't find key x in ConfigMap n/cm"));
        check(key("cm", "x", true), Ok(&[]));
        check(
            serde_json::json!({"envFrom": [{"secretRef": {"name": "none"}}]}),
            Err("secret \"none\" not found"),
        );
        check(serde_json::json!({"envFrom": [{"secretRef": {"name": "none", "optional": true}}]}), Ok(&[]));
    }

    #[test]
    fn links_to_services() {
        let services: Vec<Service> = [
            r#"{"metadata":{"name":"kubernetes","namespace":"default"},"spec":{"clusterIP":"10.96.0.1",
                "ports":[{"name":"https","port":443,"protocol":"TCP"}]}}"#,
            r#"{"metadata":{"name":"my-db","namespace":"n"},"spec":{"clusterIP":"10.96.0.2","ports":[{"port":53,"protocol":"UDP"}]}}"#,
            r#"{"metadata":{"name":"headless","namespace":"n"},"spec":{"clusterIP":"None","ports":[{"port":1}]}}"#,
            r#"{"metadata":{"name":"other","namespace":"m"},"spec":{"clusterIP":"10.96.0.3","ports":[{"port":1}]}}"#,
        ]
        .iter()
        .map(|text| serde_json::from_str(text).unwrap())
        .collect();
        let pod = |links: bool| -> Pod {
            serde_json::from_value(
                serde_json::json!({"metadata": {"namespace": "n"}, "spec": {"enableServiceLinks": links}}),
            )
            .unwrap()
        };
        let env = service_links(&pod(true), services.iter());
        assert_eq!(env["MY_DB_PORT"], "udp://10.96.0.2:53");
        assert_eq!(env["MY_DB_PORT_53_UDP_ADDR"], "10.96.0.2");
        assert!(!env.keys().any(|name| name.starts_with("OTHER") || name.starts_with("HEADLESS")));
        let without = service_links(&pod(false), services.iter());
        let names: Vec<&str> = without.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "KUBERNETES_PORT",
                "KUBERNETES_PORT_443_TCP",
                "KUBERNETES_PORT_443_TCP_ADDR",
                "KUBERNETES_PORT_443_TCP_PORT",
                "KUBERNETES_PORT_443_TCP_PROTO",
                "KUBERNETES_SERVICE_HOST",
                "KUBERNETES_SERVICE_PORT",
                "KUBERNETES_SERVICE_PORT_HTTPS"
            ]
        );
    }
}
