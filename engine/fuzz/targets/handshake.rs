//! The head of a request: any split gives the same answer, and what is let through is sound enough to be answered.

#![no_main]

use arbitrary::Arbitrary;
use crosspeer_core::deflate::{Config, Params};
use crosspeer_core::handshake::{self, Head, MAX_HEAD, MAX_HEADERS, Outcome, Request};
use crosspeer_fuzz::{Cuts, Rest};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Case {
    cuts: Cuts,
    bytes: Rest,
}

/// The outcome in words, after the bytes have come in by these steps.
fn outcome(bytes: &[u8], ends: &[usize]) -> String {
    let mut request = Request::new();
    for &end in ends {
        match request.read(&bytes[..end]) {
            Outcome::Incomplete => assert!(end <= MAX_HEAD, "a head that is over the limit is still read"),
            Outcome::PlainHttp => return "plain".to_owned(),
            Outcome::Upgrade(upgrade) => {
                check(&upgrade, bytes);
                return format!("{upgrade:?}");
            }
            Outcome::Refuse(refusal) => {
                let answer = refusal.response();
                assert!(answer.starts_with(format!("HTTP/1.1 {} ", refusal.status).as_bytes()));
                assert!(!handshake::phrase(refusal.status).is_empty(), "{refusal:?}");
                return format!("{refusal:?}");
            }
        }
    }
    "incomplete".to_owned()
}

fn check(upgrade: &handshake::Upgrade, bytes: &[u8]) {
    let head = &upgrade.head;
    assert_eq!(head.bytes(), &bytes[..head.len()]);
    assert!(head.len() <= MAX_HEAD && head.headers().count() <= MAX_HEADERS);
    let again = Head::again(head.bytes()).expect("it was sound a moment ago");
    assert_eq!((again.method(), again.target()), (head.method(), head.target()));
    assert!(again.headers().eq(head.headers()));
    let key = head.all("sec-websocket-key").next().expect("an upgrade has a key");
    assert_eq!(upgrade.accept, handshake::accept_key(key));

    // The answer cannot be split by anything that the client chose (row H12).
    let deflate = Params::negotiate(&upgrade.deflate, &Config::default()).map(|params| params.header());
    let protocol = upgrade.protocols.first().map(String::as_str);
    let answer = handshake::switching(&upgrade.accept, protocol, deflate.as_deref(), []).expect("all parts are tokens");
    let lines = 4 + usize::from(protocol.is_some()) + usize::from(deflate.is_some());
    assert_eq!(answer.iter().filter(|&&byte| byte == b'\n').count(), lines + 1);
}

/// Steps that end just before, in and behind the end of each line, which is where the limits are.
fn around_lines(bytes: &[u8]) -> Vec<usize> {
    let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at);
    let mut steps: Vec<usize> = ends.flat_map(|end| end.saturating_sub(1)..=end + 1).chain([bytes.len()]).collect();
    steps.sort_unstable();
    steps
}

fuzz_target!(|case: Case| {
    let bytes = &case.bytes.0;
    let at_once = outcome(bytes, &[bytes.len()]);
    assert_eq!(outcome(bytes, &case.cuts.ends(bytes.len())), at_once);
    assert_eq!(outcome(bytes, &around_lines(bytes)), at_once);
    // Each step looks at all that is new: only for what is short.
    if bytes.len() < 512 {
        let each: Vec<usize> = (0..=bytes.len()).collect();
        assert_eq!(outcome(bytes, &each), at_once);
    }
});
