//! The HTTP/1.1 request that opens a connection (RFC 6455 section 4, RFC 9112): whose it is, and the answer to it.
//!
//! A request without `Upgrade: websocket` belongs to another server and is left alone. One with it is held to every
//! rule, for a proxy in front may believe that a tunnel is open (row H10).

mod head;
mod lines;
mod upgrade;
mod write;

pub use head::Head;
pub use upgrade::{AcceptKey, Upgrade, accept_key};
pub use write::{BadHeader, phrase, refusal, switching};

use lines::Lines;

/// Bytes of the request line, and of each header line.
pub const MAX_LINE: usize = 8 * 1024;
/// Headers of a request.
pub const MAX_HEADERS: usize = 100;
/// Bytes of a request up to its body.
pub const MAX_HEAD: usize = 32 * 1024;

/// What has come in so far.
#[derive(Debug)]
pub enum Outcome {
    /// The head is not complete yet.
    Incomplete,
    /// A request that is no upgrade: to be handed to another server with every byte of the buffer.
    PlainHttp,
    /// A handshake that keeps the rules. Frames begin in the buffer behind [`Head::len`].
    Upgrade(Box<Upgrade>),
    /// To be answered and closed. Nothing behind it is read.
    Refuse(Refusal),
}

/// A request that is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status.
    pub status: u16,
    /// Headers that the status asks for.
    pub headers: &'static [(&'static str, &'static str)],
    /// For the log and the body. It never repeats what came in.
    pub reason: &'static str,
}

impl Refusal {
    pub(crate) const fn bad(reason: &'static str) -> Self {
        Self { status: 400, headers: &[], reason }
    }

    /// The whole answer.
    pub fn response(&self) -> Vec<u8> {
        let headers = self.headers.iter().map(|(name, value)| (*name, value.as_bytes()));
        refusal(self.status, headers, self.reason.as_bytes()).expect("our own headers are sound")
    }
}

/// Reads the head of one request from a buffer that grows.
#[derive(Debug, Default)]
pub struct Request {
    lines: Lines,
}

impl Request {
    /// Nothing has come in yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Look at the buffer, which begins with the request and has everything that has come in since.
    ///
    /// Each byte is looked at twice at most, however many pieces it came in (rows H4 and H8).
    pub fn read(&mut self, buffer: &[u8]) -> Outcome {
        let outcome = self.lines.end_of_head(buffer).and_then(|end| match end {
            None => Ok(Outcome::Incomplete),
            Some(end) => upgrade::decide(Head::parse(&buffer[..end])?),
        });
        outcome.unwrap_or_else(Outcome::Refuse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_may_come_byte_by_byte() {
        let bytes = b"GET /chat HTTP/1.1\r\nHost: example.com\r\n\r\nrest";
        let mut request = Request::new();
        let whole = bytes.len() - 4;
        for end in 0..whole {
            assert!(matches!(request.read(&bytes[..end]), Outcome::Incomplete), "{end}");
        }
        assert!(matches!(request.read(bytes), Outcome::PlainHttp));
        assert!(matches!(Request::new().read(bytes), Outcome::PlainHttp));
    }

    #[test]
    fn a_refusal_is_a_whole_answer() {
        let refusal = Refusal { status: 426, headers: &[("sec-websocket-version", "13")], reason: "version 13 only" };
        let text = String::from_utf8(refusal.response()).unwrap();
        assert!(text.starts_with("HTTP/1.1 426 Upgrade Required\r\n"), "{text}");
        assert!(text.contains("\r\nsec-websocket-version: 13\r\n"), "{text}");
        assert!(text.contains("\r\nconnection: close\r\n"), "{text}");
        assert!(text.contains("\r\ncontent-length: 15\r\n"), "{text}");
        assert!(text.ends_with("\r\n\r\nversion 13 only"), "{text}");
    }
}
