//! A frame on its way out: encoded once, shared by every peer that it goes to, so never changed.

use bytes::Bytes;

use crate::close::{self, Unsendable};
use crate::frame::{self, Header, Kind, MAX_CONTROL, Opcode};
use crate::mask::Key;

/// One encoded frame. A copy costs a counter, not the bytes.
#[derive(Clone, Debug)]
pub struct Frame {
    bytes: Bytes,
    header: u8,
}

impl Frame {
    /// A whole message of a server.
    pub fn message(kind: Kind, payload: &[u8]) -> Self {
        Self::encode(kind.opcode(), false, None, payload)
    }

    /// A whole message of a server whose payload `deflate` has compressed.
    pub fn compressed(kind: Kind, deflated: &[u8]) -> Self {
        Self::encode(kind.opcode(), true, None, deflated)
    }

    /// A whole message of a client.
    pub fn masked(kind: Kind, compressed: bool, payload: &[u8], key: Key) -> Self {
        Self::encode(kind.opcode(), compressed, Some(key), payload)
    }

    /// A ping, with a key for a client. `None`: the payload is over 125 bytes.
    pub fn ping(payload: &[u8], key: Option<Key>) -> Option<Self> {
        (payload.len() <= MAX_CONTROL).then(|| Self::encode(Opcode::Ping, false, key, payload))
    }

    /// A pong, with a key for a client. `None`: the payload is over 125 bytes.
    pub fn pong(payload: &[u8], key: Option<Key>) -> Option<Self> {
        (payload.len() <= MAX_CONTROL).then(|| Self::encode(Opcode::Pong, false, key, payload))
    }

    /// A close frame. Without a code it is empty, as the answer to an empty one.
    ///
    /// # Errors
    /// The code or the reason must not be sent.
    pub fn close(status: Option<(u16, &str)>, key: Option<Key>) -> Result<Self, Unsendable> {
        let mut payload = Vec::new();
        if let Some((code, reason)) = status {
            close::check(code, reason)?;
            payload.extend_from_slice(&code.to_be_bytes());
            payload.extend_from_slice(reason.as_bytes());
        }
        Ok(Self::encode(Opcode::Close, false, key, &payload))
    }

    /// The bytes for the wire.
    #[inline]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The payload as it goes over the wire.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        &self.bytes[usize::from(self.header)..]
    }

    /// Text or binary; a control frame counts as binary.
    pub fn kind(&self) -> Kind {
        if self.bytes[0] & 0x0F == Opcode::Text as u8 { Kind::Text } else { Kind::Binary }
    }

    /// Bytes of the payload: what counts against a queue's limit.
    #[inline]
    pub fn size(&self) -> usize {
        self.bytes.len() - usize::from(self.header)
    }

    fn encode(opcode: Opcode, rsv1: bool, key: Option<Key>, payload: &[u8]) -> Self {
        let mut out = Vec::new();
        let header = frame::write(&mut out, Header { fin: true, rsv1, opcode, key, len: 0 }, payload);
        Self { bytes: out.into(), header: header as u8 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_each_kind() {
        let rows = [
            (Frame::message(Kind::Text, b"hi"), &b"\x81\x02hi"[..], 2),
            (Frame::message(Kind::Binary, b""), b"\x82\x00", 0),
            (Frame::compressed(Kind::Text, b"\xf2\x48"), b"\xc1\x02\xf2\x48", 2),
            (Frame::masked(Kind::Text, false, b"hi", [0; 4]), b"\x81\x82\0\0\0\0hi", 2),
            (Frame::ping(b"x", None).unwrap(), b"\x89\x01x", 1),
            (Frame::pong(b"", None).unwrap(), b"\x8a\x00", 0),
            (Frame::close(None, None).unwrap(), b"\x88\x00", 0),
            (Frame::close(Some((1000, "ok")), None).unwrap(), b"\x88\x04\x03\xe8ok", 4),
        ];
        for (frame, bytes, size) in rows {
            assert_eq!(frame.bytes()[..], *bytes);
            assert_eq!(frame.size(), size);
        }
    }

    #[test]
    fn what_must_not_be_sent_is_not_made() {
        assert!(Frame::ping(&[0; 126], None).is_none());
        assert!(Frame::pong(&[0; 126], None).is_none());
        assert_eq!(Frame::close(Some((1006, "")), None).unwrap_err(), Unsendable::Code(1006));
        assert!(Frame::close(Some((1000, &"x".repeat(124))), None).is_err());
    }
}
