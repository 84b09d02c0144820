//! Client certificates that our own authority issued, through the verifier of `base/serving`.

use crate::pki::certificates::{Pair, Subject, Usage, authority, issue};
use kedge_serving::x509::Verifier;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use time::OffsetDateTime;

pub const NOW_S: i64 = 1_800_000_000;

pub fn now() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(NOW_S).unwrap()
}

pub fn der(pair: &Pair) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap()
}

#[test]
fn the_subject_is_the_user() {
    let ca = authority("ca", now()).unwrap();
    let pair = issue(&ca, &Subject::client("system:node:n1", Some("system:nodes")), now()).unwrap();
    let certified = Verifier::new(&ca.certificate).unwrap().verify(&[der(&pair)], NOW_S).unwrap();
    assert_eq!(certified.identity.user, "system:node:n1");
    assert_eq!(certified.identity.groups, ["system:nodes", "system:authenticated"]);
    assert!(certified.identity.extra.values().next().unwrap()[0].starts_with("X509SHA256="));
}

#[test]
fn strangers_servers_and_the_dead_are_refused() {
    let (ca, other) = (authority("ca", now()).unwrap(), authority("ca", now()).unwrap());
    let verifier = Verifier::new(&ca.certificate).unwrap();
    let refused = |pair: &Pair, at: i64| verifier.verify(&[der(pair)], at).unwrap_err();
    let client = Subject::client("jane", None);
    let pair = issue(&ca, &client, now()).unwrap();
    assert!(verifier.verify(&[der(&pair)], NOW_S).is_ok());
    assert!(refused(&pair, NOW_S + 366 * 86_400).contains("expired"));
    assert!(refused(&pair, NOW_S - 86_400).contains("not valid yet"));
    assert!(!refused(&issue(&other, &client, now()).unwrap(), NOW_S).is_empty());
    let server = Subject { usage: Usage::Server, dns_names: vec!["x".into()], ..client.clone() };
    assert!(!refused(&issue(&ca, &server, now()).unwrap(), NOW_S).is_empty());
    let nameless = Subject::client("", None);
    assert_eq!(refused(&issue(&ca, &nameless, now()).unwrap(), NOW_S), "the certificate has no common name");
    assert!(verifier.verify(&[], NOW_S).is_err());
}
