//! The entry `kedge` in a person's kubeconfig, and `kedge kubectl`.

use crate::failure::{Failure, Outcome};
use crate::site::SiteOptions;
use kedge_apiserver::pki::kubeconfig as file;
use kedge_machinery::Roots;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

/// Adds our entry to the invoking user's kubeconfig.
pub fn merge(roots: &Roots) -> Outcome {
    let admin = roots.kubernetes.join("admin.conf");
    let text = read(&admin)?.ok_or_else(|| Failure::new(format!("{} is missing", admin.display())))?;
    let entry = file::parse(&text).map_err(|error| Failure::of(&error))?;
    let Some((path, owner)) = user_file() else { return Ok(()) };
    let before = read(&path)?.unwrap_or_default();
    let after = file::merge(&before, &entry)
        .map_err(|error| Failure::new(format!("{} is left as it is: {error}", path.display())))?;
    write(&path, &after, owner)
}

/// Takes exactly our entry out again.
pub fn remove() -> Outcome {
    let Some((path, owner)) = user_file() else { return Ok(()) };
    let Some(before) = read(&path)? else { return Ok(()) };
    match file::remove(&before) {
        Ok(Some(after)) if after == before => Ok(()),
        Ok(Some(after)) => write(&path, &after, owner),
        Ok(None) => std::fs::remove_file(&path)
            .map_err(|error| Failure::new(format!("cannot remove {}: {error}", path.display()))),
        Err(error) => Err(Failure::new(format!("{} is left as it is: {error}", path.display()))),
    }
}

type Owner = Option<(u32, u32)>;

/// The first file of KUBECONFIG, else `~/.kube/config` of whoever called sudo, else of root.
fn user_file() -> Option<(PathBuf, Owner)> {
    if let Some(list) = std::env::var_os("KUBECONFIG")
        && let Some(first) = std::env::split_paths(&list).find(|path| !path.as_os_str().is_empty())
    {
        return Some((first, None));
    }
    let number = |name: &str| std::env::var(name).ok()?.parse::<u32>().ok();
    if let (Some(uid), Some(gid)) = (number("SUDO_UID"), number("SUDO_GID"))
        && let Some(home) = home_of(uid)
    {
        return Some((home.join(".kube/config"), Some((uid, gid))));
    }
    Some((PathBuf::from(std::env::var_os("HOME")?).join(".kube/config"), None))
}

fn home_of(uid: u32) -> Option<PathBuf> {
    let passwd = std::fs::read_to_string("/etc/passwd").ok()?;
    let fields = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let found =
        fields.into_iter().find(|fields| fields.get(2).and_then(|text| text.parse().ok()) == Some(uid))?;
    found.get(5).map(PathBuf::from)
}

fn read(path: &Path) -> Result<Option<String>, Failure> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::new(format!("cannot read {}: {error}", path.display()))),
    }
}

fn write(path: &Path, text: &str, owner: Owner) -> Outcome {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let made = !folder.exists();
    kedge_apiserver::pki::files::write_whole(path, text.as_bytes(), 0o600)
        .map_err(|error| Failure::of(&error))?;
    if let Some((uid, gid)) = owner {
        for path in [path].into_iter().chain(made.then_some(folder)) {
            std::os::unix::fs::chown(path, Some(uid), Some(gid)).map_err(|error| {
                Failure::new(format!("cannot give {} to its user: {error}", path.display()))
            })?;
        }
    }
    Ok(())
}

/// Becomes the kubectl on PATH or in `<state>/bin`, pointed at this node.
pub fn kubectl(site: &SiteOptions, arguments: &[OsString]) -> Outcome {
    let roots = site.roots()?;
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let mut candidates =
        std::env::split_paths(&folders).chain([roots.state.join("bin")]).map(|dir| dir.join("kubectl"));
    let Some(program) = candidates.find(|path| path.is_file()) else {
        let text = format!(
            "no kubectl on PATH or in {}: install one from your distribution or from kubernetes.io, any version from 1.20 on",
            roots.state.join("bin").display()
        );
        return Err(Failure::new(text));
    };
    let mut command = std::process::Command::new(&program);
    command.args(arguments);
    if std::env::var_os("KUBECONFIG").is_none() {
        command.env("KUBECONFIG", roots.kubernetes.join("admin.conf"));
    }
    let error = command.exec();
    Err(Failure::new(format!("cannot run {}: {error}", program.display())))
}
