//! What the targets share: bytes in pieces, and what a receiver makes of them.
//!
//! An input is a few bytes of options, then the bytes under test as they are, so that seeds can be written by hand
//! (`seeds.py`) and a mutation of the input is one of the bytes.

use std::fmt;

use arbitrary::{Arbitrary, Result, Unstructured};
use crosspeer_core::{Event, Input, Kind, Receiver, Violation};

/// All that is left of the input.
#[derive(Clone)]
pub struct Rest(pub Vec<u8>);

impl<'a> Arbitrary<'a> for Rest {
    fn arbitrary(input: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self(input.bytes(input.len())?.to_vec()))
    }
}

impl fmt::Debug for Rest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "b\"{}\"", self.0.escape_ascii())
    }
}

/// Sizes of the pieces that bytes come in, over and over. A piece may be empty.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Cuts([u8; 4]);

impl Cuts {
    /// Where each piece ends.
    pub fn ends(self, length: usize) -> Vec<usize> {
        let sizes = if self.0 == [0; 4] { [1; 4] } else { self.0 };
        let mut at = 0;
        let inner = sizes.into_iter().cycle().map(move |size| {
            at += usize::from(size);
            at
        });
        inner.take_while(|&end| end < length).chain([length]).collect()
    }

    /// The pieces.
    pub fn pieces(self, bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends(bytes.len()).into_iter().map(move |end| &bytes[std::mem::replace(&mut start, end)..end])
    }
}

/// An event that borrows nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// A whole message.
    Message(Kind, Vec<u8>),
    /// A ping.
    Ping(Vec<u8>),
    /// A pong.
    Pong(Vec<u8>),
    /// The other side closes.
    Close(Option<u16>, String),
    /// The other side broke a rule.
    Violation(Violation),
}

impl Seen {
    /// Whether nothing may follow.
    pub fn is_last(&self) -> bool {
        matches!(self, Self::Close(..) | Self::Violation(_))
    }
}

impl From<Event<'_>> for Seen {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Message { kind, payload } => Self::Message(kind, payload.to_vec()),
            Event::Ping(payload) => Self::Ping(payload.to_vec()),
            Event::Pong(payload) => Self::Pong(payload.to_vec()),
            Event::Close { code, reason } => Self::Close(code, reason.to_owned()),
            Event::Violation(violation) => Self::Violation(violation),
        }
    }
}

/// Feed one piece, and add what comes of it.
pub fn feed(receiver: &mut Receiver, piece: &[u8], seen: &mut Vec<Seen>) {
    let mut piece = piece.to_vec();
    let mut input = Input::new(&mut piece);
    while let Some(event) = receiver.next(&mut input) {
        seen.push(event.into());
    }
    assert!(input.is_empty(), "no event means that all is used up");
}
