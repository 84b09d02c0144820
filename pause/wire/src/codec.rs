//! Little-endian values one after the other; lists, strings and records carry their length. No tags: order is the schema.
//!
//! A record's length is what lets it grow at its end wherever it stands, alone or inside another: the reader skips what it
//! does not know, and a field that an older writer does not have is its type's default.

use alloc::boxed::Box;
use alloc::ffi::CString;
use alloc::string::String;
use alloc::vec::Vec;

/// Why bytes are not a record. The sender is never trusted to be right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// The record ends inside a value.
    Short,
    /// A length or count is beyond what the rest of the record could hold.
    Length,
    /// A string holds a NUL, is not UTF-8 where text is due, or an enum has an unknown number.
    Value,
    /// The kind of the record is unknown to this version.
    Kind(u16),
    /// The protocol version is not ours.
    Version(u16),
}

/// Reads a body front to back.
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(body: &'a [u8]) -> Self {
        Reader { rest: body }
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub fn take(&mut self, len: usize) -> Result<&'a [u8], Error> {
        if len > self.rest.len() {
            return Err(Error::Short);
        }
        let (head, rest) = self.rest.split_at(len);
        self.rest = rest;
        Ok(head)
    }

    /// A count of elements that take at least one byte each: it can never ask for more memory than the record has bytes.
    fn count(&mut self) -> Result<usize, Error> {
        let count = u32::get(self)? as usize;
        if count > self.rest.len() { Err(Error::Length) } else { Ok(count) }
    }
}

/// A value with one encoding.
pub trait Wire: Sized {
    fn put(&self, out: &mut Vec<u8>);
    fn get(reader: &mut Reader<'_>) -> Result<Self, Error>;
}

macro_rules! wire_integer {
    ($($int:ty),*) => {$(
        impl Wire for $int {
            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
            fn get(reader: &mut Reader<'_>) -> Result<Self, Error> {
                let mut bytes = [0; size_of::<$int>()];
                bytes.copy_from_slice(reader.take(size_of::<$int>())?);
                Ok(<$int>::from_le_bytes(bytes))
            }
        }
    )*};
}
wire_integer!(u8, u16, u32, u64, i32, i64);

impl Wire for bool {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
    fn get(reader: &mut Reader<'_>) -> Result<Self, Error> {
        match u8::get(reader)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Error::Value),
        }
    }
}

fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    let len = u32::try_from(bytes.len()).expect("a record is at most BODY_MAX long");
    len.put(out);
    out.extend_from_slice(bytes);
}

impl Wire for CString {
    fn put(&self, out: &mut Vec<u8>) {
        put_bytes(self.as_bytes(), out);
    }
    fn get(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let len = reader.count()?;
        CString::new(reader.take(len)?).map_err(|_| Error::Value)
    }
}

impl Wire for String {
    fn put(&self, out: &mut Vec<u8>) {
        put_bytes(self.as_bytes(), out);
    }
    fn get(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let len = reader.count()?;
        let text = core::str::from_utf8(reader.take(len)?).map_err(|_| Error::Value)?;
        Ok(text.into())
    }
}

impl<T: Wire> Wire for Vec<T> {
    fn put(&self, out: &mut Vec<u8>) {
        let len = u32::try_from(self.len()).expect("a record is at most BODY_MAX long");
        len.put(out);
        self.iter().for_each(|item| item.put(out));
    }
    fn get(reader: &mut Reader<'_>) -> Result<Self, Error> {
        (0..reader.count()?).map(|_| T::get(reader)).collect()
    }
}

impl<T: Wire> Wire for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        self.is_some().put(out);
        if let Some(value) = self {
            value.put(out);
        }
    }
    fn get(reader: &mut Reader<'_>) -> Result<Self, Error> {
        if bool::get(reader)? { T::get(reader).map(Some) } else { Ok(None) }
    }
}

impl<T: Wire> Wire for Box<T> {
    fn put(&self, out: &mut Vec<u8>) {
        (**self).put(out);
    }
    fn get(reader: &mut Reader<'_>) -> Result<Self, Error> {
        T::get(reader).map(Box::new)
    }
}

/// Puts `fields` behind their length.
pub fn put_record(out: &mut Vec<u8>, fields: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    0_u32.put(out);
    fields(out);
    let len = u32::try_from(out.len() - at - 4).expect("a record is at most BODY_MAX long");
    out[at..at + 4].copy_from_slice(&len.to_le_bytes());
}

/// A reader of one record's fields.
pub fn get_record<'a>(reader: &mut Reader<'a>) -> Result<Reader<'a>, Error> {
    let len = u32::get(reader)? as usize;
    Ok(Reader::new(reader.take(len)?))
}

/// The next field, or the default where an older writer's record ends.
pub fn get_field<T: Wire + Default>(reader: &mut Reader<'_>) -> Result<T, Error> {
    if reader.is_empty() { Ok(T::default()) } else { T::get(reader) }
}

/// Declares a struct whose encoding is its length and its fields in order.
macro_rules! record {
    ($($(#[$meta:meta])* pub struct $name:ident { $($(#[$fmeta:meta])* pub $field:ident: $type:ty,)* })*) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        pub struct $name { $($(#[$fmeta])* pub $field: $type,)* }

        impl $crate::codec::Wire for $name {
            fn put(&self, out: &mut alloc::vec::Vec<u8>) {
                $crate::codec::put_record(out, |out| {
                    let _ = &out;
                    $($crate::codec::Wire::put(&self.$field, out);)*
                });
            }
            fn get(reader: &mut $crate::codec::Reader<'_>) -> Result<Self, $crate::codec::Error> {
                let mut fields = $crate::codec::get_record(reader)?;
                let _ = &mut fields;
                Ok($name { $($field: $crate::codec::get_field(&mut fields)?,)* })
            }
        }
    )*};
}

/// Declares an enum of plain numbers.
macro_rules! numbers {
    ($($(#[$meta:meta])* pub enum $name:ident { $($(#[$vmeta:meta])* $variant:ident = $number:literal,)* })*) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub enum $name { $($(#[$vmeta])* $variant = $number,)* }

        impl $name {
            pub const ALL: &[$name] = &[$($name::$variant,)*];
        }

        impl $crate::codec::Wire for $name {
            fn put(&self, out: &mut alloc::vec::Vec<u8>) {
                out.push(*self as u8);
            }
            fn get(reader: &mut $crate::codec::Reader<'_>) -> Result<Self, $crate::codec::Error> {
                match u8::get(reader)? {
                    $($number => Ok($name::$variant),)*
                    _ => Err($crate::codec::Error::Value),
                }
            }
        }
    )*};
}

pub(crate) use {numbers, record};
