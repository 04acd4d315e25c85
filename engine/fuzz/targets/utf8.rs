//! UTF-8 in pieces: after each of them the verdict is that of the standard library.

#![no_main]

use arbitrary::Arbitrary;
use crosspeer_core::utf8::Validator;
use crosspeer_fuzz::{Cuts, Rest};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Case {
    cuts: Cuts,
    bytes: Rest,
}

fn check(validator: &mut Validator, bytes: &[u8], ends: &[usize]) {
    let mut start = 0;
    for &end in ends {
        let fed = validator.feed(&bytes[start..end]);
        // An error without a length is a code point that goes on behind the end.
        let possible = std::str::from_utf8(&bytes[..end]).map_or_else(|error| error.error_len().is_none(), |_| true);
        assert_eq!(fed.is_ok(), possible);
        if !possible {
            *validator = Validator::default();
            return;
        }
        start = end;
    }
    assert_eq!(validator.end().is_ok(), std::str::from_utf8(bytes).is_ok());
}

fuzz_target!(|case: Case| {
    let bytes = &case.bytes.0;
    let mut validator = Validator::default();
    check(&mut validator, bytes, &case.cuts.ends(bytes.len()));
    // The same one goes on with the next text.
    check(&mut validator, bytes, &[bytes.len()]);
    let each: Vec<usize> = (0..=bytes.len().min(512)).collect();
    check(&mut validator, &bytes[..bytes.len().min(512)], &each);
});
