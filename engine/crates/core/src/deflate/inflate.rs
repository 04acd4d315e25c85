//! Inflating with a bound that holds while it happens (rows W1 and W2 of the hostile inputs).

use std::cell::RefCell;

use flate2::{Decompress, FlushDecompress, Status};

use super::TAIL;

/// What ends the inflation of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// These bytes are no deflate.
    Corrupt,
    /// There is more than the bound.
    TooBig,
}

/// Ends of a stream that a message may have. Each is two bytes there, and a context to begin anew here.
const MAX_STREAMS: u32 = 64;

/// Idle contexts that one thread keeps, some 48 KiB each whatever the window is called: zlib-rs knows one size.
const KEPT: usize = 4;

thread_local! {
    /// Without takeover a context is needed from the first to the last byte of a message only. To allocate it each
    /// time is half the price of a small message.
    static IDLE: RefCell<Vec<Decompress>> = const { RefCell::new(Vec::new()) };
}

/// The receiving direction of one peer. It costs nothing between messages unless the peer keeps its context.
#[derive(Debug)]
pub struct Inflater {
    context: Option<Decompress>,
    takeover: bool,
    /// Ends of a stream in this message.
    streams: u32,
}

impl Inflater {
    /// With `takeover` a message may refer to the ones before it.
    pub const fn new(takeover: bool) -> Self {
        Self { context: None, takeover, streams: 0 }
    }

    /// Whether the 48 KiB are there.
    pub fn holds_context(&self) -> bool {
        self.context.is_some()
    }

    /// Inflate the next piece of a message, appending to `out`, which never gets longer than `most` + 1 bytes.
    ///
    /// # Errors
    /// The piece is corrupt, or `out` is longer than `most` now. What was inflated before that is in `out`.
    pub fn inflate(&mut self, mut piece: &[u8], out: &mut Vec<u8>, most: usize) -> Result<(), Fault> {
        if piece.is_empty() {
            return Ok(());
        }
        let context = self.context.get_or_insert_with(fresh);
        let mut filled = out.len();
        let result = loop {
            if filled == out.len() {
                // One byte over the bound tells the message that is too big from the one that just fits.
                let room = (most + 1).saturating_sub(filled);
                if room == 0 {
                    break Err(Fault::TooBig);
                }
                out.resize(filled + (4 * piece.len()).clamp(256, 64 * 1024).min(room), 0);
            }
            let (was_in, was_out) = (context.total_in(), context.total_out());
            let status = context.decompress(piece, &mut out[filled..], FlushDecompress::None);
            let (read, written) = ((context.total_in() - was_in) as usize, (context.total_out() - was_out) as usize);
            piece = &piece[read..];
            filled += written;
            match status {
                Err(_) => break Err(Fault::Corrupt),
                // A block that calls itself the last one does not end the message (RFC 7692 section 7.2.3.4).
                Ok(Status::StreamEnd) => {
                    context.reset(false);
                    self.streams += 1;
                    if self.streams > MAX_STREAMS {
                        break Err(Fault::Corrupt);
                    }
                    if piece.is_empty() {
                        break Ok(());
                    }
                }
                // An output that is full may have more behind it, even if the input is used up.
                Ok(_) if filled == out.len() => {}
                Ok(_) if piece.is_empty() => break Ok(()),
                Ok(_) if read + written == 0 => break Err(Fault::Corrupt),
                Ok(_) => {}
            }
        };
        out.truncate(filled);
        if filled > most { Err(Fault::TooBig) } else { result }
    }

    /// End the message: the tail that its sender took off is put back.
    ///
    /// # Errors
    /// As [`Self::inflate`]. A message that is cut inside a block gives what the tail means there, as with any zlib.
    pub fn finish(&mut self, out: &mut Vec<u8>, most: usize) -> Result<(), Fault> {
        self.inflate(&TAIL, out, most)?;
        self.streams = 0;
        if !self.takeover {
            self.release();
        }
        Ok(())
    }

    /// Give the context back. Only when no message is under way, or none will ever be.
    pub fn release(&mut self) {
        if let Some(mut context) = self.context.take() {
            IDLE.with_borrow_mut(|idle| {
                if idle.len() < KEPT {
                    context.reset(false);
                    idle.push(context);
                }
            });
        }
    }
}

fn fresh() -> Decompress {
    IDLE.with_borrow_mut(Vec::pop).unwrap_or_else(|| Decompress::new(false))
}

#[cfg(test)]
mod tests {
    use super::super::Compressor;
    use super::*;
    use proptest::prelude::*;

    fn whole(deflated: &[u8], most: usize) -> Result<Vec<u8>, Fault> {
        let mut out = Vec::new();
        let mut inflater = Inflater::new(false);
        inflater.inflate(deflated, &mut out, most)?;
        inflater.finish(&mut out, most)?;
        Ok(out)
    }

    #[test]
    fn the_examples_of_the_rfc() {
        // RFC 7692 section 7.2.3: one block, a stored one, the last of a stream, two blocks.
        let rows: [&[u8]; 4] = [
            b"\xf2\x48\xcd\xc9\xc9\x07\x00",
            b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00",
            b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00",
            b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00",
        ];
        for row in rows {
            assert_eq!(whole(row, 100).unwrap(), b"Hello", "{row:x?}");
        }
        assert_eq!(whole(b"\x00", 100).unwrap(), b"", "an empty message");
    }

    #[test]
    fn a_context_is_taken_over_and_only_then_kept() {
        // RFC 7692 section 7.2.3.2: the second message refers to the first.
        let (first, second) = (&b"\xf2\x48\xcd\xc9\xc9\x07\x00"[..], &b"\xf2\x00\x11\x00\x00"[..]);
        let mut inflater = Inflater::new(true);
        assert!(!inflater.holds_context());
        for message in [first, second] {
            let mut out = Vec::new();
            inflater.inflate(message, &mut out, 100).unwrap();
            inflater.finish(&mut out, 100).unwrap();
            assert_eq!(out, b"Hello");
        }
        assert!(inflater.holds_context());

        let mut forgetful = Inflater::new(false);
        let mut out = Vec::new();
        forgetful.inflate(first, &mut out, 100).unwrap();
        assert!(forgetful.holds_context());
        forgetful.finish(&mut out, 100).unwrap();
        assert!(!forgetful.holds_context());
        assert_eq!(forgetful.inflate(second, &mut out, 100), Err(Fault::Corrupt));
    }

    #[test]
    fn a_bomb_ends_one_byte_over_the_bound() {
        let zeros = vec![0; 8 * 1024 * 1024];
        let mut deflated = Vec::new();
        Compressor::new(9, 15, false).compress(&zeros, &mut deflated);
        assert!(deflated.len() < 16 * 1024);
        assert_eq!(whole(&deflated, zeros.len()).unwrap().len(), zeros.len());
        assert_eq!(whole(&deflated, zeros.len() - 1), Err(Fault::TooBig));

        let mut out = Vec::new();
        assert_eq!(Inflater::new(true).inflate(&deflated, &mut out, 1000), Err(Fault::TooBig));
        assert_eq!(out.len(), 1001);
        assert!(out.capacity() < 4096);
    }

    #[test]
    fn garbage_is_corrupt() {
        for garbage in [&b"\x07"[..], b"\xff\xff\xff", b"\x00\x05\x00\xfa\xfe"] {
            assert_eq!(whole(garbage, 100), Err(Fault::Corrupt), "{garbage:x?}");
        }
    }

    #[test]
    fn a_message_has_a_few_streams_at_most() {
        // Each pair of bytes is a whole stream of nothing.
        assert_eq!(whole(&b"\x03\x00".repeat(64), 100), Ok(Vec::new()));
        assert_eq!(whole(&b"\x03\x00".repeat(65), 100), Err(Fault::Corrupt));
        let mut inflater = Inflater::new(true);
        for _ in 0..100 {
            let mut out = Vec::new();
            inflater.inflate(&[&b"\x03\x00".repeat(50)[..], b"\x00"].concat(), &mut out, 100).unwrap();
            inflater.finish(&mut out, 100).unwrap();
        }
    }

    proptest! {
        #[test]
        fn bytes_one_by_one_give_the_same(deflated in prop::collection::vec(any::<u8>(), 0..60), most in 0usize..200) {
            let mut out = Vec::new();
            let mut inflater = Inflater::new(false);
            let slowly = deflated
                .iter()
                .try_for_each(|byte| inflater.inflate(&[*byte], &mut out, most))
                .and_then(|()| inflater.finish(&mut out, most));
            let mut at_once = Vec::new();
            let mut inflater = Inflater::new(false);
            let quickly =
                inflater.inflate(&deflated, &mut at_once, most).and_then(|()| inflater.finish(&mut at_once, most));
            prop_assert_eq!(slowly, quickly);
            prop_assert_eq!(out, at_once);
        }
    }
}
