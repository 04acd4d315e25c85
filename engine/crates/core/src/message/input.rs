//! Bytes that were read and are not yet understood.

use std::ops::Range;

/// A piece of what came in. It is unmasked where it lies, so it has to be writable.
#[derive(Debug)]
pub struct Input<'b> {
    bytes: &'b mut [u8],
    at: usize,
}

impl<'b> Input<'b> {
    /// All of `bytes`.
    pub fn new(bytes: &'b mut [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// What no event has used yet: to be kept by a caller that stops before the last event.
    #[inline]
    pub fn rest(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    /// Whether everything is used up.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    #[inline]
    pub(super) fn skip(&mut self, bytes: usize) {
        self.at += bytes;
    }

    pub(super) fn skip_all(&mut self) {
        self.at = self.bytes.len();
    }

    #[inline]
    pub(super) fn take(&mut self, bytes: usize) -> Range<usize> {
        let start = self.at;
        self.at += bytes;
        start..self.at
    }

    #[inline]
    pub(super) fn get(&self, range: Range<usize>) -> &[u8] {
        &self.bytes[range]
    }

    #[inline]
    pub(super) fn get_mut(&mut self, range: Range<usize>) -> &mut [u8] {
        &mut self.bytes[range]
    }
}
