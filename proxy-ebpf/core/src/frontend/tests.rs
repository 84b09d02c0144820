use super::*;

/// `address port/protocol scope -> backends`, one line for each frontend.
fn dump(service: &str, slices: &[&str]) -> Vec<String> {
    let service: Service = serde_json::from_str(service).unwrap();
    let slices: Vec<_> = slices.iter().map(|text| Arc::new(serde_json::from_str(text).unwrap())).collect();
    frontends(&service, &slices, "here").iter().map(line).collect()
}

fn line(frontend: &Frontend) -> String {
    let backends: Vec<String> = frontend
        .backends
        .iter()
        .map(|(ip, port)| format!("{}:{}", ip.to_ip(), u16::from_be(*port)))
        .collect();
    let address = match frontend.key.address {
        Address::UNSPECIFIED => "node".to_owned(),
        address => address.to_ip().to_string(),
    };
    let mut line = format!(
        "{address}:{}/{} {} -> {}",
        u16::from_be(frontend.key.port),
        frontend.port.protocol.as_str(),
        if frontend.key.scope == scope::INTERNAL { "in" } else { "out" },
        backends.join(" "),
    );
    for (is_set, word) in [
        (frontend.flags & service_flag::DROP_IF_EMPTY != 0, " drop".to_owned()),
        (frontend.affinity_seconds != 0, format!(" affinity={}", frontend.affinity_seconds)),
    ] {
        if is_set {
            line.push_str(&word);
        }
    }
    line.trim_end().to_owned()
}

const SLICE: &str = r#"{"metadata":{"name":"web-1"},"addressType":"IPv4","ports":[{"name":"","port":8080}],"endpoints":[
    {"addresses":["10.244.0.2"],"nodeName":"here"},
    {"addresses":["10.244.1.2"],"nodeName":"there"},
    {"addresses":["10.244.1.3"],"nodeName":"there","conditions":{"ready":false}}]}"#;

fn spec(extra: &str) -> String {
    format!(
        r#"{{"metadata":{{"name":"web","namespace":"default"}},
        "spec":{{"clusterIP":"10.96.0.9","clusterIPs":["10.96.0.9"],{extra}}}}}"#
    )
}

#[test]
fn tables() {
    let port = r#""ports":[{"port":80}]"#;
    let node_port = r#""type":"NodePort","ports":[{"port":80,"nodePort":30080}]"#;
    for (extra, slices, expected) in [
        (port.to_owned(), &[SLICE][..], &["10.96.0.9:80/TCP in -> 10.244.0.2:8080 10.244.1.2:8080"][..]),
        (port.to_owned(), &[], &["10.96.0.9:80/TCP in ->"]),
        (
            format!(r#"{port},"internalTrafficPolicy":"Local""#),
            &[SLICE],
            &["10.96.0.9:80/TCP in -> 10.244.0.2:8080 drop"],
        ),
        (format!(r#"{port},"internalTrafficPolicy":"Local""#), &[], &["10.96.0.9:80/TCP in ->"]),
        (
            format!(r#"{node_port},"externalTrafficPolicy":"Local""#),
            &[SLICE],
            &[
                "10.96.0.9:80/TCP in -> 10.244.0.2:8080 10.244.1.2:8080",
                "node:30080/TCP in -> 10.244.0.2:8080 10.244.1.2:8080",
                "node:30080/TCP out -> 10.244.0.2:8080 drop",
            ],
        ),
        (
            format!(r#"{port},"externalIPs":["192.0.2.7"],"sessionAffinity":"ClientIP""#),
            &[SLICE],
            &[
                "10.96.0.9:80/TCP in -> 10.244.0.2:8080 10.244.1.2:8080 affinity=10800",
                "192.0.2.7:80/TCP in -> 10.244.0.2:8080 10.244.1.2:8080 affinity=10800",
                "192.0.2.7:80/TCP out -> 10.244.0.2:8080 10.244.1.2:8080 affinity=10800",
            ],
        ),
        (r#""ports":[{"port":80,"protocol":"UDP"}]"#.to_owned(), &[SLICE], &["10.96.0.9:80/UDP in ->"]),
        (r#""ports":[{"port":80,"protocol":"SCTP"}]"#.to_owned(), &[SLICE], &[]),
    ] {
        assert_eq!(dump(&spec(&extra), slices), expected, "{extra}");
    }
}

#[test]
fn terminating_endpoints_serve_only_where_none_is_ready() {
    let slice = |ready: bool| {
        format!(
            r#"{{"metadata":{{"name":"a"}},"addressType":"IPv4","ports":[{{"name":"","port":8080}}],"endpoints":[
            {{"addresses":["10.244.0.2"],"conditions":{{"ready":{ready}}}}},
            {{"addresses":["10.244.0.3"],"conditions":{{"ready":false,"serving":true,"terminating":true}}}},
            {{"addresses":["10.244.0.4"],"conditions":{{"ready":false,"serving":false,"terminating":true}}}}]}}"#
        )
    };
    let service = spec(r#""ports":[{"port":80}]"#);
    assert_eq!(dump(&service, &[&slice(true)]), ["10.96.0.9:80/TCP in -> 10.244.0.2:8080"]);
    assert_eq!(dump(&service, &[&slice(false)]), ["10.96.0.9:80/TCP in -> 10.244.0.3:8080"]);
}

#[test]
fn headless_external_name_and_foreign_services_are_left_alone() {
    for text in [
        r#"{"metadata":{"name":"a"},"spec":{"clusterIP":"None","clusterIPs":["None"],"ports":[{"port":80}]}}"#,
        r#"{"metadata":{"name":"a"},"spec":{"type":"ExternalName","externalName":"x.example"}}"#,
        r#"{"metadata":{"name":"a","labels":{"service.kubernetes.io/service-proxy-name":"x"}},
            "spec":{"clusterIP":"10.96.0.9","ports":[{"port":80}]}}"#,
    ] {
        assert!(dump(text, &[SLICE]).is_empty(), "{text}");
    }
}
