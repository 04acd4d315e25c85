//! Rows of bytes in, events out; and each row again in any pieces.

mod rows;

use crosspeer_core::deflate::{Compressor, Inflater};
use crosspeer_core::{Event, Input, Kind, Receiver, Role, close};
use proptest::prelude::*;
use rows::{FIN, Row, client, invalid_utf8, rows, server};

const MAX: usize = 1000;

fn receiver(row: &Row) -> Receiver {
    Receiver::new(row.role, MAX, row.deflate.map(Inflater::new))
}

/// All events of `bytes`, which come in pieces that end at `cuts`.
fn events(receiver: &mut Receiver, bytes: &[u8], cuts: &[usize]) -> Vec<String> {
    let mut seen = Vec::new();
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).chain([bytes.len()]).collect();
    ends.sort_unstable();
    let mut at = 0;
    for end in ends {
        let mut piece = bytes[at..end].to_vec();
        let mut input = Input::new(&mut piece);
        while let Some(event) = receiver.next(&mut input) {
            seen.push(describe(&event));
        }
        assert!(input.is_empty(), "no event means that all is used up");
        at = end;
    }
    seen
}

fn describe(event: &Event<'_>) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match event {
        Event::Message { kind: Kind::Text, payload } => format!("text {}", std::str::from_utf8(payload).unwrap()),
        Event::Message { kind: Kind::Binary, payload } => format!("binary {}", text(payload)),
        Event::Ping(payload) => format!("ping {}", text(payload)),
        Event::Pong(payload) => format!("pong {}", text(payload)),
        Event::Close { code: None, .. } => "close".to_owned(),
        Event::Close { code: Some(code), reason } => format!("close {code} {reason}"),
        Event::Violation(violation) => format!("violation {}", violation.code),
    }
}

#[test]
fn every_row_gives_its_events_at_once_and_byte_by_byte() {
    let rows = rows();
    assert!(rows.len() >= 100, "{} rows", rows.len());
    for row in &rows {
        assert_eq!(events(&mut receiver(row), &row.bytes, &[]), row.events, "{}", row.name);
        let each: Vec<usize> = (0..row.bytes.len()).collect();
        assert_eq!(events(&mut receiver(row), &row.bytes, &each), row.events, "{}, byte by byte", row.name);
    }
}

#[test]
fn every_row_is_the_same_for_the_other_role() {
    for row in rows().iter().filter(|row| row.mirrors) {
        let flipped = rows::mirrored(&row.bytes);
        let mut receiver = Receiver::new(Role::Client, MAX, row.deflate.map(Inflater::new));
        assert_eq!(events(&mut receiver, &flipped, &[]), row.events, "{}", row.name);
    }
}

#[test]
fn bad_text_is_refused_before_its_frame_is_complete() {
    // Autobahn 6.4, strict: also in a frame that is not all there, and in a compressed one.
    for (name, text, at) in invalid_utf8() {
        let plain = client(FIN | 0x1, &[text, b"and more"].concat());
        let mut receiver = Receiver::new(Role::Server, MAX, None);
        assert_eq!(events(&mut receiver, &plain[..6 + at - 1], &[]), [""; 0], "{name}");
        assert_eq!(events(&mut receiver, &plain[6 + at - 1..6 + at], &[]), ["violation 1007"], "{name}");

        let mut deflated = Vec::new();
        Compressor::new(6, 15, false).compress(&[text, &[b'x'; 100][..]].concat(), &mut deflated);
        let mut split = client(0x41, &deflated);
        split.truncate(split.len() - 1);
        let mut receiver = Receiver::new(Role::Server, MAX, Some(Inflater::new(false)));
        assert_eq!(events(&mut receiver, &split, &[]), ["violation 1007"], "{name}");
    }
}

#[test]
fn a_caller_may_stop_after_any_event() {
    let mut bytes: Vec<u8> = [&b"a"[..], b"b", b"c"].iter().flat_map(|text| client(FIN | 0x1, text)).collect();
    let mut receiver = Receiver::new(Role::Server, MAX, None);
    let mut seen = Vec::new();
    while !bytes.is_empty() {
        let mut input = Input::new(&mut bytes);
        seen.push(describe(&receiver.next(&mut input).unwrap()));
        bytes = input.rest().to_vec();
    }
    assert_eq!(seen, ["text a", "text b", "text c"]);
}

#[test]
fn an_idle_receiver_holds_nothing() {
    let mut receiver = Receiver::new(Role::Server, 1 << 20, Some(Inflater::new(false)));
    assert!(size_of::<Receiver>() <= 288, "{}", size_of::<Receiver>());
    let big = client(FIN | 0x2, &vec![1; 100_000]);
    events(&mut receiver, &big, &[5, 50_000, 99_000]);
    events(&mut receiver, &client(FIN | 0x9, b"ping"), &[8]);
    let mut nothing = [];
    assert_eq!(receiver.next(&mut Input::new(&mut nothing)), None);
    assert_eq!((receiver.held(), receiver.is_waiting()), (0, false));
}

#[test]
fn a_claimed_length_allocates_nothing() {
    let mut receiver = Receiver::new(Role::Server, 1 << 40, None);
    let mut bytes = client(FIN | 0x2, b"");
    bytes[1] = 0xFF;
    bytes.splice(2..2, (1u64 << 39).to_be_bytes());
    bytes.extend_from_slice(b"a few bytes");
    assert_eq!(events(&mut receiver, &bytes, &[]), [""; 0]);
    assert!(receiver.held() < 100);
    assert!(receiver.is_waiting());
}

#[test]
fn small_fragments_have_a_budget_that_conformance_fits_in() {
    // Row W4: a million empty fragments, and one-byte ones.
    for payload in [&b""[..], b"x"] {
        let mut receiver = Receiver::new(Role::Server, 1 << 20, None);
        events(&mut receiver, &client(0x2, payload), &[]);
        let fragment = client(0x0, payload);
        let at = (0..1_000_000).position(|_| !events(&mut receiver, &fragment, &[]).is_empty());
        assert!(at.unwrap() < 4400, "{at:?}");
        assert!(receiver.is_ended());
        assert_eq!(receiver.held(), 0);
    }
    // Autobahn 9.3.1: 4 MiB in fragments of 64 bytes, with a limit that lets them in.
    let mut receiver = Receiver::new(Role::Server, 16 << 20, None);
    let mut bytes = client(0x1, &[b'*'; 64]);
    for _ in 0..(4 << 20) / 64 - 2 {
        bytes.extend(client(0x0, &[b'*'; 64]));
    }
    bytes.extend(client(FIN, &[b'*'; 64]));
    let mut input = Input::new(&mut bytes);
    let Some(Event::Message { payload, .. }) = receiver.next(&mut input) else { panic!("no message") };
    assert_eq!(payload.len(), 4 << 20);
}

#[test]
fn a_bomb_is_refused_at_the_limit() {
    // Row W1, in one frame and in many.
    let mut deflated = Vec::new();
    Compressor::new(9, 15, false).compress(&vec![0; 64 << 20], &mut deflated);
    let most = 1 << 20;
    let mut receiver = Receiver::new(Role::Server, most, Some(Inflater::new(true)));
    assert_eq!(events(&mut receiver, &client(FIN | 0x42, &deflated), &[]), ["violation 1009"]);
    let mut receiver = Receiver::new(Role::Server, most, Some(Inflater::new(true)));
    let mut bytes = client(0x42, &deflated[..100]);
    for part in deflated[100..].chunks(1000) {
        bytes.extend(client(0x0, part));
    }
    assert_eq!(events(&mut receiver, &bytes, &[]), ["violation 1009"]);
}

#[test]
fn a_violation_comes_once() {
    let mut receiver = Receiver::new(Role::Server, MAX, None);
    assert_eq!(events(&mut receiver, b"\xff\xff\xff", &[]), [format!("violation {}", close::PROTOCOL_ERROR)]);
    assert_eq!(events(&mut receiver, &client(FIN | 0x1, b"late"), &[]), [""; 0]);
    assert!(receiver.is_ended());
}

proptest! {
    #[test]
    fn pieces_of_any_size_give_the_same_events(
        which in any::<prop::sample::Index>(), cuts in prop::collection::vec(any::<usize>(), 0..8),
    ) {
        let rows = rows();
        let row = which.get(&rows);
        prop_assert_eq!(events(&mut receiver(row), &row.bytes, &cuts), row.events.clone(), "{}", row.name);
    }

    #[test]
    fn a_stream_of_anything_gives_the_same_events_in_pieces(
        frames in prop::collection::vec(
            (any::<u8>(), prop::collection::vec(any::<u8>(), 0..40), 0u8..8),
            0..12,
        ),
        cuts in prop::collection::vec(any::<usize>(), 0..12), takeover: Option<bool>,
    ) {
        let bytes: Vec<u8> = frames
            .iter()
            .flat_map(|(first, payload, honest)| match honest {
                // Mostly frames that keep the rules, or nothing would ever get past the first one.
                0 => client(*first, payload),
                1 => client(FIN | 0x41, payload),
                2 => client(FIN | 0x9, payload),
                3 => client(0x1, &payload.iter().map(|byte| byte & 0x7F).collect::<Vec<_>>()),
                4 => client(0x0, payload),
                5 => client(FIN, &[]),
                _ => client(FIN | 0x2, payload),
            })
            .collect();
        let make = || Receiver::new(Role::Server, 100, takeover.map(Inflater::new));
        prop_assert_eq!(events(&mut make(), &bytes, &cuts), events(&mut make(), &bytes, &[]));
    }

    #[test]
    fn messages_of_any_size_come_through(
        payload in prop::collection::vec(any::<u8>(), 0..3000), sizes in prop::collection::vec(1usize..700, 1..6),
        cuts in prop::collection::vec(any::<usize>(), 0..6), deflate: Option<bool>, masked: bool,
    ) {
        let mut wire = Vec::new();
        match deflate {
            Some(takeover) => Compressor::new(6, 15, takeover).compress(&payload, &mut wire),
            None => wire.clone_from(&payload),
        }
        let write = if masked { client } else { server };
        let mut bytes = Vec::new();
        let mut first = 0x2 | if deflate.is_some() { 0x40 } else { 0 };
        let mut rest = &wire[..];
        for size in sizes {
            let (part, after) = rest.split_at(size.min(rest.len()));
            bytes.extend(write(first, part));
            (first, rest) = (0, after);
        }
        bytes.extend(write(first | FIN, rest));
        let role = if masked { Role::Server } else { Role::Client };
        let mut receiver = Receiver::new(role, 3000, deflate.map(Inflater::new));
        let expected = describe(&Event::Message { kind: Kind::Binary, payload: &payload });
        prop_assert_eq!(events(&mut receiver, &bytes, &cuts), [expected]);
    }
}
