//! Classes that a claim or an ingress gets when it names none.

use super::{Operation, Plugin, Request, text};
use crate::status::ApiError;
use serde_json::Value;
use std::sync::Arc;

pub struct DefaultStorageClass;
pub struct DefaultIngressClass;

impl Plugin for DefaultStorageClass {
    fn admit(&self, request: Request<'_>, claim: &mut Value, _: Option<&Value>) -> Result<(), ApiError> {
        let wanted = request.is("", "persistentvolumeclaims", "") && request.operation == Operation::Create;
        let beta = claim["metadata"]["annotations"].get("volume.beta.kubernetes.io/storage-class").is_some();
        // An empty name asks for no class.
        if !wanted || beta || claim["spec"].get("storageClassName").is_some_and(Value::is_string) {
            return Ok(());
        }
        let marked = |class: &Value| {
            is_marked(class, "storageclass.kubernetes.io/is-default-class")
                || is_marked(class, "storageclass.beta.kubernetes.io/is-default-class")
        };
        if let Some(class) = newest(request, "storage.k8s.io", "storageclasses", marked) {
            claim["spec"]["storageClassName"] = class["metadata"]["name"].clone();
        }
        Ok(())
    }
}

impl Plugin for DefaultIngressClass {
    fn admit(&self, request: Request<'_>, ingress: &mut Value, _: Option<&Value>) -> Result<(), ApiError> {
        let wanted =
            request.is("networking.k8s.io", "ingresses", "") && request.operation == Operation::Create;
        let old_style = ingress["metadata"]["annotations"].get("kubernetes.io/ingress.class").is_some();
        if !wanted || old_style || ingress["spec"].get("ingressClassName").is_some_and(Value::is_string) {
            return Ok(());
        }
        let marked = |class: &Value| is_marked(class, "ingressclass.kubernetes.io/is-default-class");
        if let Some(class) = newest(request, "networking.k8s.io", "ingressclasses", marked) {
            ingress["spec"]["ingressClassName"] = class["metadata"]["name"].clone();
        }
        Ok(())
    }
}

fn is_marked(class: &Value, annotation: &str) -> bool {
    class["metadata"]["annotations"].get(annotation).is_some_and(|value| value == "true")
}

/// The youngest of the marked classes; of the same second, the first by name.
fn newest(
    request: Request<'_>,
    group: &str,
    plural: &str,
    marked: impl Fn(&Value) -> bool,
) -> Option<Arc<Value>> {
    let mut classes = request.objects.list(group, plural, None);
    classes.retain(|class| marked(class));
    classes.sort_by(|a, b| {
        let key = |class: &Value, field: &str| text(&class["metadata"][field]).to_owned();
        key(b, "creationTimestamp")
            .cmp(&key(a, "creationTimestamp"))
            .then(key(a, "name").cmp(&key(b, "name")))
    });
    classes.into_iter().next()
}
