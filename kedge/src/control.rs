//! The running kedge's own socket, `<run>/kedge.sock` (0600): what `status`, `stop` and `image` talk to. HTTP/1.1.
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/status` | [`Status`] |
//! | `POST /v1/stop?pods=end\|keep` | 202; the process ends afterwards |
//! | `GET /v1/images` | list of images |
//! | `POST /v1/images/load` (a tar stream) · `POST /v1/images/pull?image=` · `DELETE /v1/images?image=` | names, or 4xx with the reason as text |

use crate::components::{Board, Component};
use crate::failure::{Exit, Failure};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::TokioIo;
use kedge_cri::images::Store;
use kedge_cri_api::Images;
use kedge_machinery::Roots;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

/// What `kedge status` prints.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Status {
    pub pid: u32,
    pub version: String,
    pub node: String,
    /// Empty when the node is Ready, else why it is not.
    pub not_ready: String,
    pub components: BTreeMap<String, Component>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    EndPods,
    KeepPods,
}

/// What the socket can do.
#[derive(Clone)]
pub struct Control {
    pub node: String,
    pub board: Board,
    pub not_ready: watch::Receiver<String>,
    pub stop: watch::Sender<Option<Stop>>,
    /// None where no node runs in this process.
    pub images: Option<Arc<Store>>,
}

pub fn path(roots: &Roots) -> PathBuf {
    roots.run.join("kedge.sock")
}

/// Does somebody answer on the socket?
pub fn is_running(roots: &Roots) -> bool {
    std::os::unix::net::UnixStream::connect(path(roots)).is_ok()
}

impl Control {
    /// Binds the socket; one that nobody answers on is left over from a kedge that was killed.
    pub fn listen(roots: &Roots) -> Result<UnixListener, Failure> {
        let path = path(roots);
        if is_running(roots) {
            let text = format!("kedge is running already ({} answers): see `kedge status`", path.display());
            return Err(Failure::new(text));
        }
        let failed =
            |error: std::io::Error| Failure::new(format!("cannot listen on {}: {error}", path.display()));
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let listener = UnixListener::bind(&path).map_err(failed)?;
        rustix::fs::chmod(&path, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR)
            .map_err(|error| failed(error.into()))?;
        Ok(listener)
    }

    pub async fn serve(self, listener: UnixListener) {
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let control = self.clone();
            tokio::spawn(async move {
                let asked = Mutex::new(None);
                let service = hyper::service::service_fn(|request| {
                    let answer = control.answer(request, &asked);
                    async move { Ok::<_, std::convert::Infallible>(answer.await) }
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .keep_alive(false)
                    .serve_connection(TokioIo::new(stream), service);
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "control connection ended");
                }
                // Only now, so that who asked has its answer before the process ends.
                if let Some(stop) = asked.into_inner().unwrap_or_else(PoisonError::into_inner) {
                    control.stop.send_replace(Some(stop));
                }
            });
        }
    }

    /// `asked` takes what the request wants of the whole process.
    async fn answer(&self, request: Request<Incoming>, asked: &Mutex<Option<Stop>>) -> Response<Full<Bytes>> {
        let path = request.uri().path().to_owned();
        let query = request.uri().query().unwrap_or_default().to_owned();
        let (head, mut body) = request.into_parts();
        if path != "/v1/images/load" {
            // A connection that closes before the request is read fails its writer, who then sees no answer.
            while let Some(Ok(_)) = body.frame().await {}
        }
        let answered = match (&head.method, path.as_str()) {
            (&Method::GET, "/v1/status") => json(&self.status()),
            (&Method::POST, "/v1/stop") => {
                let stop = if query == "pods=keep" { Stop::KeepPods } else { Stop::EndPods };
                *asked.lock().unwrap_or_else(PoisonError::into_inner) = Some(stop);
                Ok(Response::new(Full::default()))
            }
            (method, path) if path.starts_with("/v1/images") => self.images(method, path, &query, body).await,
            _ => Err((StatusCode::NOT_FOUND, format!("no such request: {path}"))),
        };
        answered.unwrap_or_else(|(code, text)| {
            let mut response = Response::new(Full::from(text));
            *response.status_mut() = code;
            response
        })
    }

    fn status(&self) -> Status {
        Status {
            pid: std::process::id(),
            version: crate::version::VERSION.to_owned(),
            node: self.node.clone(),
            not_ready: self.not_ready.borrow().clone(),
            components: self.board.all(),
        }
    }

    async fn images(&self, method: &Method, path: &str, query: &str, body: Incoming) -> Answer {
        let Some(store) = &self.images else {
            return Err((StatusCode::NOT_FOUND, "no node runs in this process".to_owned()));
        };
        let refused = |error: kedge_cri_api::Error| (StatusCode::UNPROCESSABLE_ENTITY, error.to_string());
        let image = query.strip_prefix("image=").unwrap_or_default();
        match (method, path) {
            (&Method::GET, "/v1/images") => json(
                &store.list_images().await.map_err(refused)?.iter().map(ImageRow::of).collect::<Vec<_>>(),
            ),
            (&Method::POST, "/v1/images/pull") => {
                json(&[store.pull_image(image, None).await.map_err(refused)?])
            }
            (&Method::DELETE, "/v1/images") => {
                store.remove_image(image).await.map_err(refused)?;
                json(&[image])
            }
            (&Method::POST, "/v1/images/load") => {
                let loaded = crate::images::import(store, BodyReader::new(body)).await;
                json(&loaded.map_err(|text| (StatusCode::UNPROCESSABLE_ENTITY, text))?)
            }
            _ => Err((StatusCode::METHOD_NOT_ALLOWED, format!("{method} {path} is not served"))),
        }
    }
}

type Answer = Result<Response<Full<Bytes>>, (StatusCode, String)>;

fn json<T: Serialize + ?Sized>(value: &T) -> Answer {
    let bytes =
        serde_json::to_vec(value).map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    Ok(Response::new(Full::from(bytes)))
}

/// A line of `kedge image ls`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ImageRow {
    pub id: String,
    pub names: Vec<String>,
    pub size_bytes: u64,
    pub pinned: bool,
}

impl ImageRow {
    fn of(image: &kedge_cri_api::Image) -> ImageRow {
        ImageRow {
            id: image.id.clone(),
            names: image.repo_tags.iter().chain(&image.repo_digests).cloned().collect(),
            size_bytes: image.size_bytes,
            pinned: image.pinned,
        }
    }
}

/// A request body as a blocking reader, for code that reads tar files.
pub struct BodyReader {
    frames: tokio::sync::mpsc::Receiver<std::io::Result<Bytes>>,
    current: Bytes,
}

impl BodyReader {
    fn new(mut body: Incoming) -> BodyReader {
        let (sender, frames) = tokio::sync::mpsc::channel(16);
        tokio::spawn(async move {
            while let Some(frame) = body.frame().await {
                let bytes = match frame {
                    Ok(frame) => frame.into_data().map_or_else(|_| Ok(Bytes::new()), Ok),
                    Err(error) => Err(std::io::Error::other(error)),
                };
                if sender.send(bytes).await.is_err() {
                    return;
                }
            }
        });
        BodyReader { frames, current: Bytes::new() }
    }
}

impl Read for BodyReader {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.current.is_empty() {
            match self.frames.blocking_recv() {
                None => return Ok(0),
                Some(bytes) => self.current = bytes?,
            }
        }
        let count = buffer.len().min(self.current.len());
        buffer[..count].copy_from_slice(&self.current.split_to(count));
        Ok(count)
    }
}

/// One request to the running kedge.
pub async fn call(
    roots: &Roots,
    method: Method,
    path_and_query: &str,
    body: Box<dyn Read + Send>,
) -> Result<Bytes, Failure> {
    let socket = path(roots);
    let stream = UnixStream::connect(&socket).await.map_err(|_| {
        Failure::with(Exit::NotRunning, "kedge is not running on this node: start it with `kedge start`")
    })?;
    let failed =
        |error: &dyn std::fmt::Display| Failure::new(format!("talking to {}: {error}", socket.display()));
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| failed(&e))?;
    let driver = tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path_and_query)
        .header(http::header::HOST, "kedge")
        .body(StreamBody::new(chunks(body)))
        .map_err(|e| failed(&e))?;
    let response = sender.send_request(request).await.map_err(|e| failed(&e))?;
    let code = response.status();
    let bytes = response.into_body().collect().await.map_err(|e| failed(&e))?.to_bytes();
    driver.abort();
    if code.is_success() {
        return Ok(bytes);
    }
    Err(Failure::new(String::from_utf8_lossy(&bytes)))
}

/// Reads on a blocking thread and hands out frames.
fn chunks(mut from: Box<dyn Read + Send>) -> impl futures_util::Stream<Item = std::io::Result<Frame<Bytes>>> {
    let (sender, receiver) = tokio::sync::mpsc::channel(4);
    tokio::task::spawn_blocking(move || {
        let mut buffer = vec![0; 256 << 10];
        loop {
            let frame = match from.read(&mut buffer) {
                Ok(0) => return,
                Ok(count) => Ok(Frame::data(Bytes::copy_from_slice(&buffer[..count]))),
                Err(error) => Err(error),
            };
            if sender.blocking_send(frame).is_err() {
                return;
            }
        }
    });
    futures_util::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|frame| (frame, receiver))
    })
}

/// [`call`] from a command, with its own small runtime.
pub fn call_blocking(
    roots: &Roots,
    method: Method,
    path: &str,
    body: Box<dyn Read + Send>,
) -> Result<Bytes, Failure> {
    command_runtime()?.block_on(call(roots, method, path, body))
}

/// What a command needs that asks somebody and ends.
pub fn command_runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("cannot start a runtime: {error}")))
}
