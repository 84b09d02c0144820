//! Service account tokens for projected volumes, renewed before they expire.

use kedge_api::Time;
use kedge_api::pod::Pod;
use kedge_api::resource::SERVICE_ACCOUNTS;
use kedge_client::Client;
use kedge_kubelet_core::Moment;
use kedge_kubelet_core::volumes::payload::{TokenRequest, Tokens, refresh_after_s, token_requests};
use serde::Deserialize;
use serde_json::json;

use crate::node::now;

#[derive(Deserialize)]
struct Answer {
    status: AnswerStatus,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnswerStatus {
    token: String,
    expiration_timestamp: Option<Time>,
}

/// The tokens of one pod, and when each is renewed.
#[derive(Default)]
pub(crate) struct PodTokens {
    tokens: Tokens,
    renew_at: std::collections::BTreeMap<TokenRequest, Moment>,
}

impl PodTokens {
    /// Fetches what is missing or due.
    pub async fn refresh(&mut self, pod: &Pod, client: &Client) {
        for request in token_requests(pod) {
            let fresh = self.renew_at.get(&request).is_some_and(|renew_at| now() < *renew_at);
            if fresh && self.tokens.get(&request).is_some_and(Result::is_ok) {
                continue;
            }
            match fetch(pod, &request, client).await {
                Ok((token, renew_at)) => {
                    self.tokens.insert(request.clone(), Ok(token));
                    self.renew_at.insert(request, renew_at);
                }
                // A token that still holds is better than none.
                Err(_) if self.tokens.get(&request).is_some_and(Result::is_ok) => {}
                Err(message) => {
                    self.tokens.insert(request, Err(message));
                }
            }
        }
    }

    pub fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    pub fn next_renewal(&self) -> Option<Moment> {
        self.renew_at.values().min().copied()
    }
}

async fn fetch(pod: &Pod, request: &TokenRequest, client: &Client) -> Result<(String, Moment), String> {
    let meta = &pod.metadata;
    let account = match pod.spec.service_account_name.as_str() {
        "" => "default",
        name => name,
    };
    let mut spec = json!({
        "expirationSeconds": request.expiration_s,
        "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": meta.name, "uid": meta.uid},
    });
    if !request.audience.is_empty() {
        spec["audiences"] = json!([request.audience]);
    }
    let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec});
    let answer: Answer = client
        .create_subresource(SERVICE_ACCOUNTS, &meta.namespace, account, "token", &body)
        .await
        .map_err(|error| error.to_string())?;
    let issued = now();
    let expires =
        answer.status.expiration_timestamp.map_or(request.expiration_s, |end| end.0 - issued.0 / 1000);
    Ok((answer.status.token, issued.after_s(refresh_after_s(expires))))
}
