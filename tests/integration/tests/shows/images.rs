//! Images by file, by standard input and from a registry that asks who is there.

use kedge_integration::ask::LIMIT;
use kedge_integration::lab::Lab;
use kedge_integration::registry::{Registry, demo_image};
use kedge_integration::run::contains;
use kedge_integration::wait::eventually;

/// `reader:open sesame`, by bcrypt.
const USERS: &str = "reader:$2b$04$GT.o5vWBrgB6GCY9ItQqWucazdl29NgmkPhM.whFeyRNsQdo1p2EW\n";
const PASSWORD: &str = "open sesame";

#[test]
fn images_are_loaded_in_both_forms_by_file_and_standard_input() {
    let Some(lab) = Lab::or_skip() else { return };
    lab.kedge("start").ok();
    for (form, name) in [("docker-archive", "docker"), ("oci-archive", "oci")] {
        for way in ["file", "stdin"] {
            let image = format!("example.test/{name}-{way}:1");
            let archive = lab.root().join(format!("{name}-{way}.tar"));
            let target = format!("{form}:{}:{image}", archive.display());
            lab.node(&["skopeo", "--insecure-policy", "copy", "--quiet", &demo_image(&lab), &target]).ok();
            let path = archive.display().to_string();
            let kedge = lab.tools().kedge.display().to_string();
            let said = match way {
                "file" => lab.kedge(&format!("image load {path}")),
                _ => lab.node_reading(&[&kedge, "image", "load", "-"], &archive),
            };
            contains(&said.ok(), &[&format!("loaded {image}")]);
            contains(&lab.kedge("image ls").ok(), &[&image]);
            let pod = format!("{name}-{way}");
            lab.kubectl(&format!("run {pod} --image={image} --image-pull-policy=Never")).ok();
        }
    }
    for pod in ["docker-file", "docker-stdin", "oci-file", "oci-stdin"] {
        lab.pods_are_ready(pod);
    }
    let nonsense = lab.root().join("nonsense.tar");
    std::fs::write(&nonsense, "no archive").expect("a file");
    lab.kedge(&format!("image load {}", nonsense.display())).fails_with(1);
    lab.kubectl("delete pod oci-file --now --timeout=30s").ok();
    contains(&lab.kedge("image rm example.test/oci-file:1").ok(), &["removed example.test/oci-file:1"]);
    assert!(!lab.kedge("image ls").ok().contains("oci-file"));
}

#[test]
fn a_pull_secret_opens_a_registry_if_it_is_right() {
    let Some(lab) = Lab::or_skip() else { return };
    let Some(registry) = Registry::start(&lab, 5001, Some(USERS)) else { return };
    registry.push(&lab, &demo_image(&lab), "private/web:1", Some(&format!("reader:{PASSWORD}")));
    lab.kedge("start").ok();
    let host = &registry.host;
    for (name, password) in [("right", PASSWORD), ("wrong", "close sesame")] {
        let secret = ["create", "secret", "docker-registry", name, "--docker-username=reader"];
        let server = format!("--docker-server={host}");
        let password = format!("--docker-password={password}");
        lab.kubectl_words(&[&secret[..], &[&server, &password]].concat()).ok();
    }
    // The wrong and the missing one come first: afterwards the image is there.
    for (name, secrets) in [("wrong", "[{name: wrong}]"), ("none", "[]")] {
        lab.apply(&pod(name, host, secrets)).ok();
        let reason = ".status.containerStatuses[0].state.waiting.reason";
        eventually("the pull has failed", LIMIT, || {
            let reason = lab.field(&format!("pod/{name}"), reason);
            ["ErrImagePull", "ImagePullBackOff"].contains(&reason.as_str()).then_some(())
        });
        let said = lab.kubectl(&format!("describe pod {name}")).ok();
        contains(&said, &[&format!("Failed to pull image \"{host}/private/web:1\""), "401 Unauthorized"]);
    }
    lab.apply(&pod("right", host, "[{name: right}]")).ok();
    lab.pods_are_ready("right");
}

fn pod(name: &str, host: &str, secrets: &str) -> String {
    format!(
        r#"
apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  terminationGracePeriodSeconds: 1
  imagePullSecrets: {secrets}
  containers: [{{name: c, image: "{host}/private/web:1"}}]
"#
    )
}
