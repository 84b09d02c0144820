//! Our own public key infrastructure: two authorities, the certificates of every component, the service account key, and the
//! kubeconfig files that carry them, under upstream's file names below `/etc/kubernetes`.
//!
//! [`ensure`] makes what is missing and replaces what no longer serves (a third of its life left, another node address, another
//! authority); what serves stays byte for byte. It may be called again at any time: [`rotate`] does, while the server runs.
//! An authority is never replaced: whoever trusts it would be cut off.

pub mod certificates;
pub mod files;
pub mod kubeconfig;
pub mod service_account;

pub use certificates::Pair;

use certificates::{Subject, Usage};
use files::{FileError, PUBLIC, SECRET};
use kedge_machinery::Roots;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use time::OffsetDateTime;

#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("cannot make a certificate")]
    Certificate(#[from] rcgen::Error),
    #[error("cannot use the service account key: {0}")]
    Key(String),
    #[error("the authority {path} is not usable: {why}; restore it, or delete the folder to start afresh")]
    Authority { path: PathBuf, why: String },
    #[error(transparent)]
    ClientAuthority(#[from] kedge_serving::x509::AuthorityError),
    #[error("{path} cannot be renewed: the authority's key {key} is not here")]
    NoAuthorityKey { path: PathBuf, key: PathBuf },
}

/// What the certificates of this machine name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    pub node: String,
    pub node_addresses: Vec<IpAddr>,
    /// The first address of the service range: `kubernetes.default`.
    pub service_address: IpAddr,
    /// `cluster.local`.
    pub cluster_domain: String,
    /// More names that clients use for the API server.
    pub extra_names: Vec<String>,
    /// What kubeconfig files name: `https://10.0.0.1:6443`.
    pub server: String,
}

/// Everything that was loaded or made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pki {
    /// Certificates of the cluster's authority, PEM.
    pub ca: String,
    pub front_proxy_ca: String,
    /// The API server's serving certificate.
    pub apiserver: Pair,
    /// The API server as a client of kubelets.
    pub apiserver_kubelet_client: Pair,
    /// The API server as a client of aggregated servers.
    pub front_proxy_client: Pair,
    pub kubelet_serving: Pair,
    /// Private key of the service account issuer, PEM.
    pub service_account_key: String,
    pub admin_conf: PathBuf,
    /// The soonest moment at which a certificate should be renewed.
    pub renewal: OffsetDateTime,
}

/// Loads the infrastructure below `roots.kubernetes` and `roots.kubelet`; makes and renews what is needed.
pub fn ensure(roots: &Roots, names: &Names, now: OffsetDateTime) -> Result<Pki, PkiError> {
    let folder = roots.kubernetes.join("pki");
    let cluster = Authority::ensure(&folder, "ca", "kubernetes", now)?;
    let front_proxy = Authority::ensure(&folder, "front-proxy-ca", "front-proxy-ca", now)?;
    let mut issuer = Issuer { now, renewal: now + time::Duration::days(3650) };

    let apiserver = issuer.pair(&cluster, &folder, "apiserver", &apiserver_subject(names))?;
    let kubelet_client = Subject::client("kube-apiserver-kubelet-client", Some("system:masters"));
    let apiserver_kubelet_client =
        issuer.pair(&cluster, &folder, "apiserver-kubelet-client", &kubelet_client)?;
    let front_proxy_subject = Subject::client("front-proxy-client", None);
    let front_proxy_client =
        issuer.pair(&front_proxy, &folder, "front-proxy-client", &front_proxy_subject)?;
    let kubelet_serving =
        issuer.pair(&cluster, &roots.kubelet.join("pki"), "kubelet", &kubelet_subject(names))?;
    for (file, user, subject) in kubeconfig_subjects(names) {
        issuer.kubeconfig(&cluster, &roots.kubernetes.join(file), &names.server, user, &subject)?;
    }
    Ok(Pki {
        ca: cluster.certificate,
        front_proxy_ca: front_proxy.certificate,
        apiserver,
        apiserver_kubelet_client,
        front_proxy_client,
        kubelet_serving,
        service_account_key: ensure_service_account_key(&folder)?,
        admin_conf: roots.kubernetes.join("admin.conf"),
        renewal: issuer.renewal,
    })
}

/// Calls [`ensure`] whenever a certificate is due (at least daily), and `changed` with what is valid from then on. Ends with `shutdown`.
pub async fn rotate(
    roots: std::sync::Arc<Roots>,
    names: Names,
    mut current: Pki,
    changed: impl Fn(&Pki),
    mut shutdown: tokio::sync::watch::Receiver<bool>,
) {
    const DAY: std::time::Duration = std::time::Duration::from_secs(86_400);
    const SOON: std::time::Duration = std::time::Duration::from_secs(60);
    loop {
        let due = current.renewal - OffsetDateTime::now_utc();
        let wait = std::time::Duration::try_from(due).unwrap_or(SOON).clamp(SOON, DAY);
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            _ = shutdown.wait_for(|stop| *stop) => return,
        }
        match ensure(&roots, &names, OffsetDateTime::now_utc()) {
            Ok(pki) if pki != current => {
                tracing::info!(renewal = %pki.renewal, "certificates were renewed");
                changed(&pki);
                current = pki;
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "certificates were not renewed")
            }
        }
    }
}

fn apiserver_subject(names: &Names) -> Subject {
    let domain = &names.cluster_domain;
    let mut dns_names: Vec<String> = ["kubernetes", "kubernetes.default", "kubernetes.default.svc"]
        .iter()
        .map(|name| (*name).to_owned())
        .chain([format!("kubernetes.default.svc.{domain}"), names.node.clone(), "localhost".to_owned()])
        .collect();
    let mut addresses =
        vec![names.service_address, [127, 0, 0, 1].into(), std::net::Ipv6Addr::LOCALHOST.into()];
    addresses.extend(&names.node_addresses);
    for extra in &names.extra_names {
        match extra.parse() {
            Ok(address) => addresses.push(address),
            Err(_) => dns_names.push(extra.clone()),
        }
    }
    Subject {
        common_name: "kube-apiserver".to_owned(),
        organization: None,
        dns_names,
        addresses,
        usage: Usage::Server,
    }
}

fn kubelet_subject(names: &Names) -> Subject {
    Subject {
        common_name: format!("system:node:{}", names.node),
        organization: Some("system:nodes".to_owned()),
        dns_names: vec![names.node.clone()],
        addresses: names.node_addresses.clone(),
        usage: Usage::Server,
    }
}

/// File, the user's name in it, and whom its certificate names.
fn kubeconfig_subjects(names: &Names) -> Vec<(&'static str, &'static str, Subject)> {
    vec![
        ("admin.conf", "kubernetes-admin", Subject::client("kubernetes-admin", Some("system:masters"))),
        (
            "kubelet.conf",
            "kubelet",
            Subject::client(&format!("system:node:{}", names.node), Some("system:nodes")),
        ),
        ("scheduler.conf", "system:kube-scheduler", Subject::client("system:kube-scheduler", None)),
        (
            "controller-manager.conf",
            "system:kube-controller-manager",
            Subject::client("system:kube-controller-manager", None),
        ),
        (
            "proxy.conf",
            "system:kube-proxy",
            Subject::client("system:kube-proxy", Some("system:node-proxier")),
        ),
    ]
}

/// An authority; without its key (an external one) it can only vouch for what is there.
struct Authority {
    certificate: String,
    key: Option<String>,
    key_path: PathBuf,
}

impl Authority {
    fn ensure(
        folder: &Path,
        name: &str,
        common_name: &str,
        now: OffsetDateTime,
    ) -> Result<Authority, PkiError> {
        let (path, key_path) = (folder.join(format!("{name}.crt")), folder.join(format!("{name}.key")));
        match (files::read(&path)?, files::read(&key_path)?) {
            (Some(certificate), key) => match certificates::renewal(&certificate) {
                Some(_) => Ok(Authority { certificate, key, key_path }),
                None => Err(PkiError::Authority { path, why: "it is no certificate".to_owned() }),
            },
            (None, Some(_)) => Err(PkiError::Authority { path, why: "only its key is here".to_owned() }),
            (None, None) => {
                let pair = certificates::authority(common_name, now)?;
                // The certificate last: a crash between the two is an error that names the file, not a second authority.
                files::write_whole(&key_path, pair.key.as_bytes(), SECRET)?;
                files::write_whole(&path, pair.certificate.as_bytes(), PUBLIC)?;
                Ok(Authority { certificate: pair.certificate, key: Some(pair.key), key_path })
            }
        }
    }

    fn issue(&self, subject: &Subject, path: &Path, now: OffsetDateTime) -> Result<Pair, PkiError> {
        let Some(key) = &self.key else {
            return Err(PkiError::NoAuthorityKey { path: path.to_owned(), key: self.key_path.clone() });
        };
        certificates::issue(&Pair { certificate: self.certificate.clone(), key: key.clone() }, subject, now)
    }
}

struct Issuer {
    now: OffsetDateTime,
    renewal: OffsetDateTime,
}

impl Issuer {
    /// `NAME.crt` and `NAME.key`.
    fn pair(
        &mut self,
        by: &Authority,
        folder: &Path,
        name: &str,
        subject: &Subject,
    ) -> Result<Pair, PkiError> {
        let (path, key_path) = (folder.join(format!("{name}.crt")), folder.join(format!("{name}.key")));
        let stored = match (files::read(&path)?, files::read(&key_path)?) {
            (Some(certificate), Some(key)) => Some(Pair { certificate, key }),
            _ => None,
        };
        if let Some(pair) = self.keep(by, stored, &path, subject) {
            return Ok(pair);
        }
        let pair = by.issue(subject, &path, self.now)?;
        files::write_whole(&key_path, pair.key.as_bytes(), SECRET)?;
        files::write_whole(&path, pair.certificate.as_bytes(), PUBLIC)?;
        self.note(&pair);
        Ok(pair)
    }

    fn kubeconfig(
        &mut self,
        by: &Authority,
        path: &Path,
        server: &str,
        user: &str,
        subject: &Subject,
    ) -> Result<(), PkiError> {
        let stored = files::read(path)?.and_then(|text| kubeconfig::parse(&text).ok());
        let current =
            stored.as_ref().filter(|entry| entry.server == server && entry.authority == by.certificate);
        let pair = current.map(|entry| entry.pair.clone());
        if self.keep(by, pair, path, subject).is_some() {
            return Ok(());
        }
        let pair = by.issue(subject, path, self.now)?;
        let text = kubeconfig::render("kubernetes", user, server, &by.certificate, &pair);
        files::write_whole(path, text.as_bytes(), SECRET)?;
        self.note(&pair);
        Ok(())
    }

    fn keep(&mut self, by: &Authority, stored: Option<Pair>, path: &Path, subject: &Subject) -> Option<Pair> {
        let pair = stored?;
        match certificates::inspect(&pair, &by.certificate, subject, self.now) {
            Ok(()) => {
                self.note(&pair);
                Some(pair)
            }
            Err(why) => {
                tracing::info!(path = %path.display(), ?why, "replacing a certificate");
                None
            }
        }
    }

    fn note(&mut self, pair: &Pair) {
        if let Some(renewal) = certificates::renewal(&pair.certificate) {
            self.renewal = self.renewal.min(renewal);
        }
    }
}

fn ensure_service_account_key(folder: &Path) -> Result<String, PkiError> {
    let (path, public_path) = (folder.join("sa.key"), folder.join("sa.pub"));
    if let Some(key) = files::read(&path)? {
        return Ok(key);
    }
    let (key, public) = service_account::generate()?;
    files::write_whole(&public_path, public.as_bytes(), PUBLIC)?;
    files::write_whole(&path, key.as_bytes(), SECRET)?;
    Ok(key)
}

#[cfg(test)]
mod tests;
