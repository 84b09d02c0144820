//! Given objects, done a write, seen the object or the refusal.

use super::*;
use kedge_api::Identity;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Objects by `PLURAL/NAMESPACE/NAME`.
#[derive(Default)]
struct World(BTreeMap<String, Arc<Value>>);

impl World {
    fn with(mut self, path: &str, mut object: Value) -> World {
        let name = path.rsplit('/').next().unwrap();
        object["metadata"]["name"] = name.into();
        self.0.insert(path.to_owned(), Arc::new(object));
        self
    }
}

impl Objects for World {
    fn get(&self, _: &str, plural: &str, namespace: &str, name: &str) -> Option<Arc<Value>> {
        self.0.get(&format!("{plural}/{namespace}/{name}")).cloned()
    }

    fn list(&self, _: &str, plural: &str, _: Option<&str>) -> Vec<Arc<Value>> {
        let prefix = format!("{plural}/");
        self.0
            .iter()
            .filter(|(path, _)| path.starts_with(&prefix))
            .map(|(_, object)| object.clone())
            .collect()
    }
}

fn world() -> World {
    World::default()
        .with("namespaces//a", json!({"status": {"phase": "Active"}}))
        .with("namespaces//going", json!({"status": {"phase": "Terminating"}}))
        .with("serviceaccounts/a/default", json!({}))
}

/// `USER VERB GROUP/RESOURCE[/SUB] NAMESPACE NAME`, `-` for empty.
fn attributes(line: &str) -> (Attributes, Operation) {
    let words: Vec<&str> = line.split(' ').map(|word| if word == "-" { "" } else { word }).collect();
    let [user, verb, path, namespace, name] = words.as_slice() else { panic!("{line}") };
    let parts: Vec<&str> = path.split('/').collect();
    let operation = match *verb {
        "create" => Operation::Create,
        "delete" => Operation::Delete,
        _ => Operation::Update,
    };
    let groups: &[&str] = if user.starts_with("system:node:") { &["system:nodes"] } else { &[] };
    let attributes = Attributes {
        user: Identity::new(user, groups),
        verb: (*verb).to_owned(),
        is_resource: true,
        group: parts[0].to_owned(),
        resource: parts[1].to_owned(),
        subresource: parts.get(2).copied().unwrap_or_default().to_owned(),
        namespace: (*namespace).to_owned(),
        name: (*name).to_owned(),
        ..Attributes::default()
    };
    (attributes, operation)
}

fn run(world: &World, line: &str, object: Value, old: Option<&Value>) -> Result<Value, ApiError> {
    let (attributes, operation) = attributes(line);
    let authorizer = Authorizer::default();
    let request = Request {
        attributes: &attributes,
        operation,
        objects: world,
        authorizer: &authorizer,
        suffix: "abcde",
    };
    if operation == Operation::Delete {
        return validate(request, None, old).map(|()| Value::Null);
    }
    let mut object = object;
    mutate(request, &mut object, old)?;
    validate(request, Some(&object), old)?;
    Ok(object)
}

fn refused(world: &World, line: &str, object: Value, old: Option<&Value>) -> String {
    run(world, line, object, old).map(|object| object.to_string()).unwrap_err().message
}

fn pod(spec: Value) -> Value {
    let mut pod = json!({"metadata": {"name": "p"}, "spec": spec});
    pod["spec"]["containers"] = json!([{"name": "c"}]);
    pod
}

#[test]
fn a_pod_gets_account_token_priority_and_tolerations() {
    let world = world().with("serviceaccounts/a/default", json!({"imagePullSecrets": [{"name": "pull"}]}));
    let got = run(&world, "jane create /pods a -", pod(json!({})), None).unwrap();
    let toleration = |key: &str| json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300});
    assert_eq!(
        got["spec"],
        json!({
            "serviceAccountName": "default", "serviceAccount": "default", "imagePullSecrets": [{"name": "pull"}],
            "priority": 0, "preemptionPolicy": "PreemptLowerPriority",
            "tolerations": [toleration("node.kubernetes.io/not-ready"), toleration("node.kubernetes.io/unreachable")],
            "containers": [{"name": "c", "volumeMounts": [{"name": "kube-api-access-abcde", "readOnly": true,
                "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}]}],
            "volumes": [{"name": "kube-api-access-abcde", "projected": {"defaultMode": 420, "sources": [
                {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
                {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                {"downwardAPI": {"items": [{"path": "namespace",
                    "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}}]}}],
        })
    );
    assert_eq!(run(&world, "jane create /pods a -", got.clone(), None).unwrap(), got, "twice is once");
}

#[test]
fn no_token_where_the_pod_or_the_account_says_so() {
    let opted_out = world().with("serviceaccounts/a/default", json!({"automountServiceAccountToken": false}));
    for (world, spec, mounted) in [
        (world(), json!({}), true),
        (world(), json!({"automountServiceAccountToken": false}), false),
        (world(), json!({}), true),
        (opted_out, json!({}), false),
    ] {
        let got = run(&world, "jane create /pods a -", pod(spec), None).unwrap();
        assert_eq!(got["spec"].get("volumes").is_some(), mounted, "{got}");
    }
}

#[test]
fn namespaces() {
    let refused = |line: &str| refused(&world(), line, json!({"metadata": {"name": "c"}}), None);
    assert_eq!(refused("jane create /configmaps none -"), "namespaces \"none\" not found");
    assert_eq!(
        refused("jane create /configmaps going -"),
        "configmaps \"c\" is forbidden: unable to create new content in namespace going because it is being terminated"
    );
    assert_eq!(
        refused("jane delete /namespaces kube-system kube-system"),
        "namespaces \"kube-system\" is forbidden: this namespace may not be deleted"
    );
    let passes =
        |line: &str| run(&world(), line, json!({"metadata": {"name": "c"}}), Some(&json!({}))).is_ok();
    assert!(passes("jane update /configmaps going c"));
    assert!(passes("jane delete /configmaps none c"));
    assert!(passes("jane delete /namespaces a a"));
    assert!(passes("jane create authorization.k8s.io/localsubjectaccessreviews none -"));
    let error = run(&world(), "jane create /configmaps going -", json!({"metadata": {"name": "c"}}), None)
        .unwrap_err();
    assert_eq!(
        error.details,
        json!({"name": "c", "kind": "configmaps", "causes": [{"reason": "NamespaceTerminating",
            "message": "namespace going is being terminated", "field": "metadata.namespace"}]})
    );
}

#[test]
fn a_missing_account_is_named() {
    let got = refused(&world(), "jane create /pods a -", pod(json!({"serviceAccountName": "x"})), None);
    let want =
        "pods \"p\" is forbidden: error looking up service account a/x: serviceaccount \"x\" not found";
    assert_eq!(got, want);
}

/// The messages are those of `admission.json`, case `priority`.
#[test]
fn priorities() {
    let world =
        world().with("priorityclasses//kg-prio", json!({"value": 1000, "preemptionPolicy": "Never"})).with(
            "priorityclasses//kg-def",
            json!({"value": 5, "globalDefault": true, "preemptionPolicy": "PreemptLowerPriority"}),
        );
    let seen = |spec: Value| {
        let got = run(&world, "jane create /pods a -", pod(spec), None).unwrap();
        [&got["spec"]["priority"], &got["spec"]["preemptionPolicy"], &got["spec"]["priorityClassName"]]
            .map(Value::clone)
    };
    assert_eq!(
        seen(json!({"priorityClassName": "kg-prio"})),
        [json!(1000), json!("Never"), json!("kg-prio")]
    );
    assert_eq!(seen(json!({})), [json!(5), json!("PreemptLowerPriority"), json!("kg-def")]);
    let no = |spec: Value| refused(&world, "jane create /pods a -", pod(spec), None);
    assert_eq!(
        no(json!({"priorityClassName": "kg-prio", "priority": 7})),
        "pods \"p\" is forbidden: the integer value of priority (7) must not be provided in pod spec; priority admission controller computed 1000 from the given PriorityClass name"
    );
    assert_eq!(
        no(json!({"priorityClassName": "kg-prio", "preemptionPolicy": "PreemptLowerPriority"})),
        "pods \"p\" is forbidden: the string value of PreemptionPolicy (PreemptLowerPriority) must not be provided in pod spec; priority admission controller computed Never from the given PriorityClass name"
    );
    assert_eq!(
        no(json!({"priorityClassName": "x"})),
        "pods \"p\" is forbidden: no PriorityClass with name x was found"
    );
    let second = json!({"metadata": {"name": "kg-def2"}, "globalDefault": true, "value": 5});
    assert_eq!(
        refused(&world, "jane create scheduling.k8s.io/priorityclasses - -", second, None),
        "priorityclasses.scheduling.k8s.io \"kg-def2\" is forbidden: PriorityClass kg-def is already marked as default. Only one default can exist"
    );
    assert_eq!(
        refused(
            &world,
            "jane delete scheduling.k8s.io/priorityclasses - system-node-critical",
            Value::Null,
            None
        ),
        "priorityclasses.scheduling.k8s.io \"system-node-critical\" is forbidden: this is a system priority class and cannot be deleted"
    );
}

/// The messages are those of `admission.json`, case `runtimeclass`.
#[test]
fn runtime_classes() {
    let class = json!({"overhead": {"podFixed": {"cpu": "250m"}},
        "scheduling": {"nodeSelector": {"a": "b"}, "tolerations": [{"key": "a", "operator": "Exists"}]}});
    let world = world().with("runtimeclasses//kg-rta", class);
    let create = |spec: Value| run(&world, "jane create /pods a -", pod(spec), None);
    let got = create(json!({"runtimeClassName": "kg-rta"})).unwrap();
    assert_eq!(got["spec"]["overhead"], json!({"cpu": "250m"}));
    assert_eq!(got["spec"]["nodeSelector"], json!({"a": "b"}));
    assert_eq!(got["spec"]["tolerations"][2], json!({"key": "a", "operator": "Exists"}));
    let no = |spec: Value| create(spec).unwrap_err().message;
    assert_eq!(
        no(json!({"runtimeClassName": "kg-rta", "nodeSelector": {"a": "c"}})),
        "pods \"p\" is forbidden: conflict: runtimeClass.scheduling.nodeSelector[a] = b; pod.spec.nodeSelector[a] = c"
    );
    assert_eq!(
        no(json!({"runtimeClassName": "kg-rta", "overhead": {"cpu": "1"}})),
        format!(
            "pods \"p\" is forbidden: {}",
            "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"
        )
    );
}

#[test]
fn default_classes() {
    let marked = |annotation: &str| json!({"metadata": {"annotations": {annotation: "true"}}});
    let world = world()
        .with("storageclasses//kg-dsc", marked("storageclass.kubernetes.io/is-default-class"))
        .with("storageclasses//other", json!({}))
        .with("ingressclasses//kg-dic", marked("ingressclass.kubernetes.io/is-default-class"));
    let claim = |spec: Value| {
        run(&world, "jane create /persistentvolumeclaims a -", json!({"spec": spec}), None).unwrap()
    };
    assert_eq!(claim(json!({}))["spec"]["storageClassName"], "kg-dsc");
    assert_eq!(claim(json!({"storageClassName": ""}))["spec"]["storageClassName"], "");
    let ingress =
        run(&world, "jane create networking.k8s.io/ingresses a -", json!({"spec": {}}), None).unwrap();
    assert_eq!(ingress["spec"]["ingressClassName"], "kg-dic");
}

#[test]
fn nodes_start_tainted() {
    let got = run(&world(), "jane create /nodes - -", json!({"metadata": {"name": "n"}, "spec": {}}), None)
        .unwrap();
    assert_eq!(
        got["spec"]["taints"],
        json!([{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}])
    );
}

#[test]
fn approving_takes_a_permission_on_the_signer() {
    let request = json!({"metadata": {"name": "c"}, "spec": {"signerName": "kubernetes.io/kubelet-serving"}});
    let line = "jane update certificates.k8s.io/certificatesigningrequests/approval - c";
    assert_eq!(
        refused(&world(), line, request.clone(), Some(&request)),
        "certificatesigningrequests.certificates.k8s.io \"c\" is forbidden: user not permitted to approve requests with signerName \"kubernetes.io/kubelet-serving\""
    );
}

mod nodes {
    use super::*;

    const N: &str = "system:node:n";

    fn nodes() -> World {
        let volumes = json!([{"projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}]);
        world()
            .with("nodes//n", json!({"metadata": {"uid": "node-uid"}}))
            .with(
                "pods/a/mine",
                json!({"metadata": {"uid": "u1"}, "spec": {"nodeName": "n", "volumes": volumes}}),
            )
            .with("pods/a/theirs", json!({"metadata": {"uid": "u2"}, "spec": {"nodeName": "m"}}))
    }

    fn check(what: &str, object: Value, old: Value, want: Result<(), &str>) {
        let got = run(&nodes(), &format!("{N} {what}"), object, Some(&old));
        assert_eq!(got.map(drop).map_err(|error| error.message), want.map_err(str::to_owned), "{what}");
    }

    #[test]
    fn own_pods_only() {
        let status = |node: &str, label: &str| json!({"metadata": {"labels": {"a": label}}, "spec": {"nodeName": node}});
        check("update /pods/status a mine", status("n", "1"), status("n", "1"), Ok(()));
        check(
            "update /pods/status a mine",
            status("n", "2"),
            status("n", "1"),
            Err("pods \"mine\" is forbidden: node \"n\" cannot update labels through pod status"),
        );
        check(
            "update /pods/status a theirs",
            status("m", "1"),
            status("m", "1"),
            Err(
                "pods \"theirs\" is forbidden: node \"n\" can only update pod status for pods with spec.nodeName set to itself",
            ),
        );
        check("delete /pods a mine", Value::Null, Value::Null, Ok(()));
        check(
            "delete /pods a theirs",
            Value::Null,
            Value::Null,
            Err(
                "pods \"theirs\" is forbidden: node \"n\" can only delete pods with spec.nodeName set to itself",
            ),
        );
        check(
            "create /pods/eviction a theirs",
            json!({}),
            Value::Null,
            Err("pods \"theirs\" is forbidden: node n can only evict pods with spec.nodeName set to itself"),
        );
        check(
            "update /pods/resize a mine",
            json!({}),
            Value::Null,
            Err(
                "pods \"mine\" is forbidden: unexpected pod subresource \"resize\", only 'status' and 'eviction' are allowed",
            ),
        );
    }

    #[test]
    fn mirror_pods() {
        let mirror = |owner: Value, spec: Value| {
            let mut pod = pod(spec);
            pod["spec"]["nodeName"] = "n".into();
            pod["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "h"});
            pod["metadata"]["ownerReferences"] = json!([owner]);
            pod
        };
        let owner = |uid: &str| json!({"apiVersion": "v1", "kind": "Node", "name": "n", "uid": uid, "controller": true});
        check("create /pods a -", mirror(owner("node-uid"), json!({})), Value::Null, Ok(()));
        check(
            "create /pods a -",
            mirror(owner("old"), json!({})),
            Value::Null,
            Err("pods \"p\" is forbidden: node n UID mismatch: expected old got node-uid"),
        );
        check(
            "create /pods a -",
            pod(json!({"nodeName": "n"})),
            Value::Null,
            Err(
                "pods \"p\" is forbidden: pod does not have \"kubernetes.io/config.mirror\" annotation, node \"n\" can only create mirror pods",
            ),
        );
        let secret = json!({"volumes": [{"configMap": {"name": "c"}}]});
        check(
            "create /pods a -",
            mirror(owner("node-uid"), secret),
            Value::Null,
            Err("pods \"p\" is forbidden: node \"n\" can not create pods that reference configmaps"),
        );
    }

    #[test]
    fn own_node_without_steering_labels() {
        let node = |labels: Value, taints: Value| json!({"metadata": {"name": "n", "labels": labels}, "spec": {"taints": taints}});
        let plain = || node(json!({}), json!([]));
        check(
            "create /nodes - -",
            node(json!({"kubernetes.io/hostname": "n", "mine": "1"}), json!([])),
            Value::Null,
            Ok(()),
        );
        check(
            "create /nodes - -",
            node(json!({"x.kubernetes.io/a": "1", "node-restriction.kubernetes.io/b": "1"}), json!([])),
            Value::Null,
            Err(
                "nodes \"n\" is forbidden: node \"n\" is not allowed to set the following labels: node-restriction.kubernetes.io/b, x.kubernetes.io/a",
            ),
        );
        check(
            "update /nodes - n",
            plain(),
            node(json!({"kubernetes.io/x": "1"}), json!([])),
            Err("nodes \"n\" is forbidden: is not allowed to modify labels: kubernetes.io/x"),
        );
        check(
            "update /nodes - n",
            plain(),
            node(json!({}), json!([{"key": "k"}])),
            Err("nodes \"n\" is forbidden: node \"n\" is not allowed to modify taints"),
        );
        check(
            "update /nodes/status - m",
            plain(),
            plain(),
            Err("nodes \"m\" is forbidden: node \"n\" is not allowed to modify node \"m\""),
        );
    }

    #[test]
    fn tokens_of_own_pods_for_mounted_audiences() {
        let ask = |pod: &str, uid: &str, audiences: Value| {
            json!({"spec": {"audiences": audiences,
                "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": pod, "uid": uid}}})
        };
        let token = "create /serviceaccounts/token a default";
        check(token, ask("mine", "u1", json!([])), Value::Null, Ok(()));
        let prefix = "serviceaccounts \"default\" is forbidden: ";
        let no = |why: &str| format!("{prefix}{why}");
        check(token, json!({"spec": {}}), Value::Null, Err(&no("node requested token not bound to a pod")));
        check(
            token,
            ask("mine", "", json!([])),
            Value::Null,
            Err(&no("node requested token with a pod binding without a uid")),
        );
        check(
            token,
            ask("theirs", "u2", json!([])),
            Value::Null,
            Err(&no("node requested token bound to a pod scheduled on a different node")),
        );
        check(
            token,
            ask("mine", "u1", json!(["vault"])),
            Value::Null,
            Err(&no(
                "audience \"vault\" not found in pod spec volume, system:node:n is not authorized to request tokens for this audience",
            )),
        );
    }

    #[test]
    fn own_lease() {
        let world = nodes().with("namespaces//kube-node-lease", json!({}));
        let create = |name: &str| {
            let lease = json!({"metadata": {"name": name}});
            run(&world, "system:node:n create coordination.k8s.io/leases kube-node-lease -", lease, None)
        };
        assert!(create("n").is_ok());
        let want = "leases.coordination.k8s.io \"m\" is forbidden: can only access node lease with the same name as the requesting node";
        assert_eq!(create("m").unwrap_err().message, want);
    }
}
