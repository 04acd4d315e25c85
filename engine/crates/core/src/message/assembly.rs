//! A message that comes in parts: fragments, pieces of a frame, compressed data. One buffer that grows with the bytes.

use crate::close::{POLICY, Violation};
use crate::deflate::{Fault, Inflater};
use crate::frame::{Header, Kind, Opcode};
use crate::mask::{self, Key};
use crate::utf8::{Invalid, Validator};

/// Fragments of a message that are free, and the bytes that pay for each further one.
///
/// Without them a message of empty fragments never ends and never reaches a limit (row W4). With them Autobahn 9.3.1,
/// 4 MiB in fragments of 64 bytes, still passes, and so does a client that writes a few words at a time.
const FREE_FRAGMENTS: usize = 4096;
const BYTES_PER_FRAGMENT: usize = 32;

/// Bytes that one compressed byte may honestly become: JSON and text stay below, deflate's most is about 1,030.
pub const FAIR_RATIO: u64 = 32;

/// A buffer above this is given back after each message, not only when the input is used up.
const KEPT: usize = 64 * 1024;

/// The message that has begun, if one has, and the room for its bytes.
#[derive(Debug)]
pub(super) struct Assembly {
    most: usize,
    inflater: Option<Inflater>,
    kind: Option<Kind>,
    compressed: bool,
    fragments: usize,
    /// Payload bytes of the frames so far, by their headers.
    wire: u64,
    /// Inflated bytes beyond the fair ratio, of the messages since somebody asked.
    excess: u64,
    text: Validator,
    buffer: Vec<u8>,
}

impl Assembly {
    pub(super) fn new(most: usize, inflater: Option<Inflater>) -> Self {
        Self {
            most,
            inflater,
            kind: None,
            compressed: false,
            fragments: 0,
            wire: 0,
            excess: 0,
            text: Validator::default(),
            buffer: Vec::new(),
        }
    }

    /// A data frame begins.
    #[inline]
    pub(super) fn begin(&mut self, header: &Header) -> Result<(), Violation> {
        let kind = match header.opcode {
            Opcode::Text => Kind::Text,
            Opcode::Binary => Kind::Binary,
            _ => return self.go_on(header),
        };
        if self.kind.is_some() {
            return Err(Violation::protocol("a message begins inside another one"));
        }
        if header.rsv1 && self.inflater.is_none() {
            return Err(Violation::protocol("a compressed message, but compression was not agreed on"));
        }
        (self.kind, self.compressed, self.fragments, self.wire) = (Some(kind), header.rsv1, 1, 0);
        self.count(header.len)
    }

    fn go_on(&mut self, header: &Header) -> Result<(), Violation> {
        if self.kind.is_none() {
            return Err(Violation::protocol("a continuation, but no message has begun"));
        }
        if header.rsv1 {
            return Err(Violation::protocol("a reserved bit is set"));
        }
        self.fragments += 1;
        if self.fragments > FREE_FRAGMENTS + self.wire as usize / BYTES_PER_FRAGMENT {
            return Err(Violation { code: POLICY, reason: "too many small fragments" });
        }
        self.count(header.len)
    }

    /// Refuse by the header what cannot fit: nothing is ever allocated by a length that was only claimed.
    #[inline]
    fn count(&mut self, len: u64) -> Result<(), Violation> {
        let most = self.most as u64;
        // Bytes that do not compress get longer by a few in 16 KiB; a sender that flushes often adds some more.
        let room = if self.compressed { most + most / 8 + 1024 } else { most };
        self.wire += len;
        if self.wire > room { Err(Violation::too_big()) } else { Ok(()) }
    }

    /// Whether a frame that is all there can be handed on as it lies.
    #[inline]
    pub(super) fn passes(&mut self, header: &Header) -> Option<Kind> {
        if header.fin && header.opcode != Opcode::Continuation && !self.compressed { self.kind.take() } else { None }
    }

    /// Take the next piece of the payload. It may be unmasked where it lies.
    pub(super) fn feed(&mut self, piece: &mut [u8], key: Key) -> Result<(), Violation> {
        let start = self.buffer.len();
        if !self.compressed {
            mask::append(&mut self.buffer, piece, key);
            return self.check(start, Ok(()));
        }
        mask::apply(piece, key);
        let inflated = self.inflater.as_mut().map_or(Ok(()), |it| it.inflate(piece, &mut self.buffer, self.most));
        self.check(start, inflated)
    }

    /// The last frame is complete.
    pub(super) fn finish(&mut self) -> Result<Kind, Violation> {
        if self.compressed {
            let start = self.buffer.len();
            let inflated = self.inflater.as_mut().map_or(Ok(()), |it| it.finish(&mut self.buffer, self.most));
            self.check(start, inflated)?;
            self.excess += (self.buffer.len() as u64).saturating_sub(FAIR_RATIO * self.wire);
        }
        self.text.end().map_err(|Invalid| not_utf8())?;
        Ok(self.kind.take().expect("a message has begun"))
    }

    /// Check what was added since `start`, and only then what stopped it, so that the first wrong byte decides.
    fn check(&mut self, start: usize, inflated: Result<(), Fault>) -> Result<(), Violation> {
        if self.kind == Some(Kind::Text) {
            let end = self.buffer.len().min(self.most);
            self.text.feed(&self.buffer[start.min(end)..end]).map_err(|Invalid| not_utf8())?;
        }
        inflated.map_err(|fault| match fault {
            Fault::TooBig => Violation::too_big(),
            Fault::Corrupt => Violation::data("a compressed message that cannot be inflated"),
        })
    }

    pub(super) fn take_excess(&mut self) -> u64 {
        std::mem::take(&mut self.excess)
    }

    /// The bytes of the message that was finished.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer
    }

    /// Whether no message is under way.
    #[inline]
    pub(super) fn is_idle(&self) -> bool {
        self.kind.is_none()
    }

    /// Forget the message that was handed on.
    pub(super) fn recycle(&mut self) {
        if self.buffer.capacity() > KEPT {
            self.buffer = Vec::new();
        } else {
            self.buffer.clear();
        }
    }

    /// Give back what an idle connection does not need.
    #[inline]
    pub(super) fn shrink(&mut self) {
        if self.buffer.capacity() != 0 {
            self.buffer = Vec::new();
        }
    }

    /// Nothing comes any more.
    pub(super) fn end(&mut self) {
        self.kind = None;
        self.shrink();
        if let Some(mut inflater) = self.inflater.take() {
            inflater.release();
        }
    }

    /// Heap bytes that are held, the inflater's context not counted.
    pub(super) fn held(&self) -> usize {
        self.buffer.capacity()
    }
}

pub(super) fn not_utf8() -> Violation {
    Violation::data("a text that is no UTF-8")
}
