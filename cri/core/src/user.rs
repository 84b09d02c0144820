//! Whose process it is: user, group and supplementary groups, from the pod, the image and the image's own tables.
//!
//! The tables belong to the image and are hostile: the shell hands in at most [`TABLE_MAX`] bytes of a regular file.

use kedge_cri_api::ContainerSecurity;

/// How much of /etc/passwd or /etc/group is read (CVE-2026-47262).
pub const TABLE_MAX: usize = 1024 * 1024;
/// Ids are at most this, as in the Kubernetes API (CVE-2024-40635: more wrapped around to root).
const ID_MAX: u32 = i32::MAX as u32;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
    /// The primary group included (CVE-2022-36109: a program compares against this list alone).
    pub groups: Vec<u32>,
    /// From /etc/passwd, or `/`.
    pub home: String,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("user {0:?}: no matching entries in /etc/passwd of the image")]
    UnknownUser(String),
    #[error("group {0:?}: no matching entries in /etc/group of the image")]
    UnknownGroup(String),
    #[error("id {0} is not between 0 and 2147483647")]
    Range(i64),
}

struct Passwd<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

fn passwd(table: &[u8]) -> impl Iterator<Item = Passwd<'_>> {
    lines(table).filter_map(|line| {
        let mut fields = line.split(':');
        let (name, uid, gid) = (fields.next()?, fields.nth(1)?, fields.next()?);
        let home = fields.nth(1).unwrap_or_default();
        Some(Passwd { name, uid: id(uid)?, gid: id(gid)?, home })
    })
}

fn groups(table: &[u8]) -> impl Iterator<Item = Group<'_>> {
    lines(table).filter_map(|line| {
        let mut fields = line.split(':');
        let (name, gid) = (fields.next()?, fields.nth(1)?);
        Some(Group { name, gid: id(gid)?, members: fields.next().unwrap_or_default() })
    })
}

fn lines(table: &[u8]) -> impl Iterator<Item = &str> {
    table.split(|byte| *byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok()).map(str::trim)
}

/// Decimal digits alone, in range. `+1`, `0x0` and the like are names, not numbers.
fn id(text: &str) -> Option<u32> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|id| is_number && *id <= ID_MAX)
}

fn in_range(value: i64) -> Result<u32, Error> {
    u32::try_from(value).ok().filter(|id| *id <= ID_MAX).ok_or(Error::Range(value))
}

/// `image_user` is the image's USER. The pod's own fields win over it, each by itself.
pub fn resolve(
    security: &ContainerSecurity,
    image_user: &str,
    passwd_table: &[u8],
    group_table: &[u8],
) -> Result<User, Error> {
    let (image_name, image_group) = image_user.split_once(':').unwrap_or((image_user, ""));
    let (user, group) = match (security.run_as_user, security.run_as_username.as_str()) {
        (Some(uid), _) => (in_range(uid)?.to_string(), ""),
        (None, "") => (image_name.to_owned(), image_group),
        (None, name) => (name.to_owned(), ""),
    };
    let entry = passwd(passwd_table).find(|entry| entry.name == user || id(&user) == Some(entry.uid));
    let uid = match (&entry, id(&user)) {
        _ if user.is_empty() => 0,
        (_, Some(uid)) => uid,
        (Some(entry), None) => entry.uid,
        (None, None) => return Err(Error::UnknownUser(user)),
    };
    let entry = entry.or_else(|| passwd(passwd_table).find(|entry| entry.uid == uid));
    let gid = match security.run_as_group {
        Some(gid) => in_range(gid)?,
        None if !group.is_empty() => group_id(group, group_table)?,
        None => entry.as_ref().map_or(0, |entry| entry.gid),
    };
    let mut member_of = vec![gid];
    if !security.supplemental_groups_strict
        && let Some(entry) = &entry
    {
        let is_member = |group: &Group<'_>| group.members.split(',').any(|member| member == entry.name);
        member_of.extend(groups(group_table).filter(is_member).map(|group| group.gid));
    }
    for gid in &security.supplemental_groups {
        member_of.push(in_range(*gid)?);
    }
    let mut seen = std::collections::BTreeSet::new();
    member_of.retain(|gid| seen.insert(*gid));
    let home = entry.map(|entry| entry.home).filter(|home| home.starts_with('/')).unwrap_or("/").to_owned();
    Ok(User { uid, gid, groups: member_of, home })
}

fn group_id(group: &str, table: &[u8]) -> Result<u32, Error> {
    let found = id(group).or_else(|| groups(table).find(|entry| entry.name == group).map(|entry| entry.gid));
    found.ok_or_else(|| Error::UnknownGroup(group.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/sh\nbroken\napp:x:1000:1001::/home/app:/bin/sh\n\xff\xfe:x:1:1\nbig:x:4294967296:0::/:\n";
    const GROUP: &[u8] = b"root:x:0:\nwheel:x:10:root,app\nstaff:x:50:app\ndata:x:77:\n";

    #[track_caller]
    fn check(
        change: impl FnOnce(&mut ContainerSecurity),
        image: &str,
        expected: Result<(u32, u32, &[u32], &str), Error>,
    ) {
        let mut security = ContainerSecurity::default();
        change(&mut security);
        let user = resolve(&security, image, PASSWD, GROUP);
        let expected = expected.map(|(uid, gid, groups, home)| User {
            uid,
            gid,
            groups: groups.into(),
            home: home.into(),
        });
        assert_eq!(user, expected);
    }

    #[test]
    fn the_image_names_a_user() {
        check(|_| {}, "", Ok((0, 0, &[0, 10], "/root")));
        check(|_| {}, "app", Ok((1000, 1001, &[1001, 10, 50], "/home/app")));
        check(|_| {}, "1000", Ok((1000, 1001, &[1001, 10, 50], "/home/app")));
        check(|_| {}, "app:data", Ok((1000, 77, &[77, 10, 50], "/home/app")));
        check(|_| {}, "4242", Ok((4242, 0, &[0], "/")));
        check(|_| {}, "4242:9", Ok((4242, 9, &[9], "/")));
    }

    #[test]
    fn hostile_users_never_become_root() {
        for user in ["2147483648", "4294967296", "-1", "0x0", "+0", " 0", "big", "nobody"] {
            check(|_| {}, user, Err(Error::UnknownUser(user.into())));
        }
        check(|_| {}, "app:ghosts", Err(Error::UnknownGroup("ghosts".into())));
        check(|security| security.run_as_user = Some(1 << 32), "", Err(Error::Range(1 << 32)));
        check(|security| security.run_as_user = Some(-1), "", Err(Error::Range(-1)));
    }

    #[test]
    fn the_pod_wins() {
        check(
            |security| security.run_as_user = Some(1000),
            "root",
            Ok((1000, 1001, &[1001, 10, 50], "/home/app")),
        );
        check(
            |security| {
                security.run_as_user = Some(1000);
                security.run_as_group = Some(3000);
                security.supplemental_groups = vec![2000, 10];
            },
            "",
            Ok((1000, 3000, &[3000, 10, 50, 2000], "/home/app")),
        );
        check(
            |security| {
                security.run_as_user = Some(1000);
                security.supplemental_groups = vec![2000];
                security.supplemental_groups_strict = true;
            },
            "",
            Ok((1000, 1001, &[1001, 2000], "/home/app")),
        );
    }
}
