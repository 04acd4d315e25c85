//! permessage-deflate: offers, inflating with a bound, and there and back.

#![no_main]

use arbitrary::Arbitrary;
use crosspeer_core::deflate::{COMPRESSION_BITS, Compressor, Compressors, Config, Fault, Inflater, Params, offers};
use crosspeer_fuzz::{Cuts, Rest};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Case {
    /// What the bytes are: a header, compressed messages, plain messages.
    mode: u8,
    options: u8,
    limit: u16,
    cuts: Cuts,
    /// Where the second message begins.
    second: u8,
    bytes: Rest,
}

impl Case {
    fn has(&self, bit: u8) -> bool {
        self.options & 1 << bit != 0
    }

    fn bits(&self) -> u8 {
        COMPRESSION_BITS.start() + (self.options >> 2) % 7
    }

    fn messages(&self) -> [&[u8]; 2] {
        let (first, second) = self.bytes.0.split_at(usize::from(self.second).min(self.bytes.0.len()));
        [first, second]
    }
}

/// What is agreed is one of the offers or less, and is read back from the answer as it was meant.
fn negotiation(case: &Case) {
    let line = &case.bytes.0;
    let offered = offers(line);
    let config = Config {
        server_no_context_takeover: case.has(0),
        client_no_context_takeover: case.has(1),
        // Also what no window is.
        server_max_window_bits: case.options >> 2,
        client_max_window_bits: case.second,
        ..Config::default()
    };
    if !offered.is_empty() {
        let twice = [line, &b","[..], line].concat();
        assert_eq!(offers(&twice), [&offered[..], &offered].concat());
    }
    let Some(params) = Params::negotiate(&offered, &config) else {
        let possible = |bits: Option<u8>| COMPRESSION_BITS.contains(&bits.unwrap_or(15));
        assert!(!offered.iter().any(|offer| possible(offer.server_max_window_bits)));
        return;
    };
    assert!(COMPRESSION_BITS.contains(&params.server_max_window_bits));
    assert!((8..=15).contains(&params.client_max_window_bits));
    assert!(offered.iter().any(|offer| {
        params.server_max_window_bits <= offer.server_max_window_bits.unwrap_or(15)
            && params.client_max_window_bits <= offer.client_max_window_bits.flatten().unwrap_or(15)
            && (params.client_max_window_bits == 15 || offer.client_max_window_bits.is_some())
            && params.server_no_context_takeover >= offer.server_no_context_takeover
            && params.client_no_context_takeover >= offer.client_no_context_takeover
    }));
    let [answer] = offers(params.header().as_bytes())[..] else { panic!("{}", params.header()) };
    assert_eq!(answer.server_no_context_takeover, params.server_no_context_takeover);
    assert_eq!(answer.client_no_context_takeover, params.client_no_context_takeover);
    assert_eq!(answer.server_max_window_bits.unwrap_or(15), params.server_max_window_bits);
    assert_eq!(answer.client_max_window_bits.unwrap_or(Some(15)), Some(params.client_max_window_bits));
}

/// Inflate the messages one after the other, each in these pieces, until one cannot be inflated.
fn inflated(case: &Case, cut: impl Fn(&[u8]) -> Vec<&[u8]>) -> Vec<(Result<(), Fault>, Vec<u8>)> {
    let (mut inflater, most) = (Inflater::new(case.has(0)), usize::from(case.limit));
    let mut results = Vec::new();
    for message in case.messages() {
        let mut out = Vec::new();
        let result = cut(message)
            .into_iter()
            .try_for_each(|piece| inflater.inflate(piece, &mut out, most))
            .and_then(|()| inflater.finish(&mut out, most));
        assert!(out.len() <= most + usize::from(result == Err(Fault::TooBig)));
        assert!(out.capacity() <= 2 * (most + 1).max(8), "{} bytes are held", out.capacity());
        assert!(inflater.holds_context() <= (case.has(0) || result.is_err()));
        results.push((result, out));
        if result.is_err() {
            break;
        }
    }
    results
}

/// What one side compresses is what the other inflates, and a byte less of room is too little.
fn round_trip(case: &Case) {
    let (takeover, level) = (case.has(0), u32::from(case.mode / 3 % 10));
    let mut own = Compressor::new(level, case.bits(), takeover);
    let mut shared = Compressors::new(level);
    let params = Params {
        server_no_context_takeover: true,
        client_no_context_takeover: true,
        server_max_window_bits: case.bits(),
        client_max_window_bits: 15,
    };
    let mut inflater = Inflater::new(takeover);
    for message in case.messages() {
        let mut deflated = Vec::new();
        if takeover {
            own.compress(message, &mut deflated);
        } else {
            shared.compress(&params, message, &mut deflated);
        }
        let mut out = Vec::new();
        for piece in case.cuts.pieces(&deflated) {
            inflater.inflate(piece, &mut out, message.len()).expect("it fits");
        }
        inflater.finish(&mut out, message.len()).expect("it fits");
        assert_eq!(out, message);

        if let Some(less) = message.len().checked_sub(1).filter(|_| !takeover) {
            let (mut tight, mut out) = (Inflater::new(false), Vec::new());
            let result = tight.inflate(&deflated, &mut out, less).and_then(|()| tight.finish(&mut out, less));
            assert_eq!((result, &out[..]), (Err(Fault::TooBig), message));
        }
    }
}

fuzz_target!(|case: Case| match case.mode % 3 {
    0 => negotiation(&case),
    1 => {
        let at_once = inflated(&case, |message| vec![message]);
        assert_eq!(inflated(&case, |message| case.cuts.pieces(message).collect()), at_once);
    }
    _ => round_trip(&case),
});
