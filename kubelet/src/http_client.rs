//! One GET for probes and hooks: from the node's network namespace, without a proxy, certificates unchecked as upstream's.
//! Errors read like those of Go's HTTP client, since users search for them.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use kedge_kubelet_core::env::host_port;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// Of a body that is read for its message.
const BODY_BYTES_MAX: usize = 10 * 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Get {
    pub https: bool,
    /// A name or an address.
    pub host: String,
    pub port: u16,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub user_agent: &'static str,
}

impl Get {
    pub fn url(&self) -> String {
        let scheme = if self.https { "https" } else { "http" };
        let slash = if self.path.starts_with('/') { "" } else { "/" };
        format!("{scheme}://{}{slash}{}", self.authority(), self.path)
    }

    fn authority(&self) -> String {
        match self.host.parse::<IpAddr>() {
            Ok(address) => host_port(address, self.port),
            Err(_) => format!("{}:{}", self.host, self.port),
        }
    }
}

/// Status code and the head of the body.
pub(crate) async fn get(request: &Get, timeout: Duration) -> Result<(u16, Vec<u8>), String> {
    let failed = |cause: String| format!("Get \"{}\": {cause}", request.url());
    match tokio::time::timeout(timeout, exchange(request)).await {
        Ok(done) => done.map_err(failed),
        Err(_) => Err(failed(
            "context deadline exceeded (Client.Timeout exceeded while awaiting headers)".to_owned(),
        )),
    }
}

async fn exchange(request: &Get) -> Result<(u16, Vec<u8>), String> {
    let stream = dial(&request.host, request.port).await?;
    if !request.https {
        return send(stream, request).await;
    }
    let connector = tokio_rustls::TlsConnector::from(unchecked());
    let name = ServerName::try_from(request.host.clone()).map_err(|error| error.to_string())?;
    let stream = connector.connect(name, stream).await.map_err(|error| format!("tls: {error}"))?;
    send(stream, request).await
}

/// Connects, and says so as Go's dialer would.
pub(crate) async fn dial(host: &str, port: u16) -> Result<TcpStream, String> {
    let target = match host.parse::<IpAddr>() {
        Ok(address) => host_port(address, port),
        Err(_) => format!("{host}:{port}"),
    };
    TcpStream::connect(&target).await.map_err(|error| format!("dial tcp {target}: {}", cause(&error)))
}

fn cause(error: &std::io::Error) -> String {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
        ErrorKind::HostUnreachable => "connect: no route to host".to_owned(),
        ErrorKind::NetworkUnreachable => "connect: network is unreachable".to_owned(),
        ErrorKind::TimedOut => "i/o timeout".to_owned(),
        ErrorKind::ConnectionReset => "read: connection reset by peer".to_owned(),
        _ => error.to_string(),
    }
}

async fn send<S>(stream: S, get: &Get) -> Result<(u16, Vec<u8>), String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let text = |error: hyper::Error| {
        if error.is_incomplete_message() { "EOF".to_owned() } else { error.to_string() }
    };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(text)?;
    let pump = tokio::spawn(async move {
        // Its error is the one that the request reports.
        let _ = connection.await;
    });
    let request = build(get)?;
    let response = sender.send_request(request).await.map_err(text);
    let answer = match response {
        Ok(response) => {
            let code = response.status().as_u16();
            let body = Limited::new(response.into_body(), BODY_BYTES_MAX).collect().await;
            Ok((code, body.map(|body| body.to_bytes().to_vec()).unwrap_or_default()))
        }
        Err(message) => Err(message),
    };
    pump.abort();
    answer
}

fn build(get: &Get) -> Result<Request<Empty<Bytes>>, String> {
    let slash = if get.path.starts_with('/') { "" } else { "/" };
    let mut request = Request::get(format!("{slash}{}", get.path))
        .body(Empty::new())
        .map_err(|error| format!("parse \"{}\": {error}", get.url()))?;
    let headers = request.headers_mut();
    let host = HeaderValue::from_str(&get.authority()).map_err(|error| error.to_string())?;
    headers.insert(header::HOST, host);
    headers.insert(header::USER_AGENT, HeaderValue::from_static(get.user_agent));
    headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    // A header given replaces ours; given twice, both are sent. An empty Accept or User-Agent removes it.
    let mut given = Vec::new();
    for (name, value) in &get.headers {
        let name: HeaderName = name.parse().map_err(|_| format!("invalid header {name:?}"))?;
        let value = HeaderValue::from_str(value).map_err(|_| format!("invalid value of header {name}"))?;
        if !given.contains(&name) {
            headers.remove(&name);
            given.push(name.clone());
        }
        if !value.is_empty() {
            headers.append(name, value);
        }
    }
    Ok(request)
}

fn unchecked() -> Arc<ClientConfig> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    let make = || {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring offers the default versions")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate))
            .with_no_client_auth();
        Arc::new(config)
    };
    Arc::clone(CONFIG.get_or_init(make))
}

/// A probe asks whether a server answers, not who it is: the API documents that certificates are not verified. Unlike
/// `kedge_serving::unverified_client` it does not read them either: webpki takes version 3 only, and version 1 certificates
/// stand on servers that upstream's probes find well.
#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(host: &str, path: &str, headers: &[(&str, &str)]) -> Get {
        Get {
            https: false,
            host: host.into(),
            port: 80,
            path: path.into(),
            headers: headers.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            user_agent: "kube-probe/1.36",
        }
    }

    #[test]
    fn urls_and_headers() {
        assert_eq!(to("fd00::1", "x", &[]).url(), "http://[fd00::1]:80/x");
        let request =
            build(&to("10.0.0.1", "/a?b=c", &[("Host", "h"), ("X", "1"), ("X", "2"), ("Accept", "")]))
                .unwrap();
        assert_eq!(request.uri(), "/a?b=c");
        assert_eq!(request.headers()["host"], "h");
        assert_eq!(request.headers().get_all("x").iter().count(), 2);
        assert!(!request.headers().contains_key("accept"));
    }

    #[tokio::test]
    async fn a_closed_port_reads_as_go_says_it() {
        let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let get = Get { port: closed.port(), ..to("127.0.0.1", "/", &[]) };
        let address = format!("127.0.0.1:{}", closed.port());
        let error = super::get(&get, Duration::from_secs(5)).await.unwrap_err();
        assert_eq!(
            error,
            format!("Get \"http://{address}/\": dial tcp {address}: connect: connection refused")
        );
    }
}
