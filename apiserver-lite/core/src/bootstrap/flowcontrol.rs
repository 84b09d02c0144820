//! The flow schemas and priority levels that clients expect to find. They are stored and served, not yet obeyed: requests
//! are limited by number in `base/serving`.

use serde_json::{Value, json};

/// Name, precedence, priority level, distinguisher, what (all requests, or listed rules), subjects.
type Schema = (&'static str, u32, &'static str, &'static str, What, &'static [&'static str]);

const SCHEMAS: [Schema; 11] = [
    ("exempt", 1, "exempt", "", What::All, &["group:system:masters"]),
    (
        "probes",
        2,
        "exempt",
        "",
        What::Probes,
        &["group:system:unauthenticated", "group:system:authenticated"],
    ),
    (
        "system-leader-election",
        100,
        "leader-election",
        "ByUser",
        What::Elections,
        &["user:system:kube-controller-manager", "user:system:kube-scheduler", "sa:kube-system"],
    ),
    ("system-node-high", 400, "node-high", "ByUser", What::NodeStatus, &["group:system:nodes"]),
    ("system-nodes", 500, "system", "ByUser", What::All, &["group:system:nodes"]),
    (
        "kube-controller-manager",
        800,
        "workload-high",
        "ByNamespace",
        What::All,
        &["user:system:kube-controller-manager"],
    ),
    ("kube-scheduler", 800, "workload-high", "ByNamespace", What::All, &["user:system:kube-scheduler"]),
    ("kube-system-service-accounts", 900, "workload-high", "ByNamespace", What::All, &["sa:kube-system"]),
    ("service-accounts", 9000, "workload-low", "ByUser", What::All, &["group:system:serviceaccounts"]),
    (
        "global-default",
        9900,
        "global-default",
        "ByUser",
        What::All,
        &["group:system:unauthenticated", "group:system:authenticated"],
    ),
    (
        "catch-all",
        10000,
        "catch-all",
        "ByUser",
        What::All,
        &["group:system:unauthenticated", "group:system:authenticated"],
    ),
];

/// Name, shares, lendable percent, queues and hand size (0: no queue, reject). `exempt` stands apart.
const LEVELS: [(&str, u32, u32, u32, u32); 7] = [
    ("catch-all", 5, 0, 0, 0),
    ("global-default", 20, 50, 128, 6),
    ("leader-election", 10, 0, 16, 4),
    ("node-high", 40, 25, 64, 6),
    ("system", 30, 33, 64, 6),
    ("workload-high", 40, 50, 128, 6),
    ("workload-low", 100, 90, 128, 6),
];

#[derive(Clone, Copy)]
enum What {
    All,
    Probes,
    Elections,
    NodeStatus,
}

pub fn objects() -> Vec<Value> {
    let exempt = json!({"type": "Exempt", "exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0}});
    let mut objects = vec![object("PriorityLevelConfiguration", "exempt", exempt)];
    objects.extend(LEVELS.iter().map(|(name, shares, lendable, queues, hand)| {
        let response = match queues {
            0 => json!({"type": "Reject"}),
            queues => json!({"type": "Queue",
                "queuing": {"queues": queues, "handSize": hand, "queueLengthLimit": 50}}),
        };
        let limited =
            json!({"nominalConcurrencyShares": shares, "lendablePercent": lendable, "limitResponse": response});
        object("PriorityLevelConfiguration", name, json!({"type": "Limited", "limited": limited}))
    }));
    objects.extend(SCHEMAS.iter().map(|(name, precedence, level, distinguisher, what, subjects)| {
        let mut rule = what.rules();
        rule["subjects"] = subjects.iter().map(|text| subject(text)).collect();
        let mut spec = json!({"matchingPrecedence": precedence, "priorityLevelConfiguration": {"name": level},
            "rules": [rule]});
        if !distinguisher.is_empty() {
            spec["distinguisherMethod"] = json!({"type": distinguisher});
        }
        object("FlowSchema", name, spec)
    }));
    objects
}

fn object(kind: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": kind, "spec": spec,
        "metadata": {"name": name, "annotations": {"apf.kubernetes.io/autoupdate-spec": "true"}}})
}

fn subject(text: &str) -> Value {
    match text.split_once(':') {
        Some(("group", name)) => json!({"kind": "Group", "group": {"name": name}}),
        Some(("sa", namespace)) => {
            json!({"kind": "ServiceAccount", "serviceAccount": {"namespace": namespace, "name": "*"}})
        }
        Some((_, name)) => json!({"kind": "User", "user": {"name": name}}),
        None => Value::Null,
    }
}

impl What {
    fn rules(self) -> Value {
        match self {
            What::All => json!({
                "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
                "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": true,
                    "namespaces": ["*"]}],
            }),
            What::Probes => json!({
                "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"]}],
            }),
            What::Elections => json!({
                "resourceRules": [{"verbs": ["get", "create", "update"], "apiGroups": ["coordination.k8s.io"],
                    "resources": ["leases"], "namespaces": ["*"]}],
            }),
            What::NodeStatus => json!({
                "resourceRules": [
                    {"verbs": ["*"], "apiGroups": [""], "resources": ["nodes", "nodes/status"], "clusterScope": true,
                        "namespaces": ["*"]},
                    {"verbs": ["*"], "apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "namespaces": ["*"]},
                ],
            }),
        }
    }
}
