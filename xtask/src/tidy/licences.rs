//! Licences and sources of everything that is linked: permissive ones, from crates.io.

use super::Metadata;

const ALLOWED: &[&str] = &[
    "MIT",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "0BSD",
    "ISC",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

pub fn check(metadata: &Metadata) -> Vec<String> {
    let packages = metadata.packages.iter();
    packages
        .filter_map(|package| {
            check_package(&package.name, package.license.as_deref(), package.source.as_deref())
        })
        .collect()
}

fn check_package(name: &str, license: Option<&str>, source: Option<&str>) -> Option<String> {
    if source.is_some_and(|source| source != CRATES_IO) {
        return Some(format!("{name} comes from {}, not from crates.io", source.unwrap_or_default()));
    }
    match license {
        None => Some(format!("{name} states no licence")),
        Some(expression) if !is_allowed(expression) => {
            Some(format!("{name}: licence {expression} is not on the list"))
        }
        Some(_) => None,
    }
}

/// SPDX expressions as crates write them: AND of parts, a part is an OR (also written `/`) of licences. Brackets only ever
/// hold an OR, which binds weaker than AND: where there are none, an OR of ANDs is judged as strictly as an AND of ORs.
fn is_allowed(expression: &str) -> bool {
    let plain = expression.replace('/', " OR ").replace(['(', ')'], " ");
    plain.split(" AND ").all(|part| part.split(" OR ").any(|licence| ALLOWED.contains(&licence.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licences_are_judged_by_their_expression() {
        for (expression, allowed) in [
            ("MIT", true),
            ("MIT/Apache-2.0", true),
            ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
            ("MIT OR LGPL-2.1-or-later", true),
            ("GPL-3.0-only", false),
            ("MIT AND GPL-2.0-only", false),
            ("MPL-2.0", false),
        ] {
            assert_eq!(is_allowed(expression), allowed, "{expression}");
        }
    }

    #[test]
    fn planted_packages_are_found() {
        assert!(check_package("a", None, Some(CRATES_IO)).is_some());
        assert!(check_package("a", Some("AGPL-3.0-only"), Some(CRATES_IO)).is_some());
        assert!(check_package("a", Some("MIT"), Some("git+https://example.com/a")).is_some());
        assert_eq!(check_package("a", Some("MIT"), Some(CRATES_IO)), None);
    }
}
