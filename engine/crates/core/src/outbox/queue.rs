//! Frames as bytes: small ones copied one behind the other, big ones shared. It knows no limits.
//!
//! Order: what is begun, then whole chunks, then the tail that is appended to. All but the first start at a frame.

use std::collections::VecDeque;
use std::mem;

use bytes::{Buf, Bytes};

use super::Buffers;
use crate::outgoing::Frame;

/// From here on a frame is shared: one more slice for `writev` is cheaper than the copy.
const SHARED: usize = 8 * 1024;

/// A tail of this length is closed: growing further would copy it, and a written chunk is given back sooner.
const CHUNK: usize = 64 * 1024;

#[derive(Debug)]
enum Chunk {
    Copied(Vec<u8>, usize),
    Shared(Bytes),
}

impl Chunk {
    fn rest(&self) -> &[u8] {
        match self {
            Self::Copied(bytes, at) => &bytes[*at..],
            Self::Shared(bytes) => bytes,
        }
    }
}

#[derive(Debug)]
pub(super) struct Queue {
    begun: VecDeque<Bytes>,
    chunks: VecDeque<Chunk>,
    tail: Vec<u8>,
    tail_at: usize,
    bytes: usize,
}

impl Queue {
    pub(super) const fn new() -> Self {
        Self { begun: VecDeque::new(), chunks: VecDeque::new(), tail: Vec::new(), tail_at: 0, bytes: 0 }
    }

    #[inline]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn held(&self) -> usize {
        let copied = self.chunks.iter().map(|chunk| match chunk {
            Chunk::Copied(bytes, _) => bytes.capacity(),
            Chunk::Shared(_) => 0,
        });
        let tables = self.chunks.capacity() * size_of::<Chunk>() + self.begun.capacity() * size_of::<Bytes>();
        copied.sum::<usize>() + self.tail.capacity() + tables
    }

    #[inline]
    pub(super) fn append(&mut self, frame: &Frame, buffers: &mut Buffers) {
        let bytes = frame.bytes();
        self.bytes += bytes.len();
        if bytes.len() > self.tail.capacity() - self.tail.len() || bytes.len() >= SHARED {
            self.make_room(bytes, buffers);
        } else {
            self.tail.extend_from_slice(bytes);
        }
    }

    /// Put bytes in front that count as begun: they are no frame, and nothing may come between them.
    pub(super) fn begin_with(&mut self, bytes: &[u8], _buffers: &mut Buffers) {
        self.bytes += bytes.len();
        self.begun.push_back(Bytes::copy_from_slice(bytes));
    }

    /// Append a small frame by its parts, without making it first. False: it has to be made.
    #[inline]
    pub(super) fn append_parts(&mut self, header: &[u8], payload: &[u8], buffers: &mut Buffers) -> bool {
        let length = header.len() + payload.len();
        if self.tail.capacity() == 0 {
            self.tail = buffers.take();
        }
        if length >= SHARED || length > self.tail.capacity() - self.tail.len() {
            return false;
        }
        self.tail.extend_from_slice(header);
        self.tail.extend_from_slice(payload);
        self.bytes += length;
        true
    }

    #[cold]
    fn make_room(&mut self, bytes: &Bytes, buffers: &mut Buffers) {
        if bytes.len() >= SHARED {
            self.close_tail();
            self.chunks.push_back(Chunk::Shared(bytes.clone()));
            return;
        }
        if self.tail_at > self.tail.len() / 2 {
            // A peer that is slow but not stuck: what it has read is at the front of the tail.
            self.tail.drain(..mem::take(&mut self.tail_at));
        }
        if self.tail.len() + bytes.len() > CHUNK {
            self.close_tail();
        }
        if self.tail.capacity() == 0 {
            self.tail = buffers.take();
        }
        self.tail.extend_from_slice(bytes);
    }

    fn close_tail(&mut self) {
        if self.tail_at < self.tail.len() {
            let tail = mem::take(&mut self.tail);
            self.chunks.push_back(Chunk::Copied(tail, mem::take(&mut self.tail_at)));
        }
    }

    pub(super) fn slices(&self) -> impl Iterator<Item = &[u8]> {
        let tail = Some(&self.tail[self.tail_at..]).filter(|tail| !tail.is_empty());
        self.begun.iter().map(|bytes| &bytes[..]).chain(self.chunks.iter().map(Chunk::rest)).chain(tail)
    }

    /// The first bytes that are not begun: whole frames.
    pub(super) fn front(&self) -> &[u8] {
        self.chunks.front().map_or(&self.tail[self.tail_at..], Chunk::rest)
    }

    /// Forget the first so many bytes of [`Self::front`].
    pub(super) fn skip(&mut self, bytes: usize, buffers: &mut Buffers) {
        self.bytes -= bytes;
        let is_empty = match self.chunks.front_mut() {
            None => {
                self.tail_at += bytes;
                return;
            }
            Some(Chunk::Copied(copied, at)) => {
                *at += bytes;
                *at == copied.len()
            }
            Some(Chunk::Shared(shared)) => {
                shared.advance(bytes);
                shared.is_empty()
            }
        };
        if is_empty && let Some(Chunk::Copied(empty, _)) = self.chunks.pop_front() {
            buffers.give(empty);
        }
    }

    /// The first `whole` bytes of [`Self::front`] are a frame that must be written now; `written` of them are.
    pub(super) fn begin(&mut self, written: usize, whole: usize, buffers: &mut Buffers) {
        let rest = match self.chunks.front() {
            Some(Chunk::Shared(bytes)) => bytes.slice(written..whole),
            _ => Bytes::copy_from_slice(&self.front()[written..whole]),
        };
        self.skip(whole, buffers);
        self.bytes += rest.len();
        self.begun.push_back(rest);
    }

    /// Write from what is begun: the bytes that go beyond it, and whether the first frame of it is complete.
    pub(super) fn advance_begun(&mut self, mut bytes: usize) -> (usize, bool) {
        let mut finished = false;
        while let Some(first) = self.begun.front_mut() {
            let written = bytes.min(first.len());
            bytes -= written;
            self.bytes -= written;
            if written < first.len() {
                first.advance(written);
                return (bytes, finished);
            }
            self.begun.pop_front();
            finished = true;
        }
        (bytes, finished)
    }

    /// Forget what is not begun.
    pub(super) fn clear(&mut self, buffers: &mut Buffers) {
        self.bytes = self.begun.iter().map(Bytes::len).sum();
        for chunk in mem::take(&mut self.chunks) {
            if let Chunk::Copied(bytes, _) = chunk {
                buffers.give(bytes);
            }
        }
        buffers.give(mem::take(&mut self.tail));
        self.tail_at = 0;
    }

    /// Everything was written.
    #[inline]
    pub(super) fn reset(&mut self, buffers: &mut Buffers) {
        self.bytes = 0;
        self.tail_at = 0;
        buffers.give(mem::take(&mut self.tail));
        if self.chunks.capacity() + self.begun.capacity() > 0 {
            self.begun = VecDeque::new();
            self.clear(buffers);
        }
    }
}
