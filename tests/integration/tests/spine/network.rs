//! The ways to a service: by address and by name, from pods, the node and the outside.

use kedge_integration::lab::{Lab, NODE_IP};
use kedge_integration::run::Ran;
use kedge_integration::wait::eventually;
use std::io::{BufRead, BufReader};
use std::time::Duration;

/// A service's rules follow its endpoints within this.
const LIMIT: Duration = Duration::from_secs(10);

/// `hello` answers with the pod's name and the path.
pub fn says_hello(answer: &Ran) -> bool {
    answer.succeeded() && answer.stdout.starts_with("hello-")
}

#[track_caller]
fn answers(what: &str, ask: impl Fn() -> Ran) {
    eventually(what, LIMIT, || says_hello(&ask()).then_some(()));
}

pub fn cluster_url(lab: &Lab) -> String {
    format!("http://{}/", lab.field("service/hello", ".spec.clusterIP"))
}

pub fn node_port_url() -> String {
    format!("http://{NODE_IP}:30080/")
}

fn get_from_pod(lab: &Lab, url: &str) -> Ran {
    lab.kubectl(&format!("exec -n other client -- /hello get {url}"))
}

pub fn service(lab: &Lab) {
    let (cluster, node_port) = (cluster_url(lab), node_port_url());
    answers("the node reaches the cluster IP", || lab.get_from_node(&cluster));
    answers("the node reaches the node port", || lab.get_from_node(&node_port));
    answers("the outside reaches the node port", || lab.get_from_outside(&node_port));
    answers("a pod reaches the cluster IP", || get_from_pod(lab, &cluster));
    answers("a pod reaches the node port", || get_from_pod(lab, &node_port));
    eventually("both pods get their share", LIMIT, || {
        let first = lab.get_from_node(&cluster).stdout;
        let second = lab.get_from_node(&cluster).stdout;
        (first != second).then_some(())
    });
}

pub fn names(lab: &Lab) {
    for name in ["hello.default.svc.cluster.local", "hello.default.svc", "hello.default"] {
        answers(name, || get_from_pod(lab, &format!("http://{name}/")));
    }
    let unknown = get_from_pod(lab, "http://no-such.default.svc.cluster.local/");
    assert!(!unknown.succeeded(), "{unknown}");
}

pub fn port_forward(lab: &Lab) {
    let mut forward = lab.kubectl_running("port-forward service/hello :80");
    // Kept until kubectl has ended: it goes on writing.
    let mut stdout = BufReader::new(forward.stdout.take().expect("a piped standard output"));
    let mut line = String::new();
    let read = stdout.read_line(&mut line);
    let port = line.split_whitespace().find_map(|word| word.strip_prefix("127.0.0.1:"));
    let answer = port.map(|port| lab.get_from_node(&format!("http://127.0.0.1:{port}/")));
    forward.kill().expect("ending kubectl");
    forward.wait().expect("kubectl ends");
    read.expect("kubectl's word");
    let answer = answer.unwrap_or_else(|| panic!("no port in {line:?}"));
    assert!(says_hello(&answer), "{answer}");
}
