use kedge_api::service::Protocol;
use kedge_proxy_maps::{Address, TCP};

use super::*;

fn frontend(service: &str, backends: &[u8]) -> Frontend {
    Frontend {
        key: ServiceKey {
            address: Address::from_v4_octets([10, 96, 0, service.as_bytes()[0]]),
            port: 80u16.to_be(),
            protocol: TCP,
            scope: 0,
        },
        port: PortId {
            namespace: "default".to_owned(),
            service: service.to_owned(),
            port: 80,
            protocol: Protocol::Tcp,
        },
        backends: backends
            .iter()
            .map(|last| (Address::from_v4_octets([10, 244, 0, *last]), 80u16.to_be()))
            .collect(),
        affinity_seconds: 0,
        flags: 0,
        consistent: false,
    }
}

fn name(service: &str) -> ServiceName {
    ("default".to_owned(), service.to_owned())
}

/// A kernel made of vectors, which can also be read back.
struct Maps {
    pinned: Pinned,
}

impl Maps {
    fn new() -> Maps {
        let backends = vec![Backend::default(); 64];
        Maps { pinned: Pinned { services: Vec::new(), list: vec![0; 64], backends } }
    }

    /// Applies the changes and checks after each one that no reader could meet a dead reference.
    fn apply(&mut self, changes: Vec<Change>) -> Vec<String> {
        let pinned = &mut self.pinned;
        let mut lines = Vec::new();
        for change in changes {
            match change {
                Change::Backend { id, value } => {
                    lines.push(format!(
                        "backend {id} {} g{}",
                        if value.live == 1 { "set" } else { "clear" },
                        value.generation
                    ));
                    pinned.backends[id as usize] = value;
                }
                Change::List { at, ids } => {
                    lines.push(format!("list {at} {ids:?}"));
                    pinned.list[at as usize..at as usize + ids.len()].copy_from_slice(&ids);
                }
                Change::Maglev { at, ids } => lines.push(format!("maglev {at} +{}", ids.len())),
                Change::Service { key, value } => {
                    lines.push(format!("service {}+{}", value.list, value.count));
                    pinned.services.retain(|(other, _)| *other != key);
                    pinned.services.push((key, value));
                }
                Change::RemoveService { key } => {
                    lines.push("remove".to_owned());
                    pinned.services.retain(|(other, _)| *other != key);
                }
            }
            for (_, value) in &pinned.services {
                for id in &pinned.list[value.list as usize..(value.list + value.count) as usize] {
                    assert_eq!(pinned.backends[*id as usize].live, 1, "a service names backend {id}");
                }
            }
        }
        lines
    }
}

#[test]
fn a_service_grows_shrinks_and_goes() {
    let (mut image, mut maps) = (Image::default(), Maps::new());
    let mut step = |backends: Option<&[u8]>, now: u64, expected: &[&str]| {
        let frontends: Vec<Frontend> = backends.map(|backends| frontend("a", backends)).into_iter().collect();
        let (changes, full) = image.sync(&name("a"), &frontends, now);
        assert!(full.is_empty());
        assert_eq!(maps.apply(changes), expected);
    };
    step(Some(&[1, 2]), 0, &["backend 1 set g1", "backend 2 set g1", "list 0 [1, 2]", "service 0+2"]);
    step(Some(&[1, 2]), 1, &[]);
    step(Some(&[2, 3]), 2, &["backend 3 set g1", "list 2 [2, 3]", "service 2+2", "backend 1 clear g1"]);
    step(Some(&[]), 3, &["service 0+0", "backend 2 clear g1", "backend 3 clear g1"]);
    // Regions rested; ids still rest.
    step(Some(&[1]), 5000, &["backend 4 set g1", "list 0 [4]", "service 0+1"]);
    step(None, 5001, &["remove", "backend 4 clear g1"]);
}

#[test]
fn services_share_a_backend_until_the_last_lets_go() {
    let (mut image, mut maps) = (Image::default(), Maps::new());
    maps.apply(image.sync(&name("a"), &[frontend("a", &[1])], 0).0);
    let shared = image.sync(&name("b"), &[frontend("b", &[1])], 0).0;
    assert_eq!(maps.apply(shared), ["list 1 [1]", "service 1+1"]);
    assert_eq!(maps.apply(image.sync(&name("a"), &[], 0).0), ["remove"]);
    assert_eq!(maps.apply(image.sync(&name("b"), &[], 0).0), ["remove", "backend 1 clear g1"]);
}

#[test]
fn a_restart_changes_nothing_that_is_right_and_sweeps_what_is_not() {
    let (mut image, mut maps) = (Image::default(), Maps::new());
    for service in ["a", "b"] {
        maps.apply(image.sync(&name(service), &[frontend(service, &[1, 2])], 0).0);
    }
    let mut again = Image::restore(&maps.pinned);
    assert!(maps.apply(again.sync(&name("a"), &[frontend("a", &[1, 2])], 0).0).is_empty());
    // "b" was deleted while no daemon ran.
    assert_eq!(maps.apply(again.sweep(0)), ["remove"]);
    let changed = again.sync(&name("a"), &[frontend("a", &[3])], 0).0;
    assert_eq!(
        maps.apply(changed),
        ["backend 3 set g1", "list 4 [3]", "service 4+1", "backend 1 clear g1", "backend 2 clear g1"]
    );
}

#[test]
fn ids_in_pinned_maps_are_not_given_twice() {
    let (mut image, mut maps) = (Image::default(), Maps::new());
    maps.apply(image.sync(&name("a"), &[frontend("a", &[1])], 0).0);
    maps.apply(image.sync(&name("a"), &[], 0).0);
    let mut again = Image::restore(&maps.pinned);
    let lines = maps.apply(again.sync(&name("a"), &[frontend("a", &[2])], 0).0);
    assert_eq!(lines[0], "backend 2 set g1");
}

#[test]
fn a_contradictory_element_is_rewritten() {
    let mut maps = Maps::new();
    let key = frontend("a", &[]).key;
    maps.pinned.services.push((key, ServiceValue { list: 60, count: 9, ..ServiceValue::default() }));
    let mut image = Image::restore(&maps.pinned);
    maps.pinned.services.clear();
    let lines = maps.apply(image.sync(&name("a"), &[frontend("a", &[1])], 0).0);
    assert_eq!(lines, ["backend 1 set g1", "list 0 [1]", "service 0+1"]);
}

#[test]
fn two_services_cannot_share_an_address() {
    let mut image = Image::default();
    image.sync(&name("a"), &[frontend("a", &[1])], 0);
    let (changes, _) = image.sync(&name("b"), &[frontend("a", &[2])], 0);
    assert!(changes.is_empty());
}
