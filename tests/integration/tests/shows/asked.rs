//! `examples/asked/`, as it stands: a real nginx and a Tomcat application by way of a mirror of docker.io, a Service from
//! JSON, right and wrong, and three pods of which one is killed.

use kedge_integration::ask::of_repository;
use kedge_integration::image::{add_program, docker_archive};
use kedge_integration::lab::Lab;
use kedge_integration::registry::{Registry, demo_image};
use kedge_integration::run::contains;
use kedge_integration::steps::{self, Step};
use kedge_integration::wait::eventually;
use kedge_integration::{cgroups, tools};
use std::fs;
use std::path::Path;
use std::time::Duration;

const STEPS: &[Step] = &[
    ("nginx, latest, from the mirror", nginx),
    ("myweb answers on 8080 and has its environment", myweb),
    ("a Service from JSON", service),
    ("kind service and name MyService are refused in upstream's words", wrong_service),
    ("three behind a Service, one is killed and replaced", three),
];

#[test]
fn examples_asked_for_work_as_they_stand() {
    let Some(lab) = Lab::or_skip() else { return };
    let Some(nginx) = tools::daemon("nginx", "usr/sbin/nginx") else {
        println!("skipped: nginx is not in the tools folder (make prepare-test)");
        return;
    };
    let Some(registry) = Registry::start(&lab, 5000, None) else { return };
    registry.push(&lab, &nginx_image(&lab, &nginx), "library/nginx:latest", None);
    registry.push(&lab, &demo_image(&lab), "kubeguide/tomcat-app:v1", None);
    let config = lab.root().join("etc/kedge");
    fs::create_dir_all(&config).expect("a folder");
    let mirror = format!("mirrors: {{docker.io: {{endpoint: ['http://{}']}}}}\n", registry.host);
    fs::write(config.join("registries.yaml"), mirror).expect("writing the mirror");
    lab.kedge("start").ok();
    steps::run(&lab, STEPS);
}

const NGINX_CONF: &str = "
user root;
error_log stderr;
pid /nginx.pid;
events {}
http { access_log /dev/stdout; server { listen 80; root /www; } }
";

/// The distribution's nginx and its libraries, packed as `docker save` would.
fn nginx_image(lab: &Lab, program: &Path) -> String {
    let at = lab.root().join("nginx");
    let rootfs = at.join("rootfs");
    for folder in ["etc", "www", "var/lib/nginx", "var/log/nginx"] {
        fs::create_dir_all(rootfs.join(folder)).expect("a folder");
    }
    let files = [
        ("etc/nginx.conf", NGINX_CONF),
        ("etc/passwd", "root:x:0:0:root:/:/bin/sh\n"),
        ("etc/group", "root:x:0:\n"),
        ("www/index.html", "a page of nginx\n"),
    ];
    for (name, text) in files {
        fs::write(rootfs.join(name), text).expect("a file of the image");
    }
    add_program(&rootfs, program);
    let config = serde_json::json!({
        "Entrypoint": ["/bin/nginx", "-c", "/etc/nginx.conf", "-g", "daemon off;"],
        "StopSignal": "SIGQUIT",
    });
    format!("docker-archive:{}", docker_archive(&at, "nginx:latest", &config).display())
}

fn example(name: &str) -> String {
    of_repository(&format!("examples/asked/{name}")).display().to_string()
}

#[track_caller]
fn apply(lab: &Lab, name: &str) -> String {
    lab.kubectl(&format!("apply -f {}", example(name))).ok()
}

fn nginx(lab: &Lab) {
    contains(&apply(lab, "nginx.yaml"), &["pod/nginx created"]);
    lab.pods_are_ready("nginx");
    assert_eq!(lab.field("pod/nginx", ".spec.containers[0].imagePullPolicy"), "Always");
    let id = lab.field("pod/nginx", ".status.containerStatuses[0].imageID");
    assert!(id.starts_with("docker.io/library/nginx@sha256:"), "{id}");
    let ip = lab.field("pod/nginx", ".status.podIP");
    lab.answers(&format!("http://{ip}/"), "a page of nginx");
    contains(&lab.node(&["curl", "-sS", "-I", &format!("http://{ip}/")]).ok(), &["Server: nginx/"]);
    contains(&lab.kubectl("logs nginx").ok(), &["GET / HTTP/1.1"]);
}

fn myweb(lab: &Lab) {
    contains(&apply(lab, "myweb.yaml"), &["pod/myweb created"]);
    lab.pods_are_ready("-l name=myweb");
    let ip = lab.field("pod/myweb", ".status.podIP");
    lab.answers(&format!("http://{ip}:8080/demo/"), "myweb /demo/");
    contains(
        &lab.kubectl("exec myweb -- env").ok(),
        &["MYSQL_SERVICE_HOST=mysql", "MYSQL_SERVICE_PORT=3306"],
    );
    assert_eq!(lab.field("pod/myweb", ".spec.containers[0].imagePullPolicy"), "IfNotPresent");
}

fn service(lab: &Lab) {
    contains(&apply(lab, "service.json"), &["service/my-service created"]);
    let port = "{.spec.ports[0].protocol} {.spec.ports[0].port} {.spec.ports[0].targetPort}";
    let port = lab.kubectl_words(&["get", "service", "my-service", "-o", &format!("jsonpath={port}")]).ok();
    assert_eq!(port, "TCP 80 9376");
    contains(&lab.kubectl("describe service my-service").ok(), &["Selector: app=MyApp", "Endpoints:"]);
}

fn wrong_service(lab: &Lab) {
    // kubectl leaves the checking to the server: on its own side it wants an OpenAPI v2 document first.
    let wrong = format!("apply --validate=false -f {}", example("service-wrong.json"));
    let said = lab.kubectl(&wrong).fails_with(1);
    contains(
        &said,
        &[
            "service in version \"v1\" cannot be handled as a Service: no kind \"service\" is registered for version \"v1\"",
        ],
    );
    // The kind mended, the name not.
    let text = fs::read_to_string(example("service-wrong.json")).expect("the example");
    let said = lab.apply(&text.replace("\"service\"", "\"Service\"")).fails_with(1);
    contains(
        &said,
        &[
            "The Service \"MyService\" is invalid: metadata.name: Invalid value: \"MyService\": a lowercase RFC 1123 label must",
        ],
    );
    let services = lab.kubectl("get services -o name").ok();
    assert!(!services.contains("MyService"), "{services}");
}

fn three(lab: &Lab) {
    contains(&apply(lab, "three.yaml"), &["deployment.apps/three created", "service/three created"]);
    lab.kubectl("rollout status deployment/three --timeout=40s").ok();
    let url = format!("http://{}/", lab.field("service/three", ".spec.clusterIP"));
    lab.answers(&url, "three-");
    let victim = lab.field("pods -l app=three", ".items[0].metadata.name");
    let container = lab.field(&format!("pod/{victim}"), ".status.containerStatuses[0].containerID");
    let id = container.split("://").nth(1).expect("a container id").to_owned();
    let processes = cgroups::processes_of_container(&lab.parent, &id);
    assert_eq!(processes.len(), 1, "{container} is one process");
    processes.keys().for_each(|pid| cgroups::kill(*pid));
    let counts = ".items[*].status.containerStatuses[0].restartCount";
    eventually("another container takes the place of the killed one", Duration::from_secs(30), || {
        let status = format!("pod/{victim}");
        let now = lab.field(&status, ".status.containerStatuses[0].containerID");
        let is_ready = lab.field(&status, ".status.containerStatuses[0].ready") == "true";
        (now != container && is_ready).then_some(())
    });
    let sum: u32 = lab
        .field("pods -l app=three", counts)
        .split_whitespace()
        .map(|count| count.parse::<u32>().expect("a count"))
        .sum();
    assert_eq!(sum, 1, "one container of three was started again");
    lab.kubectl("wait deployment/three --for=jsonpath={.status.readyReplicas}=3 --timeout=30s").ok();
    let last = format!("pod/{victim}");
    assert_eq!(lab.field(&last, ".status.containerStatuses[0].lastState.terminated.exitCode"), "137");
    lab.answers(&url, "three-");
}
