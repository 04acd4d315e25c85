//! The engine: which sockets there are, what happens on them, and what is written to them.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, Shutdown};
use slab::Slab;

use super::connection::{Asked, Connection, End, Farewell, Key, Open, Phase};
use super::deflating::{Deflating, Forms, Shared, config_for};
use super::listen::{Accepted, Listener};
use crate::close::Violation;
use crate::deflate::{Config, Params};
use crate::frame::Kind;
use crate::handshake::{self, BadHeader, Outcome, Request, Upgrade};
use crate::limits::Limits;
use crate::message::{Event, Input};
use crate::outbox::{Buffers, Outbox, Push};
use crate::outgoing::Frame;
use crate::topics::{TopicError, Topics, check_topic};

/// Bytes that are read of one connection in one go; all share the buffer.
const READ: usize = 64 * 1024;
/// Events of one connection before the next has its turn.
const TURN: u32 = 256;
/// Connections that are accepted in one turn.
const ACCEPTS: usize = 512;
/// Where listeners' numbers begin in epoll's data.
const LISTENER: u64 = 1 << 32;

/// What a caller is told.
#[derive(Debug)]
pub enum NetEvent<'a> {
    /// A handshake that keeps the rules: to be answered with [`Engine::accept`] or [`Engine::refuse`].
    Asked(Key, &'a Upgrade, Option<SocketAddr>),
    /// A plain HTTP request: the socket is no longer ours, and this was read of it.
    Http(OwnedFd, &'a [u8]),
    /// A whole message.
    Message(Key, Kind, &'a [u8]),
    /// A ping, answered already.
    Ping(Key, &'a [u8]),
    /// A pong that was not the heartbeat's.
    Pong(Key, &'a [u8]),
    /// The outbox is empty again, after the socket had not taken everything.
    Drained(Key),
    /// The connection is gone, and left these topics. The last event of its key.
    Closed(Key, End, Vec<String>),
}

/// What became of a message to one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Sent {
    /// It is on its way, or was dropped by the policy, or the peer is gone.
    Done,
    /// The queue is full, and the policy is to close the peer.
    Full,
}

/// A message for every subscriber of a topic.
#[derive(Clone, Copy, Debug)]
pub struct Publication<'a> {
    /// The topic.
    pub topic: &'a str,
    /// Of one namespace, or of all.
    pub namespace: Option<&'a str>,
    /// The message, as peers get it that do not compress.
    pub frame: &'a Frame,
    /// Whether it is to be compressed for the others. None leaves it to its size.
    pub compress: Option<bool>,
}

/// The connections of one server.
#[derive(Debug)]
pub struct Engine {
    epoll: OwnedFd,
    listeners: Vec<Listener>,
    connections: Slab<Connection>,
    generation: u32,
    limits: Limits,
    deflate: Option<Config>,
    compressors: Shared,
    /// Who is subscribed to what.
    pub topics: Topics,
    buffers: Buffers,
    dirty: Vec<u32>,
    /// Those whose handshake waits for its answer since this turn.
    asked: Vec<u32>,
    queue: VecDeque<u32>,
    told: VecDeque<(Key, Told)>,
    buffer: Vec<u8>,
    /// The connection whose bytes are in the buffer, which of them are left, and how many events it may have yet.
    current: Option<(u32, usize, usize, u32)>,
    /// For the case of a bug: whose it is.
    worked_on: u32,
    now: Duration,
    random: u32,
    /// Connections with this descriptor or a higher one are turned away.
    reserved_from: RawFd,
    turned_away: usize,
}

/// What waits to be told without bytes.
#[derive(Debug)]
enum Told {
    Drained,
    Closed(End, Vec<String>),
}

/// What became of the current connection's bytes.
enum Step {
    Message(Kind),
    Ping,
    Pong,
}

impl Engine {
    /// No listeners, no connections. With `deflate` compression is agreed on with every client that offers it.
    ///
    /// # Errors
    /// The system gives no epoll set.
    pub fn new(limits: Limits, deflate: Option<Config>) -> std::io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            listeners: Vec::new(),
            connections: Slab::new(),
            generation: 0,
            limits,
            compressors: Shared::new(deflate.unwrap_or_default().level),
            deflate,
            topics: Topics::new(),
            buffers: Buffers::new(),
            dirty: Vec::new(),
            asked: Vec::new(),
            queue: VecDeque::new(),
            told: VecDeque::new(),
            buffer: vec![0; READ],
            current: None,
            worked_on: u32::MAX,
            now: Duration::ZERO,
            random: 0x9E37_79B9,
            reserved_from: RawFd::MAX,
            turned_away: 0,
        })
    }

    /// The bounds that all connections are held to.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The descriptor that is readable when there is something to do.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }

    /// How many sockets there are.
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// Whether there are no sockets.
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// Accept connections of a socket that listens and does not block.
    ///
    /// # Errors
    /// It cannot be watched.
    pub fn listen(&mut self, socket: OwnedFd) -> std::io::Result<()> {
        epoll::add(&self.epoll, &socket, listener_data(self.listeners.len()), EventFlags::IN)?;
        self.listeners.push(Listener::new(socket));
        Ok(())
    }

    /// Accept no more.
    pub fn stop_listening(&mut self) {
        for listener in self.listeners.drain(..) {
            let _ = epoll::delete(&self.epoll, &listener.socket);
        }
    }

    /// Turn away, with 503, new connections whose descriptor is this one or a higher one: the system gives out the lowest
    /// that is free, so these are the last.
    pub fn reserve_from(&mut self, descriptor: RawFd) {
        self.reserved_from = descriptor;
    }

    /// How many connections were turned away since the last call.
    pub fn take_turned_away(&mut self) -> usize {
        std::mem::take(&mut self.turned_away)
    }

    /// Ask the system what happened, without waiting. `now` counts from any fixed moment.
    pub fn poll(&mut self, now: Duration) {
        self.now = now;
        let mut events = [const { std::mem::MaybeUninit::<epoll::Event>::uninit() }; 256];
        let zero = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        let Ok((ready, _)) = epoll::wait(&self.epoll, &mut events[..], Some(&zero)) else { return };
        let mut accepting = Vec::new();
        let mut changed: Vec<(u32, EventFlags)> = Vec::new();
        for event in ready {
            let data = event.data.u64();
            if data >= LISTENER {
                accepting.push((data - LISTENER) as usize);
            } else {
                changed.push((data as u32, event.flags));
            }
        }
        for (index, flags) in changed {
            self.changed(index, flags);
        }
        for number in accepting {
            self.accept_all(number);
        }
    }

    /// The next event, handed to `tell` for as long as its bytes last. `None`: nothing is left to do in this turn.
    ///
    /// A panic on the way is a bug in this crate or in `tell`. It ends its connection, with 1011, and no other.
    pub fn next<R>(&mut self, tell: impl FnOnce(NetEvent<'_>) -> R) -> Option<R> {
        let mut tell = Some(tell);
        loop {
            match catch_unwind(AssertUnwindSafe(|| self.advance(&mut tell))) {
                Ok(outcome) => return outcome,
                Err(_) => {
                    self.abandon();
                    // What was to be told went with it.
                    tell.as_ref()?;
                }
            }
        }
    }

    fn advance<R>(&mut self, tell: &mut Option<impl FnOnce(NetEvent<'_>) -> R>) -> Option<R> {
        let mut tell = |event: NetEvent<'_>| tell.take().map(|tell| tell(event));
        loop {
            if let Some((key, told)) = self.told.pop_front() {
                return tell(match told {
                    Told::Drained => NetEvent::Drained(key),
                    Told::Closed(end, topics) => NetEvent::Closed(key, end, topics),
                });
            }
            let Some((index, start, end, budget)) = self.current else {
                self.take_up()?;
                continue;
            };
            let Some(connection) = self.connections.get_mut(index as usize) else {
                self.current = None;
                continue;
            };
            self.worked_on = index;
            let key = Key { index, generation: connection.generation };
            if connection.is_paused || budget == 0 {
                connection.kept.extend_from_slice(&self.buffer[start..end]);
                self.current = None;
                if !connection.is_paused {
                    self.enqueue(index);
                }
                continue;
            }
            match &mut connection.phase {
                Phase::Open(open) => {
                    if let Some(deflating) = &mut connection.deflating
                        && !deflating.budget.spend(open.receiver.take_excess() as f64, self.now)
                    {
                        self.violated(index, Violation { code: 1008, reason: "too much to inflate" });
                        continue;
                    }
                    let mut input = Input::new(&mut self.buffer[start..end]);
                    let Some(event) = open.receiver.next(&mut input) else {
                        self.current = None;
                        continue;
                    };
                    let control = matches!(event, Event::Ping(_) | Event::Pong(_));
                    if control && !open.budget.spend(1.0, self.now) {
                        self.violated(index, Violation { code: 1008, reason: "too many pings" });
                        continue;
                    }
                    let (step, payload) = match event {
                        Event::Message { kind, payload } => (Step::Message(kind), payload),
                        Event::Ping(payload) => {
                            if !open.closing {
                                if connection.is_blocked {
                                    open.pong = Some(payload.to_vec());
                                } else if let Some(frame) = Frame::pong(payload, None) {
                                    connection.outbox.push_control(&frame, &mut self.buffers);
                                    if !connection.is_dirty {
                                        connection.is_dirty = true;
                                        self.dirty.push(index);
                                    }
                                }
                            }
                            (Step::Ping, payload)
                        }
                        Event::Pong(payload) => {
                            if open.ping.is_some_and(|sent| sent == payload) {
                                open.ping = None;
                                let left = input_left(&input);
                                self.current = Some((index, end - left, end, budget - 1));
                                continue;
                            }
                            (Step::Pong, payload)
                        }
                        Event::Close { code, reason } => {
                            let end = End { code: code.unwrap_or(1005), reason: reason.into(), was_clean: true };
                            self.closed_by_peer(index, end);
                            continue;
                        }
                        Event::Violation(violation) => {
                            self.violated(index, violation);
                            continue;
                        }
                    };
                    #[cfg(test)]
                    assert_ne!(payload, super::tests::POISON, "a bug, for the test of what becomes of one");
                    let result = tell(match step {
                        Step::Message(kind) => NetEvent::Message(key, kind, payload),
                        Step::Ping => NetEvent::Ping(key, payload),
                        Step::Pong => NetEvent::Pong(key, payload),
                    });
                    let left = input_left(&input);
                    self.current = Some((index, end - left, end, budget - 1));
                    return result;
                }
                Phase::Head(request, client) => {
                    let client = *client;
                    self.current = None;
                    connection.kept.extend_from_slice(&self.buffer[start..end]);
                    match request.read(&connection.kept) {
                        Outcome::Incomplete => {}
                        Outcome::PlainHttp => {
                            let connection = self.forget(index);
                            let _ = epoll::delete(&self.epoll, &connection.socket);
                            return tell(NetEvent::Http(connection.socket, &connection.kept));
                        }
                        Outcome::Refuse(refusal) => self.answer_and_hang_up(index, refusal.response()),
                        Outcome::Upgrade(upgrade) => {
                            connection.kept.drain(..upgrade.head.len());
                            connection.phase = Phase::Asked(Box::new(Asked {
                                accept: upgrade.accept,
                                deflate: upgrade.deflate.clone(),
                            }));
                            connection.deadline = None;
                            self.asked.push(index);
                            return tell(NetEvent::Asked(key, &upgrade, client));
                        }
                    }
                }
                Phase::Asked(_) => {
                    connection.kept.extend_from_slice(&self.buffer[start..end]);
                    self.current = None;
                }
                Phase::Lingering => self.current = None,
            }
        }
    }

    /// Answer a handshake with 101: the connection is a peer's from now on. False: it is gone.
    ///
    /// `compress` says whether compression may be agreed on; None leaves it to the engine's configuration.
    ///
    /// # Errors
    /// A header cannot be sent; the connection still waits for its answer.
    pub fn accept<'a>(
        &mut self,
        key: Key,
        namespace: &str,
        protocol: Option<&str>,
        compress: Option<bool>,
        headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> Result<bool, BadHeader> {
        let Some(connection) = find(&mut self.connections, key) else { return Ok(false) };
        let Phase::Asked(asked) = &connection.phase else { return Ok(false) };
        let config =
            if compress.unwrap_or(self.deflate.is_some()) { Some(self.deflate.unwrap_or_default()) } else { None };
        let deflating = config.and_then(|config| {
            let config = config_for(config, self.limits.overflow);
            Params::negotiate(&asked.deflate, &config).map(|params| Box::new(Deflating::new(params, &config)))
        });
        let extensions = deflating.as_ref().map(|deflating| deflating.params.header());
        let answer = handshake::switching(&asked.accept, protocol, extensions.as_deref(), headers)?;
        let inflater = deflating.as_ref().map(|deflating| deflating.inflater());
        connection.phase = Phase::Open(Box::new(Open::new(&self.limits, self.now, inflater)));
        connection.deflating = deflating;
        // With what `open` sends: one write for both.
        connection.outbox.push_raw(&answer, &mut self.buffers);
        self.topics.join(key.index, namespace);
        self.set_interest(key.index, true, false);
        self.mark_dirty(key.index);
        if find(&mut self.connections, key).is_some_and(|connection| !connection.kept.is_empty()) {
            self.enqueue(key.index);
        }
        Ok(true)
    }

    /// Answer a handshake with these bytes, and close behind them.
    pub fn refuse(&mut self, key: Key, answer: Vec<u8>) {
        if find(&mut self.connections, key).is_some() {
            self.answer_and_hang_up(key.index, answer);
        }
    }

    /// The place of a key, as long as it is its own.
    pub fn place_of(&self, key: Key) -> Option<u32> {
        let connection = self.connections.get(key.index as usize);
        connection.is_some_and(|found| found.generation == key.generation).then_some(key.index)
    }

    /// Whether a key still stands for an open WebSocket whose close frame is not sent.
    pub fn is_open(&self, key: Key) -> bool {
        let connection = self.connections.get(key.index as usize);
        connection.is_some_and(|found| {
            found.generation == key.generation && matches!(&found.phase, Phase::Open(open) if !open.closing)
        })
    }

    /// The extensions that a connection has agreed on, as its 101 named them.
    pub fn extensions(&self, key: Key) -> Option<String> {
        let found = self.connections.get(key.index as usize).filter(|found| found.generation == key.generation)?;
        found.deflating.as_ref().map(|deflating| deflating.params.header())
    }

    /// Queue a message for one peer alone. `compress`: None leaves it to the size of the message.
    #[inline]
    pub fn send(&mut self, key: Key, kind: Kind, payload: &[u8], compress: Option<bool>) -> Sent {
        // Its end may have come and not be told yet; the place may even be another's.
        if !self.is_open(key) {
            return Sent::Done;
        }
        if self.connections[key.index as usize].deflating.is_some() && self.is_worth_it(payload.len(), compress) {
            let frame = Frame::message(kind, payload);
            return self.with_forms(&frame, true, |engine, forms| engine.deliver(key.index, forms));
        }
        self.queue_message(key.index, |connection, buffers| connection.outbox.push_payload(kind, payload, buffers))
    }

    /// Queue a message for one of many peers.
    #[inline]
    fn deliver(&mut self, index: u32, forms: &mut Forms<'_>) -> Sent {
        self.queue_message(index, |connection, buffers| match &mut connection.deflating {
            Some(deflating) if forms.wanted => connection.outbox.push(forms.compressed(index, deflating), buffers),
            _ => connection.outbox.push(forms.plain, buffers),
        })
    }

    fn is_worth_it(&self, size: usize, compress: Option<bool>) -> bool {
        compress.unwrap_or(size >= self.deflate.unwrap_or_default().threshold)
    }

    fn with_forms<R>(&mut self, frame: &Frame, wanted: bool, work: impl FnOnce(&mut Self, &mut Forms<'_>) -> R) -> R {
        let fresh = Shared::new(self.compressors.level);
        let mut compressors = std::mem::replace(&mut self.compressors, fresh);
        let result = work(self, &mut Forms::new(frame, wanted, &mut compressors));
        self.compressors = compressors;
        result
    }

    #[inline]
    fn queue_message(&mut self, index: u32, mut push: impl FnMut(&mut Connection, &mut Buffers) -> Push) -> Sent {
        let Some(connection) = self.connections.get_mut(index as usize) else { return Sent::Done };
        if push(connection, &mut self.buffers) != Push::Full {
            if !connection.is_dirty && !connection.is_blocked {
                connection.is_dirty = true;
                self.dirty.push(index);
            }
            return Sent::Done;
        }
        if connection.is_blocked {
            return Sent::Full;
        }
        // It reads: only this turn has gathered too much.
        self.write(index);
        let Some(connection) = self.connections.get_mut(index as usize) else { return Sent::Done };
        if push(connection, &mut self.buffers) == Push::Full {
            return Sent::Full;
        }
        self.mark_dirty(index);
        Sent::Done
    }

    /// Queue a message for every subscriber of a topic but one. Those whose queue is full are
    /// pushed to `full`.
    pub fn publish(&mut self, message: &Publication<'_>, skip: u32, full: &mut Vec<u32>) {
        // The index does not change while it is walked: sending only touches connections.
        let topics = std::mem::take(&mut self.topics);
        let wanted = self.is_worth_it(message.frame.size(), message.compress);
        let walked = catch_unwind(AssertUnwindSafe(|| {
            self.with_forms(message.frame, wanted, |engine, forms| {
                let mut walk = |peers: &[u32]| {
                    for &index in peers {
                        if index != skip && engine.deliver(index, forms) == Sent::Full {
                            full.push(index);
                        }
                    }
                };
                match message.namespace {
                    None => topics.everywhere(message.topic).for_each(&mut walk),
                    Some(name) => {
                        if let Some(namespace) = topics.namespace(name) {
                            walk(topics.of(message.topic, namespace));
                        }
                    }
                }
            })
        }));
        self.topics = topics;
        if let Err(panic) = walked {
            resume_unwind(panic);
        }
    }

    /// Subscribe a peer to a topic of its namespace.
    ///
    /// # Errors
    /// It is no name for a topic, or the peer has as many as it may have.
    pub fn subscribe(&mut self, key: Key, topic: &str) -> Result<bool, TopicError> {
        if !self.is_open(key) {
            return check_topic(topic, self.limits.max_topic_length).map(|()| false);
        }
        self.topics.subscribe(key.index, topic, &self.limits)
    }

    /// Send a ping, where the peer reads.
    pub fn ping(&mut self, key: Key, payload: &[u8]) {
        let frame = Frame::ping(payload, None);
        if let (Some(connection), Some(frame)) = (find(&mut self.connections, key), frame)
            && !connection.is_blocked
        {
            connection.outbox.push_control(&frame, &mut self.buffers);
            self.mark_dirty(key.index);
        }
    }

    /// Send a close frame behind what waits, or (`at_once`) in front of it, and give the other side its time.
    pub fn close(&mut self, key: Key, code: u16, reason: &str, at_once: bool) {
        let Some(connection) = find(&mut self.connections, key) else { return };
        let (Phase::Open(open), Ok(frame)) = (&mut connection.phase, Frame::close(Some((code, reason)), None)) else {
            return;
        };
        if open.closing {
            return;
        }
        open.closing = true;
        open.pong = None;
        if at_once {
            connection.outbox.clear(&mut self.buffers);
        }
        connection.outbox.push_control(&frame, &mut self.buffers);
        connection.deadline = Some(self.now + self.limits.close_timeout);
        self.mark_dirty(key.index);
        self.topics.unsubscribe_all(key.index);
        self.resume(key);
    }

    /// Drop a connection.
    pub fn abort(&mut self, key: Key) {
        if find(&mut self.connections, key).is_some() {
            self.ended(key.index, End::lost());
        }
    }

    /// Drop all of them.
    pub fn abort_all(&mut self) {
        let all: Vec<u32> = self.connections.iter().map(|(index, _)| index as u32).collect();
        for index in all {
            self.ended(index, End::lost());
        }
    }

    /// Read no further.
    pub fn pause(&mut self, key: Key) {
        if let Some(connection) = find(&mut self.connections, key) {
            connection.is_paused = true;
            let writing = connection.interest.1;
            self.set_interest(key.index, false, writing);
        }
    }

    /// Go on reading.
    pub fn resume(&mut self, key: Key) {
        let Some(connection) = find(&mut self.connections, key) else { return };
        if connection.is_paused {
            connection.is_paused = false;
            let (kept, writing) = (!connection.kept.is_empty(), connection.interest.1);
            self.set_interest(key.index, true, writing);
            if kept {
                self.enqueue(key.index);
            }
        }
    }

    /// Payload bytes that wait for one peer, messages that were dropped, and bytes that its receiver holds.
    pub fn queue_of(&self, key: Key) -> (usize, u64) {
        let found = self.connections.get(key.index as usize).filter(|found| found.generation == key.generation);
        found.map_or((0, 0), |found| (found.outbox.size() + found.outbox.taken(), found.outbox.dropped()))
    }

    /// Write what the turn has gathered. Whether there is more to read or to tell: then poll again soon.
    pub fn flush(&mut self) -> bool {
        while let Some(index) = self.asked.pop() {
            if matches!(self.connections.get(index as usize), Some(Connection { phase: Phase::Asked(_), .. })) {
                // Its answer takes longer than this turn. Nothing is read before.
                self.set_interest(index, false, false);
            }
        }
        while let Some(index) = self.dirty.pop() {
            if let Some(connection) = self.connections.get_mut(index as usize) {
                connection.is_dirty = false;
                if !connection.is_blocked {
                    self.worked_on = index;
                    if catch_unwind(AssertUnwindSafe(|| self.write(index))).is_err() {
                        self.abandon();
                    }
                }
            }
        }
        !self.queue.is_empty() || !self.told.is_empty() || self.current.is_some()
    }

    /// Whether something waits for [`Self::flush`], or for whoever watches the topics.
    pub fn wants_attention(&self) -> bool {
        !self.dirty.is_empty() || self.topics.has_changes()
    }

    /// Heartbeats and deadlines. To be called a few times in the shortest of the limits' times.
    pub fn tick(&mut self, now: Duration) {
        self.now = now;
        let mut late = Vec::new();
        let mut silent = Vec::new();
        let mut due = Vec::new();
        for (index, connection) in &self.connections {
            let key = Key { index: index as u32, generation: connection.generation };
            if connection.deadline.is_some_and(|deadline| now >= deadline) {
                late.push(key);
            } else if let (Phase::Open(open), Some(interval)) = (&connection.phase, self.limits.ping_interval)
                && !connection.is_paused
                && !open.closing
            {
                let since = now.saturating_sub(open.pinged_at);
                if connection.is_blocked {
                    // A ping would wait behind everything: a reader is alive as long as it reads.
                    if now.saturating_sub(connection.progress_at) >= interval + self.limits.ping_timeout {
                        silent.push(key);
                    }
                } else if open.ping.is_some() {
                    if since >= self.limits.ping_timeout {
                        silent.push(key);
                    }
                } else if since >= interval {
                    due.push(key);
                }
            }
        }
        for key in late {
            self.is_late(key);
        }
        for key in silent {
            self.ended(key.index, End::lost());
        }
        for key in due {
            self.beat(key);
        }
        for (number, listener) in self.listeners.iter_mut().enumerate() {
            if std::mem::take(&mut listener.is_waiting) {
                let _ = epoll::modify(&self.epoll, &listener.socket, listener_data(number), EventFlags::IN);
            }
        }
    }

    // Inside.

    fn changed(&mut self, index: u32, flags: EventFlags) {
        let Some(connection) = self.connections.get(index as usize) else { return };
        if flags.contains(EventFlags::OUT) && connection.interest.1 {
            self.write(index);
        }
        if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR | EventFlags::RDHUP) {
            let Some(connection) = self.connections.get(index as usize) else { return };
            if connection.interest.0 {
                self.enqueue(index);
            } else if flags.intersects(EventFlags::HUP | EventFlags::ERR | EventFlags::RDHUP) {
                // Nobody reads, so nobody would notice.
                self.ended(index, End::lost());
            }
        }
    }

    fn accept_all(&mut self, number: usize) {
        for _ in 0..ACCEPTS {
            let Some(listener) = self.listeners.get_mut(number) else { return };
            match listener.accept() {
                Accepted::Connection(socket, address) => self.take(socket, address),
                Accepted::Nobody => return,
                Accepted::NoRoom => {
                    // Until the next tick.
                    listener.is_waiting = true;
                    let data = listener_data(number);
                    let _ = epoll::modify(&self.epoll, &listener.socket, data, EventFlags::empty());
                    return;
                }
            }
        }
    }

    /// Take a new connection, or turn it away.
    fn take(&mut self, socket: OwnedFd, address: Option<SocketAddr>) {
        self.generation = self.generation.wrapping_add(1);
        let is_reserved = socket.as_raw_fd() >= self.reserved_from;
        let entry = self.connections.vacant_entry();
        let index = entry.key();
        if epoll::add(&self.epoll, &socket, EventData::new_u64(index as u64), EventFlags::IN).is_err() {
            return;
        }
        entry.insert(Connection {
            socket,
            generation: self.generation,
            phase: Phase::Head(Box::new(Request::new()), address),
            kept: Vec::new(),
            outbox: Outbox::new(&self.limits),
            deflating: None,
            deadline: Some(self.now + self.limits.handshake_timeout),
            is_dirty: false,
            is_queued: false,
            is_blocked: false,
            is_paused: false,
            progress_at: self.now,
            farewell: Farewell::None,
            interest: (true, false),
        });
        if is_reserved {
            self.turned_away += 1;
            let answer = handshake::refusal(503, [("retry-after", &b"1"[..])], b"").unwrap_or_default();
            self.answer_and_hang_up(index as u32, answer);
        }
    }

    fn enqueue(&mut self, index: u32) {
        if let Some(connection) = self.connections.get_mut(index as usize)
            && !connection.is_queued
        {
            connection.is_queued = true;
            self.queue.push_back(index);
        }
    }

    fn mark_dirty(&mut self, index: u32) {
        if let Some(connection) = self.connections.get_mut(index as usize)
            && !connection.is_dirty
            && !connection.is_blocked
        {
            connection.is_dirty = true;
            self.dirty.push(index);
        }
    }

    /// Bring the bytes of the next connection into the buffer. None: no connection has any.
    fn take_up(&mut self) -> Option<()> {
        let index = self.queue.pop_front()?;
        let Some(connection) = self.connections.get_mut(index as usize) else { return Some(()) };
        connection.is_queued = false;
        if connection.is_paused {
            return Some(());
        }
        let is_open = matches!(connection.phase, Phase::Open(_));
        if is_open && !connection.kept.is_empty() {
            let kept = std::mem::take(&mut connection.kept);
            if self.buffer.len() < kept.len() {
                self.buffer.resize(kept.len(), 0);
            }
            self.buffer[..kept.len()].copy_from_slice(&kept);
            self.current = Some((index, 0, kept.len(), TURN));
            return Some(());
        }
        match rustix::net::recv(&connection.socket, &mut self.buffer[..READ], RecvFlags::empty()) {
            Ok((_, 0)) => self.ended(index, End::lost()),
            Ok((_, count)) => self.current = Some((index, 0, count, TURN)),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.ended(index, End::lost()),
        }
        Some(())
    }

    /// Write what waits for one connection, as far as its socket takes it.
    fn write(&mut self, index: u32) {
        let Some(connection) = self.connections.get_mut(index as usize) else { return };
        loop {
            if connection.outbox.is_empty() {
                break;
            }
            let mut slices = [IoSlice::new(&[]); 64];
            let mut count = 0;
            for (slot, bytes) in slices.iter_mut().zip(connection.outbox.slices()) {
                *slot = IoSlice::new(bytes);
                count += 1;
            }
            let written = match &slices[..count] {
                [only] => rustix::io::write(&connection.socket, only),
                all => rustix::io::writev(&connection.socket, all),
            };
            match written {
                Ok(bytes) => {
                    connection.progress_at = self.now;
                    connection.outbox.advance(bytes, &mut self.buffers);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    if !connection.is_blocked {
                        connection.progress_at = self.now;
                    }
                    connection.is_blocked = true;
                    let reading = connection.interest.0;
                    self.set_interest(index, reading, true);
                    return;
                }
                Err(_) => {
                    self.ended(index, End::lost());
                    return;
                }
            }
        }
        self.written(index);
    }

    /// The outbox of a connection is empty.
    fn written(&mut self, index: u32) {
        let Some(connection) = self.connections.get_mut(index as usize) else { return };
        match std::mem::replace(&mut connection.farewell, Farewell::None) {
            Farewell::None => {}
            Farewell::HangUp => {
                let _ = rustix::net::shutdown(&connection.socket, Shutdown::Write);
            }
            Farewell::Close => {
                self.forget(index);
                return;
            }
        }
        if !connection.is_blocked {
            return;
        }
        connection.is_blocked = false;
        let key = Key { index, generation: connection.generation };
        let reading = connection.interest.0;
        if let Phase::Open(open) = &mut connection.phase {
            if let Some(frame) = open.pong.take().and_then(|payload| Frame::pong(&payload, None)) {
                connection.outbox.push_control(&frame, &mut self.buffers);
                connection.is_dirty = true;
                self.dirty.push(index);
            }
            if !open.closing {
                self.told.push_back((key, Told::Drained));
            }
        }
        self.set_interest(index, reading, false);
    }

    fn closed_by_peer(&mut self, index: u32, end: End) {
        self.current = None;
        let Some(connection) = self.connections.get_mut(index as usize) else { return };
        if let Phase::Open(open) = &mut connection.phase
            && !open.closing
        {
            let status = (end.code != 1005).then_some((end.code, ""));
            self.say_last(index, status);
        }
        self.tell_end(index, end, Farewell::Close);
    }

    fn violated(&mut self, index: u32, violation: Violation) {
        self.current = None;
        let Some(connection) = self.connections.get_mut(index as usize) else { return };
        if let Phase::Open(open) = &mut connection.phase
            && !open.closing
        {
            self.say_last(index, Some((violation.code, violation.reason)));
        }
        let end = End { code: violation.code, reason: violation.reason.into(), was_clean: false };
        self.tell_end(index, end, Farewell::HangUp);
    }

    /// Queue a close frame in front of what a reader that stopped has not taken.
    fn say_last(&mut self, index: u32, status: Option<(u16, &str)>) {
        let Some(connection) = self.connections.get_mut(index as usize) else { return };
        if connection.is_blocked {
            connection.outbox.clear(&mut self.buffers);
        }
        if let Ok(frame) = Frame::close(status, None) {
            connection.outbox.push_control(&frame, &mut self.buffers);
        }
    }

    /// Tell the end of a WebSocket, and let the other side read our last words.
    ///
    /// Not closed at once where the other side may still be sending: a reset would take them from it.
    fn tell_end(&mut self, index: u32, end: End, farewell: Farewell) {
        let Some(connection) = self.connections.get_mut(index as usize) else { return };
        let key = Key { index, generation: connection.generation };
        connection.phase = Phase::Lingering;
        connection.farewell = farewell;
        connection.is_paused = false;
        connection.kept = Vec::new();
        connection.deadline = Some(self.now + self.limits.close_timeout);
        let writing = connection.interest.1;
        let topics = self.topics.topics_of(index).map(String::from).collect();
        self.topics.unsubscribe_all(index);
        self.told.push_back((key, Told::Closed(end, topics)));
        self.set_interest(index, true, writing);
        if writing {
            return;
        }
        self.write(index);
    }

    fn answer_and_hang_up(&mut self, index: u32, answer: Vec<u8>) {
        let Some(connection) = self.connections.get_mut(index as usize) else { return };
        let _ = rustix::io::write(&connection.socket, &answer);
        let _ = rustix::net::shutdown(&connection.socket, Shutdown::Write);
        connection.phase = Phase::Lingering;
        connection.kept = Vec::new();
        connection.deadline = Some(self.now + self.limits.close_timeout);
        self.set_interest(index, true, false);
    }

    fn is_late(&mut self, key: Key) {
        let Some(connection) = find(&mut self.connections, key) else { return };
        if matches!(connection.phase, Phase::Head(..)) {
            let answer = handshake::refusal(408, [], b"").unwrap_or_default();
            self.answer_and_hang_up(key.index, answer);
        } else {
            self.ended(key.index, End::lost());
        }
    }

    fn beat(&mut self, key: Key) {
        // Xorshift: what nobody outside can tell beforehand without having seen the others.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        let payload = self.random.to_be_bytes();
        let now = self.now;
        if let Some(connection) = find(&mut self.connections, key)
            && let Phase::Open(open) = &mut connection.phase
        {
            open.ping = Some(payload);
            open.pinged_at = now;
            self.ping(key, &payload);
        }
    }

    /// A bug showed while one connection was worked on: drop that one, whatever state it is in.
    #[cold]
    fn abandon(&mut self) {
        self.current = None;
        let end = End { code: 1011, reason: "internal error".into(), was_clean: false };
        let index = std::mem::replace(&mut self.worked_on, u32::MAX);
        self.ended(index, end);
    }

    /// A connection is gone: its socket is closed, and whoever was told of it is told so.
    fn ended(&mut self, index: u32, end: End) {
        if !self.connections.contains(index as usize) {
            return;
        }
        let topics = self.topics.topics_of(index).map(String::from).collect();
        let connection = self.forget(index);
        if matches!(connection.phase, Phase::Open(_) | Phase::Asked(_)) {
            let key = Key { index, generation: connection.generation };
            self.told.push_back((key, Told::Closed(end, topics)));
        }
    }

    fn forget(&mut self, index: u32) -> Connection {
        // Closing the socket takes it out of the epoll set.
        let mut connection = self.connections.remove(index as usize);
        connection.outbox.clear(&mut self.buffers);
        self.topics.leave(index);
        if self.current.is_some_and(|current| current.0 == index) {
            self.current = None;
        }
        connection
    }

    fn set_interest(&mut self, index: u32, reading: bool, writing: bool) {
        let Some(connection) = self.connections.get_mut(index as usize) else { return };
        if connection.interest == (reading, writing) {
            return;
        }
        connection.interest = (reading, writing);
        let mut flags = EventFlags::empty();
        flags.set(EventFlags::IN, reading);
        flags.set(EventFlags::OUT, writing);
        // Nothing is read before the answer to a handshake, and yet who leaves is to be noticed.
        flags.set(EventFlags::RDHUP, matches!(connection.phase, Phase::Asked(_)));
        let _ = epoll::modify(&self.epoll, &connection.socket, EventData::new_u64(u64::from(index)), flags);
    }
}

fn listener_data(number: usize) -> EventData {
    EventData::new_u64(LISTENER + number as u64)
}

fn find(connections: &mut Slab<Connection>, key: Key) -> Option<&mut Connection> {
    connections.get_mut(key.index as usize).filter(|found| found.generation == key.generation)
}

fn input_left(input: &Input<'_>) -> usize {
    input.rest().len()
}
