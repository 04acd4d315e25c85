//! Compressing, once a message for all peers with the same window.

use flate2::{Compress, Compression, FlushCompress};

use super::{COMPRESSION_BITS, Params, TAIL};

/// One direction of deflate.
#[derive(Debug)]
pub struct Compressor {
    context: Compress,
    takeover: bool,
}

impl Compressor {
    /// A context of some 370 KiB for a window of 2^15, 250 KiB for 2^9: the hash table does not shrink with the window.
    ///
    /// # Panics
    /// `bits` is none of [`COMPRESSION_BITS`], or `level` is over 9.
    pub fn new(level: u32, bits: u8, takeover: bool) -> Self {
        Self { context: Compress::new_with_window_bits(Compression::new(level), false, bits), takeover }
    }

    /// Append the compressed payload of one message to `out`, without the tail.
    pub fn compress(&mut self, payload: &[u8], out: &mut Vec<u8>) {
        if payload.is_empty() {
            // RFC 7692 section 7.2.3.6. A second flush with nothing between would write nothing at all.
            out.push(0);
            return;
        }
        if !self.takeover {
            self.context.reset();
        }
        let before = self.context.total_in();
        // A sync flush is complete when it leaves room in the output (zlib's manual, deflate).
        out.reserve(payload.len() / 2 + 64);
        loop {
            let read = (self.context.total_in() - before) as usize;
            self.context
                .compress_vec(&payload[read..], out, FlushCompress::Sync)
                .expect("deflate does not fail on input");
            if out.len() < out.capacity() {
                break;
            }
            out.reserve(payload.len() / 2 + 64);
        }
        debug_assert!(out.ends_with(&TAIL));
        out.truncate(out.len() - TAIL.len());
    }
}

/// The shared compressors of an engine: one for each window that is in use, made when it is first needed.
#[derive(Debug)]
pub struct Compressors {
    level: u32,
    by_bits: [Option<Compressor>; 7],
}

impl Compressors {
    /// None is made yet.
    pub const fn new(level: u32) -> Self {
        Self { level, by_bits: [const { None }; 7] }
    }

    /// Append the compressed payload to `out`, readable by every peer whose parameters share its window.
    ///
    /// # Panics
    /// The parameters are for a context of the peer's own: nothing can be shared with it.
    pub fn compress(&mut self, params: &Params, payload: &[u8], out: &mut Vec<u8>) {
        assert!(params.server_no_context_takeover, "a peer with a context of its own");
        let bits = params.server_max_window_bits;
        let slot = &mut self.by_bits[usize::from(bits - COMPRESSION_BITS.start())];
        slot.get_or_insert_with(|| Compressor::new(self.level, bits, false)).compress(payload, out);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Inflater, offers};
    use super::*;
    use flate2::{Decompress, FlushDecompress};
    use proptest::prelude::*;

    fn inflated(inflater: &mut Inflater, deflated: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        inflater.inflate(deflated, &mut out, 1 << 20).unwrap();
        inflater.finish(&mut out, 1 << 20).unwrap();
        out
    }

    #[test]
    fn an_empty_message_is_a_zero_byte_each_time() {
        let mut compressor = Compressor::new(6, 15, true);
        let mut inflater = Inflater::new(true);
        for payload in [&b""[..], b"", b"a", b"", b"a"] {
            let mut out = Vec::new();
            compressor.compress(payload, &mut out);
            assert_eq!(inflated(&mut inflater, &out), payload);
        }
    }

    #[test]
    fn an_output_that_is_just_full_is_complete_too() {
        // Every capacity once, so that the flush ends on the last byte of it in some.
        let payload: Vec<u8> = (0..300u32).flat_map(|at| (at * at).to_le_bytes()).collect();
        for extra in 0..64 {
            let mut out = Vec::with_capacity(extra);
            Compressor::new(1, 9, false).compress(&payload, &mut out);
            assert_eq!(inflated(&mut Inflater::new(false), &out), payload);
        }
    }

    #[test]
    fn compressors_are_shared_by_window() {
        let mut shared = Compressors::new(6);
        for bits in COMPRESSION_BITS {
            let offer = offers(format!("permessage-deflate; server_max_window_bits={bits}").as_bytes());
            let params = Params::negotiate(&offer, &super::super::Config::default()).unwrap();
            for _ in 0..2 {
                let mut out = Vec::new();
                shared.compress(&params, b"HelloHelloHello", &mut out);
                assert_eq!(inflated(&mut Inflater::new(false), &out), b"HelloHelloHello");
            }
        }
    }

    proptest! {
        #[test]
        fn round_trip_with_each_window(
            messages in prop::collection::vec(
                prop_oneof![
                    prop::collection::vec(any::<u8>(), 0..400),
                    prop::collection::vec(0u8..4, 0..40_000),
                ],
                1..5,
            ),
            bits in 9u8..=15, level in 1u32..=9, takeover: bool, cut in 1usize..500,
        ) {
            let mut compressor = Compressor::new(level, bits, takeover);
            let mut inflater = Inflater::new(takeover);
            // Another reader with exactly the window that was agreed on: nothing refers further back than that.
            let mut narrow = Decompress::new_with_window_bits(false, bits);
            for message in &messages {
                let mut deflated = Vec::new();
                compressor.compress(message, &mut deflated);
                let mut out = Vec::new();
                for piece in deflated.chunks(cut) {
                    inflater.inflate(piece, &mut out, 1 << 20).unwrap();
                }
                inflater.finish(&mut out, 1 << 20).unwrap();
                prop_assert_eq!(&out, message);

                deflated.extend_from_slice(&TAIL);
                let mut raw = Vec::with_capacity(message.len() + 1);
                if !takeover {
                    narrow.reset(false);
                }
                narrow.decompress_vec(&deflated, &mut raw, FlushDecompress::Sync).unwrap();
                prop_assert_eq!(&raw, message);
            }
        }
    }
}
