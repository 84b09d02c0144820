//! `kedge image …`, through the running kedge.

use crate::control::{ImageRow, call_blocking};
use crate::failure::{Failure, Outcome};
use crate::options::{ImageCommand, Output};
use crate::site::SiteOptions;
use http::Method;
use kedge_cri::images::{ImportOptions, Store};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

pub fn run(site: &SiteOptions, command: &ImageCommand) -> Outcome {
    let roots = site.roots()?;
    match command {
        ImageCommand::Ls(options) => {
            let bytes = call_blocking(&roots, Method::GET, "/v1/images", Box::new(std::io::empty()))?;
            list(&bytes, options.output)
        }
        ImageCommand::Load { file } => {
            let bytes = call_blocking(&roots, Method::POST, "/v1/images/load", open(file)?)?;
            say("loaded", &bytes)
        }
        ImageCommand::Pull { image } => {
            let path = format!("/v1/images/pull?image={image}");
            let bytes = call_blocking(&roots, Method::POST, &path, Box::new(std::io::empty()))?;
            say("pulled", &bytes)
        }
        ImageCommand::Rm { image } => {
            let path = format!("/v1/images?image={image}");
            let bytes = call_blocking(&roots, Method::DELETE, &path, Box::new(std::io::empty()))?;
            say("removed", &bytes)
        }
    }
}

/// Imports a tar stream; returns the names that it gives its images, or the id of one without a name.
pub async fn import(store: &Arc<Store>, from: impl Read + Send + 'static) -> Result<Vec<String>, String> {
    let images =
        store.import(from, ImportOptions::default()).await.map_err(|error| Failure::of(&error).text)?;
    let names = images.into_iter().flat_map(|image| match image.repo_tags.is_empty() {
        true => vec![image.id],
        false => image.repo_tags,
    });
    Ok(names.collect())
}

fn open(file: &Path) -> Result<Box<dyn Read + Send>, Failure> {
    if file == Path::new("-") {
        return Ok(Box::new(std::io::stdin()));
    }
    let opened = std::fs::File::open(file)
        .map_err(|error| Failure::new(format!("cannot open {}: {error}", file.display())))?;
    Ok(Box::new(opened))
}

fn say(what: &str, bytes: &[u8]) -> Outcome {
    let names: Vec<String> =
        serde_json::from_slice(bytes).map_err(|error| Failure::new(format!("unexpected answer: {error}")))?;
    for name in names {
        println!("{what} {name}");
    }
    Ok(())
}

fn list(bytes: &[u8], output: Output) -> Outcome {
    if output == Output::Json {
        println!("{}", String::from_utf8_lossy(bytes));
        return Ok(());
    }
    let rows: Vec<ImageRow> =
        serde_json::from_slice(bytes).map_err(|error| Failure::new(format!("unexpected answer: {error}")))?;
    println!("{:<60} {:<14} {:>10}  PINNED", "IMAGE", "ID", "SIZE");
    for row in rows {
        let id = row.id.strip_prefix("sha256:").unwrap_or(&row.id);
        let short = &id[..id.len().min(12)];
        let size = format!("{:.1} MB", row.size_bytes as f64 / 1e6);
        let pinned = if row.pinned { "yes" } else { "" };
        for name in if row.names.is_empty() { vec!["<none>".to_owned()] } else { row.names } {
            println!("{name:<60} {short:<14} {size:>10}  {pinned}");
        }
    }
    Ok(())
}
