//! Services, names and addresses with real packets: what the first issue shows of the network beyond the spine.

use kedge_integration::ask::LIMIT;
use kedge_integration::cgroups;
use kedge_integration::lab::{Lab, NODE_IP, OUTSIDE_IP};
use kedge_integration::run::{Ran, contains};
use kedge_integration::steps::{self, Step};
use kedge_integration::wait::eventually;
use std::collections::BTreeSet;
use std::fs;
use std::io::Read;

const STEPS: &[Step] = &[
    ("affinity keeps a client at its pod", affinity),
    ("a pod reaches itself through its service", hairpin),
    ("datagrams through a service", datagrams),
    ("a service without endpoints refuses at once", refusal),
    ("names of a headless service: A, SRV, PTR", names),
    ("kubernetes.default answers a pod", kubernetes),
    ("pods wear the node's address outside", masquerade),
    ("a pod with users of its own", users),
];

const PODS: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "kedge.local/hello:1", args: [web]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: single, labels: {app: single}}
spec: {containers: [{name: web, image: "kedge.local/hello:1", args: [web]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: c
    image: kedge.local/hello:1
    args: [sleep, infinity]
    volumeMounts: [{name: busybox, mountPath: /busybox}]
  volumes: [{name: busybox, hostPath: {path: BUSYBOX}}]
---
apiVersion: v1
kind: Pod
metadata: {name: guest}
spec:
  hostUsers: false
  terminationGracePeriodSeconds: 1
  containers: [{name: c, image: "kedge.local/hello:1", args: [sleep, infinity], securityContext: {runAsUser: 0}}]
"#;

const SERVICES: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: sticky}
spec:
  type: NodePort
  selector: {app: web}
  sessionAffinity: ClientIP
  ports: [{port: 80, targetPort: 8080, nodePort: 30081}]
---
apiVersion: v1
kind: Service
metadata: {name: spread}
spec:
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
---
apiVersion: v1
kind: Service
metadata: {name: single}
spec:
  selector: {app: single}
  ports: [{port: 80, targetPort: 8080}]
---
apiVersion: v1
kind: Service
metadata: {name: echo}
spec:
  type: NodePort
  selector: {app: web}
  ports: [{name: echo, protocol: UDP, port: 7, targetPort: 8080, nodePort: 30082}]
---
apiVersion: v1
kind: Service
metadata: {name: nobody}
spec:
  selector: {app: nobody}
  ports: [{port: 80, targetPort: 8080}]
---
apiVersion: v1
kind: Service
metadata: {name: headless}
spec:
  clusterIP: None
  selector: {app: web}
  ports: [{name: http, port: 8080}]
"#;

#[test]
fn services_and_names() {
    let Some(lab) = Lab::or_skip() else { return };
    let busybox = lab.root().join("busybox");
    fs::create_dir(&busybox).expect("a folder");
    let program = lab.node(&["sh", "-c", "command -v busybox"]).ok();
    fs::copy(program.trim(), busybox.join("busybox")).expect("busybox, which is static");
    lab.kedge("start").ok();
    lab.apply(&PODS.replace("BUSYBOX", &busybox.display().to_string())).ok();
    lab.apply(SERVICES).ok();
    lab.kubectl("rollout status deployment/web --timeout=40s").ok();
    lab.pods_are_ready("single client guest");
    steps::run(&lab, STEPS);
}

fn cluster_ip(lab: &Lab, service: &str) -> String {
    lab.field(&format!("service/{service}"), ".spec.clusterIP")
}

fn in_client(lab: &Lab, command: &str) -> Ran {
    lab.kubectl(&format!("exec client -- {command}"))
}

/// The pods that answered ten requests.
#[track_caller]
fn answering(ask: impl Fn() -> Ran) -> BTreeSet<String> {
    eventually("the service answers", LIMIT, || ask().succeeded().then_some(()));
    (0..10).map(|_| ask().ok().split_whitespace().next().expect("a pod's name").to_owned()).collect()
}

fn affinity(lab: &Lab) {
    let (sticky, spread) = (cluster_ip(lab, "sticky"), cluster_ip(lab, "spread"));
    let url = |ip: &str| format!("http://{ip}/");
    assert!(answering(|| lab.get_from_node(&url(&spread))).len() > 1, "without affinity there are several");
    assert_eq!(answering(|| lab.get_from_node(&url(&sticky))).len(), 1, "from the node");
    assert_eq!(answering(|| in_client(lab, &format!("/hello get {}", url(&sticky)))).len(), 1, "from a pod");
    let port = format!("http://{NODE_IP}:30081/");
    assert_eq!(answering(|| lab.get_from_outside(&port)).len(), 1, "from the outside");
}

fn hairpin(lab: &Lab) {
    let url = format!("http://{}/", cluster_ip(lab, "single"));
    let itself = || lab.kubectl(&format!("exec single -- /hello get {url}"));
    assert_eq!(answering(itself), BTreeSet::from(["single".to_owned()]));
}

/// bash has datagrams; the answer is what was sent.
fn echo(host: &str, port: u16) -> String {
    format!("exec 3<>/dev/udp/{host}/{port}; printf hello >&3; timeout 2 head -c 5 <&3")
}

fn datagrams(lab: &Lab) {
    let service = echo(&cluster_ip(lab, "echo"), 7);
    let answers = |what: &str, ask: &dyn Fn() -> Ran| {
        eventually(what, LIMIT, || (ask().stdout == "hello").then_some(()));
    };
    answers("from the node", &|| lab.node(&["bash", "-c", &service]));
    let pod = network_of(lab, "client");
    answers("from a pod", &|| lab.node(&["nsenter", &pod, "bash", "-c", &service]));
    let outside = echo(NODE_IP, 30082);
    answers("from the outside", &|| lab.outside(&["bash", "-c", &outside]));
}

/// nsenter's word for a pod's network.
fn network_of(lab: &Lab, pod: &str) -> String {
    let id = lab.field(&format!("pod/{pod}"), ".status.containerStatuses[0].containerID");
    let processes = cgroups::processes_of_container(&lab.parent, id.split("://").nth(1).expect("an id"));
    format!("--net=/proc/{}/ns/net", processes.keys().next().expect("a process"))
}

/// curl ends with 7 where a connection is refused and with 28 where nobody says anything.
fn refusal(lab: &Lab) {
    let url = format!("http://{}/", cluster_ip(lab, "nobody"));
    let ask = |prefix: &[&str]| {
        let curl = ["curl", "-sS", "--max-time", "3", "-w", "%{time_total}", &url];
        lab.node(&[prefix, &curl].concat())
    };
    eventually("the node is refused", LIMIT, || (ask(&[]).code == 7).then_some(()));
    let pod = network_of(lab, "client");
    eventually("a pod is refused", LIMIT, || (ask(&["nsenter", &pod]).code == 7).then_some(()));
    for prefix in [&[][..], &["nsenter", &pod]] {
        // The best of ten: the machine may be busy, a lost packet would cost a second each time.
        let seconds = (0..10).map(|_| ask(prefix)).map(|ran| {
            let time: f64 = ran.stdout.trim().parse().unwrap_or(f64::MAX);
            contains(&ran.fails_with(7), &["Failed to connect"]);
            time
        });
        let best = seconds.fold(f64::MAX, f64::min);
        assert!(best < 0.1, "refused after {best} s");
    }
}

/// Asks the cluster DNS from a pod.
fn look_up(lab: &Lab, kind: &str, name: &str) -> Ran {
    in_client(lab, &format!("/busybox/busybox nslookup -type={kind} {name}"))
}

fn names(lab: &Lab) {
    let domain = "headless.default.svc.cluster.local";
    let pods = lab.field("pods -l app=web", ".items[*].status.podIP");
    let pods: BTreeSet<&str> = pods.split_whitespace().collect();
    assert_eq!(pods.len(), 3);
    eventually("every pod's address", LIMIT, || {
        let answer = look_up(lab, "a", domain);
        // The first address is that of the server asked.
        let addresses = answer.stdout.lines().skip(2).filter_map(|line| line.strip_prefix("Address: "));
        (addresses.collect::<BTreeSet<_>>() == pods).then_some(())
    });
    let services = look_up(lab, "srv", &format!("_http._tcp.{domain}")).ok();
    assert_eq!(services.matches(" 8080 ").count(), 3, "{services}");
    contains(&services, &["service = 0 ", domain]);
    let ip = pods.first().expect("three");
    let reverse: Vec<&str> = ip.rsplit('.').collect();
    let pointer = look_up(lab, "ptr", &format!("{}.in-addr.arpa", reverse.join("."))).ok();
    contains(&pointer, &["name = ", domain]);
    let service_ip = cluster_ip(lab, "single");
    let reverse: Vec<&str> = service_ip.rsplit('.').collect();
    let pointer = look_up(lab, "ptr", &format!("{}.in-addr.arpa", reverse.join("."))).ok();
    contains(&pointer, &["name = single.default.svc.cluster.local"]);
    contains(&look_up(lab, "a", "no-such.default.svc.cluster.local").stdout, &["NXDOMAIN"]);
}

fn kubernetes(lab: &Lab) {
    let ip = cluster_ip(lab, "kubernetes");
    contains(&look_up(lab, "a", "kubernetes.default.svc.cluster.local").ok(), &[&format!("Address: {ip}")]);
    let (pod, url) = (network_of(lab, "client"), format!("https://{ip}/version"));
    contains(&lab.node(&["nsenter", &pod, "curl", "-sS", "--insecure", &url]).ok(), &["v1.36"]);
}

/// Who asks is told its own address, by a server outside that has no route to pods.
fn masquerade(lab: &Lab) {
    let script = "import http.server as h\nclass A(h.BaseHTTPRequestHandler):\n def do_GET(s):\n  s.send_response(200); s.end_headers(); s.wfile.write(s.client_address[0].encode())\nl = h.HTTPServer(('', 8000), A); print('open', flush=True); l.serve_forever()";
    let mut server = lab.outside_running(&["python3", "-c", script]);
    server
        .stdout
        .as_mut()
        .expect("a piped standard output")
        .read_exact(&mut [0; 4])
        .expect("the server's word");
    let seen = in_client(lab, &format!("/hello get http://{OUTSIDE_IP}:8000/"));
    server.kill().and_then(|()| server.wait()).expect("the server ends");
    assert_eq!(seen.ok().trim(), NODE_IP);
}

fn users(lab: &Lab) {
    let map = lab.kubectl("exec guest -- cat /proc/self/uid_map").ok();
    let fields: Vec<u64> = map.split_whitespace().map(|word| word.parse().expect("a number")).collect();
    assert_eq!((fields[0], fields.len()), (0, 3), "{map}");
    assert!(fields[1] >= 65536, "root inside is nobody outside: {map}");
    contains(&lab.kubectl("exec guest -- cat /proc/self/status").ok(), &["Uid: 0 0 0 0"]);
    let own = lab.kubectl("exec client -- cat /proc/self/uid_map").ok();
    assert!(own.split_whitespace().eq(["0", "0", "4294967295"]), "others have the machine's: {own}");
}
