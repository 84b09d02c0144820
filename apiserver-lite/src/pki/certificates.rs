//! Certificate authorities and the certificates they sign.

use super::PkiError;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};
use std::net::IpAddr;
use time::{Duration, OffsetDateTime};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

const AUTHORITY_LIFETIME: Duration = Duration::days(3650);
const LIFETIME: Duration = Duration::days(365);
/// Clocks of clients may lag.
const BACKDATED: Duration = Duration::minutes(5);

/// A certificate and its key, both PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Pair {
    pub certificate: String,
    pub key: String,
}

impl std::fmt::Debug for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pair").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    Client,
    Server,
    Both,
}

/// Whom a certificate names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The user's name, for clients.
    pub common_name: String,
    /// The user's group, for clients.
    pub organization: Option<String>,
    pub dns_names: Vec<String>,
    pub addresses: Vec<IpAddr>,
    pub usage: Usage,
}

impl Subject {
    pub fn client(user: &str, group: Option<&str>) -> Subject {
        Subject {
            common_name: user.to_owned(),
            organization: group.map(str::to_owned),
            dns_names: Vec::new(),
            addresses: Vec::new(),
            usage: Usage::Client,
        }
    }
}

fn params(
    common_name: &str,
    organization: Option<&str>,
    now: OffsetDateTime,
    life: Duration,
) -> CertificateParams {
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    if let Some(organization) = organization {
        name.push(DnType::OrganizationName, organization);
    }
    name.push(DnType::CommonName, common_name);
    params.distinguished_name = name;
    params.not_before = now - BACKDATED;
    params.not_after = now + life;
    params
}

/// A self-signed authority.
pub fn authority(common_name: &str, now: OffsetDateTime) -> Result<Pair, PkiError> {
    let key = KeyPair::generate()?;
    let mut params = params(common_name, None, now, AUTHORITY_LIFETIME);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyEncipherment,
        KeyUsagePurpose::KeyCertSign,
    ];
    let certificate = params.self_signed(&key)?;
    Ok(Pair { certificate: certificate.pem(), key: key.serialize_pem() })
}

/// A certificate with a key of its own, signed by `authority`.
pub fn issue(authority: &Pair, subject: &Subject, now: OffsetDateTime) -> Result<Pair, PkiError> {
    let issuer = Issuer::from_ca_cert_pem(&authority.certificate, KeyPair::from_pem(&authority.key)?)?;
    let mut params = params(&subject.common_name, subject.organization.as_deref(), now, LIFETIME);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    let (client, server) = (ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth);
    params.extended_key_usages = match subject.usage {
        Usage::Client => vec![client],
        Usage::Server => vec![server],
        Usage::Both => vec![client, server],
    };
    for name in &subject.dns_names {
        params.subject_alt_names.push(SanType::DnsName(name.as_str().try_into()?));
    }
    params.subject_alt_names.extend(subject.addresses.iter().map(|address| SanType::IpAddress(*address)));
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, &issuer)?;
    Ok(Pair { certificate: certificate.pem(), key: key.serialize_pem() })
}

/// Why a stored certificate cannot stay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stale {
    Unreadable(String),
    /// Less than a third of its life is left.
    Expiring,
    /// Another authority signed it.
    Foreign,
    /// It does not name what it should.
    Misnamed,
}

/// Does the pair still serve for the subject?
pub fn inspect(pair: &Pair, authority: &str, subject: &Subject, now: OffsetDateTime) -> Result<(), Stale> {
    let der = pem_der(&pair.certificate).map_err(Stale::Unreadable)?;
    let authority_der = pem_der(authority).map_err(Stale::Unreadable)?;
    let parse = |der| X509Certificate::from_der(der).map_err(|error| Stale::Unreadable(error.to_string()));
    let ((_, certificate), (_, authority)) = (parse(&der)?, parse(&authority_der)?);
    KeyPair::from_pem(&pair.key).map_err(|error| Stale::Unreadable(error.to_string()))?;
    if certificate.verify_signature(Some(authority.public_key())).is_err() {
        return Err(Stale::Foreign);
    }
    if is_expiring(&certificate, now) {
        return Err(Stale::Expiring);
    }
    if names(&certificate, subject) { Ok(()) } else { Err(Stale::Misnamed) }
}

/// When the certificate should be replaced: a third before its end.
pub fn renewal(certificate: &str) -> Option<OffsetDateTime> {
    let der = pem_der(certificate).ok()?;
    let (_, certificate) = X509Certificate::from_der(&der).ok()?;
    let (start, end) = life(&certificate)?;
    Some(end - (end - start) / 3)
}

fn life(certificate: &X509Certificate<'_>) -> Option<(OffsetDateTime, OffsetDateTime)> {
    let at = |seconds| OffsetDateTime::from_unix_timestamp(seconds).ok();
    Some((
        at(certificate.validity().not_before.timestamp())?,
        at(certificate.validity().not_after.timestamp())?,
    ))
}

fn is_expiring(certificate: &X509Certificate<'_>, now: OffsetDateTime) -> bool {
    life(certificate).is_none_or(|(start, end)| now >= end - (end - start) / 3)
}

fn names(certificate: &X509Certificate<'_>, subject: &Subject) -> bool {
    let first = |mut values: Vec<&str>| {
        if values.is_empty() { None } else { Some(values.remove(0).to_owned()) }
    };
    let common: Vec<&str> =
        certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok()).collect();
    let organization: Vec<&str> =
        certificate.subject().iter_organization().filter_map(|name| name.as_str().ok()).collect();
    if first(common).as_ref() != Some(&subject.common_name) || first(organization) != subject.organization {
        return false;
    }
    let (mut dns, mut addresses) = (Vec::new(), Vec::new());
    if let Ok(Some(names)) = certificate.subject_alternative_name() {
        for name in &names.value.general_names {
            match name {
                GeneralName::DNSName(name) => dns.push((*name).to_owned()),
                GeneralName::IPAddress(bytes) => addresses.extend(address(bytes)),
                _ => {}
            }
        }
    }
    subject.dns_names.iter().all(|name| dns.contains(name))
        && subject.addresses.iter().all(|address| addresses.contains(address))
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

/// The first certificate of a PEM text, as DER.
pub fn pem_der(pem: &str) -> Result<Vec<u8>, String> {
    let (_, parsed) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).map_err(|error| error.to_string())?;
    if parsed.label != "CERTIFICATE" {
        return Err(format!("a PEM block {:?} instead of CERTIFICATE", parsed.label));
    }
    Ok(parsed.contents)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(days: i64) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap() + Duration::days(days)
    }

    fn server(dns: &[&str], addresses: &[&str]) -> Subject {
        Subject {
            common_name: "kube-apiserver".into(),
            organization: None,
            dns_names: dns.iter().map(|name| (*name).to_owned()).collect(),
            addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
            usage: Usage::Server,
        }
    }

    #[test]
    fn a_certificate_stays_while_it_serves() {
        let ca = authority("kubernetes", day(0)).unwrap();
        let other = authority("kubernetes", day(0)).unwrap();
        let subject = server(&["kubernetes", "localhost"], &["10.96.0.1", "fd00::1"]);
        let pair = issue(&ca, &subject, day(0)).unwrap();
        let check = |subject: &Subject, authority: &Pair, days| {
            inspect(&pair, &authority.certificate, subject, day(days))
        };
        assert_eq!(check(&subject, &ca, 0), Ok(()));
        assert_eq!(check(&subject, &ca, 240), Ok(()));
        assert_eq!(check(&subject, &ca, 250), Err(Stale::Expiring));
        assert_eq!(check(&subject, &other, 0), Err(Stale::Foreign));
        assert_eq!(check(&server(&["kubernetes"], &["10.96.0.1"]), &ca, 0), Ok(()), "fewer names do no harm");
        assert_eq!(check(&server(&["elsewhere"], &[]), &ca, 0), Err(Stale::Misnamed));
        assert_eq!(check(&server(&[], &["10.77.0.2"]), &ca, 0), Err(Stale::Misnamed));
        assert_eq!(check(&Subject::client("kube-apiserver", Some("x")), &ca, 0), Err(Stale::Misnamed));
        let renewal = renewal(&pair.certificate).unwrap();
        assert!(renewal > day(240) && renewal < day(250), "{renewal}");
    }

    #[test]
    fn rubbish_is_a_finding_not_a_panic() {
        let ca = authority("kubernetes", day(0)).unwrap();
        let pair = Pair { certificate: "x".into(), key: "y".into() };
        assert!(matches!(
            inspect(&pair, &ca.certificate, &server(&[], &[]), day(0)),
            Err(Stale::Unreadable(_))
        ));
        let swapped = Pair { certificate: ca.key.clone(), key: ca.key.clone() };
        assert!(matches!(
            inspect(&swapped, &ca.certificate, &server(&[], &[]), day(0)),
            Err(Stale::Unreadable(_))
        ));
    }
}
