//! Image names, as `docker` and `containerd` read them: `nginx` is `docker.io/library/nginx:latest`.
//!
//! The grammar is that of <https://github.com/distribution/reference>.

use super::{Digest, Error};

/// A normalised image name: always a domain and a path; a tag, a digest, or both.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

const DEFAULT_DOMAIN: &str = "docker.io";
const NAME_LENGTH_MAX: usize = 255;
const TAG_LENGTH_MAX: usize = 128;

impl Reference {
    /// Reads a name as a person writes it. A name without tag and digest gets `latest`.
    pub fn parse(text: &str) -> Result<Reference, Error> {
        let refuse = || Error::Reference(text.to_owned());
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(Digest::parse(digest)?)),
            None => (text, None),
        };
        let (name, tag) = split_tag(rest);
        let (domain, path) = split_domain(name);
        let whole_length = domain.len() + 1 + path.len();
        if !is_domain(&domain) || !is_path(&path) || whole_length > NAME_LENGTH_MAX {
            return Err(refuse());
        }
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(refuse());
        }
        let tag = match (tag, &digest) {
            (Some(tag), _) => Some(tag.to_owned()),
            (None, Some(_)) => None,
            (None, None) => Some("latest".to_owned()),
        };
        Ok(Reference { domain, path, tag, digest })
    }

    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The repository's path at its registry: `library/nginx`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// `docker.io/library/nginx`.
    pub fn repository(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// What a registry is asked for: the digest where there is one, else the tag.
    pub fn selector(&self) -> &str {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.as_str(),
            (None, Some(tag)) => tag,
            (None, None) => unreachable!("parse sets a tag where there is no digest"),
        }
    }

    /// `docker.io/library/nginx:latest`, the name under `repoTags`; `None` for a name by digest alone.
    pub fn tagged(&self) -> Option<String> {
        self.tag.as_ref().map(|tag| format!("{}:{tag}", self.repository()))
    }

    /// `docker.io/library/nginx@sha256:…`, the name under `repoDigests`.
    pub fn with_digest(&self, digest: &Digest) -> String {
        format!("{}@{digest}", self.repository())
    }
}

impl std::fmt::Display for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.domain, self.path)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

/// A colon after the last slash begins the tag; before it, a port.
fn split_tag(text: &str) -> (&str, Option<&str>) {
    let last_part = text.rfind('/').map_or(0, |slash| slash + 1);
    match text[last_part..].find(':') {
        Some(colon) => (&text[..last_part + colon], Some(&text[last_part + colon + 1..])),
        None => (text, None),
    }
}

/// The first component is a domain if it looks like one: a dot, a port, `localhost` or an upper-case letter.
fn split_domain(name: &str) -> (String, String) {
    let (domain, path) = match name.split_once('/') {
        Some((first, rest)) if looks_like_domain(first) => (first, rest),
        _ => (DEFAULT_DOMAIN, name),
    };
    let domain = if domain == "index.docker.io" { DEFAULT_DOMAIN } else { domain };
    let path = match domain == DEFAULT_DOMAIN && !path.contains('/') {
        true => format!("library/{path}"),
        false => path.to_owned(),
    };
    (domain.to_owned(), path)
}

fn looks_like_domain(text: &str) -> bool {
    text.contains(['.', ':']) || text == "localhost" || text.chars().any(|c| c.is_ascii_uppercase())
}

fn is_domain(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, "")) => return is_ipv6(address),
        Some((address, port)) => (address, port.strip_prefix(':')),
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, Some("0")),
        },
    };
    let port_is_number =
        port.is_some_and(|port| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()));
    let host_is_name = host.split('.').all(is_domain_label) || (text.starts_with('[') && is_ipv6(host));
    port_is_number && host_is_name
}

fn is_ipv6(text: &str) -> bool {
    text.parse::<std::net::Ipv6Addr>().is_ok()
}

fn is_domain_label(label: &str) -> bool {
    !label.is_empty()
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

fn is_path(path: &str) -> bool {
    path.split('/').all(is_path_component)
}

/// Lower-case letters and digits, joined by `.`, `_`, `__` or any number of `-`.
fn is_path_component(component: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = component.as_bytes();
    let (Some(&first), Some(&last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    if !alphanumeric(first) || !alphanumeric(last) {
        return false;
    }
    component
        .split(|c: char| c.is_ascii() && alphanumeric(c as u8))
        .all(|separator| matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|b| b == b'-'))
}

fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    tag.len() <= TAG_LENGTH_MAX
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_normalised() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (written, normal) in [
            ("nginx", "docker.io/library/nginx:latest"),
            ("nginx:1.27", "docker.io/library/nginx:1.27"),
            ("kubeguide/tomcat-app:v1", "docker.io/kubeguide/tomcat-app:v1"),
            ("docker.io/nginx", "docker.io/library/nginx:latest"),
            ("index.docker.io/library/nginx", "docker.io/library/nginx:latest"),
            ("localhost/x", "localhost/x:latest"),
            ("localhost:5000/x", "localhost:5000/x:latest"),
            ("127.0.0.1:5055/golden/bb:1", "127.0.0.1:5055/golden/bb:1"),
            ("[::1]:5000/a/b:c", "[::1]:5000/a/b:c"),
            (
                "registry.k8s.io/e2e-test-images/agnhost:2.63.0",
                "registry.k8s.io/e2e-test-images/agnhost:2.63.0",
            ),
            ("kedge.local/hello:1", "kedge.local/hello:1"),
            ("a__b/c--d.e", "docker.io/a__b/c--d.e:latest"),
        ] {
            assert_eq!(Reference::parse(written).unwrap().to_string(), normal, "{written}");
        }
        let by_digest = Reference::parse(&format!("nginx@{digest}")).unwrap();
        assert_eq!(by_digest.tagged(), None);
        assert_eq!(by_digest.selector(), digest);
        let both = Reference::parse(&format!("nginx:1@{digest}")).unwrap();
        assert_eq!(both.to_string(), format!("docker.io/library/nginx:1@{digest}"));
        assert_eq!(both.selector(), digest);
    }

    #[test]
    fn hostile_names_are_refused() {
        for bad in [
            "",
            ":",
            "/",
            "Nginx",
            "a//b",
            "a/../b",
            "../a",
            "a/.b",
            "a:b:c",
            "a:",
            "x@",
            "x@sha256:0",
            "a b",
            "-a",
            "a_",
            "a___b",
            "host:port/x",
            "ex..com/x",
            "x:ä",
            "x:-t",
            "[::1/x",
            "a\n",
        ] {
            assert!(Reference::parse(bad).is_err(), "{bad:?}");
        }
        assert!(Reference::parse(&"a".repeat(300)).is_err());
        assert!(Reference::parse(&format!("a:{}", "t".repeat(129))).is_err());
    }
}
