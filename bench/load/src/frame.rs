//! WebSocket frames as both ends of the bench need them: whole, short, never compressed.

use anyhow::{Result, bail};

pub const TEXT: u8 = 0x1;
pub const CLOSE: u8 = 0x8;
pub const PING: u8 = 0x9;
pub const PONG: u8 = 0xA;

const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;
const RESERVED: u8 = 0x70;

/// The mask of every client frame. Not zero, so that servers really unmask; always the same, so that it costs nothing.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// Where a frame lies in the bytes that were parsed.
pub struct Frame {
    pub opcode: u8,
    pub mask: Option<[u8; 4]>,
    /// Where its payload starts.
    pub start: usize,
    /// Where it ends, and the next one starts.
    pub end: usize,
}

/// The frame that starts at `at`, `None` while it is not complete.
#[inline]
pub fn parse(bytes: &[u8], at: usize) -> Result<Option<Frame>> {
    let Some(&[first, second]) = bytes.get(at..at + 2) else {
        return Ok(None);
    };
    if first & FIN == 0 || first & RESERVED != 0 || first & 0xF == 0 {
        bail!("a frame starts with {first:#04x}: only whole messages without extensions are expected");
    }
    let mut start = at + 2;
    let mut length = usize::from(second & 0x7F);
    if length >= 126 {
        let size = if length == 126 { 2 } else { 8 };
        let Some(field) = bytes.get(start..start + size) else {
            return Ok(None);
        };
        length = field.iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte));
        start += size;
    }
    let mut mask = None;
    if second & MASKED != 0 {
        let Some(&key) = bytes.get(start..).and_then(|rest| rest.first_chunk::<4>()) else {
            return Ok(None);
        };
        mask = Some(key);
        start += 4;
    }
    let end = start.checked_add(length).filter(|&end| end <= bytes.len());
    Ok(end.map(|end| Frame { opcode: first & 0xF, mask, start, end }))
}

/// Append a client's frame.
pub fn put_masked(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    put_header(out, opcode, payload.len(), MASKED);
    out.extend_from_slice(&MASK);
    let start = out.len();
    out.extend_from_slice(payload);
    apply_mask(&mut out[start..], MASK);
}

/// Append a server's frame.
pub fn put_plain(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    put_header(out, opcode, payload.len(), 0);
    out.extend_from_slice(payload);
}

/// Mask or unmask in place, eight bytes at a time.
pub fn apply_mask(payload: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
}

fn put_header(out: &mut Vec<u8>, opcode: u8, length: usize, masked: u8) {
    out.push(FIN | opcode);
    if length < 126 {
        out.push(masked | length as u8);
    } else if let Ok(length) = u16::try_from(length) {
        out.push(masked | 126);
        out.extend_from_slice(&length.to_be_bytes());
    } else {
        out.push(masked | 127);
        out.extend_from_slice(&(length as u64).to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_is_parsed() {
        for length in [0, 5, 16, 125, 126, 65_535, 65_536] {
            let payload = vec![b'x'; length];
            let mut bytes = Vec::new();
            put_masked(&mut bytes, TEXT, &payload);
            assert!(parse(&bytes[..bytes.len() - 1], 0).unwrap().is_none());
            let frame = parse(&bytes, 0).unwrap().unwrap();
            assert_eq!((frame.opcode, frame.end), (TEXT, bytes.len()));
            apply_mask(&mut bytes[frame.start..frame.end], frame.mask.unwrap());
            assert_eq!(&bytes[frame.start..frame.end], payload);

            bytes.clear();
            put_plain(&mut bytes, CLOSE, &payload);
            let frame = parse(&bytes, 0).unwrap().unwrap();
            assert_eq!((frame.opcode, &bytes[frame.start..frame.end]), (CLOSE, &payload[..]));
        }
    }

    #[test]
    fn fragments_and_extensions_are_refused() {
        for first in [0x01, 0x80, 0xC1] {
            assert!(parse(&[first, 0], 0).is_err());
        }
    }
}
