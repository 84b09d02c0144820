use super::*;

struct Cluster {
    services: Vec<Service>,
    slices: Vec<EndpointSlice>,
}

impl Directory for Cluster {
    fn service(&self, namespace: &str, name: &str) -> Option<Arc<Service>> {
        let found =
            self.services.iter().find(|s| s.metadata.namespace == namespace && s.metadata.name == name)?;
        Some(Arc::new(found.clone()))
    }

    fn slices(&self, namespace: &str, service: &str) -> Vec<Arc<EndpointSlice>> {
        let of = |slice: &&EndpointSlice| {
            slice.metadata.namespace == namespace && slice.service_name() == Some(service)
        };
        self.slices.iter().filter(of).cloned().map(Arc::new).collect()
    }

    fn has_namespace(&self, namespace: &str) -> bool {
        namespace == "default"
    }

    fn names_of(&self, ip: IpAddr) -> Vec<String> {
        match ip.to_string().as_str() {
            "10.96.0.9" => vec!["web.default".to_owned()],
            "10.244.0.5" => vec!["db-0.db.default".to_owned()],
            _ => Vec::new(),
        }
    }
}

fn cluster() -> Cluster {
    let service = |text: &str| serde_json::from_str(text).unwrap();
    Cluster {
        services: vec![
            service(
                r#"{"metadata":{"name":"web","namespace":"default"},"spec":{"clusterIP":"10.96.0.9",
                "clusterIPs":["10.96.0.9","fd00::9"],"ports":[{"name":"http","port":80},{"name":"dns","port":53,"protocol":"UDP"}]}}"#,
            ),
            service(
                r#"{"metadata":{"name":"db","namespace":"default"},"spec":{"clusterIP":"None","clusterIPs":["None"],
                "ports":[{"name":"sql","port":5432}]}}"#,
            ),
            service(
                r#"{"metadata":{"name":"out","namespace":"default"},"spec":{"type":"ExternalName","externalName":"a.example"}}"#,
            ),
            service(r#"{"metadata":{"name":"empty","namespace":"default"},"spec":{"clusterIP":"None"}}"#),
        ],
        slices: vec![
            serde_json::from_str(
                r#"{"metadata":{"name":"db-x","namespace":"default","labels":{"kubernetes.io/service-name":"db"}},
                "addressType":"IPv4","ports":[{"name":"sql","port":5432}],"endpoints":[
                {"addresses":["10.244.0.5"],"hostname":"db-0"},{"addresses":["10.244.0.6"]},
                {"addresses":["10.244.0.7"],"conditions":{"ready":false}}]}"#,
            )
            .unwrap(),
        ],
    }
}

/// The answer in one line.
fn ask(name: &str, kind: RecordType) -> String {
    let zone = Zone::new("cluster.local").unwrap();
    let data = |records: &[Record]| {
        records.iter().map(|record| record.data.to_string()).collect::<Vec<_>>().join(", ")
    };
    match zone.answer(&cluster(), &Name::from_ascii(name).unwrap(), kind) {
        Answer::Records { answers, additionals } if additionals.is_empty() => data(&answers),
        Answer::Records { answers, additionals } => format!("{} + {}", data(&answers), data(&additionals)),
        Answer::NoData => "nodata".to_owned(),
        Answer::NxDomain => "nxdomain".to_owned(),
        Answer::Alias { target, .. } => format!("-> {target}"),
        Answer::Elsewhere => "elsewhere".to_owned(),
    }
}

#[test]
fn names() {
    use RecordType::{A, AAAA, MX, NS, PTR, SRV, TXT};
    for (name, kind, expected) in [
        ("web.default.svc.cluster.local.", A, "10.96.0.9"),
        ("WEB.Default.svc.cluster.LOCAL.", A, "10.96.0.9"),
        ("web.default.svc.cluster.local.", AAAA, "fd00::9"),
        ("web.default.svc.cluster.local.", MX, "nodata"),
        ("nobody.default.svc.cluster.local.", A, "nxdomain"),
        ("web.other.svc.cluster.local.", A, "nxdomain"),
        ("default.svc.cluster.local.", A, "nodata"),
        ("other.svc.cluster.local.", A, "nxdomain"),
        ("svc.cluster.local.", A, "nodata"),
        ("cluster.local.", A, "nodata"),
        ("cluster.local.", NS, "ns.dns.cluster.local."),
        ("dns-version.cluster.local.", TXT, "1.1.0"),
        ("db.default.svc.cluster.local.", A, "10.244.0.5, 10.244.0.6"),
        ("db.default.svc.cluster.local.", AAAA, "nodata"),
        ("empty.default.svc.cluster.local.", A, "nxdomain"),
        ("db-0.db.default.svc.cluster.local.", A, "10.244.0.5"),
        ("10-244-0-6.db.default.svc.cluster.local.", A, "10.244.0.6"),
        ("10-244-0-7.db.default.svc.cluster.local.", A, "nxdomain"),
        ("x.web.default.svc.cluster.local.", A, "nxdomain"),
        ("out.default.svc.cluster.local.", A, "-> a.example."),
        (
            "_http._tcp.web.default.svc.cluster.local.",
            SRV,
            "0 100 80 web.default.svc.cluster.local. + 10.96.0.9, fd00::9",
        ),
        ("_http._udp.web.default.svc.cluster.local.", SRV, "nxdomain"),
        ("_http._tcp.web.default.svc.cluster.local.", A, "nodata"),
        ("http.tcp.web.default.svc.cluster.local.", SRV, "nxdomain"),
        (
            "_sql._tcp.db.default.svc.cluster.local.",
            SRV,
            "0 100 5432 db-0.db.default.svc.cluster.local., 0 100 5432 10-244-0-6.db.default.svc.cluster.local. + \
             10.244.0.6, 10.244.0.5",
        ),
        ("10-244-0-5.default.pod.cluster.local.", A, "10.244.0.5"),
        ("10-244-0-5.other.pod.cluster.local.", A, "nxdomain"),
        ("fd00--5.default.pod.cluster.local.", AAAA, "fd00::5"),
        ("web.default.pod.cluster.local.", A, "nxdomain"),
        ("9.0.96.10.in-addr.arpa.", PTR, "web.default.svc.cluster.local."),
        ("5.0.244.10.in-addr.arpa.", PTR, "db-0.db.default.svc.cluster.local."),
        ("8.8.8.8.in-addr.arpa.", PTR, "elsewhere"),
        ("a.example.", A, "elsewhere"),
        ("notcluster.local.", A, "elsewhere"),
    ] {
        assert_eq!(ask(name, kind), expected, "{name} {kind}");
    }
}
