//! Every bound that a peer, a connection or a server is held to. Names and defaults are those of Python's `Limits`.

use std::time::Duration;

/// What a full outgoing queue means for its peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// The peer is closed with 1013.
    #[default]
    Close,
    /// The messages that have waited longest are dropped.
    DropOldest,
    /// The message that does not fit is dropped.
    DropNewest,
}

impl Overflow {
    /// The policy of that name, as Python writes it.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "close" => Some(Self::Close),
            "drop_oldest" => Some(Self::DropOldest),
            "drop_newest" => Some(Self::DropNewest),
            _ => None,
        }
    }
}

const MIB: usize = 1024 * 1024;

/// Bounds of a hub. Sizes are bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Largest incoming message, counted after inflation. A larger one closes its peer with 1009.
    pub max_message_size: usize,
    /// Incoming messages that wait for a slow hook. When they are reached the peer is not read further.
    pub max_waiting_messages: usize,
    /// Outgoing bytes that wait for a slow reader. A message larger than this passes only an empty queue.
    pub max_queue_size: usize,
    /// What a full outgoing queue means.
    pub overflow: Overflow,
    /// Topics of one peer.
    pub max_topics: usize,
    /// Bytes of a topic's name in UTF-8.
    pub max_topic_length: usize,
    /// Peers of one server, handshakes included. None: no bound.
    pub max_connections: Option<usize>,
    /// From the accepted connection to the complete request.
    pub handshake_timeout: Duration,
    /// From one heartbeat ping to the next. None: no pings.
    pub ping_interval: Option<Duration>,
    /// Time for the pong.
    pub ping_timeout: Duration,
    /// Time for the other side to answer a close frame, and for the queue before it to leave.
    pub close_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_message_size: MIB,
            max_waiting_messages: 16,
            max_queue_size: MIB,
            overflow: Overflow::Close,
            max_topics: 128,
            max_topic_length: 255,
            max_connections: Some(65_536),
            handshake_timeout: Duration::from_secs(10),
            ping_interval: Some(Duration::from_secs(20)),
            ping_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(5),
        }
    }
}

impl Limits {
    /// The name of a bound that is zero, if there is one: the Python side refuses those, so it is a bug here.
    pub fn first_zero(&self) -> Option<&'static str> {
        let zero = [
            ("max_message_size", self.max_message_size == 0),
            ("max_waiting_messages", self.max_waiting_messages == 0),
            ("max_queue_size", self.max_queue_size == 0),
            ("max_topics", self.max_topics == 0),
            ("max_topic_length", self.max_topic_length == 0),
            ("max_connections", self.max_connections == Some(0)),
            ("handshake_timeout", self.handshake_timeout.is_zero()),
            ("ping_interval", self.ping_interval.is_some_and(|time| time.is_zero())),
            ("ping_timeout", self.ping_timeout.is_zero()),
            ("close_timeout", self.close_timeout.is_zero()),
        ];
        zero.into_iter().find_map(|(name, is_zero)| is_zero.then_some(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bound_is_positive() {
        assert_eq!(Limits::default().first_zero(), None);
        let none = Limits { max_connections: None, ping_interval: None, ..Limits::default() };
        assert_eq!(none.first_zero(), None);
        let zero = Limits { max_connections: Some(0), ..Limits::default() };
        assert_eq!(zero.first_zero(), Some("max_connections"));
        let zero = Limits { close_timeout: Duration::ZERO, ..Limits::default() };
        assert_eq!(zero.first_zero(), Some("close_timeout"));
    }

    #[test]
    fn policies_have_the_names_of_python() {
        assert_eq!(Overflow::named("close"), Some(Overflow::Close));
        assert_eq!(Overflow::named("drop_oldest"), Some(Overflow::DropOldest));
        assert_eq!(Overflow::named("drop_newest"), Some(Overflow::DropNewest));
        assert_eq!(Overflow::named("conflate"), None);
    }
}
