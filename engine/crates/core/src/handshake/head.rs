//! A complete head: method, target and headers, kept as one block of bytes.

use std::mem::MaybeUninit;
use std::ops::Range;

use super::{MAX_HEADERS, Refusal};

/// A place in the head, which is shorter than 64 KiB.
type Place = (u16, u16);

/// The head of a request.
#[derive(Clone, Debug)]
pub struct Head {
    bytes: Box<[u8]>,
    method: Place,
    target: Place,
    minor: u8,
    headers: Box<[(Place, Place)]>,
}

impl Head {
    /// Parse a head that is complete, its empty line included.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
        let mut request = httparse::Request::new(&mut []);
        match request.parse_with_uninit_headers(bytes, &mut headers) {
            Ok(httparse::Status::Complete(length)) if length == bytes.len() => {}
            // Folded lines, NUL, white space before the colon: none has a place in a request (RFC 9112 section 5).
            _ => return Err(Refusal::bad("this is no sound HTTP request")),
        }
        let place = |part: &[u8]| {
            let start = part.as_ptr() as usize - bytes.as_ptr() as usize;
            (start as u16, (start + part.len()) as u16)
        };
        let target = request.path.unwrap_or_default();
        if !target.is_ascii() {
            return Err(Refusal::bad("a target that is not ASCII"));
        }
        Ok(Self {
            method: place(request.method.unwrap_or_default().as_bytes()),
            target: place(target.as_bytes()),
            minor: request.version.unwrap_or_default(),
            headers: request.headers.iter().map(|it| (place(it.name.as_bytes()), place(it.value))).collect(),
            bytes: bytes.into(),
        })
    }

    /// Parse the bytes of a head that was sound once.
    pub fn again(bytes: &[u8]) -> Option<Self> {
        Self::parse(bytes).ok()
    }

    /// All of it, as it came in.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its bytes in the buffer that it was read from.
    #[allow(clippy::len_without_is_empty, reason = "a head is never empty")]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// `GET`, mostly.
    pub fn method(&self) -> &str {
        self.text(self.method)
    }

    /// The path with its query, as it was sent.
    pub fn target(&self) -> &str {
        self.text(self.target)
    }

    /// The version is 1.1, not 1.0.
    pub(super) fn is_http11(&self) -> bool {
        self.minor == 1
    }

    /// All headers in their order; names as they were sent, values without white space around them.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.headers.iter().map(|&(name, value)| (self.text(name), self.get(value).trim_ascii()))
    }

    /// The values of each header of that name, whatever its case.
    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.headers().filter(move |header| header.0.eq_ignore_ascii_case(name)).map(|header| header.1)
    }

    /// The value of a header that may be there once.
    ///
    /// # Errors
    /// It is not there, or more than once.
    pub(super) fn only<'a>(&'a self, name: &str) -> Result<&'a [u8], Count> {
        let mut values = self.all(name);
        let first = values.next().ok_or(Count::None)?;
        if values.next().is_some() { Err(Count::Several) } else { Ok(first) }
    }

    /// Whether a header that is a list has a member, whatever its case.
    pub(super) fn lists(&self, name: &str, member: &str) -> bool {
        let mut members = self.all(name).flat_map(|value| value.split(|&byte| byte == b','));
        members.any(|value| value.trim_ascii().eq_ignore_ascii_case(member.as_bytes()))
    }

    fn get(&self, (start, end): Place) -> &[u8] {
        &self.bytes[Range { start: usize::from(start), end: usize::from(end) }]
    }

    fn text(&self, place: Place) -> &str {
        std::str::from_utf8(self.get(place)).expect("httparse and the check above leave ASCII only")
    }
}

/// How often a header is there that should be there once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Count {
    None,
    Several,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_in_its_parts() {
        let bytes = b"GET /a?b=c HTTP/1.1\r\nHost:  x \r\nEmpty:\r\nA: 1, Two\r\na: three\r\nB: \xff\r\n\r\n";
        let head = Head::parse(bytes).unwrap();
        assert_eq!((head.method(), head.target(), head.len()), ("GET", "/a?b=c", bytes.len()));
        assert!(head.is_http11());
        let headers: Vec<_> = head.headers().collect();
        let wanted = [("Host", &b"x"[..]), ("Empty", b""), ("A", b"1, Two"), ("a", b"three"), ("B", b"\xff")];
        assert_eq!(headers, wanted);
        assert_eq!(head.only("host"), Ok(&b"x"[..]));
        assert_eq!(head.only("a"), Err(Count::Several));
        assert_eq!(head.only("c"), Err(Count::None));
        assert!(head.lists("A", "two") && head.lists("a", "THREE") && !head.lists("a", "thre"));
    }

    #[test]
    fn what_is_no_head_is_refused() {
        for bad in [
            &b"\r\n\r\n"[..],
            b"GET /\r\n\r\n",
            b"GET / HTTP/2.0\r\n\r\n",
            b"GET  / HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1 \r\n\r\n",
            b"GET / HTTP/1.1\r\nA : b\r\n\r\n",
            b"GET / HTTP/1.1\r\nA\r\n\r\n",
            b"GET / HTTP/1.1\r\n: b\r\n\r\n",
            b"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
            b"GET / HTTP/1.1\r\n A: b\r\n\r\n",
            b"GET / HTTP/1.1\r\nA: b\0c\r\n\r\n",
            b"GET / HTTP/1.1\r\nA: b\rc\r\n\r\n",
            b"GET / HTTP/1.1\r\nA\0: b\r\n\r\n",
            b"GET /\0 HTTP/1.1\r\n\r\n",
            b"GET /\xc3\xbc HTTP/1.1\r\n\r\n",
            b"GET /a b HTTP/1.1\r\n\r\n",
            b"G(T / HTTP/1.1\r\n\r\n",
        ] {
            assert!(Head::parse(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
    }
}
