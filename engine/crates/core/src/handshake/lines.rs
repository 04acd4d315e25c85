//! The lines of a head: their ends, their lengths, their number. It stops at the first byte that is over a limit.

use super::{MAX_HEAD, MAX_HEADERS, MAX_LINE, Refusal};
use crate::deflate::is_token;

/// How far a head has been looked at.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// Where the line begins that is not complete, and how much of it was looked at.
    start: usize,
    seen: usize,
    complete: usize,
}

const LINE_TOO_LONG: Refusal = Refusal { status: 414, headers: &[], reason: "the request line is too long" };
const HEADERS_TOO_LARGE: Refusal = Refusal { status: 431, headers: &[], reason: "the headers are too large" };

impl Lines {
    /// The length of the head, once the empty line is there.
    pub(super) fn end_of_head(&mut self, buffer: &[u8]) -> Result<Option<usize>, Refusal> {
        if buffer.first().is_some_and(|&byte| !is_token(byte)) {
            // TLS, for example. It may never send the end of a line.
            return Err(Refusal::bad("this is no HTTP request"));
        }
        while let Some(more) = buffer[self.seen..].iter().position(|&byte| byte == b'\n') {
            let end = self.seen + more;
            self.check(end - self.start, end)?;
            // httparse takes a bare LF for the end of a line; another server on the way may not (row H9).
            if end == self.start || buffer[end - 1] != b'\r' {
                return Err(Refusal::bad("a line that does not end with CR LF"));
            }
            let is_empty = end - self.start == 1;
            (self.start, self.seen) = (end + 1, end + 1);
            if is_empty {
                return Ok(Some(end + 1));
            }
            self.complete += 1;
            if self.complete > 1 + MAX_HEADERS {
                return Err(HEADERS_TOO_LARGE);
            }
        }
        self.seen = buffer.len();
        self.check(self.seen - self.start, self.seen)?;
        Ok(None)
    }

    /// `line` bytes are in the line so far, perhaps with a CR; `head` bytes in all.
    fn check(&self, line: usize, head: usize) -> Result<(), Refusal> {
        match self.complete {
            0 if line > MAX_LINE + 1 => Err(LINE_TOO_LONG),
            _ if line > MAX_LINE + 1 || head >= MAX_HEAD => Err(HEADERS_TOO_LARGE),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn status(buffer: &[u8]) -> Result<Option<usize>, u16> {
        Lines::default().end_of_head(buffer).map_err(|refusal| refusal.status)
    }

    fn head(lines: &[String]) -> Vec<u8> {
        format!("{}\r\n\r\n", lines.join("\r\n")).into_bytes()
    }

    #[test]
    fn limits_are_met_exactly() {
        let line = |length: usize| "x".repeat(length);
        let ok = head(&[line(MAX_LINE), line(MAX_LINE)]);
        assert_eq!(status(&ok), Ok(Some(ok.len())));
        assert_eq!(status(&head(&[line(MAX_LINE + 1)])), Err(414));
        assert_eq!(status(&head(&[line(5), line(MAX_LINE + 1)])), Err(431));
        let ok = head(&vec![line(10); 1 + MAX_HEADERS]);
        assert_eq!(status(&ok), Ok(Some(ok.len())));
        assert_eq!(status(&head(&vec![line(10); 2 + MAX_HEADERS])), Err(431));
        let of = |head_length: usize| {
            // Five lines and the empty one have twelve bytes of CR LF.
            head(&[line(8000), line(8000), line(8000), line(8000), line(head_length - 32_012)])
        };
        assert_eq!(status(&of(MAX_HEAD)), Ok(Some(MAX_HEAD)));
        assert_eq!(status(&of(MAX_HEAD + 1)), Err(431));
        assert_eq!(status(&[b'x'; MAX_LINE + 2]), Err(414), "before its end has come");
    }

    #[test]
    fn an_end_of_line_is_cr_lf() {
        for bad in [&b"GET / HTTP/1.1\n"[..], b"\n", b"\r\n", b"GET / HTTP/1.1\r\nA: b\n\r\n", b"A\r\n\n"] {
            assert_eq!(status(bad), Err(400), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(
            lines in prop::collection::vec(
                prop_oneof![Just("\n".to_owned()), "[a-z]{0,9}\r\n", Just(format!("{}\r\n", "x".repeat(8192))),
                    Just(format!("{}\r\n", "x".repeat(8193))), Just("\r\n".to_owned()), Just("x".repeat(8193))],
                0..7,
            ),
            pieces in prop::collection::vec(1usize..5000, 0..20),
        ) {
            let buffer = lines.concat().into_bytes();
            let mut split = Lines::default();
            let mut end = 0;
            let mut slowly = Ok(None);
            for piece in pieces.into_iter().chain([buffer.len()]) {
                end = (end + piece).min(buffer.len());
                slowly = split.end_of_head(&buffer[..end]).map_err(|refusal| refusal.status);
                if slowly != Ok(None) {
                    break;
                }
            }
            prop_assert_eq!(slowly, status(&buffer));
        }
    }
}
