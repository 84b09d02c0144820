//! What is wrong with volumes, claims and the kinds of `storage.k8s.io`.

use super::access::{Fill, Read};
use super::field::{
    Path, duplicate, forbidden, ill_formed, immutable, invalid, invalid_struct, not_supported, one_of,
    required,
};
use super::labels::{validate_label_key, validate_selector};
use super::pod::{validate_driver_name, validate_node_selector, validate_source};
use crate::status::Findings;
use kedge_api::{Quantity, names};
use serde_json::Value;

const MODES: [&str; 4] = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

/// The sources of a persistent volume, with the name that upstream gives a second one in its refusal.
const SOURCES: [(&str, &str); 22] = [
    ("hostPath", "hostPath"),
    ("gcePersistentDisk", "gcePersistentDisk"),
    ("awsElasticBlockStore", "awsElasticBlockStore"),
    ("glusterfs", "glusterfs"),
    ("flocker", "flocker"),
    ("nfs", "nfs"),
    ("rbd", "rbd"),
    ("quobyte", "quobyte"),
    ("cephfs", "cephFS"),
    ("iscsi", "iscsi"),
    ("cinder", "cinder"),
    ("fc", "fc"),
    ("flexVolume", "flexVolume"),
    ("azureFile", "azureFile"),
    ("vsphereVolume", "vsphereVolume"),
    ("photonPersistentDisk", "photonPersistentDisk"),
    ("portworxVolume", "portworxVolume"),
    ("azureDisk", "azureDisk"),
    ("scaleIO", "scaleIO"),
    ("local", "local"),
    ("storageos", "storageos"),
    ("csi", "csi"),
];

pub(super) fn validate_volume(object: &Value) -> Findings {
    let (spec, path) = (&object["spec"], Path::new("spec"));
    let mut findings = validate_access_modes(spec, "", &path.child("accessModes"));
    let (capacity, at) = (&spec["capacity"], path.child("capacity"));
    if spec.lacks("capacity") {
        findings.push(required(&at, ""));
    }
    if !capacity.has("storage") || capacity.as_object().is_some_and(|map| map.len() > 1) {
        findings.push(not_supported(&at, capacity.clone(), &["storage"]));
    }
    for (name, amount) in spec.entries("capacity") {
        findings.extend(validate_positive_amount(amount.as_str().unwrap_or_default(), &at.key(name)));
    }
    let policies = ["Delete", "Recycle", "Retain"];
    findings.extend(one_of(
        &path.child("persistentVolumeReclaimPolicy"),
        spec.text("persistentVolumeReclaimPolicy"),
        &policies,
    ));
    if spec["nodeAffinity"].has("required") {
        let at = path.child("nodeAffinity.required");
        findings.extend(validate_node_selector(&spec["nodeAffinity"]["required"], &at));
    }
    let mut found = false;
    for (name, refused_as) in SOURCES.iter().filter(|(name, _)| spec.has(name)) {
        if found {
            findings.push(forbidden(&path.child(refused_as), "may not specify more than 1 volume type"));
            continue;
        }
        found = true;
        findings.extend(validate_volume_source(name, spec, &path));
    }
    if !found {
        findings.push(required(&path, "must specify a volume type"));
    }
    findings.extend(validate_class_and_mode(spec, &path));
    findings
}

fn validate_volume_source(name: &str, spec: &Value, path: &Path) -> Findings {
    let (source, at) = (&spec[name], path.child(name));
    match name {
        "local" => {
            let mut findings = Findings::new();
            if source.text("path").is_empty() {
                findings.push(required(&at.child("path"), ""));
            }
            if !spec["nodeAffinity"].has("required") {
                let why = "Local volume requires node affinity";
                findings.push(required(&path.child("nodeAffinity"), why));
            }
            findings
        }
        "csi" => {
            let mut findings = validate_driver_name(source.text("driver"), &at.child("driver"));
            if source.text("volumeHandle").is_empty() {
                findings.push(required(&at.child("volumeHandle"), ""));
            }
            findings
        }
        _ => validate_source(name, source, &at),
    }
}

fn validate_positive_amount(text: &str, path: &Path) -> Findings {
    match text.parse::<Quantity>() {
        Ok(amount) if amount.is_zero() || amount.is_negative() => {
            vec![invalid(path, amount.to_string(), "must be greater than zero")]
        }
        _ => Findings::new(),
    }
}

fn validate_class_and_mode(spec: &Value, path: &Path) -> Findings {
    let mut findings = Findings::new();
    let class = spec.text("storageClassName");
    if !class.is_empty() {
        findings.extend(ill_formed(&path.child("storageClassName"), class, names::dns_subdomain(class)));
    }
    let mode = spec.text("volumeMode");
    if spec.has("volumeMode") && !["Block", "Filesystem"].contains(&mode) {
        findings.push(not_supported(&path.child("volumeMode"), mode, &["Block", "Filesystem"]));
    }
    findings
}

fn validate_access_modes(spec: &Value, missing: &str, path: &Path) -> Findings {
    if spec.lacks("accessModes") {
        return vec![required(path, missing)];
    }
    let modes: Vec<&str> = spec.texts("accessModes").collect();
    let mut findings: Findings = modes
        .iter()
        .filter(|mode| !MODES.contains(mode))
        .map(|mode| not_supported(path, *mode, &MODES))
        .collect();
    let others = modes.iter().any(|mode| *mode != "ReadWriteOncePod" && MODES.contains(mode));
    if modes.contains(&"ReadWriteOncePod") && others {
        findings.push(forbidden(path, "may not use ReadWriteOncePod with other access modes"));
    }
    findings
}

pub(super) fn validate_volume_update(object: &Value, old: &Value) -> Findings {
    let mut findings = validate_volume(object);
    let path = Path::new("spec");
    for (name, _) in SOURCES {
        if object["spec"][name] != old["spec"][name] {
            let why = "spec.persistentvolumesource is immutable after creation";
            findings.push(forbidden(&path.child("persistentvolumesource"), why));
            break;
        }
    }
    findings.extend(immutable(
        &path.child("volumeMode"),
        &object["spec"]["volumeMode"],
        &old["spec"]["volumeMode"],
    ));
    findings
}

/// The spec of a claim, also in templates.
pub(super) fn validate_claim_spec(spec: &Value, path: &Path) -> Findings {
    let modes = path.child("accessModes");
    let mut findings = validate_access_modes(spec, "at least 1 access mode is required", &modes);
    findings.extend(validate_selector(&spec["selector"], &path.child("selector")));
    let at = path.child("resources").key("storage");
    match spec["resources"]["requests"].text("storage") {
        "" => findings.push(required(&at, "")),
        amount => findings.extend(validate_positive_amount(amount, &at)),
    }
    findings.extend(validate_class_and_mode(spec, path));
    findings.extend(validate_data_sources(spec, path));
    findings
}

fn validate_data_sources(spec: &Value, path: &Path) -> Findings {
    let mut findings = Findings::new();
    for name in ["dataSource", "dataSourceRef"].iter().filter(|name| spec.has(name)) {
        let (source, at) = (&spec[*name], path.child(name));
        for field in ["name", "kind"] {
            if source.text(field).is_empty() {
                findings.push(required(&at.child(field), ""));
            }
        }
        let (group, kind) = (source.text("apiGroup"), source.text("kind"));
        if group.is_empty() && kind != "PersistentVolumeClaim" {
            let why = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
            findings.push(invalid(&at, kind, why));
        }
    }
    let (old, new) = (&spec["dataSource"], &spec["dataSourceRef"]);
    let both = !old.is_null() && !new.is_null() && new.text("namespace").is_empty();
    if both && ["apiGroup", "kind", "name"].iter().any(|field| old.text(field) != new.text(field)) {
        findings.push(invalid_struct(path, &[], "must match dataSourceRef"));
    }
    findings
}

pub(super) fn validate_claim(object: &Value) -> Findings {
    validate_claim_spec(&object["spec"], &Path::new("spec"))
}

/// A bound claim may grow; one without a volume or a class may be given them.
pub(super) fn validate_claim_update(object: &Value, old: &Value) -> Findings {
    const WHY: &str = "spec is immutable after creation except resources.requests and volumeAttributesClassName for \
                       bound claims";
    let path = Path::new("spec");
    let mut findings = validate_claim(object);
    let (mut spec, before) = (object["spec"].clone(), &old["spec"]);
    for (field, free) in [
        ("volumeName", before.text("volumeName").is_empty()),
        ("storageClassName", !before.has("storageClassName")),
        ("volumeAttributesClassName", true),
    ] {
        if free {
            spec.take_from(before, field);
        }
    }
    let storage = |spec: &Value| spec["resources"]["requests"].text("storage").parse::<Quantity>();
    let is_bound = old["status"].text("phase") == "Bound";
    let shrinks = storage(&spec).ok() < storage(before).ok();
    if is_bound {
        let requests = before["resources"]["requests"].clone();
        spec.child("resources")["requests"] = requests;
    }
    if spec != *before {
        findings.push(forbidden(&path, WHY));
    }
    if is_bound && shrinks {
        let why = "field can not be less than status.capacity";
        findings.push(forbidden(&path.child("resources.requests.storage"), why));
    }
    findings
}

pub(super) fn validate_class(object: &Value) -> Findings {
    let provisioner = object.text("provisioner");
    let mut findings = Findings::new();
    if provisioner.is_empty() {
        findings.push(required(&Path::new("provisioner"), ""));
    } else {
        findings.extend(validate_label_key(&provisioner.to_lowercase(), &Path::new("provisioner")));
    }
    findings.extend(validate_parameters(object, false));
    let policy = object.text("reclaimPolicy");
    if !["Delete", "Retain"].contains(&policy) {
        findings.push(not_supported(&Path::new("reclaimPolicy"), policy, &["Delete", "Retain"]));
    }
    let binding = object.text("volumeBindingMode");
    findings.extend(one_of(&Path::new("volumeBindingMode"), binding, &["Immediate", "WaitForFirstConsumer"]));
    for (index, term) in object.list("allowedTopologies").iter().enumerate() {
        for (inner, expression) in term.list("matchLabelExpressions").iter().enumerate() {
            let at = Path::new("allowedTopologies").index(index).child("matchLabelExpressions").index(inner);
            if expression.lacks("values") {
                findings.push(required(&at.child("values"), ""));
            }
            findings.extend(validate_label_key(expression.text("key"), &at.child("key")));
        }
    }
    findings
}

fn validate_parameters(object: &Value, needed: bool) -> Findings {
    const SIZE_MAX: usize = 256 * 1024;
    const COUNT_MAX: usize = 512;
    let path = Path::new("parameters");
    let mut findings = Findings::new();
    let (mut size, mut count) = (0, 0);
    for (key, value) in object.entries("parameters") {
        if key.is_empty() {
            findings.push(invalid(&path, key, "field can not be empty."));
        }
        size += key.len() + value.as_str().unwrap_or_default().len();
        count += 1;
    }
    if count > COUNT_MAX {
        findings.push(super::field::too_long(&path, COUNT_MAX));
    }
    if size > SIZE_MAX {
        findings.push(super::field::too_long(&path, SIZE_MAX));
    }
    if needed && count == 0 {
        findings.push(required(&path, "must contain at least one key/value pair"));
    }
    findings
}

pub(super) fn validate_class_update(object: &Value, old: &Value) -> Findings {
    let fields = ["parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"];
    fields.iter().flat_map(|field| immutable(&Path::new(field), &object[*field], &old[*field])).collect()
}

pub(super) fn validate_driver(object: &Value) -> Findings {
    let (spec, path) = (&object["spec"], Path::new("spec"));
    let mut findings = Findings::new();
    let policy = spec.text("fsGroupPolicy");
    const POLICIES: [&str; 3] = ["File", "None", "ReadWriteOnceWithFSType"];
    if !POLICIES.contains(&policy) {
        findings.push(not_supported(&path.child("fsGroupPolicy"), policy, &POLICIES));
    }
    let mut audiences: Vec<&str> = Vec::new();
    for (index, request) in spec.list("tokenRequests").iter().enumerate() {
        let audience = request.text("audience");
        if audiences.contains(&audience) {
            findings.push(duplicate(&path.child("tokenRequests").index(index).child("audience"), audience));
        }
        audiences.push(audience);
    }
    for mode in spec.texts("volumeLifecycleModes").filter(|mode| !["Persistent", "Ephemeral"].contains(mode))
    {
        let at = path.child("volumeLifecycleModes");
        findings.push(not_supported(&at, mode, &["Persistent", "Ephemeral"]));
    }
    findings
}

pub(super) fn validate_driver_update(object: &Value, old: &Value) -> Findings {
    let mut findings = validate_driver(object);
    let path = Path::new("spec");
    for (field, name) in
        [("attachRequired", "attachedRequired"), ("volumeLifecycleModes", "volumeLifecycleModes")]
    {
        findings.extend(immutable(&path.child(name), &object["spec"][field], &old["spec"][field]));
    }
    findings
}

pub(super) fn validate_csi_node(object: &Value) -> Findings {
    let path = Path::new("spec").child("drivers");
    let mut findings = Findings::new();
    let mut seen: Vec<&str> = Vec::new();
    for (index, driver) in object["spec"].list("drivers").iter().enumerate() {
        let (at, name) = (path.index(index), driver.text("name"));
        findings.extend(validate_driver_name(name, &at.child("name")));
        if driver.text("nodeID").is_empty() {
            findings.push(required(&at.child("nodeID"), ""));
        }
        if !name.is_empty() && seen.contains(&name) {
            findings.push(duplicate(&at.child("name"), name));
        }
        seen.push(name);
        for key in driver.texts("topologyKeys") {
            findings.extend(validate_label_key(key, &at.child("topologyKeys")));
        }
    }
    findings
}

pub(super) fn validate_attachment(object: &Value) -> Findings {
    let (spec, path) = (&object["spec"], Path::new("spec"));
    let mut findings = match spec.text("attacher") {
        "" => vec![required(&path.child("attacher"), "")],
        attacher => validate_label_key(&attacher.to_lowercase(), &path.child("attacher")),
    };
    let (source, at) = (&spec["source"], path.child("source"));
    if source.has("inlineVolumeSpec") == source.has("persistentVolumeName") {
        let why = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
        findings.push(required(&at, why));
    }
    let node = spec.text("nodeName");
    findings.extend(ill_formed(&path.child("nodeName"), node, names::dns_subdomain(node)));
    findings
}

pub(super) fn validate_attributes_class(object: &Value) -> Findings {
    let mut findings = validate_driver_name(object.text("driverName"), &Path::new("driverName"));
    findings.extend(validate_parameters(object, true));
    findings
}

pub(super) fn validate_attributes_class_update(object: &Value, old: &Value) -> Findings {
    let mut findings = validate_attributes_class(object);
    for field in ["driverName", "parameters"].iter().filter(|field| object[**field] != old[**field]) {
        findings.push(forbidden(&Path::new(field), &format!("updates to {field} are forbidden.")));
    }
    findings
}
