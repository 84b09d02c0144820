//! Delegated authentication and authorization: a component's own port asks the API server who calls and whether they may.
//!
//! The questions go out through [`Reviews`], so that this crate needs no API client. Answers are kept for a short time, as
//! upstream's kubelet does: a token for two minutes, a permission for five, a refusal for half a minute.

use crate::serve::Peer;
use http::HeaderMap;
use kedge_api::Identity;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Entries of each cache; a full cache is emptied.
const CACHED_MAX: usize = 4096;
const TOKEN_LIFE: Duration = Duration::from_secs(120);
const ALLOWED_LIFE: Duration = Duration::from_secs(300);
const REFUSED_LIFE: Duration = Duration::from_secs(30);

/// What a caller wants, as a SubjectAccessReview asks it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Access {
    /// A resource of the core group: the kubelet's `nodes/SUBRESOURCE`.
    Resource {
        verb: String,
        resource: String,
        subresource: String,
        name: String,
    },
    Path {
        verb: String,
        path: String,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub allowed: bool,
    pub reason: String,
}

/// The API server's answers. An error is trouble on the way, never a refusal.
pub trait Reviews: Send + Sync {
    type Error: std::error::Error + Send + Sync + 'static;

    /// A TokenReview; None: the token is nobody's.
    fn token(&self, token: &str) -> impl Future<Output = Result<Option<Identity>, Self::Error>> + Send;
    /// A SubjectAccessReview.
    fn access(
        &self,
        who: &Identity,
        what: &Access,
    ) -> impl Future<Output = Result<Verdict, Self::Error>> + Send;
    /// The user behind a client chain; None: it does not lead to the cluster's authority.
    fn certificate(&self, peer: &Peer) -> Option<Identity>;
}

/// Why a request does not go on.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// 401
    #[error("Unauthorized")]
    Unauthorized,
    /// 403, with the text that the kubelet sends.
    #[error("{0}")]
    Forbidden(String),
    /// 500: the API server could not be asked.
    #[error("cannot ask the API server: {0}")]
    Unavailable(String),
}

pub struct Delegated<R> {
    reviews: R,
    tokens: Cache<String, Option<Identity>>,
    accesses: Cache<(String, Vec<String>, Access), Verdict>,
}

impl<R: Reviews> Delegated<R> {
    pub fn new(reviews: R) -> Delegated<R> {
        Delegated { reviews, tokens: Cache::default(), accesses: Cache::default() }
    }

    /// Who calls; nobody is let in without credentials.
    pub async fn authenticate(&self, headers: &HeaderMap, peer: &Peer) -> Result<Identity, Refusal> {
        if !peer.certificates.is_empty() {
            return self.reviews.certificate(peer).ok_or(Refusal::Unauthorized);
        }
        let token = bearer(headers).ok_or(Refusal::Unauthorized)?;
        let known = self.tokens.get(&token.to_owned());
        let identity = match known {
            Some(known) => known,
            None => {
                let asked = self.reviews.token(token).await;
                let asked = asked.map_err(|error| Refusal::Unavailable(error.to_string()))?;
                let life = if asked.is_some() { TOKEN_LIFE } else { REFUSED_LIFE };
                self.tokens.put(token.to_owned(), asked.clone(), life);
                asked
            }
        };
        identity.ok_or(Refusal::Unauthorized)
    }

    pub async fn authorize(&self, who: &Identity, what: &Access) -> Result<(), Refusal> {
        let key = (who.user.clone(), who.groups.clone(), what.clone());
        let verdict = match self.accesses.get(&key) {
            Some(known) => known,
            None => {
                let asked = self.reviews.access(who, what).await;
                let asked = asked.map_err(|error| Refusal::Unavailable(error.to_string()))?;
                let life = if asked.allowed { ALLOWED_LIFE } else { REFUSED_LIFE };
                self.accesses.put(key, asked.clone(), life);
                asked
            }
        };
        if verdict.allowed { Ok(()) } else { Err(Refusal::Forbidden(forbidden(who, what))) }
    }
}

/// `Forbidden (user=jane, verb=get, resource=nodes, subresource(s)=[log])`, as upstream's kubelet words it.
fn forbidden(who: &Identity, what: &Access) -> String {
    let user = &who.user;
    match what {
        Access::Resource { verb, resource, subresource, .. } => {
            format!(
                "Forbidden (user={user}, verb={verb}, resource={resource}, subresource(s)=[{subresource}])\n"
            )
        }
        Access::Path { verb, path } => format!("Forbidden (user={user}, verb={verb}, path={path})\n"),
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(http::header::AUTHORIZATION)?.to_str().ok()?.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

struct Cache<K, V>(Mutex<HashMap<K, (Instant, V)>>);

impl<K, V> Default for Cache<K, V> {
    fn default() -> Self {
        Cache(Mutex::default())
    }
}

impl<K: Eq + Hash, V: Clone> Cache<K, V> {
    fn get(&self, key: &K) -> Option<V> {
        let entries = self.0.lock().expect("no holder panics");
        entries.get(key).filter(|(until, _)| *until > Instant::now()).map(|(_, value)| value.clone())
    }

    fn put(&self, key: K, value: V, life: Duration) {
        let mut entries = self.0.lock().expect("no holder panics");
        if entries.len() >= CACHED_MAX {
            entries.clear();
        }
        entries.insert(key, (Instant::now() + life, value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// Token `good` is jane, who may only `get`; every question is counted.
    #[derive(Default)]
    struct Fake(AtomicU32);

    impl Reviews for &Fake {
        type Error = Infallible;

        async fn token(&self, token: &str) -> Result<Option<Identity>, Infallible> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Ok((token == "good").then(|| Identity::new("jane", &[])))
        }

        async fn access(&self, _: &Identity, what: &Access) -> Result<Verdict, Infallible> {
            self.0.fetch_add(1, Ordering::Relaxed);
            let allowed = matches!(what, Access::Resource { verb, .. } if verb == "get");
            Ok(Verdict { allowed, reason: String::new() })
        }

        fn certificate(&self, _: &Peer) -> Option<Identity> {
            None
        }
    }

    fn peer() -> Peer {
        Peer { address: "10.0.0.1:1".parse().unwrap(), certificates: Vec::new().into() }
    }

    fn header(value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(http::header::AUTHORIZATION, value.parse().unwrap());
        headers
    }

    #[tokio::test]
    async fn each_question_is_asked_once() {
        let fake = Fake::default();
        let delegated = Delegated::new(&fake);
        let access = |verb: &str| Access::Resource {
            verb: verb.into(),
            resource: "nodes".into(),
            subresource: "log".into(),
            name: "n".into(),
        };
        for _ in 0..3 {
            let jane = delegated.authenticate(&header("Bearer good"), &peer()).await.unwrap();
            assert_eq!(delegated.authorize(&jane, &access("get")).await, Ok(()));
            let refused = "Forbidden (user=jane, verb=create, resource=nodes, subresource(s)=[log])\n";
            assert_eq!(
                delegated.authorize(&jane, &access("create")).await,
                Err(Refusal::Forbidden(refused.into()))
            );
            assert_eq!(
                delegated.authenticate(&header("Bearer bad"), &peer()).await,
                Err(Refusal::Unauthorized)
            );
        }
        assert_eq!(fake.0.load(Ordering::Relaxed), 4);
    }

    #[tokio::test]
    async fn nobody_is_let_in_without_credentials() {
        let fake = Fake::default();
        let delegated = Delegated::new(&fake);
        assert_eq!(delegated.authenticate(&HeaderMap::new(), &peer()).await, Err(Refusal::Unauthorized));
        assert_eq!(delegated.authenticate(&header("Basic good"), &peer()).await, Err(Refusal::Unauthorized));
        let mut stranger = peer();
        stranger.certificates = vec![vec![0].into()].into();
        assert_eq!(
            delegated.authenticate(&header("Bearer good"), &stranger).await,
            Err(Refusal::Unauthorized)
        );
        assert_eq!(fake.0.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn answers_end_and_a_full_cache_is_emptied() {
        let cache = Cache::default();
        cache.put(0, "old", Duration::ZERO);
        assert_eq!(cache.get(&0), None);
        for number in 0..=CACHED_MAX {
            cache.put(number, "new", TOKEN_LIFE);
        }
        assert!(cache.0.lock().unwrap().len() <= 2);
    }
}
