//! Close frames: what may be in one, and that what may be sent is received as it was meant.

#![no_main]

use arbitrary::Arbitrary;
use crosspeer_core::frame::MAX_CONTROL;
use crosspeer_core::outgoing::Frame;
use crosspeer_core::{Kind, Receiver, Role, close};
use crosspeer_fuzz::{Cuts, Rest, Seen, feed};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Case {
    cuts: Cuts,
    payload: Rest,
}

const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

fn received(role: Role, cuts: Cuts, bytes: &[u8]) -> Vec<Seen> {
    let (mut receiver, mut seen) = (Receiver::new(role, 100, None), Vec::new());
    for piece in cuts.pieces(bytes) {
        feed(&mut receiver, piece, &mut seen);
    }
    seen
}

/// The rules of RFC 6455 section 7.4, written down once more: the meaning of a payload, or the code of its refusal.
fn meaning(payload: &[u8]) -> Result<(Option<u16>, String), u16> {
    if payload.len() > MAX_CONTROL || payload.len() == 1 {
        return Err(1002);
    }
    if payload.is_empty() {
        return Ok((None, String::new()));
    }
    let code = u16::from(payload[0]) << 8 | u16::from(payload[1]);
    let registered = (1000..1015).contains(&code) && ![1004, 1005, 1006].contains(&code);
    if !registered && !(3000..5000).contains(&code) {
        return Err(1002);
    }
    String::from_utf8(payload[2..].to_vec()).map(|reason| (Some(code), reason)).map_err(|_| 1007)
}

fuzz_target!(|case: Case| {
    let payload = &case.payload.0;
    // A message's frame that calls itself a close frame.
    let mut wire = Frame::masked(Kind::Text, false, payload, KEY).bytes().to_vec();
    wire[0] = 0x88;
    let seen = received(Role::Server, case.cuts, &wire);
    assert_eq!(seen.len(), 1);
    let got = match &seen[0] {
        Seen::Close(code, reason) => Ok((*code, reason.clone())),
        Seen::Violation(violation) => Err(violation.code),
        other => panic!("{other:?}"),
    };
    assert_eq!(got, meaning(payload));

    let [high, low, reason @ ..] = &payload[..] else { return };
    let (code, reason) = (u16::from_be_bytes([*high, *low]), String::from_utf8_lossy(reason));
    assert_eq!(close::check(code, &reason).is_ok(), meaning(&[&[*high, *low], reason.as_bytes()].concat()).is_ok());
    for (role, key) in [(Role::Client, None), (Role::Server, Some(KEY))] {
        if let Ok(frame) = Frame::close(Some((code, &reason)), key) {
            let meant = Seen::Close(Some(code), reason.clone().into_owned());
            assert_eq!(received(role, case.cuts, frame.bytes()), [meant]);
        }
    }
});
