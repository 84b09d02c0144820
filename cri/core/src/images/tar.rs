//! Tar headers and PAX records (POSIX.1-2001, and GNU's long names), decoded block by block.
//!
//! Written here and not taken from the `tar` crate: that one reads a long name of any length into memory, splits PAX
//! records at newlines (a capability's xattr may hold one), and ignores a PAX size in its raw mode.

use super::Error;
use std::collections::BTreeMap;

pub const BLOCK: usize = 512;
/// Bytes of one extension (a long name, a set of PAX records). An xattr's value is at most 64 KiB on Linux.
pub const EXTENSION_BYTES_MAX: u64 = 1 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Regular,
    Hardlink,
    Symlink,
    CharDevice,
    BlockDevice,
    Directory,
    Fifo,
}

/// One entry with everything that extensions said about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub kind: Kind,
    pub path: Vec<u8>,
    pub link: Vec<u8>,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub mtime_s: i64,
    pub mtime_ns: u32,
    pub device: (u32, u32),
    pub size: u64,
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What a header block turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Block {
    /// A zero block: the archive ends.
    End,
    /// `size` bytes of an extension follow: hand them to [`Decoder::extension`].
    Extension { size: u64 },
    /// An entry, followed by `entry.size` bytes.
    Entry(Entry),
}

/// Collects extensions until the entry they belong to arrives.
#[derive(Debug, Default)]
pub struct Decoder {
    pending: Option<u8>,
    long_path: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    global: BTreeMap<Vec<u8>, Vec<u8>>,
    local: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Decoder {
    pub fn header(&mut self, block: &[u8; BLOCK]) -> Result<Block, Error> {
        if self.pending.is_some() {
            return Err(Error::Tar("an extension was not read".to_owned()));
        }
        if block.iter().all(|byte| *byte == 0) {
            return Ok(Block::End);
        }
        verify_checksum(block)?;
        let type_flag = block[156];
        if matches!(type_flag, b'L' | b'K' | b'x' | b'g') {
            let size = number(&block[124..136], "size")?;
            if size > EXTENSION_BYTES_MAX {
                return Err(Error::Tar(format!(
                    "an extension of {size} bytes is larger than {EXTENSION_BYTES_MAX}"
                )));
            }
            self.pending = Some(type_flag);
            return Ok(Block::Extension { size });
        }
        self.entry(block, type_flag).map(Block::Entry)
    }

    /// The content of the extension that [`Block::Extension`] announced.
    pub fn extension(&mut self, content: &[u8]) -> Result<(), Error> {
        match self.pending.take() {
            Some(b'L') => self.long_path = Some(until_nul(content).to_vec()),
            Some(b'K') => self.long_link = Some(until_nul(content).to_vec()),
            Some(b'x') => self.local.extend(pax_records(content)?),
            Some(b'g') => self.global.extend(pax_records(content)?),
            Some(_) | None => return Err(Error::Tar("no extension was announced".to_owned())),
        }
        Ok(())
    }

    fn entry(&mut self, block: &[u8; BLOCK], type_flag: u8) -> Result<Entry, Error> {
        let local = std::mem::take(&mut self.local);
        let long_path = self.long_path.take();
        let long_link = self.long_link.take();
        let pax = |key: &[u8]| local.get(key).or_else(|| self.global.get(key));
        if local.keys().any(|key| key.starts_with(b"GNU.sparse.")) {
            return Err(Error::Tar("sparse files are not supported in images".to_owned()));
        }
        let path = pax(b"path").cloned().or(long_path).unwrap_or_else(|| ustar_path(block));
        let mut kind = kind(type_flag, &path)?;
        if kind == Kind::Regular && path.ends_with(b"/") {
            kind = Kind::Directory;
        }
        let id = |key: &[u8], field: &[u8], name| match pax(key) {
            Some(text) => decimal(text, name),
            None => number(field, name),
        };
        let size = id(b"size", &block[124..136], "size")?;
        let (mtime_s, mtime_ns) = match pax(b"mtime") {
            Some(text) => pax_time(text)?,
            None => (number_signed(&block[136..148], "mtime")?, 0),
        };
        let xattrs = local.iter().filter_map(|(key, value)| {
            key.strip_prefix(b"SCHILY.xattr.").map(|name| (name.to_vec(), value.clone()))
        });
        Ok(Entry {
            kind,
            link: pax(b"linkpath")
                .cloned()
                .or(long_link)
                .unwrap_or_else(|| until_nul(&block[157..257]).to_vec()),
            path,
            mode: (number(&block[100..108], "mode")? & 0o7777) as u32,
            uid: small(id(b"uid", &block[108..116], "uid")?, "uid")?,
            gid: small(id(b"gid", &block[116..124], "gid")?, "gid")?,
            mtime_s,
            mtime_ns,
            device: (
                small(number(&block[329..337], "devmajor")?, "devmajor")?,
                small(number(&block[337..345], "devminor")?, "devminor")?,
            ),
            // Only regular files have a body, whatever the field says.
            size: if kind == Kind::Regular { size } else { 0 },
            xattrs: xattrs.collect(),
        })
    }
}

fn kind(type_flag: u8, path: &[u8]) -> Result<Kind, Error> {
    Ok(match type_flag {
        0 | b'0' | b'7' => Kind::Regular,
        b'1' => Kind::Hardlink,
        b'2' => Kind::Symlink,
        b'3' => Kind::CharDevice,
        b'4' => Kind::BlockDevice,
        b'5' => Kind::Directory,
        b'6' => Kind::Fifo,
        other => {
            let path = String::from_utf8_lossy(path);
            return Err(Error::Tar(format!("{path:?} has the unsupported type {:?}", other as char)));
        }
    })
}

fn verify_checksum(block: &[u8; BLOCK]) -> Result<(), Error> {
    let stated = number(&block[148..156], "checksum")?;
    let sum = |as_number: fn(u8) -> i64| -> i64 {
        let outside = block[..148].iter().chain(&block[156..]).map(|byte| as_number(*byte)).sum::<i64>();
        outside + 8 * i64::from(b' ')
    };
    // Some old archives sum signed bytes.
    let matches = |computed: i64| u64::try_from(computed) == Ok(stated);
    if matches(sum(|byte| byte.into())) || matches(sum(|byte| (byte as i8).into())) {
        Ok(())
    } else {
        Err(Error::Tar("a header's checksum is wrong: not a tar archive, or a damaged one".to_owned()))
    }
}

fn until_nul(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    &field[..end]
}

fn ustar_path(block: &[u8; BLOCK]) -> Vec<u8> {
    let name = until_nul(&block[..100]);
    let prefix = until_nul(&block[345..500]);
    // GNU archives (magic `ustar  `) keep other things in the prefix field.
    if &block[257..263] != b"ustar\0" || prefix.is_empty() {
        return name.to_vec();
    }
    [prefix, b"/", name].concat()
}

/// Octal digits, or GNU's base 256 where the first bit is set.
fn number(field: &[u8], name: &str) -> Result<u64, Error> {
    u64::try_from(number_signed(field, name)?).map_err(|_| Error::Tar(format!("{name} is negative")))
}

fn number_signed(field: &[u8], name: &str) -> Result<i64, Error> {
    let bad = || Error::Tar(format!("{name} is not a number"));
    if field[0] & 0x80 != 0 {
        let negative = field[0] & 0x40 != 0;
        let mut value: i128 = if negative { -1 } else { 0 };
        for (at, byte) in field.iter().enumerate() {
            let byte = if at == 0 && !negative { byte & 0x7f } else { *byte };
            value = (value << 8) | i128::from(byte);
        }
        return i64::try_from(value).map_err(|_| bad());
    }
    let text = field.split(|byte| *byte == 0).next().unwrap_or_default().trim_ascii();
    if text.is_empty() {
        return Ok(0);
    }
    let text = std::str::from_utf8(text).map_err(|_| bad())?;
    i64::from_str_radix(text, 8).map_err(|_| bad())
}

fn decimal(text: &[u8], name: &str) -> Result<u64, Error> {
    let text = std::str::from_utf8(text).ok();
    text.and_then(|text| text.parse().ok()).ok_or_else(|| Error::Tar(format!("PAX {name} is not a number")))
}

fn small(value: u64, name: &str) -> Result<u32, Error> {
    u32::try_from(value).map_err(|_| Error::Tar(format!("{name} {value} is too large")))
}

fn pax_time(text: &[u8]) -> Result<(i64, u32), Error> {
    let bad = || Error::Tar("PAX mtime is not a number".to_owned());
    let text = std::str::from_utf8(text).map_err(|_| bad())?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().map_err(|_| bad())?;
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let nanos: u32 = digits.parse().map_err(|_| bad())?;
    match (whole.starts_with('-'), nanos) {
        // -1.25 is the second -2 and three quarters.
        (true, 1..) => Ok((seconds.checked_sub(1).ok_or_else(bad)?, 1_000_000_000 - nanos)),
        _ => Ok((seconds, nanos)),
    }
}

type PaxRecord = (Vec<u8>, Vec<u8>);

/// `LENGTH KEY=VALUE\n`, where LENGTH counts the whole record.
fn pax_records(mut content: &[u8]) -> Result<Vec<PaxRecord>, Error> {
    let bad = || Error::Tar("a PAX record is malformed".to_owned());
    let mut records = Vec::new();
    while !content.is_empty() && content[0] != 0 {
        let space = content.iter().take(20).position(|byte| *byte == b' ').ok_or_else(bad)?;
        let length = std::str::from_utf8(&content[..space]).ok().and_then(|text| text.parse::<usize>().ok());
        let length =
            length.filter(|length| *length > space + 1 && *length <= content.len()).ok_or_else(bad)?;
        let (record, rest) = content.split_at(length);
        let record = record[space + 1..].strip_suffix(b"\n").ok_or_else(bad)?;
        let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(bad)?;
        records.push((record[..equals].to_vec(), record[equals + 1..].to_vec()));
        content = rest;
    }
    Ok(records)
}

/// The header of a plain file of an archive that we write. The path is ours, and short.
pub fn file_header(path: &str, size: u64) -> [u8; BLOCK] {
    let mut block = [0u8; BLOCK];
    let mut put = |at: usize, text: &str| block[at..at + text.len()].copy_from_slice(text.as_bytes());
    assert!(
        path.len() <= 100 && size < 1 << 33,
        "names of an archive are short, blobs below eight gigabytes"
    );
    put(0, path);
    put(100, "0000444\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{size:011o}"));
    put(136, "00000000000");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\u{0}00");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(path: &str, type_flag: u8, size: u64) -> [u8; BLOCK] {
        let mut block = [0u8; BLOCK];
        block[..path.len()].copy_from_slice(path.as_bytes());
        block[100..107].copy_from_slice(b"0004755");
        block[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
        block[136..147].copy_from_slice(b"00000000012");
        block[156] = type_flag;
        block[257..263].copy_from_slice(b"ustar\0");
        seal(block)
    }

    fn seal(mut block: [u8; BLOCK]) -> [u8; BLOCK] {
        block[148..156].copy_from_slice(b"        ");
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        block
    }

    fn entry(decoder: &mut Decoder, block: [u8; BLOCK]) -> Entry {
        match decoder.header(&block).unwrap() {
            Block::Entry(entry) => entry,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_header_is_read() {
        let seen = entry(&mut Decoder::default(), header("bin/su", b'0', 10));
        assert_eq!((seen.kind, seen.mode, seen.size, seen.mtime_s), (Kind::Regular, 0o4755, 10, 10));
        assert_eq!(entry(&mut Decoder::default(), header("old-dir/", 0, 0)).kind, Kind::Directory);
        assert_eq!(Decoder::default().header(&[0; BLOCK]).unwrap(), Block::End);
    }

    #[test]
    fn what_we_write_we_read() {
        let seen = entry(&mut Decoder::default(), file_header("index.json", 12345));
        assert_eq!((seen.path.as_slice(), seen.size, seen.mode), (&b"index.json"[..], 12345, 0o444));
    }

    #[test]
    fn pax_records_win_and_hold_any_byte() {
        let mut decoder = Decoder::default();
        assert_eq!(decoder.header(&header("x", b'x', 99)).unwrap(), Block::Extension { size: 99 });
        let mut content = b"18 path=long/name\n20 mtime=-1.25\n".to_vec();
        content.truncate(18);
        content.extend_from_slice(b"15 mtime=-1.25\n");
        content.extend_from_slice(b"16 size=1234567\n");
        content.extend_from_slice(b"25 SCHILY.xattr.user.a=\n\0");
        content.pop();
        content.extend_from_slice(b"\n");
        decoder.extension(&content).unwrap();
        let seen = entry(&mut decoder, header("short", b'0', 1));
        assert_eq!(seen.path, b"long/name");
        assert_eq!((seen.mtime_s, seen.mtime_ns, seen.size), (-2, 750_000_000, 1234567));
        assert_eq!(seen.xattrs, vec![(b"user.a".to_vec(), b"\n".to_vec())]);
        let next = entry(&mut decoder, header("next", b'0', 1));
        assert_eq!((next.path.as_slice(), next.xattrs.len()), (&b"next"[..], 0));
    }

    #[test]
    fn damage_is_an_error() {
        let mut torn = header("x", b'0', 1);
        torn[0] = b'y';
        let words = |result: Result<Block, Error>| result.unwrap_err().to_string();
        assert!(words(Decoder::default().header(&torn)).contains("checksum"));
        assert!(words(Decoder::default().header(&header("x", b'S', 1))).contains("unsupported type"));
        assert!(words(Decoder::default().header(&header("x", b'L', 1 << 30))).contains("larger than"));
        for bad in ["x", "5", "99 a=b\n", "6 a=b\n1", "4 =\n", "0 a=b\n", "6 ab\n\n", "-1 a=b\n"] {
            let parsed = pax_records(bad.as_bytes());
            assert!(parsed.is_err() || parsed.unwrap().len() <= 1, "{bad:?}");
        }
    }

    #[test]
    fn base_256_numbers() {
        let mut field = [0u8; 12];
        field[0] = 0x80;
        field[11] = 7;
        assert_eq!(number(&field, "size"), Ok(7));
        assert_eq!(number_signed(&[0xff; 12], "mtime"), Ok(-1));
        assert!(number(&[0xff; 12], "size").is_err());
        field[1] = 1;
        assert!(number(&field, "size").is_err());
    }

    /// Whatever the bytes, decoding ends with a value or an error.
    #[test]
    fn arbitrary_blocks_never_panic() {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let mut next = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        for _ in 0..2000 {
            let mut block = [0u8; BLOCK];
            block.iter_mut().for_each(|byte| *byte = next() as u8);
            if next() % 2 == 0 {
                block = seal(block);
            }
            let mut decoder = Decoder::default();
            if let Ok(Block::Extension { .. }) = decoder.header(&block) {
                let _ = decoder.extension(&block);
            }
            let _ = pax_records(&block);
        }
    }
}
