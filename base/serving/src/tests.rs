//! Whole connections: a certificate replaced under a running server, client certificates, both protocols, the end.

use super::*;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A self-signed certificate for `localhost` and its key.
fn pair(common_name: &str) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, common_name);
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

/// Answers with how many certificates the client showed.
async fn count(request: Request<BoxBody>) -> Result<Response<BoxBody>, Infallible> {
    let peer = request.extensions().get::<Peer>().unwrap();
    let text = peer.certificates.len().to_string();
    Ok(Response::new(Full::from(text).map_err(|never| match never {}).boxed_unsync()))
}

async fn connect(
    address: SocketAddr,
    trusted: &str,
    own: Option<&(String, String)>,
    protocol: &[u8],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(trusted.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match own {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => builder
            .with_client_auth_cert(
                vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
            )
            .unwrap(),
    };
    config.alpn_protocols = vec![protocol.to_vec()];
    let stream = TcpStream::connect(address).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), stream).await
}

async fn ask(stream: TlsStream<TcpStream>) -> String {
    let request =
        Request::get("https://localhost/").header("host", "localhost").body(Empty::<Bytes>::new()).unwrap();
    let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let response = if h2 {
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        sender.send_request(request).await.unwrap()
    } else {
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        sender.send_request(request).await.unwrap()
    };
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn a_server_from_start_to_end() {
    let (first, second, client) = (pair("first"), pair("second"), pair("client"));
    let tls = ServerTls::new(&first.0, &first.1).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = watch::channel(false);
    let server = tokio::spawn(serve(listener, tls.clone(), count, Limits::default(), stopped));

    for protocol in [b"h2".as_slice(), b"http/1.1"] {
        assert_eq!(ask(connect(address, &first.0, None, protocol).await.unwrap()).await, "0");
        assert_eq!(ask(connect(address, &first.0, Some(&client), protocol).await.unwrap()).await, "1");
    }
    tls.replace(&second.0, &second.1).unwrap();
    assert!(connect(address, &first.0, None, b"h2").await.is_err());
    assert_eq!(ask(connect(address, &second.0, None, b"h2").await.unwrap()).await, "0");

    stop.send(true).unwrap();
    server.await.unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}

#[test]
fn a_bad_certificate_is_an_error_and_the_old_one_stays() {
    let (good, other) = (pair("good"), pair("other"));
    let tls = ServerTls::new(&good.0, &good.1).unwrap();
    assert!(matches!(tls.replace("", &good.1), Err(TlsError::Empty)));
    assert!(matches!(tls.replace(&good.0, ""), Err(TlsError::Pem(_))));
    assert!(matches!(tls.replace(&good.0, &other.1), Err(TlsError::Rustls(_))));
}
