//! Which files of a container's log are renamed and removed. The runtime reopens the log after the rename.

/// The kubelet's defaults.
pub const FILE_BYTES_MAX: u64 = 10 * 1024 * 1024;
pub const FILES_MAX: usize = 5;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rotation {
    /// The live file moves to this name.
    pub rename_to: Option<String>,
    pub remove: Vec<String>,
}

/// `name` is the live file (`0.log`), `rotated` all others of its folder that begin with it; `stamp` is `20060102-150405`.
pub fn plan(name: &str, bytes: u64, rotated: &[String], stamp: &str) -> Rotation {
    if bytes < FILE_BYTES_MAX {
        return Rotation::default();
    }
    let mut old: Vec<&String> =
        rotated.iter().filter(|file| file.strip_prefix(name).is_some_and(|s| s.starts_with('.'))).collect();
    // The stamp in the name sorts by age; a file left half-compressed by a crash goes first.
    old.sort();
    let kept = FILES_MAX - 2;
    let remove = old.iter().take(old.len().saturating_sub(kept)).map(|file| (*file).clone()).collect();
    Rotation { rename_to: Some(format!("{name}.{stamp}")), remove }
}

/// `20261125-003500` of seconds since the epoch.
pub fn stamp(time: kedge_api::Time) -> String {
    let text = time.to_string();
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    format!("{}-{}", &digits[..8], &digits[8..14])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotates_at_ten_mebibytes_and_keeps_five_files() {
        assert_eq!(plan("0.log", FILE_BYTES_MAX - 1, &[], "s"), Rotation::default());
        let old: Vec<String> =
            (1..=4).map(|n| format!("0.log.2026010{n}-000000")).chain(["0.logx".to_owned()]).collect();
        let seen = plan("0.log", FILE_BYTES_MAX, &old, "20260105-000000");
        assert_eq!(seen.rename_to.as_deref(), Some("0.log.20260105-000000"));
        assert_eq!(
            seen.remove,
            ["0.log.20260101-000000"],
            "five files are left with the renamed and the new one"
        );
    }

    #[test]
    fn stamps() {
        assert_eq!(stamp(kedge_api::Time(1_795_566_235)), "20261125-002355");
    }
}
