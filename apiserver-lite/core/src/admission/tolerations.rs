//! Taints and tolerations that objects are born with.

use super::{Operation, Plugin, Request, list, text};
use crate::status::ApiError;
use serde_json::{Value, json};

/// Pods stay five minutes on a node that is not ready or cannot be reached.
pub struct DefaultTolerationSeconds;

/// Nodes start as not ready, so that nothing is scheduled before the node controller has looked at them.
pub struct TaintNodesByCondition;

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const SECONDS: i64 = 300;

impl Plugin for DefaultTolerationSeconds {
    fn admit(&self, request: Request<'_>, pod: &mut Value, _: Option<&Value>) -> Result<(), ApiError> {
        if !request.is("", "pods", "") {
            return Ok(());
        }
        let tolerations = list(&mut pod["spec"], "tolerations");
        for key in [NOT_READY, UNREACHABLE] {
            let tolerated = tolerations.iter().any(|toleration| {
                let (own, effect) = (text(&toleration["key"]), text(&toleration["effect"]));
                (own.is_empty() || own == key) && (effect.is_empty() || effect == "NoExecute")
            });
            if !tolerated {
                tolerations.push(json!({"key": key, "operator": "Exists", "effect": "NoExecute",
                    "tolerationSeconds": SECONDS}));
            }
        }
        Ok(())
    }
}

impl Plugin for TaintNodesByCondition {
    fn admit(&self, request: Request<'_>, node: &mut Value, _: Option<&Value>) -> Result<(), ApiError> {
        if !request.is("", "nodes", "") || request.operation != Operation::Create {
            return Ok(());
        }
        let taints = list(&mut node["spec"], "taints");
        if !taints.iter().any(|taint| taint["key"] == NOT_READY && taint["effect"] == "NoSchedule") {
            taints.push(json!({"key": NOT_READY, "effect": "NoSchedule"}));
        }
        Ok(())
    }
}
