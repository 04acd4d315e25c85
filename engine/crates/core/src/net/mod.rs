//! Sockets: one epoll set for listeners and connections, read, answered and written a turn at a time.
//!
//! [`Engine`] is polled by whoever owns the loop that its descriptor is registered with. It never waits and never calls
//! back: events are pulled from it one by one, so that a hook which runs between two of them may use it freely.

mod connection;
mod deflating;
mod engine;
mod listen;
#[cfg(test)]
mod tests;

pub use connection::{End, Key};
pub use engine::{Engine, NetEvent, Publication, Sent};
