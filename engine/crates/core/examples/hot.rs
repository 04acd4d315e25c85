//! What the hot paths cost, in nanoseconds: `cargo run --release --example hot`.
//!
//! Each figure is the best of many short runs, so that what else the machine does stays out of it.

use std::hint::black_box;
use std::time::{Duration, Instant};

use crosspeer_core::deflate::{Compressor, Inflater};
use crosspeer_core::frame::{self, Header, Opcode};
use crosspeer_core::{Buffers, Event, Frame, Input, Kind, Limits, Outbox, Push, Receiver, Role, Topics, mask};

/// The best time of `work`, which says how often it did what is measured.
fn best(name: &str, mut work: impl FnMut() -> usize) {
    let (mut best, begin) = (f64::MAX, Instant::now());
    while begin.elapsed() < Duration::from_millis(400) {
        let start = Instant::now();
        let times = work();
        best = best.min(start.elapsed().as_nanos() as f64 / times as f64);
    }
    println!("{name:<58} {best:>12.2} ns");
}

fn client_frame(opcode: Opcode, rsv1: bool, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::write(&mut out, Header { fin: true, rsv1, opcode, key: Some([1, 2, 3, 4]), len: 0 }, payload);
    out
}

fn parse(name: &str, payload: &[u8], count: usize, inflater: Option<Inflater>) {
    let opcode = if std::str::from_utf8(payload).is_ok() { Opcode::Text } else { Opcode::Binary };
    let wire = client_frame(opcode, inflater.is_some(), payload).repeat(count);
    let mut read = wire.clone();
    let mut receiver = Receiver::new(Role::Server, 1 << 24, inflater);
    best(name, || {
        // The copy stands for the read from the socket; it is a small part of the figure.
        read.copy_from_slice(&wire);
        let mut input = Input::new(&mut read);
        let mut messages = 0;
        while let Some(event) = receiver.next(&mut input) {
            assert!(matches!(black_box(event), Event::Message { .. }));
            messages += 1;
        }
        assert_eq!(messages, count);
        messages
    });
}

fn fragments() {
    let mut wire = client_frame(Opcode::Text, false, &[b'x'; 64]);
    wire[0] &= 0x7F;
    let mut middle = client_frame(Opcode::Continuation, false, &[b'x'; 64]);
    middle[0] &= 0x7F;
    wire.extend(middle.repeat(65_534));
    wire.extend(client_frame(Opcode::Continuation, false, &[b'x'; 64]));
    let mut read = wire.clone();
    let mut receiver = Receiver::new(Role::Server, 1 << 24, None);
    best("parse a 64-byte fragment of a 4 MiB text", || {
        read.copy_from_slice(&wire);
        assert!(receiver.next(&mut Input::new(&mut read)).is_some());
        65_536
    });
}

fn fan_out(name: &str, peers: usize, messages: usize, size: usize) {
    let frames: Vec<Frame> = (0..messages).map(|_| Frame::message(Kind::Text, &vec![b'x'; size])).collect();
    let limits = Limits { max_queue_size: 1 << 30, ..Limits::default() };
    let mut outboxes: Vec<Outbox> = (0..peers).map(|_| Outbox::new(&limits)).collect();
    let mut topics = Topics::new();
    for peer in 0..peers as u32 {
        topics.join(peer, "/");
        topics.subscribe(peer, "chat", &limits).expect("a topic");
    }
    let namespace = topics.namespace("/").expect("the namespace of all");
    let mut buffers = Buffers::new();
    best(name, || {
        for frame in &frames {
            for &peer in topics.of("chat", namespace) {
                assert_eq!(outboxes[peer as usize].push(frame, &mut buffers), Push::Queued);
            }
        }
        for outbox in &mut outboxes {
            outbox.slices().for_each(|slice| assert!(!black_box(slice).is_empty()));
            outbox.advance(outbox.bytes(), &mut buffers);
        }
        peers * messages
    });
}

fn main() {
    parse("parse a masked text of 20 bytes", &[b'x'; 20], 1000, None);
    parse("parse a masked text of 20 bytes, not ASCII", "grüße, κόσμε!".as_bytes(), 1000, None);
    parse("parse masked bytes of 200", &[0xFF; 200], 1000, None);
    parse("parse a masked text of 64 KiB", &[b'x'; 65_536], 8, None);
    fragments();

    let mut deflated = Vec::new();
    Compressor::new(6, 15, false).compress(b"twenty bytes of text", &mut deflated);
    parse("parse and inflate 20 bytes, no takeover", &deflated, 1000, Some(Inflater::new(false)));
    parse("parse and inflate 20 bytes, takeover", &deflated, 1000, Some(Inflater::new(true)));
    let mut compressor = Compressor::new(6, 15, false);
    best("compress 200 bytes, no takeover", || {
        for _ in 0..100 {
            deflated.clear();
            compressor.compress(black_box(&[b'x'; 200]), &mut deflated);
        }
        100
    });

    fan_out("append 20 bytes: 32 peers, 640 messages a turn", 32, 640, 20);
    fan_out("append 20 bytes: 1000 peers, 64 messages a turn", 1000, 64, 20);
    fan_out("append 20 bytes: 1000 peers, 1 message a turn", 1000, 1, 20);
    fan_out("append 64 KiB (shared): 32 peers, 8 messages a turn", 32, 8, 65_536);
    best("encode a frame of 20 bytes", || {
        for _ in 0..1000 {
            black_box(Frame::message(Kind::Text, black_box(&[b'x'; 20])));
        }
        1000
    });

    let mut data = vec![7; 1 << 20];
    best("unmask 1 MiB in place", || {
        mask::apply(black_box(&mut data), [1, 2, 3, 4]);
        1
    });
    let mut out = Vec::new();
    best("unmask 1 MiB into another buffer", || {
        out.clear();
        mask::append(&mut out, black_box(&data), [1, 2, 3, 4]);
        1
    });
}
