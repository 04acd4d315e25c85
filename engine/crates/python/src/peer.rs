//! The peer: what hooks hold in their hands, on this engine.

use std::cell::{Cell, OnceCell, RefCell};

use crosspeer_core::Frame;
use crosspeer_core::net::{Key, Publication, Sent};
use pyo3::exceptions::PyValueError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyFrozenSet, PyString};

use crate::engine::Engine;
use crate::hooks::Hooks;
use crate::outgoing;
use crate::session::{Happening, Mailbox};

/// The numbers of the web's `WebSocket.readyState`.
pub const OPEN: u8 = 1;
pub const CLOSING: u8 = 2;
pub const CLOSED: u8 = 3;

/// Someone you can talk to (`crosspeer.core.peer.Peer`).
#[pyclass(frozen, weakref)]
pub struct Peer {
    pub engine: Py<Engine>,
    pub key: Key,
    pub hooks: Py<Hooks>,
    #[pyo3(get)]
    pub namespace: Py<PyString>,
    #[pyo3(get)]
    pub context: Py<PyAny>,
    /// What the request is made of when it is asked for, or the request.
    pub head: Py<PyAny>,
    pub request: OnceCell<Py<PyAny>>,
    pub id: OnceCell<Py<PyAny>>,
    #[pyo3(get)]
    pub protocol: Py<PyString>,
    pub state: Cell<u8>,
    pub busy: Cell<bool>,
    pub paused: Cell<bool>,
    pub mailbox: RefCell<Mailbox>,
    /// How it ended, where we know better than the socket.
    pub verdict: RefCell<Option<(u16, String)>>,
    /// The topics at the moment of leaving them: `close` says goodbye there.
    pub left: RefCell<Option<Vec<String>>>,
    /// Somebody waits for its queue to empty.
    pub watched: Cell<bool>,
    pub dropped: Cell<u64>,
}

#[pymethods]
impl Peer {
    #[getter]
    fn id(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        let (py, this) = (slf.py(), slf.get());
        if this.id.get().is_none() {
            let id = this.glue(py).call_method1(intern!(py, "name"), (slf,))?;
            let _ = this.id.set(id.unbind());
        }
        Ok(this.id.get().expect("just set").clone_ref(py))
    }

    #[getter]
    fn request(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        let (py, this) = (slf.py(), slf.get());
        if this.request.get().is_none() {
            let made = this.glue(py).call_method1(intern!(py, "request_of"), (&this.head, &this.context))?;
            let _ = this.request.set(made.unbind());
        }
        Ok(this.request.get().expect("just set").clone_ref(py))
    }

    #[getter]
    fn remote_address(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        let request = Self::request(slf)?;
        Ok(request.bind(slf.py()).getattr(intern!(slf.py(), "remote_address"))?.unbind())
    }

    #[getter]
    fn topics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyFrozenSet>> {
        let left = self.left.borrow().clone();
        if let Some(left) = left {
            return PyFrozenSet::new(py, left);
        }
        // Collected first: making a Python object may run a finaliser, and that may want the engine.
        let topics: Vec<String> =
            self.engine.get().core.borrow().topics.topics_of(self.key.index).map(String::from).collect();
        PyFrozenSet::new(py, topics)
    }

    #[getter]
    fn peers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.glue(py).call_method1(intern!(py, "peers_of"), (&self.namespace,))
    }

    #[getter]
    fn websocket<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.get().glue(slf.py()).call_method1(intern!(slf.py(), "websocket_info"), (slf,))
    }

    #[getter]
    fn extensions(&self) -> String {
        self.engine.get().core.borrow().extensions(self.key).unwrap_or_default()
    }

    #[getter]
    fn state<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.glue(py).call_method1(intern!(py, "ready_state"), (self.state.get(),))
    }

    #[getter]
    fn buffered_amount(&self) -> usize {
        self.engine.get().core.borrow().queue_of(self.key).0
    }

    #[getter]
    fn dropped(&self) -> u64 {
        self.engine.get().core.borrow().queue_of(self.key).1.max(self.dropped.get())
    }

    /// How many events wait for the hook that runs.
    #[getter]
    fn waiting(&self) -> usize {
        self.mailbox.borrow().len()
    }

    /// The session of this peer is itself.
    #[getter]
    fn _session(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    #[pyo3(signature = (data = None, *, compress = None))]
    fn send(slf: &Bound<'_, Self>, data: Option<&Bound<'_, PyAny>>, compress: Option<bool>) -> PyResult<()> {
        let (py, this) = (slf.py(), slf.get());
        let none = py.None();
        let engine = this.engine.get();
        let is_open = this.state.get() == OPEN;
        let sent = outgoing::encoded(this.glue(py), data.unwrap_or(none.bind(py)), |kind, payload| {
            if is_open { engine.core.borrow_mut().send(this.key, kind, payload, compress) } else { Sent::Done }
        })?;
        if sent == Sent::Full {
            this.overflow();
        }
        engine.want_flush(py)
    }

    #[pyo3(signature = (topic, data = None, *, compress = None))]
    fn publish(
        slf: &Bound<'_, Self>,
        topic: &str,
        data: Option<&Bound<'_, PyAny>>,
        compress: Option<bool>,
    ) -> PyResult<()> {
        let (py, this) = (slf.py(), slf.get());
        let none = py.None();
        let data = data.unwrap_or(none.bind(py));
        if this.engine.get().remembers.get() {
            let arguments = (slf, topic, data, this.namespace.bind(py), compress);
            return this.glue(py).call_method1(intern!(py, "publish"), arguments).map(drop);
        }
        let frame = outgoing::encoded(this.glue(py), data, Frame::message)?;
        let namespace = this.namespace.bind(py).to_str()?;
        let engine = this.engine.get();
        // The place may have been given away since this peer left it.
        let skip = engine.core.borrow().place_of(this.key).unwrap_or(u32::MAX);
        let publication = Publication { topic, namespace: Some(namespace), frame: &frame, compress };
        engine.publish_among(py, &publication, skip)?;
        if engine.has_others(py) {
            this.glue(py).call_method1(intern!(py, "publish_elsewhere"), (topic, data, namespace, compress))?;
        }
        Ok(())
    }

    #[pyo3(signature = (topic, *, since = None))]
    fn subscribe<'py>(
        slf: &Bound<'py, Self>,
        topic: &Bound<'py, PyAny>,
        since: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let (py, this) = (slf.py(), slf.get());
        let Ok(name) = topic.cast::<PyString>().map(|text| text.to_str()) else {
            return this.glue(py).call_method1(intern!(py, "refuse_topic"), (topic,)).map(|_| None);
        };
        let name = name?;
        let engine = this.engine.get();
        let subscribed = if this.state.get() == OPEN {
            engine.core.borrow_mut().subscribe(this.key, name)
        } else {
            crosspeer_core::topics::check_topic(name, engine.max_topic_length).map(|()| false)
        };
        let is_new = match subscribed {
            Ok(is_new) => is_new,
            Err(error) => {
                engine.topic_error(py, this, &error.to_string(), error.is_limit())?;
                false
            }
        };
        engine.want_flush(py)?;
        if !engine.attends.get() && since.is_none() {
            return Ok(None);
        }
        this.glue(py).call_method1(intern!(py, "subscribed"), (slf, topic, since, is_new)).map(Some)
    }

    fn unsubscribe(slf: &Bound<'_, Self>, topic: &str) -> PyResult<()> {
        let (py, this) = (slf.py(), slf.get());
        let engine = this.engine.get();
        if this.state.get() == OPEN {
            let was_there = engine.core.borrow_mut().topics.unsubscribe(this.key.index, topic);
            engine.want_flush(py)?;
            if was_there && engine.attends.get() {
                this.glue(py).call_method1(intern!(py, "unsubscribed"), (slf, topic))?;
            }
        }
        Ok(())
    }

    #[pyo3(signature = (code = None, reason = None))]
    fn close(
        &self,
        py: Python<'_>,
        code: Option<&Bound<'_, PyAny>>,
        reason: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let checked = self.glue(py).call_method1(intern!(py, "check_close"), (code, reason))?;
        let (code, reason): (u16, String) = checked.extract()?;
        if self.state.get() == OPEN {
            self.stop();
            self.engine.get().core.borrow_mut().close(self.key, code, &reason, false);
            *self.verdict.borrow_mut() = Some((code, reason));
            self.engine.get().want_flush(py)?;
        }
        Ok(())
    }

    /// Close it because it does not read, without what waits for it.
    #[pyo3(name = "overflow")]
    fn overflow_now(&self, py: Python<'_>) -> PyResult<()> {
        self.overflow();
        self.engine.get().want_flush(py)
    }

    fn terminate(&self, py: Python<'_>) -> PyResult<()> {
        if matches!(self.state.get(), OPEN | CLOSING) {
            self.stop();
            *self.verdict.borrow_mut() = Some((1006, String::new()));
            self.engine.get().core.borrow_mut().abort(self.key);
            // The end is told in the next turn: never from inside a hook.
            self.engine.get().want_poll(py)?;
        }
        Ok(())
    }

    #[pyo3(signature = (data = None))]
    fn ping(&self, py: Python<'_>, data: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let payload = match data {
            None => Vec::new(),
            Some(data) => match data.cast::<PyBytes>() {
                Ok(bytes) => bytes.as_bytes().to_vec(),
                Err(_) => data.extract::<Vec<u8>>()?,
            },
        };
        if payload.len() > 125 {
            let text = format!("a ping carries at most 125 bytes, not {}", payload.len());
            return Err(PyValueError::new_err(text));
        }
        if self.state.get() == OPEN {
            self.engine.get().core.borrow_mut().ping(self.key, &payload);
            self.engine.get().want_flush(py)?;
        }
        Ok(())
    }

    #[pyo3(signature = (threshold = 0))]
    fn wait_for_drain<'py>(slf: &Bound<'py, Self>, threshold: usize) -> PyResult<Bound<'py, PyAny>> {
        slf.get().glue(slf.py()).call_method1(intern!(slf.py(), "wait_for_drain"), (slf, threshold))
    }

    fn wait_closed<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.get().glue(slf.py()).call_method1(intern!(slf.py(), "wait_closed"), (slf,))
    }

    /// For the task that awaits this peer's hooks: report an exception, go on with the mailbox, or be cancelled.
    fn _report<'py>(slf: &Bound<'py, Self>, error: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        Self::report(slf, error)
    }

    fn _go_on<'py>(slf: &Bound<'py, Self>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let waiting = Self::run_mailbox(slf)?;
        if waiting.is_none() {
            slf.get().busy.set(false);
        }
        Ok(waiting)
    }

    fn _cancelled(&self, py: Python<'_>) -> PyResult<()> {
        self.mailbox.borrow_mut().retain(|happening| matches!(happening, Happening::Close(_)));
        self.terminate(py)
    }

    fn _watch(&self, watched: bool) {
        self.watched.set(watched);
    }

    /// For the garbage collector: whatever an application keeps in `context` may lead back here.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.engine)?;
        visit.call(&self.hooks)?;
        visit.call(&self.context)?;
        visit.call(&self.head)?;
        if let Some(request) = self.request.get() {
            visit.call(request)?;
        }
        Ok(())
    }

    fn __str__(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        Self::id(slf)
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let (py, this) = (slf.py(), slf.get());
        let id = Self::id(slf)?;
        let state = ["connecting", "open", "closing", "closed"][usize::from(this.state.get())];
        Ok(format!("<Peer {} in {} {state}>", id.bind(py), this.namespace.bind(py).repr()?))
    }
}

impl Peer {
    pub fn glue<'a, 'py>(&'a self, py: Python<'py>) -> &'a Bound<'py, PyAny> {
        self.engine.get().glue.bind(py)
    }

    /// Close because of a limit: what is queued is dropped and the close frame goes out at once.
    pub fn overflow(&self) {
        if self.state.get() != OPEN {
            return;
        }
        let reason = "the outgoing queue is full";
        self.stop();
        *self.verdict.borrow_mut() = Some((1013, reason.into()));
        self.engine.get().core.borrow_mut().close(self.key, 1013, reason, true);
    }

    /// Nothing goes to the peer any more, and nothing of it is seen.
    fn stop(&self) {
        self.state.set(CLOSING);
        self.mailbox.borrow_mut().retain(|happening| matches!(happening, Happening::Close(_)));
        self.leave();
    }

    /// Leave the index, and remember which topics there were.
    pub fn leave(&self) {
        if self.left.borrow().is_none() {
            let core = &mut *self.engine.get().core.borrow_mut();
            let topics = core.topics.topics_of(self.key.index).map(String::from).collect();
            core.topics.unsubscribe_all(self.key.index);
            *self.left.borrow_mut() = Some(topics);
        }
    }
}
