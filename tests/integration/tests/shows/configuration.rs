//! The configuration file, its drop-ins, and what is wrong in them.

use kedge_integration::lab::Lab;
use kedge_integration::run::contains;
use std::fs;

#[test]
fn configuration_files() {
    let Some(lab) = Lab::or_skip() else { return };
    let folder = lab.root().join("etc/kedge");
    fs::create_dir_all(folder.join("config.yaml.d")).expect("a folder");
    let write = |name: &str, text: &str| fs::write(folder.join(name), text).expect("a file");
    write("config.yaml", "secure-port: 7443\ncluster-cidr: 10.9.0.0/16\nnode-labels: [of=file]\n");
    write("config.yaml.d/10-labels.yaml", "node-labels: [of=drop-in, kind=test]\n");
    write("config.yaml.d/20-wrong.yaml", "\n# a slip\nclustr-domain: x\n");
    let said = lab.kedge("start").fails_with(2);
    assert_eq!(said.lines().count(), 1, "{said}");
    contains(&said, &["20-wrong.yaml, line 3: unknown key clustr-domain; did you mean cluster-domain?"]);
    contains(&lab.kedge("config").fails_with(2), &["20-wrong.yaml, line 3"]);
    fs::remove_file(folder.join("config.yaml.d/20-wrong.yaml")).expect("the wrong file");

    let effective = lab.kedge("config --cluster-domain example.test").ok();
    contains(
        &effective,
        &[
            "secure-port: 7443 # ",
            "cluster-cidr: 10.9.0.0/16 # ",
            "node-labels: ['of=drop-in', 'kind=test'] # ",
            "cluster-domain: example.test # command line",
            "bind-address: 0.0.0.0 # default",
            "node-name: node-1 # environment",
        ],
    );
    lab.kedge("start").ok();
    let labels = lab.field("node/node-1", ".metadata.labels");
    contains(&labels, &["\"of\":\"drop-in\""]);
    assert_eq!(lab.field("node/node-1", ".spec.podCIDR"), "10.9.0.0/24");
    contains(&lab.kubectl("cluster-info").ok(), &[":7443"]);
    let outside = lab.root().join("elsewhere.yaml");
    contains(
        &lab.kedge(&format!("status --config {}", outside.display())).fails_with(2),
        &["--config: there is no"],
    );
}
