//! `sha256:…`, the name of a blob.

use super::Error;

/// A sha256 digest in its written form. Only this algorithm is stored: it is what registries and CRI clients use.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

const PREFIX: &str = "sha256:";

impl Digest {
    pub fn parse(text: &str) -> Result<Digest, Error> {
        let hex = text.strip_prefix(PREFIX).unwrap_or_default();
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if hex.len() == 64 && hex.bytes().all(is_hex) {
            Ok(Digest(text.to_owned()))
        } else {
            Err(Error::Digest(text.to_owned()))
        }
    }

    pub fn from_sha256(hash: [u8; 32]) -> Digest {
        let mut text = String::with_capacity(PREFIX.len() + 64);
        text.push_str(PREFIX);
        for byte in hash {
            for nibble in [byte >> 4, byte & 15] {
                text.push(char::from_digit(nibble.into(), 16).expect("a nibble is below 16"));
            }
        }
        Digest(text)
    }

    /// The 64 digits: a safe file name.
    pub fn hex(&self) -> &str {
        &self.0[PREFIX.len()..]
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Digest {
    type Error = Error;
    fn try_from(text: String) -> Result<Digest, Error> {
        Digest::parse(&text)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_sha256_is_a_digest() {
        let good = format!("sha256:{}", "0a".repeat(32));
        assert_eq!(Digest::parse(&good).unwrap().hex(), "0a".repeat(32));
        for bad in
            ["", "sha256:", "sha256:0a", &good[1..], &good.to_uppercase(), &format!("{good}0"), "sha512:00"]
        {
            assert!(Digest::parse(bad).is_err(), "{bad}");
        }
        let traversal = format!("sha256:{}{}", "../".repeat(21), "a");
        assert!(Digest::parse(&traversal).is_err());
    }

    #[test]
    fn bytes_are_written_as_lower_case_hex() {
        assert_eq!(Digest::from_sha256([0xAB; 32]).hex(), "ab".repeat(32));
    }
}
