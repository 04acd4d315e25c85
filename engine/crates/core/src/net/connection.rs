//! What is kept for one socket.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use super::deflating::Deflating;
use crate::budget::Budget;
use crate::deflate::{Inflater, Offer};
use crate::handshake::{AcceptKey, Request};
use crate::limits::Limits;
use crate::message::Receiver;
use crate::outbox::Outbox;

/// Pings and pongs a second in the long run, and at once.
const CONTROL_RATE: f64 = 30.0;
const CONTROL_BURST: f64 = 60.0;

/// A connection, for as long as it lives: its place, and a number that no other connection of that place has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// The place, which is the peer's key in the topics too.
    pub index: u32,
    /// The number.
    pub generation: u32,
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// The close code: 1005 where a close frame had none, 1006 where no close frame came.
    pub code: u16,
    /// The reason of the close frame.
    pub reason: String,
    /// Both sides sent their close frame.
    pub was_clean: bool,
}

impl End {
    /// The socket went without a word.
    pub fn lost() -> Self {
        Self { code: 1006, reason: String::new(), was_clean: false }
    }
}

/// Where a connection stands.
#[derive(Debug)]
pub(super) enum Phase {
    /// Its request comes in.
    Head(Box<Request>, Option<SocketAddr>),
    /// Its request waits for an answer. What came behind it is in `early`.
    Asked(Box<Asked>),
    /// A WebSocket.
    Open(Box<Open>),
    /// The end was told: what still comes is thrown away, until the other side is gone or the time is over.
    Lingering,
}

/// What an answer to a handshake is made of.
#[derive(Debug)]
pub(super) struct Asked {
    pub accept: AcceptKey,
    pub deflate: Vec<Offer>,
}

/// How a connection is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Farewell {
    /// It stays.
    None,
    /// Our side is shut down, so that the other can read our last words and see the end.
    HangUp,
    /// The other side has said its last word: there is nothing to wait for.
    Close,
}

/// The WebSocket part of a connection.
#[derive(Debug)]
pub(super) struct Open {
    pub receiver: Receiver,
    /// Our close frame is on its way, or gone.
    pub closing: bool,
    /// Waiting for the pong to this.
    pub ping: Option<[u8; 4]>,
    pub pinged_at: Duration,
    /// The latest ping that could not be answered yet.
    pub pong: Option<Vec<u8>>,
    pub budget: Budget,
}

impl Open {
    pub fn new(limits: &Limits, now: Duration, inflater: Option<Inflater>) -> Self {
        Self {
            receiver: Receiver::new(crate::frame::Role::Server, limits.max_message_size, inflater),
            closing: false,
            ping: None,
            pinged_at: now,
            pong: None,
            budget: Budget::new(CONTROL_RATE, CONTROL_BURST),
        }
    }
}

/// One socket.
#[derive(Debug)]
pub(super) struct Connection {
    pub socket: OwnedFd,
    pub generation: u32,
    pub phase: Phase,
    /// Bytes that were read and are not understood yet: a head that is not complete, or what a pause left over.
    pub kept: Vec<u8>,
    pub outbox: Outbox,
    /// The compression that was agreed on.
    pub deflating: Option<Box<Deflating>>,
    /// When it is dropped, whatever happens.
    pub deadline: Option<Duration>,
    /// In the list of those to be written at the end of the turn.
    pub is_dirty: bool,
    /// In the queue of those to be read.
    pub is_queued: bool,
    /// The socket takes nothing: what comes waits in the outbox, where the policies are.
    pub is_blocked: bool,
    /// When the socket last took something, while it is blocked.
    pub progress_at: Duration,
    /// Nobody wants to read.
    pub is_paused: bool,
    /// What is to be done when the outbox is empty.
    pub farewell: Farewell,
    /// What epoll was asked for.
    pub interest: (bool, bool),
}
