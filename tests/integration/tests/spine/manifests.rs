//! What the steps apply.

pub const HELLO: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: hello}
spec:
  replicas: 2
  selector: {matchLabels: {app: hello}}
  template:
    metadata: {labels: {app: hello}}
    spec:
      containers:
      - name: web
        image: kedge.local/hello:1
        args: [web]
        ports: [{name: http, containerPort: 8080}]
        readinessProbe: {httpGet: {path: /, port: http}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: hello}
spec:
  type: NodePort
  selector: {app: hello}
  ports: [{name: http, port: 80, targetPort: http, nodePort: 30080}]
"#;

pub const CLIENT: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: other}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: c, image: "kedge.local/hello:1", args: [sleep, infinity]}]
"#;

/// Its shell ends with 7 once somebody ends the sleep, which has a number of its own to be found by.
pub const LEAVER: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: leaver}
spec:
  restartPolicy: Never
  containers: [{name: c, image: "kedge.local/hello:1", args: [sh, -c, "sleep 3607; exit 7"]}]
"#;
pub const LEAVER_SLEEP: &str = "3607";

pub const GIANT: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: giant}
spec:
  containers: [{name: c, image: "kedge.local/hello:1", resources: {requests: {cpu: "1000"}}}]
"#;

pub const SICK: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: sick}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: c
    image: kedge.local/hello:1
    args: [sleep, infinity]
    livenessProbe: {exec: {command: [cat, /nope]}, periodSeconds: 1, failureThreshold: 1}
"#;

pub const MISSING: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: missing}
spec:
  containers: [{name: c, image: "kedge.local/no-such-image:1"}]
"#;

pub const INVALID: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: Bad_Name}
spec:
  restartPolicy: Perhaps
  containers: [{name: c, image: "", ports: [{containerPort: 99999}]}]
"#;
