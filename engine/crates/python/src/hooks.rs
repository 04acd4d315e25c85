//! The hooks of a peer, as they are called: bound, and None where the application has nothing to do.

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

/// A table of bound hooks (`crosspeer.core.hooks.HookTable`).
#[pyclass(frozen)]
pub struct Hooks {
    pub open: Option<Py<PyAny>>,
    pub message: Option<Py<PyAny>>,
    pub close: Option<Py<PyAny>>,
    pub error: Py<PyAny>,
    pub drain: Option<Py<PyAny>>,
    pub ping: Option<Py<PyAny>>,
    pub pong: Option<Py<PyAny>>,
}

#[pymethods]
impl Hooks {
    /// Take the hooks of a table of Python's.
    #[new]
    fn new(table: &Bound<'_, PyAny>) -> PyResult<Self> {
        let hook = |name: &str| -> PyResult<Option<Py<PyAny>>> {
            let hook = table.getattr(name)?;
            Ok(if hook.is_none() { None } else { Some(hook.unbind()) })
        };
        Ok(Self {
            open: hook("open")?,
            message: hook("message")?,
            close: hook("close")?,
            error: table.getattr("error")?.unbind(),
            drain: hook("drain")?,
            ping: hook("ping")?,
            pong: hook("pong")?,
        })
    }

    /// For the garbage collector: an application's hooks may keep its peers, which lead back here.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Self { open, message, close, error, drain, ping, pong } = self;
        for hook in [open, message, close, drain, ping, pong].into_iter().flatten().chain([error]) {
            visit.call(hook)?;
        }
        Ok(())
    }
}
