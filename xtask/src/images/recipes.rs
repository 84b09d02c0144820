//! Which image has which names, layers and configuration. Names and versions are those of `e2e.test --list-images` 1.36.2.

use serde_json::{Value, json};

use super::archive::Recipe;
use super::layers::Layers;

/// agnhost's ports, as its own image declares them: a port-less client learns them from here.
fn agnhost(command: &str) -> Value {
    json!({
        "Entrypoint": ["/agnhost"],
        "Cmd": [command],
        "ExposedPorts": {"80/tcp": {}, "5000/tcp": {}, "8080/tcp": {}, "8081/tcp": {}, "9376/tcp": {}},
    })
}

pub fn all(layers: &Layers) -> Vec<Recipe<'_>> {
    let Layers { busybox, pause, set_uid, debian, filling, agnhost: program, nautilus, kitten, nginx } =
        layers;
    let recipe = |names, layers, config| Recipe { names, layers, config };
    // The earlier agnhost differs in its configuration only: what counts is that its image id is another one.
    let mut earlier = agnhost("pause");
    earlier["Labels"] = json!({"version": "2.55"});
    let serve = json!({
        "Cmd": ["nginx", "-g", "daemon off;"],
        "ExposedPorts": {"80/tcp": {}},
        "StopSignal": "SIGQUIT",
    });
    vec![
        recipe(&["registry.k8s.io/e2e-test-images/busybox:1.37.0-1"], vec![busybox], json!({"Cmd": ["sh"]})),
        recipe(
            &["registry.k8s.io/pause:3.10.2"],
            vec![pause],
            json!({"Entrypoint": ["/pause"], "User": "65535:65535"}),
        ),
        recipe(
            &["registry.k8s.io/e2e-test-images/nonewprivs:1.4"],
            vec![busybox, set_uid],
            json!({"Cmd": ["nnp"]}),
        ),
        recipe(
            &["registry.k8s.io/e2e-test-images/agnhost:2.63.0"],
            vec![debian, filling, program],
            agnhost("pause"),
        ),
        recipe(&["registry.k8s.io/e2e-test-images/agnhost:2.55"], vec![debian, filling, program], earlier),
        recipe(
            &["registry.k8s.io/e2e-test-images/nautilus:1.8"],
            vec![debian, filling, program, nautilus],
            agnhost("test-webserver"),
        ),
        recipe(
            &["registry.k8s.io/e2e-test-images/kitten:1.8"],
            vec![debian, filling, program, kitten],
            agnhost("test-webserver"),
        ),
        recipe(
            &["registry.k8s.io/e2e-test-images/glibc-dns-testing:2.0.0"],
            vec![debian, filling],
            json!({"Cmd": ["bash"]}),
        ),
        recipe(&["registry.k8s.io/e2e-test-images/nginx:1.15-4"], vec![debian, filling, nginx], serve),
    ]
}
