//! Service account tokens for projected volumes, renewed before they expire.

use std::collections::BTreeMap;
use std::time::Duration;

use kedge_api::Time;
use kedge_api::pod::Pod;
use kedge_api::resource::SERVICE_ACCOUNTS;
use kedge_client::Client;
use kedge_kubelet_core::Moment;
use kedge_kubelet_core::volumes::payload::{TokenRequest, Tokens, refresh_after_s, token_requests};
use kedge_machinery::Backoff;
use serde::Deserialize;
use serde_json::json;

use crate::node::now;

/// Between two attempts to renew a token that still holds, for a fifth of its life or for ever.
const RENEWAL_RETRY_MIN: Duration = Duration::from_secs(5);
const RENEWAL_RETRY_MAX: Duration = Duration::from_secs(300);

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
    renew_at: BTreeMap<TokenRequest, Moment>,
    /// Renewals that failed while the token they would replace still holds.
    failing: BTreeMap<TokenRequest, Backoff>,
}

impl PodTokens {
    /// Fetches what is missing or due.
    pub async fn refresh(&mut self, pod: &Pod, client: &Client) {
        for request in token_requests(pod) {
            let fresh = self.renew_at.get(&request).is_some_and(|renew_at| now() < *renew_at);
            if fresh && self.tokens.get(&request).is_some_and(Result::is_ok) {
                continue;
            }
            let fetched = fetch(pod, &request, client).await;
            self.take(request, fetched, now(), &pod.full_name());
        }
    }

    fn take(
        &mut self,
        request: TokenRequest,
        fetched: Result<(String, Moment), String>,
        at: Moment,
        pod: &str,
    ) {
        match fetched {
            Ok((token, renew_at)) => {
                self.failing.remove(&request);
                self.tokens.insert(request.clone(), Ok(token));
                self.renew_at.insert(request, renew_at);
            }
            // A token that still holds is better than none.
            Err(message) if self.tokens.get(&request).is_some_and(Result::is_ok) => {
                let backoff = self.failing.entry(request.clone()).or_insert_with(|| {
                    tracing::warn!(pod, message, "a service account token is not renewed");
                    Backoff::new(RENEWAL_RETRY_MIN, RENEWAL_RETRY_MAX)
                });
                self.renew_at.insert(request, at.after(backoff.next_delay()));
            }
            Err(message) => {
                self.tokens.insert(request, Err(message));
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

#[cfg(test)]
mod tests {
    use super::*;

    /// `kubectl delete serviceaccount` below a running pod: from then on each renewal fails, and the pod keeps its token.
    #[test]
    fn a_renewal_that_fails_waits_longer_each_time() {
        let request = TokenRequest { audience: String::new(), expiration_s: 600 };
        let mut tokens = PodTokens::default();
        let mut at = Moment(1_000_000);
        tokens.take(request.clone(), Ok(("t".to_owned(), at)), at, "default/p");
        let mut delays = Vec::new();
        for _ in 0..12 {
            tokens.take(request.clone(), Err("no such account".to_owned()), at, "default/p");
            let next = tokens.next_renewal().unwrap();
            delays.push(next.0 - at.0);
            at = next;
        }
        assert!(delays[0] >= 1_000 && delays.is_sorted() && delays[11] <= 300_000, "{delays:?}");
        assert_eq!(tokens.tokens().get(&request), Some(&Ok("t".to_owned())));
        let later = at.after_s(480);
        tokens.take(request, Ok(("u".to_owned(), later)), at, "default/p");
        assert_eq!(tokens.next_renewal(), Some(later));
    }
}
