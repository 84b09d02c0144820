//! Reads tar entries from a stream, plain or compressed, never more of anything than the limits allow.

use super::Error;
use kedge_cri_core::images::tar::{BLOCK, Block, Decoder, Entry};
use kedge_cri_core::images::{self, Limits};
use std::io::{self, BufRead, BufReader, Read};

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Undoes gzip or zstd where the first bytes say so.
pub(super) fn decompress<'a>(from: impl Read + Send + 'a) -> io::Result<Box<dyn Read + Send + 'a>> {
    let mut from = BufReader::with_capacity(128 << 10, from);
    // One read may bring a single byte: fill until the magic is decided.
    let mut head = [0u8; 4];
    let mut filled = 0;
    while filled < head.len() {
        match from.read(&mut head[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    let whole = BufReader::with_capacity(128 << 10, io::Cursor::new(head[..filled].to_vec()).chain(from));
    Ok(if head[..filled].starts_with(&GZIP) {
        Box::new(flate2::bufread::MultiGzDecoder::new(whole))
    } else if head[..filled].starts_with(&ZSTD) {
        Box::new(zstd_decoder(whole)?)
    } else {
        Box::new(whole)
    })
}

fn zstd_decoder<'a, R: BufRead + 'a>(from: R) -> io::Result<zstd::Decoder<'a, R>> {
    let mut decoder = zstd::Decoder::with_buffer(from)?;
    // 128 MiB, the most that `zstd -d` takes without being asked; a frame may demand gigabytes.
    decoder.window_log_max(27)?;
    Ok(decoder)
}

/// A cursor over the entries of one tar stream; the body of the entry at hand is read through [`Tarball::body`].
pub(super) struct Tarball<R> {
    from: R,
    decoder: Decoder,
    /// Bytes of the body not read yet, and the padding behind them.
    body_left: u64,
    padding: u64,
    entries_left: u64,
    bytes_left: u64,
    limits: Limits,
}

impl<R: Read> Tarball<R> {
    pub(super) fn new(from: R, limits: Limits) -> Tarball<R> {
        Tarball {
            from,
            decoder: Decoder::default(),
            body_left: 0,
            padding: 0,
            entries_left: limits.entries,
            bytes_left: limits.unpacked_bytes,
            limits,
        }
    }

    /// The next entry; `None` at the end of the archive.
    pub(super) fn next_entry(&mut self) -> Result<Option<Entry>, Error> {
        loop {
            self.skip_body()?;
            let mut block = [0u8; BLOCK];
            if !self.read_block(&mut block)? {
                return Ok(None);
            }
            self.entries_left = self
                .entries_left
                .checked_sub(1)
                .ok_or(images::Error::Limit { what: "number of entries", limit: self.limits.entries })?;
            match self.decoder.header(&block)? {
                Block::End => return Ok(None),
                Block::Extension { size } => {
                    self.begin_body(size)?;
                    let mut content = Vec::with_capacity(size as usize);
                    self.body().read_to_end(&mut content).map_err(Error::reading)?;
                    if content.len() as u64 != size {
                        return Err(torn());
                    }
                    self.decoder.extension(&content)?;
                }
                Block::Entry(entry) => {
                    self.begin_body(entry.size)?;
                    return Ok(Some(entry));
                }
            }
        }
    }

    pub(super) fn body(&mut self) -> Body<'_, R> {
        Body(self)
    }

    /// Reads to the end of the stream, so that a digest over it is whole. What follows the archive is not ours to judge.
    pub(super) fn drain(mut self) -> Result<(), Error> {
        let limit = self.bytes_left;
        let rest =
            io::copy(&mut (&mut self.from).take(limit + 1), &mut io::sink()).map_err(Error::reading)?;
        if rest > limit { Err(self.too_large()) } else { Ok(()) }
    }

    fn too_large(&self) -> Error {
        images::Error::Limit { what: "unpacked size", limit: self.limits.unpacked_bytes }.into()
    }

    fn begin_body(&mut self, size: u64) -> Result<(), Error> {
        self.padding = size.wrapping_neg() % BLOCK as u64;
        let taken = size.checked_add(self.padding + BLOCK as u64);
        let left = taken.and_then(|taken| self.bytes_left.checked_sub(taken));
        self.bytes_left = left.ok_or_else(|| self.too_large())?;
        self.body_left = size;
        Ok(())
    }

    fn skip_body(&mut self) -> Result<(), Error> {
        let left = self.body_left + std::mem::take(&mut self.padding);
        self.body_left = 0;
        let skipped = io::copy(&mut (&mut self.from).take(left), &mut io::sink()).map_err(Error::reading)?;
        if skipped == left { Ok(()) } else { Err(torn()) }
    }

    /// False at a clean end; archives without the two zero blocks exist.
    fn read_block(&mut self, block: &mut [u8; BLOCK]) -> Result<bool, Error> {
        let mut filled = 0;
        while filled < BLOCK {
            match self.from.read(&mut block[filled..]).map_err(Error::reading)? {
                0 if filled == 0 => return Ok(false),
                0 => return Err(torn()),
                read => filled += read,
            }
        }
        Ok(true)
    }
}

fn torn() -> Error {
    images::Error::Tar("the archive ends in the middle of an entry".to_owned()).into()
}

/// The body of the entry at hand. A body that ends early is an error, not a short file.
pub(super) struct Body<'a, R>(&'a mut Tarball<R>);

impl<R: Read> Read for Body<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let tarball = &mut *self.0;
        let most = into.len().min(usize::try_from(tarball.body_left).unwrap_or(usize::MAX));
        if most == 0 {
            return Ok(0);
        }
        match tarball.from.read(&mut into[..most])? {
            0 => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the archive ends in the middle of an entry",
            )),
            read => {
                tarball.body_left -= read as u64;
                Ok(read)
            }
        }
    }
}
