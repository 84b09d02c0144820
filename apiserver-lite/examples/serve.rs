//! A server by hand, until `kedge apiserver` is wired: `serve PREFIX ADDRESS:PORT [TOKEN_FILE]`.

use kedge_apiserver::{Config, Server};
use kedge_machinery::Roots;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [prefix, listen, rest @ ..] = arguments.as_slice() else {
        return Err("serve PREFIX ADDRESS:PORT".into());
    };
    let listen: SocketAddr = listen.parse()?;
    let roots = Arc::new(Roots::below(Path::new(prefix), "by-hand"));
    let mut config = Config::new(roots, "by-hand", listen.ip());
    config.listen = listen;
    config.token_auth_file = rest.first().map(Into::into);
    let (stop, shutdown) = tokio::sync::watch::channel(false);
    let server = Server::start(config, shutdown).await?;
    println!("https://{}", server.address());
    tokio::signal::ctrl_c().await?;
    stop.send_replace(true);
    server.wait().await;
    Ok(())
}
