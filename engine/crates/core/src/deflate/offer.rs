//! The grammar of `Sec-WebSocket-Extensions` (RFC 6455 section 9.1) and the parameters of RFC 7692 section 7.1.
//!
//! An offer that is wrong is one that was not made. Nothing here fails, and each byte is looked at once.

/// One offer of permessage-deflate. A client may make several, the one it likes best first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// The server is asked to forget each message.
    pub server_no_context_takeover: bool,
    /// The client will forget each message.
    pub client_no_context_takeover: bool,
    /// The server is asked for a window of 2^n at most.
    pub server_max_window_bits: Option<u8>,
    /// The client can be asked for a smaller window, and perhaps will not use a larger one than 2^n anyway.
    pub client_max_window_bits: Option<Option<u8>>,
}

/// The offers of one header line that can be understood. A line that breaks the grammar has none.
pub fn offers(line: &[u8]) -> Vec<Offer> {
    let mut found = Vec::new();
    match (Cursor { line, at: 0 }).list(&mut found) {
        Some(()) => found,
        None => Vec::new(),
    }
}

impl Offer {
    /// Take over a parameter. `None`: it is unknown, twice there or has a wrong value, which declines the offer.
    fn set(&mut self, name: &[u8], value: Option<&[u8]>) -> Option<()> {
        match (name, value) {
            (b"server_no_context_takeover", None) => once(&mut self.server_no_context_takeover),
            (b"client_no_context_takeover", None) => once(&mut self.client_no_context_takeover),
            (b"server_max_window_bits", Some(value)) if self.server_max_window_bits.is_none() => {
                self.server_max_window_bits = Some(window_bits(value)?);
                Some(())
            }
            (b"client_max_window_bits", value) if self.client_max_window_bits.is_none() => {
                self.client_max_window_bits = Some(value.map(window_bits).map_or(Some(None), |bits| bits.map(Some))?);
                Some(())
            }
            _ => None,
        }
    }
}

fn once(flag: &mut bool) -> Option<()> {
    (!std::mem::replace(flag, true)).then_some(())
}

/// 8 to 15, without leading zeros (RFC 7692 section 7.1.2).
fn window_bits(value: &[u8]) -> Option<u8> {
    match value {
        [digit @ b'8'..=b'9'] => Some(digit - b'0'),
        [b'1', digit @ b'0'..=b'5'] => Some(10 + digit - b'0'),
        _ => None,
    }
}

/// A place in a line. Each method returns `None` where the grammar is broken.
struct Cursor<'a> {
    line: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn list(mut self, found: &mut Vec<Offer>) -> Option<()> {
        loop {
            // Empty elements are allowed in lists (RFC 9110 section 5.6.1.2).
            while self.take(b',') {}
            if self.peek().is_none() {
                return Some(());
            }
            let name = self.token()?;
            let mut offer = name.eq_ignore_ascii_case(b"permessage-deflate").then(Offer::default);
            while self.take(b';') {
                let name = self.token()?;
                let value = if self.take(b'=') { Some(self.value()?) } else { None };
                offer = offer.and_then(|mut offer| offer.set(name, value).map(|()| offer));
            }
            found.extend(offer);
            if self.peek().is_some() && !self.take(b',') {
                return None;
            }
        }
    }

    /// The next byte that is no white space.
    fn peek(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\t') = self.line.get(self.at) {
            self.at += 1;
        }
        self.line.get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn token(&mut self) -> Option<&'a [u8]> {
        self.peek();
        let start = self.at;
        while self.line.get(self.at).is_some_and(|&byte| is_token(byte)) {
            self.at += 1;
        }
        (self.at > start).then(|| &self.line[start..self.at])
    }

    /// A token, or one in quotes. A quoted value that is no token is the empty one, which nobody accepts.
    fn value(&mut self) -> Option<&'a [u8]> {
        if !self.take(b'"') {
            return self.token();
        }
        let start = self.at;
        loop {
            match self.line.get(self.at)? {
                b'"' => break,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        let value = &self.line[start..self.at];
        self.at += 1;
        Some(if value.iter().all(|&byte| is_token(byte)) { value } else { &[] })
    }
}

/// A byte of a token (RFC 9110 section 5.6.2).
pub(crate) const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_parameters_are_read() {
        let line = b"permessage-deflate; server_no_context_takeover ;client_no_context_takeover; \
            server_max_window_bits=10;client_max_window_bits = \"12\" , PerMessage-Deflate,, foo;bar=1;baz=\"a,;\\\"b\"";
        let full = Offer {
            server_no_context_takeover: true,
            client_no_context_takeover: true,
            server_max_window_bits: Some(10),
            client_max_window_bits: Some(Some(12)),
        };
        assert_eq!(offers(line), [full, Offer::default()]);
        let bare = offers(b"permessage-deflate;client_max_window_bits");
        assert_eq!(bare[0].client_max_window_bits, Some(None));
    }

    #[test]
    fn a_wrong_offer_is_no_offer() {
        // Row H13, and what else the RFC forbids.
        for parameters in [
            "client_max_window_bits=99",
            "client_max_window_bits=7",
            "client_max_window_bits=16",
            "client_max_window_bits=08",
            "client_max_window_bits=-8",
            "client_max_window_bits=\"\"",
            "server_max_window_bits",
            "server_max_window_bits=\"\"",
            "server_max_window_bits=7",
            "server_max_window_bits=9.0",
            "server_max_window_bits=\"1 0\"",
            "server_max_window_bits=10; server_max_window_bits=10",
            "client_max_window_bits; client_max_window_bits=10",
            "server_no_context_takeover; server_no_context_takeover",
            "client_no_context_takeover; client_no_context_takeover",
            "server_no_context_takeover=1",
            "client_no_context_takeover=\"\"",
            "something_else",
            "server_max_window_bits=184467440737095516160",
        ] {
            let line = format!("permessage-deflate; {parameters}, permessage-deflate");
            assert_eq!(offers(line.as_bytes()), [Offer::default()], "{parameters}");
        }
    }

    #[test]
    fn a_line_that_breaks_the_grammar_has_no_offers() {
        for line in [
            "permessage-deflate;",
            "permessage-deflate; =10",
            "permessage-deflate; client_max_window_bits=",
            "permessage-deflate; a=\"",
            "permessage-deflate; a=\"\\",
            "permessage-deflate b",
            "permessage-deflate, /",
            ";permessage-deflate",
            "permessage-deflate\0",
            "permessage-deflate, \u{fc}",
        ] {
            assert_eq!(offers(line.as_bytes()), [], "{line}");
        }
    }

    #[test]
    fn hostile_lines_are_read_once() {
        // Row H8: were it not linear, a megabyte would take minutes.
        for part in ["a;b=\"\\\\", "permessage-deflate,", ",", " ", "a; ", "\\", "\"a\\"] {
            let line = part.repeat(1_000_000 / part.len());
            offers(line.as_bytes());
        }
    }
}
