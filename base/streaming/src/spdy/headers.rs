//! Header blocks: name-value pairs behind one zlib stream per direction, primed with a dictionary of the specification
//! (`dictionary.bin`, its 1423 bytes of section 2.6.10.1).

use super::Error;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use std::collections::BTreeMap;

static DICTIONARY: &[u8] = include_bytes!("dictionary.bin");

/// Bytes of one block after decompression.
const BLOCK_BYTES_MAX: usize = 64 << 10;

/// Headers by lower-case name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers(BTreeMap<String, String>);

impl Headers {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(&name.to_ascii_lowercase()).map(String::as_str)
    }

    pub fn set(&mut self, name: &str, value: &str) {
        self.0.insert(name.to_ascii_lowercase(), value.to_owned());
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Headers {
    fn from(pairs: [(&str, &str); N]) -> Headers {
        let mut headers = Headers::default();
        pairs.into_iter().for_each(|(name, value)| headers.set(name, value));
        headers
    }
}

pub(super) struct Encoder(Compress);

impl Encoder {
    pub(super) fn new() -> Encoder {
        let mut zlib = Compress::new(Compression::best(), true);
        zlib.set_dictionary(DICTIONARY).expect("a fresh zlib stream takes a dictionary");
        Encoder(zlib)
    }

    pub(super) fn encode(&mut self, headers: &Headers) -> Vec<u8> {
        let mut plain = Vec::new();
        let number = |plain: &mut Vec<u8>, value: usize| {
            plain.extend_from_slice(&u32::try_from(value).expect("headers of ours are short").to_be_bytes());
        };
        number(&mut plain, headers.0.len());
        for text in headers.0.iter().flat_map(|(name, value)| [name, value]) {
            number(&mut plain, text.len());
            plain.extend_from_slice(text.as_bytes());
        }
        let mut block = Vec::with_capacity(plain.len() + 64);
        let before = self.0.total_in();
        loop {
            let taken = usize::try_from(self.0.total_in() - before).expect("no more than was given");
            let room = block.capacity();
            self.0
                .compress_vec(&plain[taken..], &mut block, FlushCompress::Sync)
                .expect("compressing into memory cannot fail");
            // zlib has more to say exactly when it filled the room it had.
            if block.len() < room {
                return block;
            }
            block.reserve(256);
        }
    }
}

pub(super) struct Decoder(Decompress);

impl Decoder {
    pub(super) fn new() -> Decoder {
        Decoder(Decompress::new(true))
    }

    pub(super) fn decode(&mut self, block: &[u8]) -> Result<Headers, Error> {
        parse(&self.inflate(block)?)
    }

    fn inflate(&mut self, block: &[u8]) -> Result<Vec<u8>, Error> {
        let mut plain = Vec::with_capacity(1024);
        let mut rest = block;
        loop {
            let (before, room) = (self.0.total_in(), plain.capacity());
            let result = self.0.decompress_vec(rest, &mut plain, FlushDecompress::Sync);
            let taken = usize::try_from(self.0.total_in() - before).map_err(|_| Error::Compression)?;
            rest = &rest[taken..];
            match result {
                Ok(flate2::Status::Ok) => {}
                Ok(flate2::Status::BufError) if rest.is_empty() => {}
                // The stream never ends inside a connection, and always makes progress.
                Ok(flate2::Status::StreamEnd | flate2::Status::BufError) => return Err(Error::Compression),
                Err(error) if error.needs_dictionary().is_some() => {
                    self.0.set_dictionary(DICTIONARY).map_err(|_| Error::Compression)?;
                    continue;
                }
                Err(_) => return Err(Error::Compression),
            }
            if rest.is_empty() && plain.len() < room {
                return Ok(plain);
            }
            if plain.len() > BLOCK_BYTES_MAX {
                return Err(Error::HeadersTooLarge(BLOCK_BYTES_MAX));
            }
            plain.reserve(4096);
        }
    }
}

fn parse(plain: &[u8]) -> Result<Headers, Error> {
    let mut rest = plain;
    let mut headers = Headers::default();
    let count = number(&mut rest)?;
    for _ in 0..count {
        let name = text(&mut rest)?;
        let value = text(&mut rest)?;
        if name.is_empty() || headers.0.contains_key(&name.to_ascii_lowercase()) {
            return Err(Error::Headers);
        }
        headers.set(&name, &value);
    }
    if rest.is_empty() { Ok(headers) } else { Err(Error::Headers) }
}

fn number(rest: &mut &[u8]) -> Result<usize, Error> {
    let (bytes, after) = rest.split_first_chunk::<4>().ok_or(Error::Headers)?;
    *rest = after;
    usize::try_from(u32::from_be_bytes(*bytes)).map_err(|_| Error::Headers)
}

fn text(rest: &mut &[u8]) -> Result<String, Error> {
    let length = number(rest)?;
    let (bytes, after) = rest.split_at_checked(length).ok_or(Error::Headers)?;
    *rest = after;
    String::from_utf8(bytes.to_vec()).map_err(|_| Error::Headers)
}
