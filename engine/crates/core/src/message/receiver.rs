//! The state machine: headers, payloads, control frames between fragments, and the end.

use std::ops::Range;

use super::assembly::{Assembly, not_utf8};
use super::{Event, Input};
use crate::close::{self, Violation};
use crate::deflate::Inflater;
use crate::frame::{self, Header, Kind, Opcode, Role, WIDEST};
use crate::mask::{self, Key};

/// The incoming side of one connection.
#[derive(Debug)]
pub struct Receiver {
    role: Role,
    state: State,
    /// The beginning of a header that was cut.
    head: [u8; WIDEST],
    head_len: u8,
    frame: Header,
    /// Bytes of the frame's payload that are still to come, and the key for the first of them.
    left: u64,
    key: Key,
    assembly: Assembly,
    /// The beginning of a control frame's payload that was cut.
    control: Vec<u8>,
    /// The last event was not taken out of the input, so its buffer is to be forgotten.
    used: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Head,
    Payload,
    Ended,
}

/// An event that does not borrow yet.
enum Step {
    Message(Kind, Option<Range<usize>>),
    Control(Opcode, Option<Range<usize>>),
}

impl Receiver {
    /// A connection whose handshake is done. With an `inflater` compressed messages are understood.
    pub fn new(role: Role, max_message_size: usize, inflater: Option<Inflater>) -> Self {
        Self {
            role,
            state: State::Head,
            head: [0; WIDEST],
            head_len: 0,
            frame: Header { fin: true, rsv1: false, opcode: Opcode::Binary, key: None, len: 0 },
            left: 0,
            key: [0; 4],
            assembly: Assembly::new(max_message_size, inflater),
            control: Vec::new(),
            used: false,
        }
    }

    /// The next event of `input`. `None`: it is used up, and no event is complete.
    #[inline]
    pub fn next<'a>(&'a mut self, input: &'a mut Input<'_>) -> Option<Event<'a>> {
        if self.used {
            self.recycle();
        }
        match self.step(input) {
            Ok(None) => None,
            Ok(Some(step)) => Some(self.event(step, input)),
            Err(violation) => {
                self.end(input);
                Some(Event::Violation(violation))
            }
        }
    }

    /// Inflated bytes beyond [`super::FAIR_RATIO`], of the messages since the last call.
    pub fn take_excess(&mut self) -> u64 {
        self.assembly.take_excess()
    }

    /// Whether a close frame or a violation was seen: what comes now is ignored.
    pub fn is_ended(&self) -> bool {
        self.state == State::Ended
    }

    /// Whether a frame or a message is only partly there.
    pub fn is_waiting(&self) -> bool {
        self.state == State::Payload || self.head_len > 0 || !self.assembly.is_idle()
    }

    /// Heap bytes that are held for what is only partly there, the inflater's context not counted.
    pub fn held(&self) -> usize {
        self.assembly.held() + self.control.capacity()
    }

    #[inline]
    fn step(&mut self, input: &mut Input<'_>) -> Result<Option<Step>, Violation> {
        loop {
            match self.state {
                State::Head => {
                    if !self.read_head(input)? {
                        if self.assembly.is_idle() {
                            self.assembly.shrink();
                        }
                        return Ok(None);
                    }
                    self.begin()?;
                    if let Some(step) = self.whole(input)? {
                        return Ok(Some(step));
                    }
                }
                State::Payload if input.is_empty() => return Ok(None),
                State::Payload => {}
                State::Ended => {
                    input.skip_all();
                    return Ok(None);
                }
            }
            let step = if self.frame.opcode.is_control() { self.control(input) } else { self.data(input)? };
            if step.is_some() {
                return Ok(step);
            }
        }
    }

    /// Read a header, or keep what is there of it.
    #[inline]
    fn read_head(&mut self, input: &mut Input<'_>) -> Result<bool, Violation> {
        if self.head_len > 0 {
            return self.complete_head(input);
        }
        match frame::parse(input.rest(), self.role)? {
            Some((header, len)) => {
                self.frame = header;
                input.skip(len);
                Ok(true)
            }
            None => {
                let rest = input.rest();
                self.head[..rest.len()].copy_from_slice(rest);
                self.head_len = rest.len() as u8;
                input.skip_all();
                Ok(false)
            }
        }
    }

    #[cold]
    fn complete_head(&mut self, input: &mut Input<'_>) -> Result<bool, Violation> {
        let had = usize::from(self.head_len);
        let rest = input.rest();
        let more = rest.len().min(WIDEST - had);
        self.head[had..had + more].copy_from_slice(&rest[..more]);
        match frame::parse(&self.head[..had + more], self.role)? {
            Some((header, len)) => {
                self.frame = header;
                self.head_len = 0;
                input.skip(len - had);
                Ok(true)
            }
            None => {
                self.head_len = (had + more) as u8;
                input.skip(more);
                Ok(false)
            }
        }
    }

    #[inline]
    fn begin(&mut self) -> Result<(), Violation> {
        if !self.frame.opcode.is_control() {
            self.assembly.begin(&self.frame)?;
        }
        Ok(())
    }

    /// Hand on a message that is all there in one frame, and lies well where it lies: the usual case.
    #[inline]
    fn whole(&mut self, input: &mut Input<'_>) -> Result<Option<Step>, Violation> {
        let (len, key) = (self.frame.len, self.frame.key.unwrap_or_default());
        if input.rest().len() as u64 >= len
            && !self.frame.opcode.is_control()
            && let Some(kind) = self.assembly.passes(&self.frame)
        {
            let range = input.take(len as usize);
            let piece = input.get_mut(range.clone());
            mask::apply(piece, key);
            // Most texts are short and ASCII; the check that is fast for long ones has to be called for.
            if kind == Kind::Text && !piece.is_ascii() && simdutf8::basic::from_utf8(piece).is_err() {
                return Err(not_utf8());
            }
            return Ok(Some(Step::Message(kind, Some(range))));
        }
        (self.left, self.key, self.state) = (len, key, State::Payload);
        Ok(None)
    }

    /// Take what the input has of the frame's payload.
    #[inline]
    fn take(&mut self, input: &mut Input<'_>) -> (Range<usize>, Key) {
        let available = input.rest().len();
        let bytes = usize::try_from(self.left).map_or(available, |left| left.min(available));
        self.left -= bytes as u64;
        if self.left == 0 {
            self.state = State::Head;
        }
        let key = self.key;
        self.key = mask::advance(key, bytes);
        (input.take(bytes), key)
    }

    #[inline]
    fn data(&mut self, input: &mut Input<'_>) -> Result<Option<Step>, Violation> {
        let (range, key) = self.take(input);
        let piece = input.get_mut(range);
        self.assembly.feed(piece, key)?;
        if self.left > 0 || !self.frame.fin {
            return Ok(None);
        }
        self.used = true;
        Ok(Some(Step::Message(self.assembly.finish()?, None)))
    }

    fn control(&mut self, input: &mut Input<'_>) -> Option<Step> {
        let (range, key) = self.take(input);
        let piece = input.get_mut(range.clone());
        mask::apply(piece, key);
        if range.len() as u64 == self.frame.len {
            return Some(Step::Control(self.frame.opcode, Some(range)));
        }
        self.control.extend_from_slice(piece);
        if self.left > 0 {
            return None;
        }
        self.used = true;
        Some(Step::Control(self.frame.opcode, None))
    }

    #[inline]
    fn event<'a>(&'a mut self, step: Step, input: &'a mut Input<'_>) -> Event<'a> {
        match step {
            Step::Message(kind, Some(range)) => Event::Message { kind, payload: input.get(range) },
            Step::Message(kind, None) => Event::Message { kind, payload: self.assembly.bytes() },
            Step::Control(Opcode::Close, range) => {
                self.end(input);
                let payload = range.map_or(&self.control[..], |range| input.get(range));
                match close::parse(payload) {
                    Ok((code, reason)) => Event::Close { code, reason },
                    Err(violation) => Event::Violation(violation),
                }
            }
            Step::Control(opcode, range) => {
                let payload = range.map_or(&self.control[..], |range| input.get(range));
                if opcode == Opcode::Ping { Event::Ping(payload) } else { Event::Pong(payload) }
            }
        }
    }

    /// Forget what the last event has lent.
    fn recycle(&mut self) {
        self.used = false;
        self.control = Vec::new();
        // A control frame between fragments leaves the message alone.
        if self.assembly.is_idle() {
            self.assembly.recycle();
        }
    }

    #[cold]
    fn end(&mut self, input: &mut Input<'_>) {
        self.state = State::Ended;
        self.head_len = 0;
        self.assembly.end();
        input.skip_all();
    }
}
