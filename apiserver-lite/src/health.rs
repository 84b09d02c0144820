//! `/healthz`, `/livez`, `/readyz`: alone, verbose, without some checks, or one check of them.

use crate::answer::text;
use crate::body::BoxBody;
use crate::context::Context;
use http::Response;
use kedge_apiserver_core::registry::options::QueryString;

const PLAIN: &str = "text/plain; charset=utf-8";

/// A named check; true is well.
type Check = (&'static str, fn(&Context) -> bool);

/// The store keeps the name that clients and monitors ask for.
const ALWAYS: &[Check] =
    &[("ping", |_| true), ("log", |_| true), ("etcd", |context| context.store.revision().0 > 0)];
const READY: &[Check] = &[
    ("poststarthook/rbac/bootstrap-roles", Context::is_ready),
    ("poststarthook/start-system-namespaces-controller", Context::is_ready),
    ("shutdown", |context| !context.is_shut_down()),
];

pub fn handle(context: &Context, path: &str, query: &QueryString) -> Response<BoxBody> {
    let mut words = path.trim_start_matches('/').splitn(2, '/');
    let group = words.next().unwrap_or_default();
    let ready: &[Check] = if group == "livez" { &[] } else { READY };
    let checks = ALWAYS.iter().chain(ready);
    if let Some(name) = words.next().filter(|name| !name.is_empty()) {
        return match checks.into_iter().find(|(check, _)| *check == name) {
            Some((_, check)) if check(context) => text(200, PLAIN, "ok"),
            Some(_) => text(500, PLAIN, format!("internal server error: {name} failed\n")),
            None => text(404, PLAIN, "404 page not found\n"),
        };
    }
    let excluded = query.all("exclude");
    let mut report = String::new();
    let mut well = true;
    for (name, check) in checks {
        let line = match (excluded.iter().any(|e| e == name), check(context)) {
            (true, _) => format!("[+]{name} excluded: ok\n"),
            (false, true) => format!("[+]{name} ok\n"),
            (false, false) => {
                well = false;
                format!("[-]{name} failed: reason withheld\n")
            }
        };
        report.push_str(&line);
    }
    match (well, query.get("verbose").is_some()) {
        (true, false) => text(200, PLAIN, "ok"),
        (true, true) => text(200, PLAIN, format!("{report}{group} check passed\n")),
        (false, _) => text(500, PLAIN, format!("{report}{group} check failed\n")),
    }
}
