//! `127.0.0.1:10248/healthz`.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::Error;
use crate::agent::Agent;

pub(crate) async fn serve(agent: &Agent, tasks: &mut JoinSet<()>) -> Result<(), Error> {
    let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), agent.config.roots.ports.kubelet_health);
    let listener = TcpListener::bind(address).await.map_err(|cause| Error::Listen { address, cause })?;
    tasks.spawn(accept(listener));
    Ok(())
}

async fn accept(listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let service = service_fn(answer);
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                tokio::spawn(async move {
                    // A peer that hangs up early is its own affair.
                    let _ = connection.await;
                });
            }
            Err(error) => tracing::debug!(%error, "accept on the health port"),
        }
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let healthy = request.uri().path() == "/healthz";
    let mut response =
        Response::new(Full::new(Bytes::from_static(if healthy { b"ok" } else { b"404 page not found\n" })));
    *response.status_mut() = if healthy { StatusCode::OK } else { StatusCode::NOT_FOUND };
    Ok(response)
}
