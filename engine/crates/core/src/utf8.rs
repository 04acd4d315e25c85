//! UTF-8 that comes in pieces, refused at the first byte that cannot be right (RFC 6455 section 8.1).

/// The text is no UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invalid;

/// The state between two pieces: the beginning of a code point, if it was cut.
#[derive(Clone, Copy, Debug, Default)]
pub struct Validator {
    cut: [u8; 4],
    len: u8,
}

impl Validator {
    /// Take the next piece.
    ///
    /// # Errors
    /// No continuation of what has come so far could be UTF-8.
    #[inline]
    pub fn feed(&mut self, mut piece: &[u8]) -> Result<(), Invalid> {
        if self.len > 0 {
            piece = self.complete(piece)?;
        }
        match simdutf8::compat::from_utf8(piece) {
            Ok(_) => Ok(()),
            // An error without a length is a code point that the end cuts, possible so far.
            Err(error) if error.error_len().is_none() => {
                let rest = &piece[error.valid_up_to()..];
                self.cut[..rest.len()].copy_from_slice(rest);
                self.len = rest.len() as u8;
                Ok(())
            }
            Err(_) => Err(Invalid),
        }
    }

    /// End the text, and be ready for the next one.
    ///
    /// # Errors
    /// The text ends inside a code point.
    #[inline]
    pub fn end(&mut self) -> Result<(), Invalid> {
        if self.len == 0 {
            return Ok(());
        }
        self.len = 0;
        Err(Invalid)
    }

    /// Finish the code point that was cut, byte by byte: there are three bytes to come at most.
    #[cold]
    fn complete<'a>(&mut self, mut piece: &'a [u8]) -> Result<&'a [u8], Invalid> {
        while let [byte, rest @ ..] = piece {
            self.cut[usize::from(self.len)] = *byte;
            self.len += 1;
            piece = rest;
            match std::str::from_utf8(&self.cut[..usize::from(self.len)]) {
                Ok(_) => {
                    self.len = 0;
                    return Ok(piece);
                }
                Err(error) if error.error_len().is_none() => {}
                Err(_) => return Err(Invalid),
            }
        }
        Ok(piece)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Bytes until the refusal, counting the refused one.
    fn refused_at(bytes: &[u8]) -> Option<usize> {
        let mut validator = Validator::default();
        bytes.iter().position(|byte| validator.feed(&[*byte]).is_err()).map(|at| at + 1)
    }

    #[test]
    fn each_class_of_bad_bytes_is_refused_at_the_first_impossible_one() {
        let rows: &[(&[u8], usize)] = &[
            (b"\x80", 1), // a continuation alone
            (b"a\xbf", 2),
            (b"\xc0", 1), // overlong
            (b"\xc1", 1),
            (b"\xe0\x80", 2),
            (b"\xf0\x8f", 2),
            (b"\xed\xa0", 2), // surrogate
            (b"\xf4\x90", 2), // above U+10FFFF
            (b"\xf5", 1),
            (b"\xff", 1),
            (b"\xfe", 1),
            (b"\xc3a", 2), // cut by another code point
            (b"\xe2\x82a", 3),
            (b"\xf0\x9f\x98a", 4),
            (b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited", 13),
            (b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80edited", 13),
        ];
        for (bytes, at) in rows {
            assert_eq!(refused_at(bytes), Some(*at), "{bytes:x?}");
            assert_eq!(Validator::default().feed(bytes), Err(Invalid), "{bytes:x?}");
        }
    }

    #[test]
    fn a_cut_at_the_end_is_refused_there() {
        for cut in [&b"\xc3"[..], b"\xe2\x82", b"\xf0\x9f\x98"] {
            let mut validator = Validator::default();
            assert_eq!(validator.feed(cut), Ok(()));
            assert_eq!(validator.end(), Err(Invalid));
            assert_eq!(validator.end(), Ok(()), "the next text begins anew");
        }
    }

    proptest! {
        #[test]
        fn pieces_give_what_std_gives(
            bytes in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..80),
                ".{0,80}".prop_map(String::into_bytes),
                (".{0,40}", prop::collection::vec(any::<u8>(), 0..4), ".{0,40}")
                    .prop_map(|(a, b, c)| [a.as_bytes(), &b, c.as_bytes()].concat()),
            ],
            cuts in prop::collection::vec(0usize..240, 0..6),
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let mut validator = Validator::default();
            let fed = cuts.windows(2).try_for_each(|cut| validator.feed(&bytes[cut[0]..cut[1]]));
            let verdict = fed.and_then(|()| validator.end());
            prop_assert_eq!(verdict.is_ok(), std::str::from_utf8(&bytes).is_ok());
            // What std calls possible so far is not refused, and nothing else is let through.
            let possible = match std::str::from_utf8(&bytes) {
                Ok(_) => true,
                Err(error) => error.error_len().is_none(),
            };
            prop_assert_eq!(fed.is_ok(), possible);
        }
    }
}
