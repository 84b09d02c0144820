//! How requests reach the server: over TLS as a kubeconfig says, or in process.

use crate::{Client, Error, Result};
use http::{Request, Response};
use http_body_util::BodyExt;
use kedge_api::Identity;
use kedge_serving::{BoxBody, BoxError};
use std::path::Path;
use tower::{Service, ServiceExt};

impl Client {
    /// A client whose requests go straight to `service` (the API server's, in this process) as `identity`. The identity travels
    /// as a typed request extension, which no header can set.
    pub fn in_process<S>(service: S, identity: Identity, user_agent: &str) -> Client
    where
        S: Service<Request<BoxBody>, Response = Response<BoxBody>> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError> + 'static,
        S::Future: Send + 'static,
    {
        let service = tower::util::BoxCloneSyncService::new(service.map_err(Into::into));
        let service = tower::service_fn(move |request: Request<kube::client::Body>| {
            let mut request = request.map(|body| body.map_err(BoxError::from).boxed_unsync());
            request.extensions_mut().insert(identity.clone());
            service.clone().oneshot(request)
        });
        Client::over(kube::Client::new(service, "default"), user_agent)
    }

    /// A client as the current context of a kubeconfig file says.
    pub async fn from_kubeconfig(path: &Path, user_agent: &str) -> Result<Client> {
        let file = kube::config::Kubeconfig::read_from(path)
            .map_err(|cause| Error::Config(format!("cannot read kubeconfig {}: {cause}", path.display())))?;
        let config = kube::Config::from_custom_kubeconfig(file, &kube::config::KubeConfigOptions::default())
            .await
            .map_err(|cause| Error::Config(format!("cannot use kubeconfig {}: {cause}", path.display())))?;
        let client = kube::Client::try_from(config)
            .map_err(|cause| Error::Config(format!("cannot use kubeconfig {}: {cause}", path.display())))?;
        Ok(Client::over(client, user_agent))
    }
}
