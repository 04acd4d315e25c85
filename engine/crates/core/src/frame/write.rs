//! Frames on their way out, and the boundaries of frames that were written before.

use super::{Header, Opcode};
use crate::mask;

/// The longest header: two bytes, eight of length, four of key.
pub const WIDEST: usize = 14;

/// The bytes of a header, and how many of them there are.
#[inline]
pub fn header(header: &Header) -> ([u8; WIDEST], usize) {
    let mut bytes = [0; WIDEST];
    bytes[0] = u8::from(header.fin) << 7 | u8::from(header.rsv1) << 6 | header.opcode as u8;
    let mut at = match header.len {
        len @ ..126 => {
            bytes[1] = len as u8;
            2
        }
        len @ ..=0xFFFF => {
            bytes[1] = 126;
            bytes[2..4].copy_from_slice(&(len as u16).to_be_bytes());
            4
        }
        len => {
            bytes[1] = 127;
            bytes[2..10].copy_from_slice(&len.to_be_bytes());
            10
        }
    };
    if let Some(key) = header.key {
        bytes[1] |= 0x80;
        bytes[at..at + 4].copy_from_slice(&key);
        at += 4;
    }
    (bytes, at)
}

/// Append a whole frame to `out`; `header.len` is taken from the payload. Returns the length of the header.
pub fn write(out: &mut Vec<u8>, header: Header, payload: &[u8]) -> usize {
    let (bytes, at) = self::header(&Header { len: payload.len() as u64, ..header });
    out.reserve(at + payload.len());
    out.extend_from_slice(&bytes[..at]);
    match header.key {
        Some(key) => mask::append(out, payload, key),
        None => out.extend_from_slice(payload),
    }
    at
}

/// The first of frames that this module has written: its opcode, and the lengths of its header and of its payload.
///
/// Frames describe themselves, so a queue of them needs no list of boundaries beside it.
///
/// # Panics
/// The bytes do not begin with a whole header.
#[inline]
pub fn walk(bytes: &[u8]) -> (Opcode, usize, usize) {
    let opcode = Opcode::known(bytes[0] & 0x0F).expect("a frame of our own has an opcode");
    let masked = if bytes[1] & 0x80 == 0 { 0 } else { 4 };
    match bytes[1] & 0x7F {
        126 => (opcode, 4 + masked, usize::from(u16::from_be_bytes([bytes[2], bytes[3]]))),
        127 => {
            let wide = bytes[2..].first_chunk().expect("a header of our own is whole");
            (opcode, 10 + masked, u64::from_be_bytes(*wide) as usize)
        }
        short => (opcode, 2 + masked, usize::from(short)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_rfc() {
        // RFC 6455 section 5.7.
        let text = Header { fin: true, rsv1: false, opcode: Opcode::Text, key: None, len: 0 };
        let mut out = Vec::new();
        assert_eq!(write(&mut out, text, b"Hello"), 2);
        assert_eq!(out, b"\x81\x05Hello");
        out.clear();
        write(&mut out, Header { key: Some([0x37, 0xfa, 0x21, 0x3d]), ..text }, b"Hello");
        assert_eq!(out, b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
        out.clear();
        write(&mut out, Header { opcode: Opcode::Binary, ..text }, &[0; 256]);
        assert_eq!(out[..4], *b"\x82\x7E\x01\x00");
        out.clear();
        write(&mut out, Header { opcode: Opcode::Binary, ..text }, &[0; 65536]);
        assert_eq!(out[..10], *b"\x82\x7F\x00\x00\x00\x00\x00\x01\x00\x00");
    }

    #[test]
    fn a_walk_finds_the_boundaries() {
        let sizes = [0, 1, 125, 126, 127, 65_535, 65_536, 100_000];
        for key in [None, Some([1, 2, 3, 4])] {
            let mut out = Vec::new();
            for size in sizes {
                write(&mut out, Header { fin: true, rsv1: true, opcode: Opcode::Binary, key, len: 0 }, &vec![7; size]);
            }
            let mut rest = &out[..];
            for size in sizes {
                let (opcode, header, payload) = walk(rest);
                assert_eq!((opcode, payload), (Opcode::Binary, size));
                rest = &rest[header + payload..];
            }
            assert!(rest.is_empty());
        }
    }
}
