//! Frame heads, read and written. A control frame is kept until it is whole; data passes through as it comes.

use super::Error;

pub(super) const HEAD: usize = 8;
/// Bytes of one control frame; header blocks are the only long ones.
pub(super) const CONTROL_BYTES_MAX: usize = 64 << 10;

pub(super) const SYN_STREAM: u16 = 1;
pub(super) const SYN_REPLY: u16 = 2;
pub(super) const RST_STREAM: u16 = 3;
pub(super) const SETTINGS: u16 = 4;
pub(super) const PING: u16 = 6;
pub(super) const GOAWAY: u16 = 7;
pub(super) const HEADERS: u16 = 8;
pub(super) const WINDOW_UPDATE: u16 = 9;

pub(super) const FLAG_FIN: u8 = 1;

const VERSION: u16 = 3;

/// The first eight bytes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Head {
    Control { kind: u16, flags: u8, length: usize },
    Data { stream: u32, flags: u8, length: usize },
}

pub(super) fn read_head(bytes: &[u8; HEAD]) -> Result<Head, Error> {
    let first = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    let flags = bytes[4];
    let length = u32::from_be_bytes([0, bytes[5], bytes[6], bytes[7]]) as usize;
    if first & 0x8000_0000 == 0 {
        return Ok(Head::Data { stream: first, flags, length });
    }
    let version = (first >> 16) as u16 & 0x7fff;
    if version != VERSION {
        return Err(Error::Version(version));
    }
    if length > CONTROL_BYTES_MAX {
        return Err(Error::Length { kind: "control", length });
    }
    Ok(Head::Control { kind: first as u16, flags, length })
}

pub(super) fn write_control(out: &mut Vec<u8>, kind: u16, flags: u8, parts: &[&[u8]]) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    out.extend_from_slice(&(0x8000 | VERSION).to_be_bytes());
    out.extend_from_slice(&kind.to_be_bytes());
    write_length(out, flags, length);
    parts.iter().for_each(|part| out.extend_from_slice(part));
}

pub(super) fn write_data_head(out: &mut Vec<u8>, stream: u32, flags: u8, length: usize) {
    out.extend_from_slice(&stream.to_be_bytes());
    write_length(out, flags, length);
}

fn write_length(out: &mut Vec<u8>, flags: u8, length: usize) {
    let length =
        u32::try_from(length).ok().filter(|length| *length < 1 << 24).expect("frames of ours are short");
    out.extend_from_slice(&(u32::from(flags) << 24 | length).to_be_bytes());
}

/// A 32-bit field whose first bit is reserved.
pub(super) fn stream_id(body: &[u8], at: usize, kind: &'static str) -> Result<u32, Error> {
    Ok(word(body, at, kind)? & 0x7fff_ffff)
}

pub(super) fn word(body: &[u8], at: usize, kind: &'static str) -> Result<u32, Error> {
    let field = body.get(at..at + 4).and_then(|field| field.first_chunk::<4>());
    field.map(|field| u32::from_be_bytes(*field)).ok_or(Error::Length { kind, length: body.len() })
}
