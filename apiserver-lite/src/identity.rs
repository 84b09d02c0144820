//! Who calls: client certificates and static tokens.

use crate::answer::Answer;
use crate::context::Context;
use crate::listener::Peer;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use kedge_api::Identity;
use kedge_apiserver_core::status::ApiError;
use std::collections::BTreeMap;
use std::path::Path;
use x509_parser::prelude::{FromDer, X509Certificate};

pub struct Authenticator {
    tokens: BTreeMap<String, Identity>,
}

impl Authenticator {
    pub fn new(token_file: Option<&Path>) -> Result<Authenticator, String> {
        let mut tokens = BTreeMap::new();
        if let Some(path) = token_file {
            let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
            for line in text.lines().filter(|line| !line.trim().is_empty()) {
                let mut words = line.splitn(4, ',');
                let mut word = || words.next().unwrap_or_default().trim().to_owned();
                let (token, user, uid, groups) = (word(), word(), word(), word());
                let groups = groups.trim_matches('"').split(',').map(|g| g.trim().to_owned());
                let mut identity = Identity { user, uid, ..Identity::default() };
                identity.groups = groups.filter(|g| !g.is_empty()).chain(["system:authenticated".to_owned()]).collect();
                tokens.insert(token, identity);
            }
        }
        Ok(Authenticator { tokens })
    }

    pub async fn authenticate(&self, headers: &HeaderMap, peer: Option<&Peer>) -> Result<Identity, ApiError> {
        let header = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        if let Some(token) = header.and_then(|value| value.strip_prefix("Bearer ")) {
            let known = self.tokens.get(token.trim()).cloned();
            return known.ok_or_else(|| ApiError::new(401, "Unauthorized", "Unauthorized"));
        }
        let leaf = peer.and_then(|peer| peer.certificates.first());
        let certificate = leaf.and_then(|der| X509Certificate::from_der(der).ok());
        let Some((_, certificate)) = certificate else {
            return Ok(Identity {
                user: "system:anonymous".to_owned(),
                groups: vec!["system:unauthenticated".to_owned()],
                ..Identity::default()
            });
        };
        let subject = certificate.subject();
        let name = subject.iter_common_name().next().and_then(|cn| cn.as_str().ok()).unwrap_or_default();
        let groups: Vec<&str> = subject.iter_organization().filter_map(|o| o.as_str().ok()).collect();
        Ok(Identity::new(name, &groups))
    }

    pub fn discovery(&self, _path: &str, _headers: &HeaderMap) -> Option<Answer> {
        None
    }
}

impl Context {
    pub fn impersonate(&self, identity: Identity, _headers: &HeaderMap) -> Result<Identity, ApiError> {
        Ok(identity)
    }
}
