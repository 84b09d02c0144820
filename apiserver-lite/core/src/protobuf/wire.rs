//! The protobuf wire format: fields of a message, one after the other.

/// A message that does not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    #[error("unexpected EOF")]
    End,
    #[error("proto: integer overflow")]
    Overflow,
    #[error("proto: illegal wireType {0}")]
    WireType(u8),
    #[error("proto: illegal tag 0")]
    Tag,
    #[error("proto: invalid UTF-8 string")]
    Utf8,
    #[error("proto: a field has the wrong wire type")]
    Mismatch,
    #[error("proto: nested too deeply")]
    Depth,
    #[error("proto: embedded JSON does not parse")]
    Json,
}

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
}

/// The fields of a message with their numbers. After an error there are no more.
pub fn entries(bytes: &[u8]) -> Entries<'_> {
    Entries { rest: bytes }
}

pub struct Entries<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<(u32, Payload<'a>), WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let entry = self.entry();
        if entry.is_err() {
            self.rest = &[];
        }
        Some(entry)
    }
}

impl<'a> Entries<'a> {
    fn entry(&mut self) -> Result<(u32, Payload<'a>), WireError> {
        let key = varint(&mut self.rest)?;
        let number = u32::try_from(key >> 3).map_err(|_| WireError::Tag)?;
        if number == 0 {
            return Err(WireError::Tag);
        }
        let payload = match (key & 7) as u8 {
            0 => Payload::Varint(varint(&mut self.rest)?),
            1 => Payload::Fixed64(u64::from_le_bytes(*self.fixed()?)),
            2 => {
                let length = usize::try_from(varint(&mut self.rest)?).map_err(|_| WireError::End)?;
                let (head, tail) = self.rest.split_at_checked(length).ok_or(WireError::End)?;
                self.rest = tail;
                Payload::Bytes(head)
            }
            5 => Payload::Fixed32(u32::from_le_bytes(*self.fixed()?)),
            other => return Err(WireError::WireType(other)),
        };
        Ok((number, payload))
    }

    fn fixed<const N: usize>(&mut self) -> Result<&'a [u8; N], WireError> {
        let (head, tail) = self.rest.split_first_chunk::<N>().ok_or(WireError::End)?;
        self.rest = tail;
        Ok(head)
    }
}

/// Takes one varint from the front.
pub fn varint(rest: &mut &[u8]) -> Result<u64, WireError> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, tail) = rest.split_first().ok_or(WireError::End)?;
        *rest = tail;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(WireError::Overflow)
}

pub fn text(bytes: &[u8]) -> Result<String, WireError> {
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| WireError::Utf8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_fields() {
        let check = |bytes: &[u8], expected: Result<Vec<(u32, Payload<'_>)>, WireError>| {
            assert_eq!(entries(bytes).collect::<Result<Vec<_>, _>>(), expected, "{bytes:?}");
        };
        check(&[], Ok(vec![]));
        check(
            &[0x08, 0x96, 0x01, 0x12, 1, b'a'],
            Ok(vec![(1, Payload::Varint(150)), (2, Payload::Bytes(b"a"))]),
        );
        check(&[0x0d, 1, 0, 0, 0], Ok(vec![(1, Payload::Fixed32(1))]));
        check(&[0x12, 5, b'a'], Err(WireError::End));
        check(&[0x08], Err(WireError::End));
        check(&[0x0b], Err(WireError::WireType(3)));
        check(&[0x00], Err(WireError::Tag));
        check(&[0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1], Err(WireError::Overflow));
    }
}
