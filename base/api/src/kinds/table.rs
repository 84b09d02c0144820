//! The text form of the kind table.
//!
//! One fact a line, words separated by tabs; lines below a `kind` line belong to it:
//!
//! ```text
//! text   <description>                                    (numbered from 0; \n stands for a newline)
//! kind   <group>/<version> <Kind> <plural> <singular> namespaced|cluster <stored group>/<version> [<storageVersionHash>]
//! list   <ListKind>
//! short | categories | verbs   <word>…
//! sub    <name> <group>/<version> <Kind> <verb>…
//! column <priority> <type> <format> <name> <number of its text>
//! ```

use super::{Column, GroupVersion, Kind, Subresource};

/// The table does not parse.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("kind table, line {line}: {what}")]
pub struct ParseError {
    /// Counted from 1.
    pub line: usize,
    pub what: &'static str,
}

/// Parses a table. The rows live as long as the process, so call it once.
pub fn parse(text: &'static str) -> Result<Vec<Kind>, ParseError> {
    let mut texts: Vec<&'static str> = Vec::new();
    let mut kinds: Vec<Building> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let fail = |what| ParseError { line: index + 1, what };
        let mut words = line.split('\t');
        match (words.next().unwrap_or_default(), kinds.last_mut()) {
            ("" | "#", _) => {}
            ("text", _) => texts.push(unescape(words.next().unwrap_or_default())),
            ("kind", _) => kinds.push(kind_line(words).ok_or_else(|| fail("malformed kind"))?),
            (_, None) => return Err(fail("a fact before the first kind")),
            ("list", Some(b)) => b.kind.list_kind = words.next().ok_or_else(|| fail("no name"))?,
            ("short", Some(b)) => b.kind.short_names = leak(words),
            ("categories", Some(b)) => b.kind.categories = leak(words),
            ("verbs", Some(b)) => b.kind.verbs = leak(words),
            ("sub", Some(b)) => {
                b.subresources.push(sub_line(words).ok_or_else(|| fail("malformed subresource"))?)
            }
            ("column", Some(b)) => {
                b.columns.push(column_line(words, &texts).ok_or_else(|| fail("malformed column"))?)
            }
            _ => return Err(fail("unknown fact")),
        }
    }
    let kinds: Vec<Kind> = kinds.into_iter().map(Building::finish).collect();
    match kinds.iter().find(|k| !kinds.iter().any(|s| s.kind == k.kind && s.group_version() == k.stored_as)) {
        Some(_) => Err(ParseError { line: 0, what: "a kind is stored as a version that has no row" }),
        None => Ok(kinds),
    }
}

/// A row whose lists are still growing.
struct Building {
    kind: Kind,
    subresources: Vec<Subresource>,
    columns: Vec<Column>,
}

impl Building {
    fn finish(self) -> Kind {
        Kind { subresources: Vec::leak(self.subresources), columns: Vec::leak(self.columns), ..self.kind }
    }
}

type Words = std::str::Split<'static, char>;

fn kind_line(mut words: Words) -> Option<Building> {
    let gv = group_version(words.next()?)?;
    let (kind, plural, singular) = (words.next()?, words.next()?, words.next()?);
    let namespaced = match words.next()? {
        "namespaced" => true,
        "cluster" => false,
        _ => return None,
    };
    let kind = Kind {
        group: gv.group,
        version: gv.version,
        kind,
        plural,
        singular,
        namespaced,
        list_kind: "",
        short_names: &[],
        categories: &[],
        verbs: &[],
        subresources: &[],
        stored_as: group_version(words.next()?)?,
        storage_version_hash: words.next().unwrap_or_default(),
        columns: &[],
    };
    Some(Building { kind, subresources: Vec::new(), columns: Vec::new() })
}

fn sub_line(mut words: Words) -> Option<Subresource> {
    let name = words.next()?;
    let GroupVersion { group, version } = group_version(words.next()?)?;
    Some(Subresource { name, group, version, kind: words.next()?, verbs: leak(words) })
}

fn column_line(mut words: Words, texts: &[&'static str]) -> Option<Column> {
    let priority = words.next()?.parse().ok()?;
    let (kind, format, name) = (words.next()?, words.next()?, words.next()?);
    let text: usize = words.next()?.parse().ok()?;
    Some(Column { name, kind, format, priority, description: texts.get(text)? })
}

/// `apps/v1`, or `/v1` for the core group.
fn group_version(word: &'static str) -> Option<GroupVersion> {
    let (group, version) = word.split_once('/')?;
    Some(GroupVersion { group, version })
}

fn leak(words: Words) -> &'static [&'static str] {
    Vec::leak(words.collect())
}

fn unescape(text: &'static str) -> &'static str {
    if text.contains('\\') { String::leak(text.replace("\\n", "\n").replace("\\t", "\t")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_more_is_one_text() {
        let text = "text\ta\\nb\nkind\tx.io/v1\tFoo\tfoos\tfoo\tcluster\tx.io/v1\tabc=\nlist\tFooList\nverbs\tget\tlist\n\
                    sub\tstatus\tx.io/v1\tFoo\tget\ncolumn\t0\tstring\tname\tName\t0\n";
        let kinds = parse(text).expect("parses");
        assert_eq!((kinds[0].kind, kinds[0].verbs), ("Foo", ["get", "list"].as_slice()));
        assert_eq!(kinds[0].columns[0].description, "a\nb");
    }

    #[test]
    fn a_broken_table_names_its_line() {
        for (text, line) in [
            ("list\tFooList\n", 1),
            ("kind\tv1\tFoo\n", 1),
            ("kind\tx/v1\tFoo\tfoos\tfoo\tcluster\tx/v1\nwhat\n", 2),
            ("kind\tx/v1\tFoo\tfoos\tfoo\tcluster\tx/v1\ncolumn\t0\tstring\tname\tName\t7\n", 2),
            ("kind\tx/v1\tFoo\tfoos\tfoo\tcluster\tx/v2\n", 0),
        ] {
            assert_eq!(parse(text).expect_err(text).line, line, "{text}");
        }
    }
}
