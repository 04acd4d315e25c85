//! Masking: XOR with a four-byte key (RFC 6455 section 5.3), word by word so that the compiler makes vectors of it.

/// The four bytes of a masking key.
pub type Key = [u8; 4];

/// Bytes that are copied before they are masked: the second pass finds them in the nearest cache.
const BLOCK: usize = 4096;

/// The key as it has to be used `by` bytes further on in a payload.
#[inline]
pub const fn advance(key: Key, by: usize) -> Key {
    // Big endian, because the first byte of the key has to leave at the high end and come in again at the low one.
    u32::from_be_bytes(key).rotate_left(8 * (by % 4) as u32).to_be_bytes()
}

/// Mask or unmask in place.
#[inline]
pub fn apply(data: &mut [u8], key: Key) {
    let half = u32::from_ne_bytes(key);
    if half == 0 {
        // Some clients send zero keys to save the work on both sides.
        return;
    }
    let whole = (u64::from(half) << 32) | u64::from(half);
    let (words, rest) = data.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ whole).to_ne_bytes();
    }
    let (words, rest) = rest.as_chunks_mut::<4>();
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ half).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key) {
        *byte ^= key;
    }
}

/// Append `data` to `out`, masked or unmasked on the way.
pub fn append(out: &mut Vec<u8>, data: &[u8], key: Key) {
    out.reserve(data.len());
    // BLOCK is a multiple of four, so each block begins with the same byte of the key.
    for block in data.chunks(BLOCK) {
        let start = out.len();
        out.extend_from_slice(block);
        apply(&mut out[start..], key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn slowly(data: &[u8], key: Key) -> Vec<u8> {
        data.iter().enumerate().map(|(at, byte)| byte ^ key[at % 4]).collect()
    }

    #[test]
    fn the_example_of_the_rfc() {
        // RFC 6455 section 5.7.
        let mut data = *b"\x7f\x9f\x4d\x51\x58";
        apply(&mut data, [0x37, 0xfa, 0x21, 0x3d]);
        assert_eq!(&data, b"Hello");
    }

    proptest! {
        #[test]
        fn words_do_what_bytes_do(
            data in prop::collection::vec(any::<u8>(), 0..200), key: Key, skip in 0usize..8, cut in 0usize..200,
        ) {
            let data = &data[skip.min(data.len())..];
            let mut fast = data.to_vec();
            apply(&mut fast, key);
            prop_assert_eq!(&fast, &slowly(data, key));

            let (first, second) = data.split_at(cut.min(data.len()));
            let mut copied = b"before".to_vec();
            append(&mut copied, first, key);
            append(&mut copied, second, advance(key, first.len()));
            prop_assert_eq!(&copied[6..], &fast[..]);
        }
    }

    #[test]
    fn a_long_copy_goes_block_by_block() {
        let data: Vec<u8> = (0..3 * BLOCK + 5).map(|at| at as u8).collect();
        let mut out = Vec::new();
        append(&mut out, &data, [1, 2, 3, 4]);
        assert_eq!(out, slowly(&data, [1, 2, 3, 4]));
        out.clear();
        append(&mut out, &data, [0; 4]);
        assert_eq!(out, data);
    }
}
