//! Get, list and watch: which revision, which objects, where to go on.

use super::facts::Facts;
use super::fields::FieldSelector;
use super::options::ListOptions;
use super::route::{Target, key};
use crate::status::ApiError;
use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, URL_SAFE_NO_PAD};
use kedge_api::Selector;
use kedge_store::{Entry, Event, Query, Revision, Store, StoreError};
use serde_json::{Value, json};
use std::sync::Arc;

/// Entries read from the store in one go when a selector drops some of them.
const CHUNK: usize = 500;

/// Which objects a list or watch is about.
#[derive(Debug, Clone)]
pub struct Filter {
    labels: Selector,
    fields: FieldSelector,
}

impl Filter {
    /// Reads both selectors; a name in the path counts as one more field term.
    pub fn read(target: &Target, options: &ListOptions) -> Result<Filter, ApiError> {
        let labels =
            Selector::parse(&options.label_selector).map_err(|e| ApiError::bad_request(e.to_string()))?;
        let fields = FieldSelector::parse(&options.field_selector, target.kind)?;
        let fields = match target.name.as_str() {
            "" => fields,
            name => fields.and("metadata.name", name),
        };
        Ok(Filter { labels, fields })
    }

    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    pub fn matches(&self, entry: &Entry) -> bool {
        if self.is_empty() {
            return true;
        }
        let facts = Facts::of(entry);
        self.labels.matches(&facts.labels) && self.fields.matches(|field| facts.field(field))
    }

    /// The narrowest prefix of keys that holds every match.
    pub fn prefix(&self, target: &Target) -> String {
        let namespace = match target.namespace.as_str() {
            "" => self.fields.exact("metadata.namespace").unwrap_or_default(),
            namespace => namespace,
        };
        match self.fields.exact("metadata.name") {
            Some(name) if !name.is_empty() && (!namespace.is_empty() || !target.kind.namespaced) => {
                key(target.kind, namespace, name)
            }
            _ => key(target.kind, namespace, ""),
        }
    }
}

/// The answer of a list.
#[derive(Debug, Default)]
pub struct Listing {
    pub entries: Vec<Arc<Entry>>,
    pub revision: Revision,
    pub continue_token: Option<String>,
    pub remaining: Option<usize>,
}

/// The revision a client must not be answered before; the shell waits for it.
pub fn not_before(options: &ListOptions) -> Result<Revision, ApiError> {
    revision(&options.resource_version).map_err(|error| match options.watch {
        true => ApiError { code: 500, reason: "", ..error },
        false => ApiError { message: format!("invalid resource version: {}", error.message), ..error },
    })
}

/// Reads a resourceVersion parameter; empty is zero.
pub fn revision(text: &str) -> Result<Revision, ApiError> {
    if text.is_empty() {
        return Ok(Revision::ZERO);
    }
    text.parse().map(Revision).map_err(|_| {
        let why = format!("strconv.ParseUint: parsing {text:?}: invalid syntax");
        ApiError::bad_request(format!("resourceVersion: Invalid value: {text:?}: {why}"))
    })
}

/// What a client gets that asks for a revision the store does not reach in time.
pub fn too_large(asked: Revision, newest: Revision) -> ApiError {
    ApiError {
        details: json!({
            "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
            "retryAfterSeconds": 1,
        }),
        retry_after_s: Some(1),
        ..ApiError::new(
            504,
            "Timeout",
            format!("Timeout: Too large resource version: {asked}, current: {newest}"),
        )
    }
}

pub fn list(
    store: &dyn Store,
    target: &Target,
    options: &ListOptions,
    filter: &Filter,
) -> Result<Listing, ApiError> {
    let prefix = filter.prefix(target);
    let asked = not_before(options)?;
    let (at, after) = if options.continue_token.is_empty() {
        let exact = options.resource_version_match == "Exact";
        (if exact { asked } else { Revision::ZERO }, String::new())
    } else {
        if asked != Revision::ZERO {
            let message = "specifying resource version is not allowed when using continue";
            return Err(ApiError::bad_request(message));
        }
        let (at, start) = read_token(&options.continue_token)?;
        (at, format!("{prefix}{start}"))
    };
    // A list that takes "any version" comes whole: that is what a cache answers upstream.
    let whole = options.resource_version == "0";
    let limit = if whole { 0 } else { options.limit };
    let page = Scan { store, prefix: &prefix, filter, at, limit };
    page.run(after.clone()).map_err(|error| {
        let start = after.strip_prefix(prefix.as_str()).filter(|_| !options.continue_token.is_empty());
        expired(error, start)
    })
}

struct Scan<'a> {
    store: &'a dyn Store,
    prefix: &'a str,
    filter: &'a Filter,
    at: Revision,
    limit: usize,
}

impl Scan<'_> {
    fn run(&self, mut after: String) -> Result<Listing, StoreError> {
        let mut listing = Listing { revision: self.at, ..Listing::default() };
        loop {
            let room = match (self.limit, self.filter.is_empty()) {
                (0, _) => 0,
                (limit, true) => limit,
                (..) => CHUNK,
            };
            let query = Query { prefix: self.prefix, after: &after, at: listing.revision, limit: room };
            let page = self.store.range(&query)?;
            listing.revision = page.revision;
            let count = page.entries.len();
            for (index, entry) in page.entries.into_iter().enumerate() {
                after = entry.key.to_string();
                if self.filter.matches(&entry) {
                    listing.entries.push(entry);
                }
                let left = count - index - 1 + page.remaining;
                if self.limit > 0 && listing.entries.len() == self.limit && left > 0 {
                    let start = after.strip_prefix(self.prefix).unwrap_or_default();
                    listing.continue_token = Some(write_token(listing.revision, start));
                    listing.remaining = self.filter.is_empty().then_some(left);
                    return Ok(listing);
                }
            }
            if page.remaining == 0 {
                return Ok(listing);
            }
        }
    }
}

const EXPIRED_LIST: &str = "The resourceVersion for the provided list is too old.";
const EXPIRED_CONTINUE: &str = "The provided continue parameter is too old to display a consistent list result. \
    You can start a new list without the continue parameter, or use the continue token in this response to retrieve \
    the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that \
    were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.";

/// `start`: where a list was to be continued.
fn expired(error: StoreError, start: Option<&str>) -> ApiError {
    match (error, start) {
        (StoreError::Compacted { .. }, None) => ApiError::new(410, "Expired", EXPIRED_LIST),
        (StoreError::Compacted { .. }, Some(start)) => ApiError {
            continue_token: Some(token(-1, start)),
            ..ApiError::new(410, "Expired", EXPIRED_CONTINUE)
        },
        (StoreError::Future { asked, newest }, _) => too_large(asked, newest),
        (other, _) => ApiError::internal(other),
    }
}

/// Upstream's form of the token, so that clients which look inside find what they know.
fn write_token(at: Revision, start: &str) -> String {
    token(i64::try_from(at.0).unwrap_or(i64::MAX), start)
}

/// A negative revision stands for the newest.
fn token(revision: i64, start: &str) -> String {
    let start = Value::from(format!("{start}\u{0}"));
    URL_SAFE_NO_PAD.encode(format!("{{\"v\":\"meta.k8s.io/v1\",\"rv\":{revision},\"start\":{start}}}"))
}

/// Tokens of other servers may be padded.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

fn read_token(text: &str) -> Result<(Revision, String), ApiError> {
    let wrong = |why: String| {
        ApiError::bad_request(format!("invalid continue token: continue key is not valid: {why}"))
    };
    let bytes = LENIENT.decode(text).map_err(|e| wrong(e.to_string()))?;
    let token: Value = serde_json::from_slice(&bytes).map_err(|e| wrong(go_json_error(&bytes, &e)))?;
    if token["v"] != "meta.k8s.io/v1" {
        return Err(wrong("server does not recognize this encoded version".to_owned()));
    }
    let at = token["rv"].as_i64().filter(|at| *at != 0).ok_or_else(|| {
        wrong("incorrect encoded start resourceVersion (version meta.k8s.io/v1)".to_owned())
    })?;
    let start = token["start"].as_str().unwrap_or_default().trim_end_matches('\u{0}');
    if start.split('/').any(|part| part == "..") {
        return Err(wrong("invalid encoded start key".to_owned()));
    }
    Ok((Revision(u64::try_from(at).unwrap_or(0)), start.to_owned()))
}

fn go_json_error(bytes: &[u8], error: &serde_json::Error) -> String {
    match bytes.first() {
        Some(byte) if !byte.is_ascii_graphic() => {
            format!("invalid character '\\u{byte:04x}' looking for beginning of value")
        }
        _ => error.to_string(),
    }
}

/// How a watch begins.
#[derive(Debug)]
pub struct WatchStart {
    /// Sent as ADDED first.
    pub initial: Vec<Arc<Entry>>,
    /// Events after this revision follow.
    pub after: Revision,
    /// End the initial events with the bookmark that says so.
    pub end_bookmark: bool,
}

pub fn start_watch(
    store: &dyn Store,
    target: &Target,
    options: &ListOptions,
    filter: &Filter,
) -> Result<WatchStart, ApiError> {
    let asked = not_before(options)?;
    let initial = match options.send_initial_events {
        Some(wanted) => wanted,
        None => asked == Revision::ZERO,
    };
    if !initial {
        let after = if asked == Revision::ZERO { store.revision() } else { asked };
        return Ok(WatchStart { initial: Vec::new(), after, end_bookmark: false });
    }
    let scan = Scan { store, prefix: &filter.prefix(target), filter, at: Revision::ZERO, limit: 0 };
    let listing = scan.run(String::new()).map_err(|error| expired(error, None))?;
    let end_bookmark = options.send_initial_events == Some(true) && options.allow_watch_bookmarks;
    Ok(WatchStart { initial: listing.entries, after: listing.revision, end_bookmark })
}

/// One event as a watch with a filter sees it.
#[derive(Debug, Clone)]
pub enum Seen {
    Added(Arc<Entry>),
    Modified(Arc<Entry>),
    /// The last state that matched, and the revision of the change that ended it.
    Deleted(Arc<Entry>, Revision),
}

/// An object that starts to match is added, one that ceases to match is deleted.
pub fn observe(filter: &Filter, event: &Event) -> Option<Seen> {
    let previous = event.previous.as_ref().filter(|entry| filter.matches(entry));
    let present = event.entry.as_ref().filter(|entry| filter.matches(entry));
    match (previous, present) {
        (None, None) => None,
        (None, Some(entry)) => Some(Seen::Added(entry.clone())),
        (Some(_), Some(entry)) => Some(Seen::Modified(entry.clone())),
        (Some(entry), None) => Some(Seen::Deleted(entry.clone(), event.revision)),
    }
}

/// The error event of a watch that starts before the history does.
pub fn too_old(asked: Revision, oldest: Revision) -> ApiError {
    ApiError::new(410, "Expired", format!("too old resource version: {asked} ({oldest})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Conformance spec "should support continue listing from the last key if the original version has been compacted away".
    #[test]
    fn an_expired_list_can_be_continued_from_the_newest_state() {
        let compacted = || StoreError::Compacted { asked: Revision(3), oldest: Revision(9) };
        let refused = expired(compacted(), Some("ns/b"));
        let token = refused.continue_token.clone().expect("a token");
        assert_eq!(read_token(&token).expect("a readable token"), (Revision::ZERO, "ns/b".to_owned()));
        assert_eq!(refused.to_status()["metadata"]["continue"], token);
        assert_eq!(expired(compacted(), None).continue_token, None, "nothing was to be continued");
        assert!(read_token(&super::token(0, "ns/b")).is_err());
    }
}
