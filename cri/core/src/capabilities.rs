//! Capabilities by name, and what a container gets.

/// Names in the order of `linux/capability.h`, without `CAP_`.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// What every container starts with, on any runtime.
pub const DEFAULT: u64 = 0xa804_25fb;
pub const ALL: u64 = (1 << NAMES.len()) - 1;

/// The bit of a name, with or without `CAP_`, in any case.
pub fn bit(name: &str) -> Option<u64> {
    let name = name.to_ascii_uppercase();
    let name = name.strip_prefix("CAP_").unwrap_or(&name);
    NAMES.iter().position(|known| *known == name).map(|at| 1 << at)
}

/// `DEFAULT`, changed as the pod asks. `ALL` is applied before the single names, so that "drop ALL, add X" is X alone.
/// A name that this list does not have is passed over, as other runtimes do (`sec-caps-bad`).
pub fn resolve(is_privileged: bool, add: &[String], drop: &[String]) -> u64 {
    if is_privileged {
        return ALL;
    }
    let is_all = |name: &String| name.eq_ignore_ascii_case("ALL") || name.eq_ignore_ascii_case("CAP_ALL");
    let bits = |names: &[String]| names.iter().filter_map(|name| bit(name)).fold(0, |set, bit| set | bit);
    let mut set = DEFAULT;
    if drop.iter().any(is_all) {
        set = 0;
    }
    if add.iter().any(is_all) {
        set = ALL;
    }
    (set | bits(add)) & !bits(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(add: &[&str], drop: &[&str], expected: u64) {
        let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(resolve(false, &own(add), &own(drop)), expected);
    }

    #[test]
    fn adds_and_drops() {
        let of = |name| bit(name).unwrap();
        let default: u64 = [
            "CHOWN",
            "DAC_OVERRIDE",
            "FSETID",
            "FOWNER",
            "MKNOD",
            "NET_RAW",
            "SETGID",
            "SETUID",
            "SETFCAP",
            "SETPCAP",
            "NET_BIND_SERVICE",
            "SYS_CHROOT",
            "KILL",
            "AUDIT_WRITE",
        ]
        .iter()
        .map(|name| of(name))
        .sum();
        check(&[], &[], default);
        check(&["NET_ADMIN"], &["ALL"], of("NET_ADMIN"));
        check(&["CAP_SYS_TIME"], &["chown"], (default | of("SYS_TIME")) & !of("CHOWN"));
        check(&["ALL"], &["SYS_ADMIN"], ALL & !of("SYS_ADMIN"));
        check(&["ALL"], &["ALL"], ALL);
        check(&["FLY"], &["SWIM"], default);
    }
}
