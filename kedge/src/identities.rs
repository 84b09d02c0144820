//! Under whom each component talks to the API server.

use kedge_api::Identity;
use kedge_client::Client;
use kedge_serving::{BoxBody, BoxError};
use std::path::PathBuf;
use std::sync::Arc;
use tower::util::BoxCloneSyncService;

type Service = BoxCloneSyncService<http::Request<BoxBody>, http::Response<BoxBody>, BoxError>;

/// The way to an API server: in this process, or by a kubeconfig.
#[derive(Clone)]
pub enum Way {
    InProcess(Service),
    /// One identity for everything, as the file says.
    Kubeconfig(PathBuf),
}

impl Way {
    async fn client(&self, identity: Identity, user_agent: &str) -> Result<Client, kedge_client::Error> {
        match self {
            Way::InProcess(service) => Ok(Client::in_process(service.clone(), identity, user_agent)),
            Way::Kubeconfig(path) => Client::from_kubeconfig(path, user_agent).await,
        }
    }

    pub async fn admin(&self) -> Result<Client, kedge_client::Error> {
        self.client(Identity::new("kubernetes-admin", &["system:masters"]), "kedge").await
    }

    pub async fn node(&self, name: &str) -> Result<Client, kedge_client::Error> {
        self.client(Identity::new(&format!("system:node:{name}"), &["system:nodes"]), "kubelet").await
    }

    pub async fn scheduler(&self) -> Result<Client, kedge_client::Error> {
        self.client(Identity::new("system:kube-scheduler", &[]), "kube-scheduler").await
    }

    pub async fn proxy(&self) -> Result<Client, kedge_client::Error> {
        self.client(Identity::new("system:kube-proxy", &[]), "kube-proxy").await
    }

    pub async fn dns(&self) -> Result<Client, kedge_client::Error> {
        self.client(service_account("kube-dns"), "kedge-dns").await
    }

    /// Each controller is a ServiceAccount of its own; "" is the reader of the shared caches.
    pub async fn controllers(&self) -> Result<kedge_controllers::Clients, kedge_client::Error> {
        let way = self.clone();
        let fallback = self
            .client(Identity::new("system:kube-controller-manager", &[]), "kube-controller-manager")
            .await?;
        Ok(Arc::new(move |account: &str| match (&way, account) {
            (Way::InProcess(service), account) if !account.is_empty() => {
                let agent = format!("kube-controller-manager/system:serviceaccount:kube-system:{account}");
                Client::in_process(service.clone(), service_account(account), &agent)
            }
            _ => fallback.clone(),
        }))
    }
}

fn service_account(name: &str) -> Identity {
    let groups = ["system:serviceaccounts", "system:serviceaccounts:kube-system"];
    Identity::new(&format!("system:serviceaccount:kube-system:{name}"), &groups)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// Remembers who asks, and answers nothing.
    fn way() -> (Way, Arc<Mutex<Vec<Identity>>>) {
        let seen: Arc<Mutex<Vec<Identity>>> = Arc::default();
        let asked = Arc::clone(&seen);
        let service = tower::service_fn(move |request: http::Request<BoxBody>| {
            let identity = request.extensions().get::<Identity>().cloned();
            asked.lock().unwrap().push(identity.expect("every request says whose it is"));
            std::future::ready(Err::<http::Response<BoxBody>, BoxError>("nobody is here".into()))
        });
        (Way::InProcess(BoxCloneSyncService::new(service)), seen)
    }

    /// What a role may do is tested on a node (tests/integration `identities`); here, that each part has its own and no more.
    #[tokio::test]
    async fn each_part_asks_under_its_own_name() {
        let (way, seen) = way();
        let controllers = way.controllers().await.unwrap();
        for (client, user, groups) in [
            (way.admin().await.unwrap(), "kubernetes-admin", &["system:masters"][..]),
            (way.node("n").await.unwrap(), "system:node:n", &["system:nodes"]),
            (way.scheduler().await.unwrap(), "system:kube-scheduler", &[]),
            (way.proxy().await.unwrap(), "system:kube-proxy", &[]),
            (
                way.dns().await.unwrap(),
                "system:serviceaccount:kube-system:kube-dns",
                &["system:serviceaccounts", "system:serviceaccounts:kube-system"],
            ),
            (controllers(""), "system:kube-controller-manager", &[]),
            (
                controllers("job-controller"),
                "system:serviceaccount:kube-system:job-controller",
                &["system:serviceaccounts", "system:serviceaccounts:kube-system"],
            ),
        ] {
            assert!(client.get::<serde_json::Value>(kedge_api::resource::NODES, "", "n").await.is_err());
            let identity = seen.lock().unwrap().pop().expect("a request");
            assert_eq!(identity.user, user);
            let mut found: Vec<&str> = identity.groups.iter().map(String::as_str).collect();
            found.retain(|group| *group != "system:authenticated");
            assert_eq!(found, groups, "{user}");
        }
    }
}
