//! From an HTTP request to a stream: WebSocket or SPDY/3.1, whichever the client asks for.

use super::{Answer, Rejection, full};
use http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
    UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use kedge_serving::BoxBody;
use kedge_streaming::channels::{Protocol, TUNNEL};
use kedge_streaming::{spdy, websocket};

const STREAM_PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");

/// The remote command protocols over SPDY, best first, and whether their error stream speaks JSON.
const SPDY_COMMANDS: [(&str, bool); 4] = [
    ("v4.channel.k8s.io", true),
    ("v3.channel.k8s.io", false),
    ("v2.channel.k8s.io", false),
    ("channel.k8s.io", false),
];
const SPDY_FORWARD: &str = "portforward.k8s.io";

/// How client and server will talk once the connection is theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Channels(Protocol),
    Spdy {
        has_status: bool,
    },
    /// SPDY inside a WebSocket's binary messages.
    Tunnel,
}

pub(super) struct Upgraded {
    pub dialect: Dialect,
    pub on_upgrade: OnUpgrade,
}

/// Negotiates exec or attach.
pub(super) fn remote_command(request: Request<BoxBody>) -> Result<(Answer, Upgraded), Rejection> {
    negotiate(
        request,
        |offered| Protocol::negotiate(offered).map(|protocol| (Dialect::Channels(protocol), protocol.name)),
        |offered| {
            let found = SPDY_COMMANDS.into_iter().find(|(name, _)| offered.contains(name));
            found.map(|(name, has_status)| (Dialect::Spdy { has_status }, name))
        },
    )
}

/// Negotiates a port-forward.
pub(super) fn port_forward(request: Request<BoxBody>) -> Result<(Answer, Upgraded), Rejection> {
    negotiate(
        request,
        |offered| offered.split(',').any(|name| name.trim() == TUNNEL).then_some((Dialect::Tunnel, TUNNEL)),
        |offered| {
            offered.contains(&SPDY_FORWARD).then_some((Dialect::Spdy { has_status: false }, SPDY_FORWARD))
        },
    )
}

fn negotiate(
    mut request: Request<BoxBody>,
    websocket: impl Fn(&str) -> Option<(Dialect, &'static str)>,
    spdy: impl Fn(&[&str]) -> Option<(Dialect, &'static str)>,
) -> Result<(Answer, Upgraded), Rejection> {
    let headers = request.headers();
    let wants = |protocol: &str| {
        list(headers, &CONNECTION).any(|word| word.eq_ignore_ascii_case("upgrade"))
            && list(headers, &UPGRADE).any(|word| word.eq_ignore_ascii_case(protocol))
    };
    let mut answer = Response::new(full(""));
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let reply = answer.headers_mut();
    reply.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    let dialect = if wants("websocket") {
        let key = text(headers, &SEC_WEBSOCKET_KEY);
        if text(headers, &SEC_WEBSOCKET_VERSION) != "13" || !websocket::is_key(key) {
            return Err(bad("unable to upgrade: the WebSocket handshake is malformed"));
        }
        let offered = list(headers, &SEC_WEBSOCKET_PROTOCOL).collect::<Vec<_>>().join(",");
        let refuse = || bad(&format!("unable to upgrade: none of the subprotocols {offered:?} is known"));
        let (dialect, name) = websocket(&offered).ok_or_else(refuse)?;
        reply.insert(UPGRADE, HeaderValue::from_static("websocket"));
        let accept = HeaderValue::from_str(&websocket::accept_key(key)).expect("base64 is a header value");
        reply.insert(SEC_WEBSOCKET_ACCEPT, accept);
        if !name.is_empty() {
            reply.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(name));
        }
        dialect
    } else if wants(spdy::UPGRADE) {
        let offered: Vec<&str> = list(headers, &STREAM_PROTOCOL).collect();
        let refuse = || {
            let words =
                format!("unable to upgrade: unable to negotiate protocol: client supports {offered:?}");
            Rejection(StatusCode::FORBIDDEN, words)
        };
        let (dialect, name) = spdy(&offered).ok_or_else(refuse)?;
        reply.insert(UPGRADE, HeaderValue::from_static(spdy::UPGRADE));
        reply.insert(STREAM_PROTOCOL, HeaderValue::from_static(name));
        dialect
    } else {
        return Err(bad("unable to upgrade: missing upgrade headers in request"));
    };
    Ok((answer, Upgraded { dialect, on_upgrade: hyper::upgrade::on(&mut request) }))
}

fn bad(words: &str) -> Rejection {
    Rejection(StatusCode::BAD_REQUEST, words.to_owned())
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// The words of a header that may come several times and with commas.
fn list<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}
