use super::*;

#[test]
fn the_registrys_words_are_kept() {
    for (body, expected) in [
        (
            r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{}}]}"#,
            "manifest unknown",
        ),
        (
            r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#,
            "unauthorized: authentication required",
        ),
        (r#"{"errors":[{"code":"A_B"},{"code":"C","message":"d"}]}"#, "a b, c: d"),
        ("<html>", ""),
        ("", ""),
    ] {
        assert_eq!(said(body.as_bytes()), expected, "{body}");
    }
}

#[test]
fn redirects_resolve() {
    for (base, location, expected) in [
        ("http://a:1/v2/x", "https://b/c?d", "https://b/c?d"),
        ("http://a:1/v2/x", "/c", "http://a:1/c"),
        ("https://a/v2/x", "//cdn/c", "https://cdn/c"),
    ] {
        assert_eq!(absolute(base, location), expected);
    }
    assert_eq!(authority("https://a:1/v2?x"), "a:1");
}

#[test]
fn requests_are_named_as_go_names_them() {
    assert_eq!(doing(&Method::HEAD, "https://a/v2"), "Head \"https://a/v2\"");
    assert_eq!(percent_encode("repository:a/b:pull"), "repository%3Aa%2Fb%3Apull");
}
