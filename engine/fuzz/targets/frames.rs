//! The incoming side of a connection: any split gives the same events, and no limit is passed.

#![no_main]

use arbitrary::Arbitrary;
use crosspeer_core::deflate::Inflater;
use crosspeer_core::frame::{Header, MAX_CONTROL, Opcode, header};
use crosspeer_core::{Input, Kind, Receiver, Role, close, mask};
use crosspeer_fuzz::{Cuts, Rest, Seen, feed};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Case {
    /// Bit 0: a client reads. Bit 1: the bytes are parts of frames with sound headers. Bits 2 and 3: compression is
    /// agreed on, with takeover.
    options: u8,
    limit: u16,
    cuts: Cuts,
    bytes: Rest,
}

impl Case {
    fn has(&self, bit: u8) -> bool {
        self.options & 1 << bit != 0
    }

    fn role(&self) -> Role {
        if self.has(0) { Role::Client } else { Role::Server }
    }

    fn receiver(&self) -> Receiver {
        let inflater = self.has(2).then(|| Inflater::new(self.has(3)));
        Receiver::new(self.role(), usize::from(self.limit), inflater)
    }

    /// What goes over the wire.
    fn wire(&self) -> Vec<u8> {
        if self.has(1) { framed(&self.bytes.0, self.role()) } else { self.bytes.0.clone() }
    }
}

/// A first byte, a length, a payload, and so on: masks and long lengths are what a mutation rarely gets right.
fn framed(mut bytes: &[u8], role: Role) -> Vec<u8> {
    let mut out = Vec::new();
    while let [first, size, rest @ ..] = bytes {
        // Sizes from 200 on stand for longer frames.
        let size = usize::from(*size);
        let wanted = if size < 200 { size } else { (size - 200) * 97 };
        let (payload, after) = rest.split_at(wanted.min(rest.len()));
        let key = (role == Role::Server).then_some([*first, 0x5A, size as u8, 0xA5]);
        let (mut head, at) =
            header(&Header { fin: true, rsv1: false, opcode: Opcode::Binary, key, len: payload.len() as u64 });
        head[0] = *first;
        out.extend_from_slice(&head[..at]);
        mask::append(&mut out, payload, key.unwrap_or_default());
        bytes = after;
    }
    out
}

/// All events of pieces, and whether something is only partly there at the end.
fn events<'a>(case: &Case, pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Seen>, bool) {
    let (mut receiver, mut seen) = (case.receiver(), Vec::new());
    for piece in pieces {
        feed(&mut receiver, piece, &mut seen);
        // A buffer doubles, and may be one byte over the limit; a control frame that was cut has one of its own.
        let most = 2 * (usize::from(case.limit) + 1).max(8) + 2 * MAX_CONTROL;
        assert!(receiver.held() <= most, "{} bytes are held", receiver.held());
        assert_eq!(receiver.is_ended(), seen.last().is_some_and(Seen::is_last));
    }
    (seen, receiver.is_waiting())
}

/// The same by a caller that stops after each event and keeps what is left.
fn stopping(case: &Case, mut bytes: Vec<u8>) -> Vec<Seen> {
    let (mut receiver, mut seen) = (case.receiver(), Vec::new());
    loop {
        let mut input = Input::new(&mut bytes);
        let Some(event) = receiver.next(&mut input) else { return seen };
        seen.push(event.into());
        bytes = input.rest().to_vec();
    }
}

fn check(case: &Case, seen: &[Seen]) {
    for (at, event) in seen.iter().enumerate() {
        assert!(!event.is_last() || at == seen.len() - 1, "{event:?} is not the last");
        match event {
            Seen::Message(kind, payload) => {
                assert!(payload.len() <= usize::from(case.limit));
                assert!(*kind == Kind::Binary || std::str::from_utf8(payload).is_ok());
            }
            Seen::Ping(payload) | Seen::Pong(payload) => assert!(payload.len() <= MAX_CONTROL),
            Seen::Close(code, reason) => {
                assert!(code.is_none_or(close::is_valid) && reason.len() <= close::MAX_REASON);
            }
            Seen::Violation(violation) => assert!(close::check(violation.code, violation.reason).is_ok()),
        }
    }
}

fuzz_target!(|case: Case| {
    let wire = case.wire();
    let at_once = events(&case, [&wire[..]].into_iter());
    check(&case, &at_once.0);
    assert_eq!(events(&case, case.cuts.pieces(&wire)), at_once);
    assert_eq!(stopping(&case, wire.clone()), at_once.0);
    if wire.len() < 512 {
        assert_eq!(events(&case, wire.chunks(1)), at_once);
    }
});
