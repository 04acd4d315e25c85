//! Frame headers, read and written (RFC 6455 section 5.2). What frames mean to each other is [`crate::message`]'s matter.

mod write;

pub use write::{WIDEST, header, walk, write};

use crate::close::Violation;
use crate::mask::Key;

/// Payload of a control frame at most (RFC 6455 section 5.5).
pub const MAX_CONTROL: usize = 125;

/// Whose bytes are read: the two sides mask differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Reads what a client sent: each frame is masked.
    Server,
    /// Reads what a server sent: no frame is masked.
    Client,
}

/// The two kinds of message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8.
    Text,
    /// Bytes.
    Binary,
}

impl Kind {
    /// The opcode of a message that begins.
    pub const fn opcode(self) -> Opcode {
        match self {
            Self::Text => Opcode::Text,
            Self::Binary => Opcode::Binary,
        }
    }
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// The next part of the message that has begun.
    Continuation = 0x0,
    /// A text begins.
    Text = 0x1,
    /// Bytes begin.
    Binary = 0x2,
    /// Closing, with or without a code.
    Close = 0x8,
    /// To be answered with a pong.
    Ping = 0x9,
    /// The answer, or a sign of life nobody asked for.
    Pong = 0xA,
}

impl Opcode {
    const fn known(bits: u8) -> Option<Self> {
        Some(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xA => Self::Pong,
            _ => return None,
        })
    }

    /// Control frames may stand between the fragments of a message, and are never fragments themselves.
    pub const fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }
}

/// A header that keeps the rules a header alone can keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The last frame of its message.
    pub fin: bool,
    /// The first reserved bit: the message is compressed (RFC 7692 section 6).
    pub rsv1: bool,
    /// What the frame is.
    pub opcode: Opcode,
    /// The masking key: always of a client, never of a server.
    pub key: Option<Key>,
    /// Bytes of the payload, by the word of the sender.
    pub len: u64,
}

/// Read a header from the beginning of `bytes`: it and its length, or `None` when more bytes are needed.
///
/// # Errors
/// The header breaks the protocol, found out at the first byte that does so.
#[inline]
pub fn parse(bytes: &[u8], role: Role) -> Result<Option<(Header, usize)>, Violation> {
    let Some(&first) = bytes.first() else { return Ok(None) };
    let (fin, rsv1) = (first & 0x80 != 0, first & 0x40 != 0);
    if first & 0x30 != 0 {
        return Err(Violation::protocol("a reserved bit is set"));
    }
    let Some(opcode) = Opcode::known(first & 0x0F) else {
        return Err(Violation::protocol("an unknown opcode"));
    };
    if opcode.is_control() && !fin {
        return Err(Violation::protocol("a fragmented control frame"));
    }
    if opcode.is_control() && rsv1 {
        return Err(Violation::protocol("a compressed control frame"));
    }

    let Some(&second) = bytes.get(1) else { return Ok(None) };
    let (masked, short) = (second & 0x80 != 0, second & 0x7F);
    match role {
        Role::Server if !masked => return Err(Violation::protocol("a client's frame that is not masked")),
        Role::Client if masked => return Err(Violation::protocol("a server's frame that is masked")),
        _ => {}
    }
    if opcode.is_control() && usize::from(short) > MAX_CONTROL {
        return Err(Violation::protocol("a control frame of more than 125 bytes"));
    }

    let (len, mut at) = match short {
        126 => match bytes.get(2..4) {
            None => return Ok(None),
            Some(wide) => (u64::from(u16::from_be_bytes([wide[0], wide[1]])), 4),
        },
        127 => match bytes.get(2..).and_then(|wide| wide.first_chunk()) {
            None => return Ok(None),
            Some(wide) => (u64::from_be_bytes(*wide), 10),
        },
        short => (u64::from(short), 2),
    };
    if len >> 63 != 0 {
        return Err(Violation::protocol("a length of more than 63 bits"));
    }
    if (short == 126 && len < 126) || (short == 127 && len <= u64::from(u16::MAX)) {
        return Err(Violation::protocol("a length that is not written in the shortest way"));
    }

    let mut key = None;
    if masked {
        let Some(bytes) = bytes.get(at..).and_then(|rest| rest.first_chunk()) else { return Ok(None) };
        key = Some(*bytes);
        at += 4;
    }
    Ok(Some((Header { fin, rsv1, opcode, key, len }, at)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reason(bytes: &[u8], role: Role) -> &'static str {
        parse(bytes, role).unwrap_err().reason
    }

    #[test]
    fn a_broken_header_is_refused_at_its_first_wrong_byte() {
        let rows: &[(&[u8], &str)] = &[
            (b"\xA1", "reserved bit"),
            (b"\x91", "reserved bit"),
            (b"\x83", "unknown opcode"),
            (b"\x8B", "unknown opcode"),
            (b"\x8F", "unknown opcode"),
            (b"\x09", "fragmented control"),
            (b"\xC9", "compressed control"),
            (b"\x81\x05", "not masked"),
            (b"\x89\xFE", "more than 125"),
            (b"\x88\xFF", "more than 125"),
            (b"\x82\xFE\x00\x7D", "shortest"),
            (b"\x82\xFF\x00\x00\x00\x00\x00\x00\xFF\xFF", "shortest"),
            (b"\x82\xFF\x80\x00\x00\x00\x00\x00\x00\x00", "63 bits"),
            (b"\x82\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", "63 bits"),
        ];
        for (bytes, part) in rows {
            assert!(reason(bytes, Role::Server).contains(part), "{bytes:x?}");
            assert_eq!(parse(&bytes[..bytes.len() - 1], Role::Server), Ok(None), "{bytes:x?}");
        }
        assert!(reason(b"\x81\x85", Role::Client).contains("is masked"));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            fin: bool, rsv1: bool, code in 0u8..3, len in 0u64..(1 << 63), narrow in 0u32..63, key: Option<Key>,
        ) {
            let opcode = Opcode::known(code).unwrap();
            let wanted = Header { fin, rsv1, opcode, key, len: len >> narrow };
            let (bytes, at) = header(&wanted);
            let role = if key.is_some() { Role::Server } else { Role::Client };
            prop_assert_eq!(parse(&bytes[..at], role), Ok(Some((wanted, at))));
            for cut in 0..at {
                prop_assert_eq!(parse(&bytes[..cut], role), Ok(None));
            }
        }
    }
}
