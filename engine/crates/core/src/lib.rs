//! The pure core of crosspeer's native engine: bytes in, events out, and the queues and indexes of fan-out.
//!
//! Only `net` knows sockets; nothing here knows a clock, a thread or Python. Bad input is a value ([`Event::Violation`],
//! [`handshake::Outcome::Refuse`]), never a panic: a panic means a bug in this crate.
//! The Python package has a reference for everything that is done here; the same contract suite runs on both.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod binarypack;
pub mod budget;
pub mod close;
pub mod deflate;
pub mod frame;
pub mod handshake;
pub mod limits;
pub mod mask;
pub mod message;
#[cfg(target_os = "linux")]
pub mod net;
pub mod outbox;
pub mod outgoing;
pub mod topics;
pub mod utf8;

pub use close::Violation;
pub use frame::{Kind, Role};
pub use limits::{Limits, Overflow};
pub use message::{Event, Input, Receiver};
pub use outbox::{Buffers, Outbox, Push};
pub use outgoing::Frame;
pub use topics::Topics;
