//! A client for benches: HTTP/1.1 over one kept TLS connection with a client certificate, blocking. It does little on
//! purpose: what it costs is not what is measured.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;

use crate::node::PATIENCE;

type Stream = BufReader<StreamOwned<ClientConnection, TcpStream>>;

/// Where a server is and who we are.
#[derive(Clone)]
pub struct Entry {
    config: Arc<ClientConfig>,
    host: String,
    port: u16,
}

pub struct Api {
    pub entry: Entry,
    stream: Stream,
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl Entry {
    pub fn of_kubeconfig(path: &Path) -> Result<Entry, String> {
        let file = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let file: Value = serde_yaml_ng::from_str(&file).map_err(text)?;
        let data = |value: &Value| -> Result<Vec<u8>, String> {
            base64::engine::general_purpose::STANDARD.decode(value.as_str().unwrap_or_default()).map_err(text)
        };
        let (cluster, user) = (&file["clusters"][0]["cluster"], &file["users"][0]["user"]);
        let mut roots = RootCertStore::empty();
        for authority in CertificateDer::pem_slice_iter(&data(&cluster["certificate-authority-data"])?) {
            roots.add(authority.map_err(text)?).map_err(text)?;
        }
        let certificates = CertificateDer::pem_slice_iter(&data(&user["client-certificate-data"])?)
            .collect::<Result<Vec<_>, _>>()
            .map_err(text)?;
        let key = PrivateKeyDer::from_pem_slice(&data(&user["client-key-data"])?).map_err(text)?;
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(text)?
            .with_root_certificates(roots)
            .with_client_auth_cert(certificates, key)
            .map_err(text)?;
        let address = cluster["server"].as_str().unwrap_or_default().trim_start_matches("https://");
        let (host, port) = address.rsplit_once(':').ok_or_else(|| format!("no port in {address}"))?;
        Ok(Entry { config: Arc::new(config), host: host.to_owned(), port: port.parse().map_err(text)? })
    }

    /// Another port of the same machine, with the same trust.
    pub fn with_port(&self, port: u16) -> Entry {
        Entry { port, ..self.clone() }
    }

    pub fn open(&self) -> Result<Api, String> {
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).map_err(text)?;
        tcp.set_nodelay(true).map_err(text)?;
        // An event that never comes is an error, not a bench that never ends.
        tcp.set_read_timeout(Some(PATIENCE)).map_err(text)?;
        let name = ServerName::try_from(self.host.clone()).map_err(text)?;
        let tls = ClientConnection::new(Arc::clone(&self.config), name).map_err(text)?;
        Ok(Api { entry: self.clone(), stream: BufReader::new(StreamOwned::new(tls, tcp)) })
    }
}

impl Api {
    pub fn connect(kubeconfig: &Path) -> Result<Api, String> {
        Entry::of_kubeconfig(kubeconfig)?.open()
    }

    pub fn get(&mut self, path: &str) -> Result<Vec<u8>, String> {
        self.send("GET", path, "", b"")?;
        self.answer(path)
    }

    pub fn json(&mut self, path: &str) -> Result<Value, String> {
        serde_json::from_slice(&self.get(path)?).map_err(text)
    }

    pub fn post(&mut self, path: &str, body: &Value) -> Result<Vec<u8>, String> {
        self.send("POST", path, "application/json", body.to_string().as_bytes())?;
        self.answer(path)
    }

    pub fn merge(&mut self, path: &str, body: &Value) -> Result<Vec<u8>, String> {
        self.send("PATCH", path, "application/merge-patch+json", body.to_string().as_bytes())?;
        self.answer(path)
    }

    pub fn delete(&mut self, path: &str) -> Result<Vec<u8>, String> {
        self.send("DELETE", path, "", b"")?;
        self.answer(path)
    }

    /// Begins a watch; then [`Api::event`] reads it.
    pub fn watch(&mut self, path: &str) -> Result<(), String> {
        self.send("GET", path, "", b"")?;
        let (status, _) = self.head()?;
        if status == 200 { Ok(()) } else { Err(format!("{path}: {status}")) }
    }

    /// The next chunk of a watch: one event or more.
    pub fn event(&mut self) -> Result<Vec<u8>, String> {
        self.chunk()
    }

    fn send(&mut self, method: &str, path: &str, kind: &str, body: &[u8]) -> Result<(), String> {
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAccept: application/json\r\nContent-Length: {}\r\n",
            self.entry.host,
            body.len()
        );
        if !kind.is_empty() {
            request += &format!("Content-Type: {kind}\r\n");
        }
        let mut bytes = (request + "\r\n").into_bytes();
        bytes.extend_from_slice(body);
        let stream = self.stream.get_mut();
        stream.write_all(&bytes).and_then(|()| stream.flush()).map_err(text)
    }

    fn line(&mut self) -> Result<String, String> {
        let mut line = String::new();
        self.stream.read_line(&mut line).map_err(text)?;
        Ok(line.trim_end().to_owned())
    }

    /// The status, and the length of the body unless it comes in chunks.
    fn head(&mut self) -> Result<(u16, Option<usize>), String> {
        let first = self.line()?;
        let status = first.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| format!("not an answer: {first:?}"))?;
        let mut length = None;
        loop {
            let line = self.line()?.to_ascii_lowercase();
            if line.is_empty() {
                return Ok((status, length));
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().ok();
            }
        }
    }

    fn answer(&mut self, path: &str) -> Result<Vec<u8>, String> {
        let (status, length) = self.head()?;
        let mut body = Vec::new();
        match length {
            Some(length) => {
                body.resize(length, 0);
                self.stream.read_exact(&mut body).map_err(text)?;
            }
            None => loop {
                let chunk = self.chunk()?;
                if chunk.is_empty() {
                    break;
                }
                body.extend(chunk);
            },
        }
        if (200..300).contains(&status) {
            return Ok(body);
        }
        Err(format!("{path}: {status}: {}", String::from_utf8_lossy(&body)))
    }

    fn chunk(&mut self) -> Result<Vec<u8>, String> {
        let line = self.line()?;
        let length = usize::from_str_radix(line.split(';').next().unwrap_or_default(), 16).map_err(text)?;
        let mut chunk = vec![0; length];
        self.stream.read_exact(&mut chunk).map_err(text)?;
        self.line()?;
        Ok(chunk)
    }
}
