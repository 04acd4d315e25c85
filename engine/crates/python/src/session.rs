//! The order of hooks: one at a time, what happens meanwhile in a mailbox, a full mailbox pauses the reading.
//!
//! Nothing of the engine is borrowed while a hook runs, so a hook may use everything.

use std::collections::VecDeque;

use pyo3::exceptions::{PyException, PyRuntimeError};
use pyo3::intern;
use pyo3::prelude::*;

use crate::message::Message;
use crate::peer::Peer;

/// What waits for a hook.
pub enum Happening {
    Open,
    Message(Py<Message>),
    Ping(Py<PyAny>),
    Pong(Py<PyAny>),
    Drain,
    Close(Py<PyAny>),
}

pub type Mailbox = VecDeque<Happening>;

impl Peer {
    /// Run a hook now, or after the ones that run and wait.
    ///
    /// # Errors
    /// An exception that is no hook's matter, as `KeyboardInterrupt`.
    pub fn happen(slf: &Bound<'_, Self>, happening: Happening) -> PyResult<()> {
        let peer = slf.get();
        if peer.busy.get() {
            let mut mailbox = peer.mailbox.borrow_mut();
            mailbox.push_back(happening);
            if !peer.paused.get() && mailbox.len() >= peer.engine.get().most_waiting {
                peer.paused.set(true);
                drop(mailbox);
                peer.engine.get().core.borrow_mut().pause(peer.key);
            }
            return Ok(());
        }
        peer.busy.set(true);
        let waiting = match Self::call(slf, happening)? {
            None => Self::run_mailbox(slf)?,
            waiting => waiting,
        };
        match waiting {
            None => peer.busy.set(false),
            Some(waiting) => {
                let glue = peer.engine.get().glue.bind(slf.py());
                glue.call_method1(intern!(slf.py(), "spawn"), (slf, waiting))?;
            }
        }
        Ok(())
    }

    /// Run what waits until a hook has to be awaited, or nothing is left.
    pub fn run_mailbox<'py>(slf: &Bound<'py, Self>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let peer = slf.get();
        loop {
            let mut mailbox = peer.mailbox.borrow_mut();
            let Some(happening) = mailbox.pop_front() else { return Ok(None) };
            let resume = peer.paused.get() && mailbox.len() < peer.engine.get().most_waiting;
            drop(mailbox);
            if resume {
                peer.paused.set(false);
                peer.engine.get().core.borrow_mut().resume(peer.key);
                peer.engine.get().want_poll(slf.py())?;
            }
            if let Some(waiting) = Self::call(slf, happening)? {
                return Ok(Some(waiting));
            }
        }
    }

    fn call<'py>(slf: &Bound<'py, Self>, happening: Happening) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = slf.py();
        let hooks = slf.get().hooks.get();
        let result = match happening {
            Happening::Open => hooks.open.as_ref().map(|hook| hook.bind(py).call1((slf,))),
            Happening::Message(message) => hooks.message.as_ref().map(|hook| hook.bind(py).call1((slf, message))),
            Happening::Ping(data) => hooks.ping.as_ref().map(|hook| hook.bind(py).call1((slf, data))),
            Happening::Pong(data) => hooks.pong.as_ref().map(|hook| hook.bind(py).call1((slf, data))),
            Happening::Drain => hooks.drain.as_ref().map(|hook| hook.bind(py).call1((slf,))),
            Happening::Close(details) => hooks.close.as_ref().map(|hook| hook.bind(py).call1((slf, details))),
        };
        match result {
            None => Ok(None),
            Some(Ok(result)) => awaitable(slf, result),
            Some(Err(error)) if error.is_instance_of::<PyException>(py) => Self::report(slf, error.value(py)),
            // A bug of ours or of another library in Rust, which has a class of its own: this peer's matter, not the loop's.
            Some(Err(error)) if error.get_type(py).name().is_ok_and(|name| name == "PanicException") => {
                let bug = PyRuntimeError::new_err(error.to_string());
                Self::report(slf, bug.value(py))
            }
            Some(Err(error)) => Err(error),
        }
    }

    /// Hand an exception to the `error` hook.
    pub fn report<'py>(slf: &Bound<'py, Self>, error: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = slf.py();
        match slf.get().hooks.get().error.bind(py).call1((slf, error)) {
            Ok(result) => awaitable(slf, result),
            Err(second) if second.is_instance_of::<PyException>(py) => {
                let glue = slf.get().engine.get().glue.bind(py);
                glue.call_method1(intern!(py, "error_failed"), (slf, second.value(py)))?;
                Ok(None)
            }
            Err(other) => Err(other),
        }
    }
}

/// A hook's result, if it is to be awaited.
fn awaitable<'py>(slf: &Bound<'py, Peer>, result: Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    if result.is_none() {
        return Ok(None);
    }
    let glue = slf.get().engine.get().glue.bind(slf.py());
    let waits = glue.call_method1(intern!(slf.py(), "is_awaitable"), (&result,))?.is_truthy()?;
    Ok(waits.then_some(result))
}
