//! Services and what leads to them.

use super::cells::{Row, join, labels, or, some};
use serde_json::Value;

const SHOWN_MAX: usize = 3;

pub fn service(row: &Row<'_>) -> Vec<Value> {
    let ports: Vec<String> = row.list("spec/ports").iter().map(port).collect();
    let address = row.list("spec/clusterIPs").first().and_then(Value::as_str).unwrap_or_default();
    vec![
        row.name(),
        row.text("spec/type").into(),
        or(address, "<none>").into(),
        external_address(row).into(),
        or(&ports.join(","), "<none>").into(),
        row.age(),
        labels(row.at("spec/selector")).into(),
    ]
}

fn port(port: &Value) -> String {
    let protocol = port["protocol"].as_str().unwrap_or_default();
    match port["nodePort"].as_i64().unwrap_or(0) {
        0 => format!("{}/{protocol}", port["port"]),
        node => format!("{}:{node}/{protocol}", port["port"]),
    }
}

fn external_address(row: &Row<'_>) -> String {
    let own = join(row.list("spec/externalIPs").iter().filter_map(Value::as_str), ",");
    match row.text("spec/type") {
        "ClusterIP" | "NodePort" => or(&own, "<none>").to_owned(),
        "LoadBalancer" => {
            let balancer = balancer_addresses(row);
            let both = join([balancer, own].into_iter().filter(|part| !part.is_empty()), ",");
            or(&both, "<pending>").to_owned()
        }
        "ExternalName" => row.text("spec/externalName").to_owned(),
        _ => "<unknown>".to_owned(),
    }
}

fn balancer_addresses(row: &Row<'_>) -> String {
    let ingress = row.list("status/loadBalancer/ingress").iter();
    let mut addresses: Vec<&str> =
        ingress.filter_map(|i| i["ip"].as_str().or(i["hostname"].as_str())).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses.join(",")
}

pub fn endpoints(row: &Row<'_>) -> Vec<Value> {
    let mut all = Vec::new();
    for subset in row.list("subsets") {
        let addresses =
            || subset["addresses"].as_array().into_iter().flatten().filter_map(|a| a["ip"].as_str());
        match subset["ports"].as_array().filter(|ports| !ports.is_empty()) {
            None => all.extend(addresses().map(str::to_owned)),
            Some(ports) => {
                for port in ports {
                    all.extend(addresses().map(|ip| host_port(ip, &port["port"])));
                }
            }
        }
    }
    let text = if row.list("subsets").is_empty() { "<none>".to_owned() } else { some(&all, SHOWN_MAX, ",") };
    vec![row.name(), text.into(), row.age()]
}

fn host_port(ip: &str, port: &Value) -> String {
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

pub fn endpoint_slice(row: &Row<'_>) -> Vec<Value> {
    let ports: Vec<String> = row
        .list("ports")
        .iter()
        .map(|port| match (port["port"].as_i64(), port["name"].as_str()) {
            (Some(number), _) => number.to_string(),
            (None, Some(name)) => name.to_owned(),
            (None, None) => "*".to_owned(),
        })
        .collect();
    let addresses: Vec<String> = row
        .list("endpoints")
        .iter()
        .flat_map(|endpoint| endpoint["addresses"].as_array().into_iter().flatten())
        .filter_map(|address| address.as_str().map(str::to_owned))
        .collect();
    let show = |words: &[String]| or(&some(words, SHOWN_MAX, ","), "<unset>").to_owned();
    vec![row.name(), row.text("addressType").into(), show(&ports).into(), show(&addresses).into(), row.age()]
}

pub fn ingress(row: &Row<'_>) -> Vec<Value> {
    let rules = row.list("spec/rules");
    let hosts = rules.iter().take(SHOWN_MAX).filter_map(|rule| rule["host"].as_str());
    let hosts = join(hosts.filter(|host| !host.is_empty()), ",");
    let hosts = match (hosts.as_str(), rules.len() > SHOWN_MAX) {
        ("", _) => "*".to_owned(),
        (hosts, true) => format!("{hosts} + {} more...", rules.len() - SHOWN_MAX),
        (hosts, false) => hosts.to_owned(),
    };
    let ports = if row.list("spec/tls").is_empty() { "80" } else { "80, 443" };
    vec![
        row.name(),
        or(row.text("spec/ingressClassName"), "<none>").into(),
        hosts.into(),
        balancer_addresses(row).into(),
        ports.into(),
        row.age(),
    ]
}

pub fn ingress_class(row: &Row<'_>) -> Vec<Value> {
    let default = row.at("metadata/annotations")["ingressclass.kubernetes.io/is-default-class"] == "true";
    let name = format!("{}{}", row.text("metadata/name"), if default { " (default)" } else { "" });
    let parameters = match row.at("spec/parameters") {
        Value::Null => "<none>".to_owned(),
        of => {
            let text = |key: &str| of[key].as_str().unwrap_or_default();
            let group = of["apiGroup"].as_str().map(|group| format!(".{group}")).unwrap_or_default();
            format!("{}{group}/{}", text("kind"), text("name"))
        }
    };
    vec![name.into(), row.text("spec/controller").into(), parameters.into(), row.age()]
}

pub fn network_policy(row: &Row<'_>) -> Vec<Value> {
    vec![row.name(), row.selector("spec/podSelector"), row.age()]
}

pub fn service_cidr(row: &Row<'_>) -> Vec<Value> {
    let cidrs = join(row.list("spec/cidrs").iter().filter_map(Value::as_str), ",");
    vec![row.name(), cidrs.into(), row.age()]
}

pub fn ip_address(row: &Row<'_>) -> Vec<Value> {
    let parent = row.at("spec/parentRef");
    let text = |key: &str| parent[key].as_str().unwrap_or_default();
    let resource = match text("group") {
        "" => text("resource").to_owned(),
        group => format!("{}.{group}", text("resource")),
    };
    let words = [resource.to_lowercase(), text("namespace").to_owned(), text("name").to_owned()];
    let reference = match parent {
        Value::Null => "<none>".to_owned(),
        _ => join(words.iter().filter(|word| !word.is_empty()), "/"),
    };
    vec![row.name(), reference.into(), row.age()]
}
