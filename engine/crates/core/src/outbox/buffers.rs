//! Buffers that one outbox has emptied and the next one fills: a turn of the loop allocates next to nothing.

/// Bytes that are kept for the next turn. More is given back to the system.
const KEPT: usize = 4 * 1024 * 1024;

/// A new buffer: room for some small messages, little enough for a peer that gets only one.
const FIRST: usize = 512;

/// The idle buffers of one loop, the warmest on top.
#[derive(Debug, Default)]
pub struct Buffers {
    idle: Vec<Vec<u8>>,
    held: usize,
}

impl Buffers {
    /// None yet.
    pub const fn new() -> Self {
        Self { idle: Vec::new(), held: 0 }
    }

    /// Bytes that are held.
    pub fn held(&self) -> usize {
        self.held
    }

    pub(super) fn take(&mut self) -> Vec<u8> {
        match self.idle.pop() {
            Some(buffer) => {
                self.held -= buffer.capacity();
                buffer
            }
            None => Vec::with_capacity(FIRST),
        }
    }

    #[inline]
    pub(super) fn give(&mut self, mut buffer: Vec<u8>) {
        let size = buffer.capacity();
        if size > 0 && self.held + size <= KEPT {
            buffer.clear();
            self.held += size;
            self.idle.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_is_taken_again_up_to_a_bound() {
        let mut buffers = Buffers::new();
        assert_eq!(buffers.take().capacity(), FIRST);
        buffers.give(Vec::new());
        assert_eq!(buffers.held(), 0);
        buffers.give(vec![1; 1000]);
        let again = buffers.take();
        assert!(again.is_empty() && again.capacity() == 1000);
        for _ in 0..5 {
            buffers.give(Vec::with_capacity(KEPT / 2));
        }
        assert_eq!(buffers.held(), KEPT);
    }
}
