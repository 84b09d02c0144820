//! kubeconfig texts: one for a component, and our entry in a person's own file.
//!
//! Pure functions over texts. Like kubectl itself they keep every entry and its order, and drop comments.

use super::certificates::Pair;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_yaml_ng::{Mapping, Value};

/// The name of our cluster, user and context in a person's file.
pub const ENTRY: &str = "kedge";

/// What a kubeconfig of ours carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub server: String,
    /// PEM of the authority.
    pub authority: String,
    pub pair: Pair,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum KubeconfigError {
    #[error("it is no YAML: {0}")]
    Yaml(String),
    #[error("{0} is not what a kubeconfig has there")]
    Shape(&'static str),
}

/// A whole file with one context.
pub fn render(cluster: &str, user: &str, server: &str, authority: &str, pair: &Pair) -> String {
    let entry = Entry { server: server.to_owned(), authority: authority.to_owned(), pair: pair.clone() };
    let mut config = empty();
    put(&mut config, "clusters", cluster, "cluster", cluster_of(&entry));
    let context = format!("{user}@{cluster}");
    put(&mut config, "contexts", &context, "context", context_of(cluster, user));
    put(&mut config, "users", user, "user", user_of(&entry));
    config.insert("current-context".into(), context.into());
    text(config)
}

/// The first cluster and user of a file of ours.
pub fn parse(text: &str) -> Result<Entry, KubeconfigError> {
    let config = load(text)?;
    let field = |list: &'static str, kind: &str, field: &str| -> Result<String, KubeconfigError> {
        let first = config.get(list).and_then(|list| list.get(0)).and_then(|entry| entry.get(kind));
        let value = first.and_then(|value| value.get(field)).and_then(Value::as_str);
        value.map(str::to_owned).ok_or(KubeconfigError::Shape(list))
    };
    let decoded = |list: &'static str, kind: &str, name: &str| -> Result<String, KubeconfigError> {
        let bytes = STANDARD.decode(field(list, kind, name)?).map_err(|_| KubeconfigError::Shape(list))?;
        String::from_utf8(bytes).map_err(|_| KubeconfigError::Shape(list))
    };
    Ok(Entry {
        server: field("clusters", "cluster", "server")?,
        authority: decoded("clusters", "cluster", "certificate-authority-data")?,
        pair: Pair {
            certificate: decoded("users", "user", "client-certificate-data")?,
            key: decoded("users", "user", "client-key-data")?,
        },
    })
}

/// A person's file (empty text: none yet) with our entry added or replaced. The current context is only set where none is.
pub fn merge(text_before: &str, entry: &Entry) -> Result<String, KubeconfigError> {
    let mut config = load(text_before)?;
    put(&mut config, "clusters", ENTRY, "cluster", cluster_of(entry));
    put(&mut config, "contexts", ENTRY, "context", context_of(ENTRY, ENTRY));
    put(&mut config, "users", ENTRY, "user", user_of(entry));
    if config.get("current-context").and_then(Value::as_str).unwrap_or_default().is_empty() {
        config.insert("current-context".into(), ENTRY.into());
    }
    Ok(text(config))
}

/// A person's file without our entry; None: nothing else is in it, the file may go.
pub fn remove(text_before: &str) -> Result<Option<String>, KubeconfigError> {
    let mut config = load(text_before)?;
    let mut left = 0;
    for list in ["clusters", "contexts", "users"] {
        if let Some(entries) = config.get_mut(list).and_then(Value::as_sequence_mut) {
            entries.retain(|entry| entry.get("name").and_then(Value::as_str) != Some(ENTRY));
            left += entries.len();
        }
    }
    if config.get("current-context").and_then(Value::as_str) == Some(ENTRY) {
        config.insert("current-context".into(), "".into());
    }
    Ok((left > 0).then(|| text(config)))
}

fn empty() -> Mapping {
    let mut config = Mapping::new();
    config.insert("apiVersion".into(), "v1".into());
    config.insert("kind".into(), "Config".into());
    for list in ["clusters", "contexts"] {
        config.insert(list.into(), Value::Sequence(Vec::new()));
    }
    config.insert("current-context".into(), "".into());
    config.insert("preferences".into(), Value::Mapping(Mapping::new()));
    config.insert("users".into(), Value::Sequence(Vec::new()));
    config
}

/// Fills in what is missing and refuses lists that are none, so that `put` never loses anything.
fn load(text: &str) -> Result<Mapping, KubeconfigError> {
    let value: Value =
        serde_yaml_ng::from_str(text).map_err(|error| KubeconfigError::Yaml(error.to_string()))?;
    let mut config = match value {
        Value::Null => empty(),
        Value::Mapping(config) => config,
        _ => return Err(KubeconfigError::Shape("the file")),
    };
    for list in ["clusters", "contexts", "users"] {
        match config.get(list) {
            Some(Value::Sequence(_)) => {}
            None | Some(Value::Null) => {
                config.insert(list.into(), Value::Sequence(Vec::new()));
            }
            Some(_) => return Err(KubeconfigError::Shape(list)),
        }
    }
    Ok(config)
}

fn put(config: &mut Mapping, list: &str, name: &str, kind: &str, content: Mapping) {
    let mut entry = Mapping::new();
    entry.insert(kind.into(), content.into());
    entry.insert("name".into(), name.into());
    let entries = config.get_mut(list).and_then(Value::as_sequence_mut).expect("load made every list");
    match entries.iter_mut().find(|entry| entry.get("name").and_then(Value::as_str) == Some(name)) {
        Some(old) => *old = entry.into(),
        None => entries.push(entry.into()),
    }
}

fn cluster_of(entry: &Entry) -> Mapping {
    pairs(&[
        ("certificate-authority-data", STANDARD.encode(&entry.authority)),
        ("server", entry.server.clone()),
    ])
}

fn context_of(cluster: &str, user: &str) -> Mapping {
    pairs(&[("cluster", cluster.to_owned()), ("user", user.to_owned())])
}

fn user_of(entry: &Entry) -> Mapping {
    pairs(&[
        ("client-certificate-data", STANDARD.encode(&entry.pair.certificate)),
        ("client-key-data", STANDARD.encode(&entry.pair.key)),
    ])
}

fn pairs(pairs: &[(&str, String)]) -> Mapping {
    pairs.iter().map(|(key, value)| (Value::from(*key), Value::from(value.clone()))).collect()
}

fn text(config: Mapping) -> String {
    serde_yaml_ng::to_string(&config).expect("strings and lists have a YAML form")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        Entry {
            server: "https://10.0.0.1:6443".into(),
            authority: "CA".into(),
            pair: Pair { certificate: "CERT".into(), key: "KEY".into() },
        }
    }

    const OTHER: &str = "\
apiVersion: v1
kind: Config
clusters:
- cluster:
    server: https://other:6443
  name: other
contexts:
- context:
    cluster: other
    namespace: mine
    user: me
  name: other
current-context: other
users:
- name: me
  user:
    exec:
      command: login
";

    #[test]
    fn what_is_rendered_is_parsed() {
        let entry = entry();
        let text = render("kubernetes", "kubernetes-admin", &entry.server, &entry.authority, &entry.pair);
        assert_eq!(parse(&text), Ok(entry));
        assert!(text.contains("current-context: kubernetes-admin@kubernetes\n"), "{text}");
    }

    #[test]
    fn our_entry_comes_and_goes_and_nothing_else_changes() {
        let merged = merge(OTHER, &entry()).unwrap();
        assert!(merged.contains("name: kedge"));
        assert!(merged.contains("current-context: other\n"));
        assert_eq!(merge(&merged, &entry()).unwrap(), merged, "twice is once");
        let before: Value = serde_yaml_ng::from_str(OTHER).unwrap();
        let after: Value = serde_yaml_ng::from_str(&remove(&merged).unwrap().unwrap()).unwrap();
        assert_eq!(after, before);
    }

    #[test]
    fn an_empty_file_gets_a_current_context_and_may_go_again() {
        let merged = merge("", &entry()).unwrap();
        assert!(merged.contains("current-context: kedge\n"), "{merged}");
        assert_eq!(remove(&merged), Ok(None));
        assert_eq!(remove("contexts: null\n"), Ok(None));
    }

    #[test]
    fn a_foreign_file_is_refused_rather_than_spoilt() {
        assert_eq!(merge("clusters: 5", &entry()), Err(KubeconfigError::Shape("clusters")));
        assert_eq!(merge("- a", &entry()), Err(KubeconfigError::Shape("the file")));
        assert!(matches!(merge("{", &entry()), Err(KubeconfigError::Yaml(_))));
        assert_eq!(parse("users: []"), Err(KubeconfigError::Shape("clusters")));
    }
}
