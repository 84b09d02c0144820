//! Links of a proxied page lead through the proxy again. A page is rewritten as it passes: only a tag whose end has not come
//! yet waits, and not longer than [`TAG_BYTES_MAX`]. Text that looks like a tag inside a script is treated as one.

use super::moved;
use bytes::Bytes;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use kedge_serving::{BoxBody, BoxError};

const TAG_BYTES_MAX: usize = 64 << 10;

/// The attributes that hold a link, by element, as upstream lists them.
const LINKS: [(&str, &[&str]); 25] = [
    ("a", &["href"]),
    ("applet", &["codebase"]),
    ("area", &["href"]),
    ("audio", &["src"]),
    ("base", &["href"]),
    ("blockquote", &["cite"]),
    ("body", &["background"]),
    ("button", &["formaction"]),
    ("command", &["icon"]),
    ("del", &["cite"]),
    ("embed", &["src"]),
    ("form", &["action"]),
    ("frame", &["longdesc", "src"]),
    ("head", &["profile"]),
    ("html", &["manifest"]),
    ("iframe", &["longdesc", "src"]),
    ("img", &["longdesc", "src", "usemap"]),
    ("input", &["src", "usemap", "formaction"]),
    ("ins", &["cite"]),
    ("link", &["href"]),
    ("object", &["classid", "codebase", "data", "usemap"]),
    ("q", &["cite"]),
    ("script", &["src"]),
    ("source", &["src"]),
    ("video", &["poster", "src"]),
];

/// The page with its links rewritten.
pub(super) fn rewritten(page: Incoming, prefix: &str, host: &str) -> BoxBody {
    let rewriter = Rewriter { prefix: prefix.to_owned(), host: host.to_owned(), pending: Vec::new() };
    let frames = futures_util::stream::unfold(Some((page, rewriter)), |state| async move {
        let (mut page, mut rewriter) = state?;
        let bytes = match page.frame().await {
            Some(Ok(frame)) => {
                rewriter.push(frame.data_ref().map_or(&[][..], |data| data));
                rewriter.take()
            }
            Some(Err(error)) => return Some((Err(BoxError::from(error)), None)),
            None => return Some((Ok(Frame::data(Bytes::from(rewriter.pending))), None)),
        };
        Some((Ok(Frame::data(Bytes::from(bytes))), Some((page, rewriter))))
    });
    StreamBody::new(frames).boxed_unsync()
}

struct Rewriter {
    prefix: String,
    /// The destination's scheme and address.
    host: String,
    /// What has come and was not given away.
    pending: Vec<u8>,
}

impl Rewriter {
    fn push(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    /// Everything up to a tag that has no end yet.
    fn take(&mut self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.pending.len() + self.prefix.len());
        let mut at = 0;
        while let Some(start) =
            self.pending[at..].iter().position(|byte| *byte == b'<').map(|found| at + found)
        {
            out.extend_from_slice(&self.pending[at..start]);
            at = start;
            match tag_length(&self.pending[start..]) {
                Some(length) => {
                    self.tag(&self.pending[start..start + length], &mut out);
                    at += length;
                }
                None if self.pending.len() - start > TAG_BYTES_MAX => break,
                None => {
                    self.pending.drain(..start);
                    return out;
                }
            }
        }
        out.extend_from_slice(&self.pending[at..]);
        self.pending.clear();
        out
    }

    fn tag(&self, tag: &[u8], out: &mut Vec<u8>) {
        let name = word(&tag[1..]).to_ascii_lowercase();
        let links =
            LINKS.iter().find(|(element, _)| element.as_bytes() == name).map_or(&[][..], |(_, links)| links);
        let mut at = 1 + name.len();
        out.extend_from_slice(&tag[..at]);
        while at < tag.len() && !links.is_empty() {
            let Some(value) = next_value(tag, at) else { break };
            out.extend_from_slice(&tag[at..value.start]);
            let is_link = links.iter().any(|link| value.attribute.eq_ignore_ascii_case(link.as_bytes()));
            let old = &tag[value.start..value.end];
            let text = std::str::from_utf8(old).ok().filter(|_| is_link);
            match text.and_then(|text| self.link(text)) {
                Some(new) => out.extend_from_slice(new.as_bytes()),
                None => out.extend_from_slice(old),
            }
            at = value.end;
        }
        out.extend_from_slice(&tag[at..]);
    }

    fn link(&self, text: &str) -> Option<String> {
        // `//host/path` leads elsewhere, and who knows the prefix needs no help.
        if text.starts_with("//") || text.starts_with(&self.prefix) {
            return None;
        }
        moved(text, &self.prefix, &self.host)
    }
}

/// The letters and digits at the start.
fn word(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|byte| !byte.is_ascii_alphanumeric());
    &bytes[..end.unwrap_or(bytes.len())]
}

/// Bytes of the tag, quoted `>` not counted; one for a `<` that begins none. None: its end has not come.
fn tag_length(bytes: &[u8]) -> Option<usize> {
    match bytes.get(1) {
        None => return None,
        Some(first) if !first.is_ascii_alphabetic() => return Some(1),
        Some(_) => {}
    }
    let mut quote = None;
    for (at, byte) in bytes.iter().enumerate() {
        match (quote, byte) {
            (None, b'>') => return Some(at + 1),
            (None, b'"' | b'\'') => quote = Some(*byte),
            (Some(open), byte) if open == *byte => quote = None,
            _ => {}
        }
    }
    None
}

struct Attribute<'a> {
    attribute: &'a [u8],
    /// Of the value, without quotes.
    start: usize,
    end: usize,
}

/// The next attribute with a value at or after `at`.
fn next_value(tag: &[u8], at: usize) -> Option<Attribute<'_>> {
    let equals = at + tag[at..].iter().position(|byte| *byte == b'=')?;
    let before = tag[at..equals].trim_ascii_end();
    let from =
        before.iter().rposition(|byte| byte.is_ascii_whitespace() || *byte == b'/').map_or(0, |at| at + 1);
    let attribute = &before[from..];
    let first = equals + 1 + tag[equals + 1..].iter().position(|byte| !byte.is_ascii_whitespace())?;
    let (start, end) = match tag[first] {
        quote @ (b'"' | b'\'') => {
            let length = tag[first + 1..].iter().position(|byte| *byte == quote)?;
            (first + 1, first + 1 + length)
        }
        _ => {
            let length = tag[first..].iter().position(|byte| byte.is_ascii_whitespace() || *byte == b'>')?;
            (first, first + length)
        }
    };
    Some(Attribute { attribute, start, end })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewrite(pieces: &[&str]) -> String {
        let mut rewriter = Rewriter {
            prefix: "/p/proxy".to_owned(),
            host: "http://10.0.0.1:80".to_owned(),
            pending: Vec::new(),
        };
        let mut out = Vec::new();
        for piece in pieces {
            rewriter.push(piece.as_bytes());
            out.extend(rewriter.take());
        }
        out.extend(rewriter.pending);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn links_lead_through_the_proxy() {
        for (page, wanted) in [
            (r#"<a href="/x">t</a>"#, r#"<a href="/p/proxy/x">t</a>"#),
            ("<A class=b HREF = '/x?y=1'>", "<A class=b HREF = '/p/proxy/x?y=1'>"),
            ("<img alt=\">\" src=/x.png>", "<img alt=\">\" src=/p/proxy/x.png>"),
            (r#"<a href="http://10.0.0.1:80/x">"#, r#"<a href="/p/proxy/x">"#),
            (
                r#"<a href="x"><a href="//h/x"><a href="http://h/x">"#,
                r#"<a href="x"><a href="//h/x"><a href="http://h/x">"#,
            ),
            (r#"<a href="/p/proxy/x"><p href="/x">"#, r#"<a href="/p/proxy/x"><p href="/x">"#),
            ("1 < 2 <!-- /x --> </a><br/><", "1 < 2 <!-- /x --> </a><br/><"),
        ] {
            assert_eq!(rewrite(&[page]), wanted);
        }
    }

    #[test]
    fn a_tag_may_come_in_pieces() {
        let pieces: Vec<String> = "a<a href=\"/x\">b".chars().map(String::from).collect();
        let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
        assert_eq!(rewrite(&pieces), "a<a href=\"/p/proxy/x\">b");
    }

    #[test]
    fn a_tag_without_end_does_not_wait_for_ever() {
        let long = format!("<a href=\"{}", "x".repeat(TAG_BYTES_MAX));
        assert_eq!(rewrite(&[&long, "/y\">"]), format!("{long}/y\">"));
    }
}
