//! The outgoing queue of one peer: bounded, counted, with a named policy for what does not fit.
//!
//! It holds the bytes for the wire, one frame behind the other, so that an append is a copy and a write is one system
//! call. Frames describe themselves ([`frame::walk`]), so boundaries are only looked for when a write was cut short or
//! a message has to be dropped. Control frames go along uncounted and are never dropped by a policy.

mod buffers;
mod queue;

pub use buffers::Buffers;

use queue::Queue;

use crate::frame::{self, Header, Kind};
use crate::limits::{Limits, Overflow};
use crate::outgoing::Frame;

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Push {
    /// It waits to be written. Older ones may have been dropped for it.
    Queued,
    /// It was dropped.
    Dropped,
    /// It does not fit, and the policy is to close the peer.
    Full,
}

/// Messages between `send` and the socket.
#[derive(Debug)]
pub struct Outbox {
    queue: Queue,
    limit: usize,
    policy: Overflow,
    /// Payload bytes of the messages that are not begun, and how many there are.
    size: usize,
    count: usize,
    /// Payload bytes of the message that is partly written. They count against the limit until all are gone.
    taken: usize,
    dropped: u64,
}

impl Outbox {
    /// An empty one.
    pub const fn new(limits: &Limits) -> Self {
        Self {
            queue: Queue::new(),
            limit: limits.max_queue_size,
            policy: limits.overflow,
            size: 0,
            count: 0,
            taken: 0,
            dropped: 0,
        }
    }

    /// Queue a message, or apply the policy.
    #[inline]
    pub fn push(&mut self, message: &Frame, buffers: &mut Buffers) -> Push {
        // A message larger than the limit passes an empty queue: it could never be sent otherwise.
        if self.size + self.taken + message.size() > self.limit && (self.count > 0 || self.taken > 0) {
            return self.overflow(message, buffers);
        }
        self.append(message, buffers);
        Push::Queued
    }

    /// Queue a message for this peer alone: as [`Self::push`], without the frame that others would share.
    #[inline]
    pub fn push_payload(&mut self, kind: Kind, payload: &[u8], buffers: &mut Buffers) -> Push {
        let header = Header { fin: true, rsv1: false, opcode: kind.opcode(), key: None, len: payload.len() as u64 };
        let (bytes, length) = frame::header(&header);
        let fits = self.size + self.taken + payload.len() <= self.limit;
        if fits && self.queue.append_parts(&bytes[..length], payload, buffers) {
            self.size += payload.len();
            self.count += 1;
            return Push::Queued;
        }
        self.push(&Frame::message(kind, payload), buffers)
    }

    /// Queue a ping, a pong or a close frame, whatever waits. How many there are is the caller's matter.
    pub fn push_control(&mut self, frame: &Frame, buffers: &mut Buffers) {
        self.queue.append(frame, buffers);
    }

    /// Queue bytes that are no frame: the answer to the handshake, in front of everything.
    pub fn push_raw(&mut self, bytes: &[u8], buffers: &mut Buffers) {
        self.queue.begin_with(bytes, buffers);
    }

    /// Drop every frame that is not begun, control frames too: before a close frame that must go out at once.
    pub fn clear(&mut self, buffers: &mut Buffers) {
        self.queue.clear(buffers);
        (self.size, self.count) = (0, 0);
    }

    /// What is to be written, in order, for one `writev`.
    pub fn slices(&self) -> impl Iterator<Item = &[u8]> {
        self.queue.slices()
    }

    /// So many bytes of [`Self::slices`] were written. An empty outbox gives its memory back.
    ///
    /// # Panics
    /// There are not that many.
    #[inline]
    pub fn advance(&mut self, bytes: usize, buffers: &mut Buffers) {
        if bytes == self.queue.bytes() {
            self.queue.reset(buffers);
            (self.size, self.count, self.taken) = (0, 0, 0);
        } else {
            self.advance_partly(bytes, buffers);
        }
    }

    /// Payload bytes of the messages that are not begun.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Payload bytes of the message that is partly written.
    pub fn taken(&self) -> usize {
        self.taken
    }

    /// Messages that a policy threw away.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Messages that are not begun.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is nothing to write, control frames included.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.queue.bytes() == 0
    }

    /// Bytes for the wire that wait, headers and control frames included.
    pub fn bytes(&self) -> usize {
        self.queue.bytes()
    }

    /// Heap bytes that are held, shared payloads not counted.
    pub fn held(&self) -> usize {
        self.queue.held()
    }

    #[inline]
    fn append(&mut self, message: &Frame, buffers: &mut Buffers) {
        self.size += message.size();
        self.count += 1;
        self.queue.append(message, buffers);
    }

    #[cold]
    fn overflow(&mut self, message: &Frame, buffers: &mut Buffers) -> Push {
        if self.policy == Overflow::Close {
            return Push::Full;
        }
        if self.policy == Overflow::DropOldest && message.size() <= self.limit {
            while self.count > 0 && self.size + self.taken + message.size() > self.limit {
                self.drop_oldest(buffers);
            }
            // Alone it may stand behind what is half written: the newest is what this policy is for.
            self.append(message, buffers);
            return Push::Queued;
        }
        self.dropped += 1;
        Push::Dropped
    }

    fn drop_oldest(&mut self, buffers: &mut Buffers) {
        loop {
            let (opcode, header, payload) = frame::walk(self.queue.front());
            if !opcode.is_control() {
                self.queue.skip(header + payload, buffers);
                self.size -= payload;
                self.count -= 1;
                self.dropped += 1;
                return;
            }
            // It goes before everything that may still be dropped.
            self.queue.begin(0, header + payload, buffers);
        }
    }

    #[cold]
    fn advance_partly(&mut self, mut bytes: usize, buffers: &mut Buffers) {
        assert!(bytes < self.queue.bytes(), "more was written than there is");
        let finished;
        (bytes, finished) = self.queue.advance_begun(bytes);
        if finished {
            self.taken = 0;
        }
        while bytes > 0 {
            let (opcode, header, payload) = frame::walk(self.queue.front());
            let whole = header + payload;
            let counted = !opcode.is_control();
            if counted {
                self.size -= payload;
                self.count -= 1;
            }
            if bytes < whole {
                self.queue.begin(bytes, whole, buffers);
                self.taken = if counted { payload } else { 0 };
                return;
            }
            self.queue.skip(whole, buffers);
            bytes -= whole;
        }
    }
}

#[cfg(test)]
mod tests;
