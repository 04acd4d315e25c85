//! The outbox against Python's, written down again as naively as it goes.

use super::*;
use crate::frame::Kind;
use proptest::prelude::*;

fn limits(limit: usize, overflow: Overflow) -> Limits {
    Limits { max_queue_size: limit, overflow, ..Limits::default() }
}

fn message(size: usize, byte: u8) -> Frame {
    Frame::message(Kind::Binary, &vec![byte; size])
}

fn pending(outbox: &Outbox) -> Vec<u8> {
    outbox.slices().collect::<Vec<_>>().concat()
}

/// `Outbox` and the connection that writes it, frame by frame.
#[derive(Default)]
struct Model {
    limit: usize,
    policy: Overflow,
    /// Bytes that are left, payload size if it counts, whether it cannot be dropped any more.
    frames: Vec<(Vec<u8>, Option<usize>, bool)>,
    taken: usize,
    dropped: u64,
}

impl Model {
    fn items(&self) -> impl Iterator<Item = usize> {
        self.frames.iter().filter(|frame| !frame.2).filter_map(|frame| frame.1)
    }

    fn size(&self) -> usize {
        self.items().sum()
    }

    fn fits(&self, size: usize) -> bool {
        self.size() + self.taken + size <= self.limit
    }

    fn push(&mut self, frame: &Frame) -> Push {
        let waiting = (frame.bytes().to_vec(), Some(frame.size()), false);
        if self.fits(frame.size()) || (self.items().next().is_none() && self.taken == 0) {
            self.frames.push(waiting);
            return Push::Queued;
        }
        if self.policy == Overflow::Close {
            return Push::Full;
        }
        if self.policy == Overflow::DropOldest && frame.size() <= self.limit {
            while self.items().next().is_some() && !self.fits(frame.size()) {
                let oldest = self.frames.iter().position(|frame| !frame.2 && frame.1.is_some()).unwrap();
                self.frames[..oldest].iter_mut().for_each(|control| control.2 = true);
                self.frames.remove(oldest);
                self.dropped += 1;
            }
            self.frames.push(waiting);
            return Push::Queued;
        }
        self.dropped += 1;
        Push::Dropped
    }

    fn advance(&mut self, mut bytes: usize) {
        while bytes > 0 {
            let first = &mut self.frames[0];
            if bytes < first.0.len() {
                if !first.2 {
                    self.taken = first.1.unwrap_or(0);
                }
                first.2 = true;
                first.0.drain(..bytes);
                return;
            }
            bytes -= first.0.len();
            self.frames.remove(0);
            self.taken = 0;
        }
    }
}

#[derive(Clone, Debug)]
enum Act {
    Push(usize),
    Control(usize),
    Write(usize),
    WriteAll,
    Clear,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => (0usize..40).prop_map(Act::Push),
        2 => (0usize..20_000).prop_map(Act::Push),
        2 => (0usize..20).prop_map(Act::Control),
        3 => (0usize..30_000).prop_map(Act::Write),
        3 => (0usize..60).prop_map(Act::Write),
        1 => Just(Act::WriteAll),
        1 => Just(Act::Clear),
    ];
    prop::collection::vec(act, 0..60)
}

proptest! {
    #[test]
    fn it_does_what_the_model_does(
        acts in acts(), limit in prop_oneof![1usize..200, 1usize..100_000],
        policy in prop::sample::select(vec![Overflow::Close, Overflow::DropOldest, Overflow::DropNewest]),
    ) {
        let mut outbox = Outbox::new(&limits(limit, policy));
        let mut model = Model { limit, policy, ..Model::default() };
        let mut buffers = Buffers::new();
        for (at, act) in acts.into_iter().enumerate() {
            match act {
                Act::Push(size) => {
                    let frame = message(size, at as u8);
                    prop_assert_eq!(outbox.push(&frame, &mut buffers), model.push(&frame));
                }
                Act::Control(size) => {
                    let frame = Frame::ping(&vec![at as u8; size], None).unwrap();
                    outbox.push_control(&frame, &mut buffers);
                    model.frames.push((frame.bytes().to_vec(), None, false));
                }
                Act::Write(bytes) => {
                    let bytes = bytes.min(outbox.bytes());
                    outbox.advance(bytes, &mut buffers);
                    model.advance(bytes);
                }
                Act::WriteAll => {
                    outbox.advance(outbox.bytes(), &mut buffers);
                    model.frames.clear();
                    model.taken = 0;
                }
                Act::Clear => {
                    outbox.clear(&mut buffers);
                    model.frames.retain(|frame| frame.2);
                }
            }
            let left: Vec<u8> = model.frames.iter().flat_map(|frame| frame.0.iter().copied()).collect();
            prop_assert_eq!(pending(&outbox), left);
            prop_assert_eq!(outbox.bytes(), pending(&outbox).len());
            prop_assert_eq!(
                (outbox.size(), outbox.taken(), outbox.len(), outbox.dropped()),
                (model.size(), model.taken, model.items().count(), model.dropped)
            );
            prop_assert!(outbox.slices().all(|slice| !slice.is_empty()));
        }
    }
}

#[test]
fn an_empty_outbox_holds_nothing() {
    let (mut outbox, mut buffers) = (Outbox::new(&Limits::default()), Buffers::new());
    for size in [10, 100_000, 20, 30_000, 30] {
        assert_eq!(outbox.push(&message(size, 1), &mut buffers), Push::Queued);
    }
    assert_eq!(outbox.slices().count(), 5, "big ones are shared between copied ones");
    outbox.advance(outbox.bytes() - 1, &mut buffers);
    outbox.advance(1, &mut buffers);
    assert!(outbox.is_empty());
    assert_eq!(outbox.held(), 0);
    assert!(buffers.held() > 0, "the next one takes them");
    assert!(size_of::<Outbox>() <= 160, "{}", size_of::<Outbox>());
}

#[test]
fn a_larger_message_passes_an_empty_queue_only() {
    let (mut outbox, mut buffers) = (Outbox::new(&limits(10, Overflow::Close)), Buffers::new());
    assert_eq!(outbox.push(&message(11, 1), &mut buffers), Push::Queued);
    assert_eq!(outbox.push(&message(0, 1), &mut buffers), Push::Full);
    outbox.advance(5, &mut buffers);
    assert_eq!((outbox.size(), outbox.taken(), outbox.len()), (0, 11, 0));
    assert_eq!(outbox.push(&message(1, 1), &mut buffers), Push::Full, "what is being written counts");
    outbox.advance(8, &mut buffers);
    assert_eq!(outbox.push(&message(10, 1), &mut buffers), Push::Queued);
}

#[test]
fn a_slow_reader_that_goes_on_reading_does_not_grow_the_buffer() {
    let (mut outbox, mut buffers) = (Outbox::new(&Limits::default()), Buffers::new());
    let frame = message(100, 1);
    for _ in 0..10 {
        let _ = outbox.push(&frame, &mut buffers);
    }
    for _ in 0..10_000 {
        let _ = outbox.push(&frame, &mut buffers);
        outbox.advance(frame.bytes().len(), &mut buffers);
    }
    assert!(outbox.held() < 8 * 1024, "{}", outbox.held());
}

#[test]
fn a_shared_payload_is_not_copied() {
    let (mut outbox, mut buffers) = (Outbox::new(&Limits::default()), Buffers::new());
    let frame = message(100_000, 1);
    let _ = outbox.push(&frame, &mut buffers);
    assert_eq!(outbox.slices().next().unwrap().as_ptr(), frame.bytes().as_ptr());
    outbox.advance(60_000, &mut buffers);
    assert_eq!(outbox.slices().next().unwrap().as_ptr(), frame.bytes()[60_000..].as_ptr());
    assert!(outbox.held() < 1000, "{}", outbox.held());
}
