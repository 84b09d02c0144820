//! Events, in the core form and in that of `events.k8s.io`.

use super::access::Fill;
use super::usual::Usual;
use serde_json::Value;

pub(super) static CORE_EVENT: Usual = Usual {
    default: |object| {
        for time in ["eventTime", "firstTimestamp", "lastTimestamp"] {
            object.fill(time, Value::Null);
        }
        for text in ["reportingComponent", "reportingInstance"] {
            object.fill(text, "");
        }
        object.child("involvedObject");
        object.child("source");
    },
    create_on_update: true,
    ..Usual::PLAIN
};

pub(super) static EVENT: Usual = Usual {
    default: |object| {
        for time in ["deprecatedFirstTimestamp", "deprecatedLastTimestamp", "eventTime"] {
            object.fill(time, Value::Null);
        }
        object.child("deprecatedSource");
    },
    create_on_update: true,
    ..Usual::PLAIN
};
