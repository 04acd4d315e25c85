//! The incoming side of one connection: bytes in, events out, one event at a time.
//!
//! The caller owns the bytes that were read and asks for the next event until there is none. It may stop after any
//! event and go on later with the [`Input::rest`]. An event borrows its payload and is done with before the next one
//! is asked for, so nothing is held while a hook runs.

mod assembly;
mod input;
mod receiver;

pub use assembly::FAIR_RATIO;
pub use input::Input;
pub use receiver::Receiver;

use crate::close::Violation;
use crate::frame::Kind;

/// What came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A whole message, inflated. The payload of a text is UTF-8: that was checked.
    Message {
        /// Text or binary.
        kind: Kind,
        /// The bytes.
        payload: &'a [u8],
    },
    /// To be answered with a pong of the same payload.
    Ping(&'a [u8]),
    /// The answer to a ping, or a sign of life nobody asked for.
    Pong(&'a [u8]),
    /// The other side closes. Whatever it sends after that is ignored.
    Close {
        /// None: the close frame was empty.
        code: Option<u16>,
        /// Often empty.
        reason: &'a str,
    },
    /// The other side broke the protocol or a limit: to be answered with a close frame. Nothing follows.
    Violation(Violation),
}
