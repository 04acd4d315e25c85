//! The engine as Python sees it: polled by the loop, it calls the hooks of its peers and writes what they sent.

use std::cell::{Cell, OnceCell, RefCell};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::time::{Duration, Instant};

use crosspeer_core::deflate::Config;
use crosspeer_core::handshake::Head;
use crosspeer_core::net::{End, Engine as Core, Key, NetEvent, Publication};
use crosspeer_core::{Frame, Kind, Limits, Overflow};
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString};

use crate::hooks::Hooks;
use crate::message::Message;
use crate::outgoing;
use crate::peer::{CLOSED, OPEN, Peer};
use crate::session::{Happening, Mailbox};

/// Events of one turn, before the loop's other work has its own.
const TURN: usize = 4096;

/// The connections of one server (`crosspeer.server.native`).
#[pyclass(frozen)]
pub struct Engine {
    pub core: RefCell<Core>,
    /// The Python side: requests, tasks, what is not hot.
    pub glue: Py<PyAny>,
    pub most_waiting: usize,
    pub max_topic_length: usize,
    peers: RefCell<Vec<Option<Py<Peer>>>>,
    /// The indexes of other fan-outs: with subscribers in one of them, publications go there too.
    others: RefCell<Vec<Py<PyDict>>>,
    relays: Cell<bool>,
    /// Publications are kept before they are delivered, which Python does.
    pub remembers: Cell<bool>,
    /// Python wants to know of every subscription.
    pub attends: Cell<bool>,
    polling: Cell<bool>,
    started: Instant,
}

/// A turn that is under way. It ends however it is left: a panic must not leave the engine deaf.
struct Turn<'a>(&'a Cell<bool>);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

/// An event as Python objects, made while its bytes last.
enum Fresh {
    Asked(Key, Vec<u8>, Option<SocketAddr>),
    Http(OwnedFd, Py<PyBytes>),
    Message(Key, Kind, Py<PyAny>),
    Ping(Key, Py<PyAny>),
    Pong(Key, Py<PyAny>),
    Drained(Key),
    Closed(Key, End, Vec<String>),
}

#[pymethods]
impl Engine {
    #[new]
    #[pyo3(signature = (glue, limits, deflate))]
    fn new(glue: Py<PyAny>, limits: &Bound<'_, PyAny>, deflate: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let limits = limits_of(limits)?;
        let deflate = deflate.map(config_of).transpose()?;
        Ok(Self {
            most_waiting: limits.max_waiting_messages,
            max_topic_length: limits.max_topic_length,
            core: RefCell::new(Core::new(limits, deflate)?),
            glue,
            peers: RefCell::new(Vec::new()),
            others: RefCell::new(Vec::new()),
            relays: Cell::new(false),
            remembers: Cell::new(false),
            attends: Cell::new(false),
            polling: Cell::new(false),
            started: Instant::now(),
        })
    }

    /// The descriptor that is readable when there is something to do.
    fn fileno(&self) -> i32 {
        self.core.borrow().descriptor().as_raw_fd()
    }

    /// Accept connections of a listening socket. The engine works on a duplicate.
    fn listen(&self, socket: &Bound<'_, PyAny>) -> PyResult<()> {
        let duplicate = socket.call_method0("dup")?;
        duplicate.call_method1("setblocking", (false,))?;
        let descriptor: i32 = duplicate.call_method0("detach")?.extract()?;
        self.core.borrow_mut().listen(adopt(descriptor)?)?;
        Ok(())
    }

    fn stop_listening(&self) {
        self.core.borrow_mut().stop_listening();
    }

    /// Do what there is to do: read, call hooks, write. Whether there is more, so that another turn is wanted soon.
    fn poll(slf: &Bound<'_, Self>) -> PyResult<bool> {
        let this = slf.get();
        if this.polling.replace(true) {
            return Ok(true);
        }
        let outcome = {
            let _turn = Turn(&this.polling);
            Self::turn(slf)
        };
        let more = this.core.borrow_mut().flush();
        outcome.map(|()| more)
    }

    /// Turn away, with 503, new connections whose descriptor is this one or a higher one.
    fn reserve_from(&self, descriptor: i32) {
        self.core.borrow_mut().reserve_from(descriptor);
    }

    /// How many connections were turned away since the last call.
    fn take_turned_away(&self) -> usize {
        self.core.borrow_mut().take_turned_away()
    }

    /// Heartbeats and deadlines.
    fn tick(slf: &Bound<'_, Self>) -> PyResult<bool> {
        slf.get().core.borrow_mut().tick(slf.get().started.elapsed());
        Self::poll(slf)
    }

    /// Write what was sent outside of a turn. Whether there is something to tell.
    fn flush(&self) -> bool {
        self.core.borrow_mut().flush()
    }

    /// Answer a handshake with 101 and open its peer. False: the client has gone.
    #[pyo3(signature = (key, hooks, namespace, context, head, protocol, compress, headers))]
    #[expect(clippy::too_many_arguments, reason = "one call a connection, from one place")]
    fn accept<'py>(
        slf: &Bound<'py, Self>,
        key: (u32, u32),
        hooks: Py<Hooks>,
        namespace: Bound<'py, PyString>,
        context: Py<PyAny>,
        head: Py<PyAny>,
        protocol: Option<Bound<'py, PyString>>,
        compress: Option<bool>,
        headers: Vec<(String, Vec<u8>)>,
    ) -> PyResult<bool> {
        let (py, this) = (slf.py(), slf.get());
        let key = Key { index: key.0, generation: key.1 };
        let chosen = protocol.as_ref().map(|text| text.to_str()).transpose()?;
        let pairs = headers.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
        let accepted = this.core.borrow_mut().accept(key, namespace.to_str()?, chosen, compress, pairs);
        if !accepted.map_err(|error| PyValueError::new_err(error.to_string()))? {
            return Ok(false);
        }
        let peer = Py::new(
            py,
            Peer {
                engine: slf.clone().unbind(),
                key,
                hooks,
                namespace: namespace.unbind(),
                context,
                head,
                request: OnceCell::new(),
                id: OnceCell::new(),
                protocol: protocol.unwrap_or_else(|| PyString::new(py, "")).unbind(),
                state: Cell::new(OPEN),
                busy: Cell::new(false),
                paused: Cell::new(false),
                mailbox: RefCell::new(Mailbox::new()),
                verdict: RefCell::new(None),
                left: RefCell::new(None),
                watched: Cell::new(false),
                dropped: Cell::new(0),
            },
        )?;
        let mut peers = this.peers.borrow_mut();
        let place = key.index as usize;
        if peers.len() <= place {
            peers.resize_with(place + 1, || None);
        }
        peers[place] = Some(peer.clone_ref(py));
        drop(peers);
        this.glue.bind(py).call_method1(intern!(py, "entered"), (&peer, peer.get().namespace.bind(py)))?;
        Peer::happen(peer.bind(py), Happening::Open)?;
        this.want_poll(py)?;
        Ok(true)
    }

    /// Answer a handshake with these bytes.
    fn refuse(&self, key: (u32, u32), answer: Vec<u8>) {
        self.core.borrow_mut().refuse(Key { index: key.0, generation: key.1 }, answer);
    }

    /// Send to every subscriber of a topic, in one namespace or in all.
    #[pyo3(signature = (topic, data, namespace = None, compress = None, sender = None))]
    fn publish(
        slf: &Bound<'_, Self>,
        topic: &str,
        data: &Bound<'_, PyAny>,
        namespace: Option<&str>,
        compress: Option<bool>,
        sender: Option<&Bound<'_, Peer>>,
    ) -> PyResult<()> {
        let skip = sender.and_then(|peer| slf.get().core.borrow().place_of(peer.get().key)).unwrap_or(u32::MAX);
        let frame = outgoing::encoded(slf.get().glue.bind(slf.py()), data, Frame::message)?;
        let publication = Publication { topic, namespace, frame: &frame, compress };
        slf.get().publish_among(slf.py(), &publication, skip)
    }

    /// Keep what `changes` returns.
    fn watch_topics(&self) {
        self.core.borrow_mut().topics.watch();
    }

    /// The topics that have got their first subscriber in a namespace, or lost their last one, since the last call.
    fn changes(&self) -> Vec<(String, String, bool)> {
        let changes = self.core.borrow_mut().topics.take_changes();
        changes.into_iter().map(|change| (change.namespace.into(), (*change.topic).into(), change.begun)).collect()
    }

    /// How many topics have subscribers.
    fn topics(&self) -> usize {
        self.core.borrow().topics.len()
    }

    /// How many sockets there are.
    fn connections(&self) -> usize {
        self.core.borrow().len()
    }

    /// Where publications go besides: the indexes of other fan-outs, and whether the hub relays.
    fn share(&self, others: Vec<Py<PyDict>>, relays: bool, remembers: bool, attends: bool) {
        *self.others.borrow_mut() = others;
        self.remembers.set(remembers);
        self.attends.set(attends);
        self.relays.set(relays);
    }

    /// For the garbage collector: the Python side of the engine holds the engine.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.glue)?;
        // While it is changed there is nothing to collect here.
        if let Ok(peers) = self.peers.try_borrow() {
            for peer in peers.iter().flatten() {
                visit.call(peer)?;
            }
        }
        Ok(())
    }

    /// Drop every connection. Their ends are told by the next `poll`.
    fn abort_all(&self) {
        self.core.borrow_mut().abort_all();
    }
}

impl Engine {
    fn turn(slf: &Bound<'_, Self>) -> PyResult<()> {
        let (py, this) = (slf.py(), slf.get());
        this.core.borrow_mut().poll(this.started.elapsed());
        for _ in 0..TURN {
            let fresh = this.core.borrow_mut().next(|event| fresh(py, event));
            match fresh {
                None => return Ok(()),
                Some(fresh) => Self::tell(slf, fresh?)?,
            }
        }
        Ok(())
    }

    fn tell(slf: &Bound<'_, Self>, fresh: Fresh) -> PyResult<()> {
        let (py, this) = (slf.py(), slf.get());
        let glue = this.glue.bind(py);
        match fresh {
            Fresh::Asked(key, head, client) => {
                let client = client.map(|address| (address.ip().to_string(), address.port()));
                let head = (PyBytes::new(py, &head), client);
                glue.call_method1(intern!(py, "asked"), ((key.index, key.generation), head)).map(drop)
            }
            Fresh::Http(socket, data) => {
                let descriptor = socket.into_raw_fd();
                glue.call_method1(intern!(py, "plain_http"), (descriptor, data)).map(drop)
            }
            Fresh::Message(key, kind, data) => {
                let Some(peer) = this.peer(py, key) else { return Ok(()) };
                let inside = peer.get();
                if inside.state.get() != OPEN || inside.hooks.get().message.is_none() {
                    return Ok(());
                }
                let is_text = kind == Kind::Text;
                let message = Message { peer: peer.clone().unbind(), data, is_text, id: OnceCell::new() };
                Peer::happen(&peer, Happening::Message(Py::new(py, message)?))
            }
            Fresh::Ping(key, data) => match this.peer(py, key) {
                Some(peer) if peer.get().hooks.get().ping.is_some() => Peer::happen(&peer, Happening::Ping(data)),
                _ => Ok(()),
            },
            Fresh::Pong(key, data) => match this.peer(py, key) {
                Some(peer) if peer.get().hooks.get().pong.is_some() => Peer::happen(&peer, Happening::Pong(data)),
                _ => Ok(()),
            },
            Fresh::Drained(key) => match this.peer(py, key) {
                Some(peer) => {
                    if peer.get().watched.get() {
                        glue.call_method1(intern!(py, "written"), (&peer,))?;
                    }
                    if peer.get().hooks.get().drain.is_some() {
                        Peer::happen(&peer, Happening::Drain)?;
                    }
                    Ok(())
                }
                None => Ok(()),
            },
            Fresh::Closed(key, end, topics) => this.closed(py, key, end, topics),
        }
    }

    fn closed(&self, py: Python<'_>, key: Key, end: End, topics: Vec<String>) -> PyResult<()> {
        let glue = self.glue.bind(py);
        let Some(peer) = self.peer(py, key) else {
            return glue.call_method1(intern!(py, "left_early"), ((key.index, key.generation),)).map(drop);
        };
        self.peers.borrow_mut()[key.index as usize] = None;
        let inside = peer.get();
        inside.left.borrow_mut().get_or_insert(topics);
        inside.state.set(CLOSED);
        let end = match inside.verdict.borrow_mut().take() {
            Some((code, reason)) if !end.was_clean => End { code, reason, was_clean: false },
            _ => end,
        };
        glue.call_method1(intern!(py, "left"), (&peer, &inside.namespace))?;
        let details = glue.call_method1(intern!(py, "details"), (end.code, end.reason, end.was_clean))?;
        Peer::happen(&peer, Happening::Close(details.unbind()))?;
        glue.call_method1(intern!(py, "ended"), (&peer,)).map(drop)
    }

    fn peer<'py>(&self, py: Python<'py>, key: Key) -> Option<Bound<'py, Peer>> {
        let peers = self.peers.borrow();
        let peer = peers.get(key.index as usize)?.as_ref()?;
        (peer.get().key == key).then(|| peer.bind(py).clone())
    }

    pub fn publish_among(&self, py: Python<'_>, publication: &Publication<'_>, skip: u32) -> PyResult<()> {
        let mut full = Vec::new();
        self.core.borrow_mut().publish(publication, skip, &mut full);
        for index in full {
            let peer = self.peers.borrow().get(index as usize).and_then(|peer| peer.as_ref().map(|p| p.clone_ref(py)));
            if let Some(peer) = peer {
                peer.get().overflow();
            }
        }
        self.want_flush(py)
    }

    /// Whether a publication has to be handed to Python for others.
    pub fn has_others(&self, py: Python<'_>) -> bool {
        self.relays.get() || self.others.borrow().iter().any(|index| !index.bind(py).is_empty())
    }

    /// Outside of a turn somebody has to write: ask the loop for it.
    pub fn want_flush(&self, py: Python<'_>) -> PyResult<()> {
        if !self.polling.get() && self.core.borrow().wants_attention() {
            self.glue.bind(py).call_method0(intern!(py, "schedule"))?;
        }
        Ok(())
    }

    /// Outside of a turn something is to be told.
    pub fn want_poll(&self, py: Python<'_>) -> PyResult<()> {
        if !self.polling.get() {
            self.glue.bind(py).call_method0(intern!(py, "schedule"))?;
        }
        Ok(())
    }

    pub fn topic_error(&self, py: Python<'_>, peer: &Peer, text: &str, is_limit: bool) -> PyResult<()> {
        let _ = peer;
        self.glue.bind(py).call_method1(intern!(py, "topic_error"), (text, is_limit)).map(drop)
    }
}

/// Turn an event into what outlives its bytes. The engine is borrowed here, so nothing is made that the garbage collector
/// tracks: a finaliser might want the engine.
fn fresh(py: Python<'_>, event: NetEvent<'_>) -> PyResult<Fresh> {
    Ok(match event {
        NetEvent::Asked(key, upgrade, client) => Fresh::Asked(key, upgrade.head.bytes().to_vec(), client),
        NetEvent::Http(socket, data) => Fresh::Http(socket, PyBytes::new(py, data).unbind()),
        NetEvent::Message(key, kind, payload) => {
            let data = match kind {
                // SAFETY: `Event::Message` promises that the payload of a text is UTF-8; the receiver has checked it.
                #[allow(unsafe_code)]
                Kind::Text => PyString::new(py, unsafe { std::str::from_utf8_unchecked(payload) }).into_any(),
                Kind::Binary => PyBytes::new(py, payload).into_any(),
            };
            Fresh::Message(key, kind, data.unbind())
        }
        NetEvent::Ping(key, payload) => Fresh::Ping(key, PyBytes::new(py, payload).into_any().unbind()),
        NetEvent::Pong(key, payload) => Fresh::Pong(key, PyBytes::new(py, payload).into_any().unbind()),
        NetEvent::Drained(key) => Fresh::Drained(key),
        NetEvent::Closed(key, end, topics) => Fresh::Closed(key, end, topics),
    })
}

/// The target and the headers (their names in lower case) of a head that the engine has handed out.
#[pyfunction]
pub fn parse_head<'py>(py: Python<'py>, head: &[u8]) -> PyResult<(Bound<'py, PyBytes>, Bound<'py, PyList>)> {
    let head = Head::again(head).ok_or_else(|| PyValueError::new_err("this is no head of a request"))?;
    let headers = PyList::empty(py);
    for (name, value) in head.headers() {
        let name = PyBytes::new(py, name.to_ascii_lowercase().as_bytes());
        headers.append((name, PyBytes::new(py, value)))?;
    }
    Ok((PyBytes::new(py, head.target().as_bytes()), headers))
}

/// Own a duplicate of a descriptor that Python has given up. Without unsafe code: by duplicating it once more.
fn adopt(descriptor: i32) -> PyResult<OwnedFd> {
    // SAFETY: the descriptor is open, it was detached from its socket object just now, and nobody else closes it.
    #[allow(unsafe_code)]
    let borrowed = unsafe { BorrowedFd::borrow_raw(descriptor) };
    let owned = borrowed.try_clone_to_owned().map_err(PyOSError::new_err)?;
    Python::attach(|py| py.import("os")?.call_method1("close", (descriptor,)).map(drop))?;
    Ok(owned)
}

/// What `crosspeer.core.deflate.Deflate` says.
fn config_of(deflate: &Bound<'_, PyAny>) -> PyResult<Config> {
    Ok(Config {
        server_no_context_takeover: deflate.getattr("server_no_context_takeover")?.extract()?,
        client_no_context_takeover: deflate.getattr("client_no_context_takeover")?.extract()?,
        server_max_window_bits: deflate.getattr("server_max_window_bits")?.extract()?,
        client_max_window_bits: deflate.getattr("client_max_window_bits")?.extract()?,
        level: deflate.getattr("level")?.extract()?,
        threshold: deflate.getattr("threshold")?.extract()?,
    })
}

fn limits_of(limits: &Bound<'_, PyAny>) -> PyResult<Limits> {
    let size = |name: &str| -> PyResult<usize> { limits.getattr(name)?.extract() };
    let time = |name: &str| -> PyResult<Duration> { Ok(Duration::from_secs_f64(limits.getattr(name)?.extract()?)) };
    let overflow: String = limits.getattr("overflow")?.extract()?;
    let interval = limits.getattr("ping_interval")?;
    Ok(Limits {
        max_message_size: size("max_message_size")?,
        max_waiting_messages: size("max_waiting_messages")?,
        max_queue_size: size("max_queue_size")?,
        overflow: Overflow::named(&overflow).ok_or_else(|| PyValueError::new_err("unknown overflow policy"))?,
        max_topics: size("max_topics")?,
        max_topic_length: size("max_topic_length")?,
        max_connections: None,
        handshake_timeout: time("handshake_timeout")?,
        ping_interval: if interval.is_none() { None } else { Some(time("ping_interval")?) },
        ping_timeout: time("ping_timeout")?,
        close_timeout: time("close_timeout")?,
    })
}
