//! Names: what a topic may be called, and namespaces as small numbers.

use std::collections::HashMap;
use std::fmt;

/// A namespace that a peer is in. The number is used again when the last peer has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Namespace(u32);

/// Names to numbers, with the peers counted.
#[derive(Debug, Default)]
pub(super) struct Namespaces {
    by_name: HashMap<Box<str>, Namespace>,
    entries: Vec<(Box<str>, usize)>,
    free: Vec<u32>,
}

impl Namespaces {
    pub(super) fn find(&self, name: &str) -> Option<Namespace> {
        self.by_name.get(name).copied()
    }

    pub(super) fn name(&self, namespace: Namespace) -> &str {
        &self.entries[namespace.0 as usize].0
    }

    pub(super) fn enter(&mut self, name: &str) -> Namespace {
        if let Some(known) = self.find(name) {
            self.entries[known.0 as usize].1 += 1;
            return known;
        }
        let at = self.free.pop().unwrap_or_else(|| {
            self.entries.push(Default::default());
            self.entries.len() as u32 - 1
        });
        self.entries[at as usize] = (name.into(), 1);
        self.by_name.insert(name.into(), Namespace(at));
        Namespace(at)
    }

    pub(super) fn exit(&mut self, namespace: Namespace) {
        let (name, peers) = &mut self.entries[namespace.0 as usize];
        *peers -= 1;
        if *peers == 0 {
            self.by_name.remove(&std::mem::take(name));
            self.free.push(namespace.0);
        }
    }
}

/// Why a peer cannot be subscribed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicError {
    /// The name is empty. `ValueError` in Python.
    Empty,
    /// The name has control characters. `ValueError` in Python.
    Control,
    /// The name has too many bytes. `LimitExceeded` in Python.
    TooLong {
        /// Bytes of the name.
        length: usize,
        /// Bytes that it may have.
        longest: usize,
    },
    /// The peer has as many topics as it may have. `LimitExceeded` in Python.
    TooMany {
        /// Topics that it may have.
        most: usize,
    },
}

impl TopicError {
    /// Whether `Limits` forbids it, rather than the grammar.
    pub const fn is_limit(self) -> bool {
        matches!(self, Self::TooLong { .. } | Self::TooMany { .. })
    }
}

impl fmt::Display for TopicError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => out.write_str("a topic has a name"),
            Self::Control => out.write_str("the topic name has control characters"),
            Self::TooLong { length, longest } => {
                write!(out, "a topic name of {length} bytes: Limits.max_topic_length is {longest}")
            }
            Self::TooMany { most } => write!(out, "the peer has {most} topics: Limits.max_topics allows no more"),
        }
    }
}

impl std::error::Error for TopicError {}

/// Whether that is a name for a topic.
///
/// # Errors
/// It is empty, too long, or has control characters, looked for in this order.
pub fn check_topic(topic: &str, longest: usize) -> Result<(), TopicError> {
    if topic.is_empty() {
        return Err(TopicError::Empty);
    }
    if topic.len() > longest {
        return Err(TopicError::TooLong { length: topic.len(), longest });
    }
    // Bytes below 0x80 are only ever themselves in UTF-8.
    if topic.bytes().any(|byte| byte.is_ascii_control()) {
        return Err(TopicError::Control);
    }
    Ok(())
}
