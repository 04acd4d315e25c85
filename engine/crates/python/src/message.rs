//! An incoming message, whose views are made when they are asked for.

use std::cell::OnceCell;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use crate::peer::Peer;

/// One complete message of a peer (`crosspeer.core.message.Message`, which has the rest of its members).
#[pyclass(frozen)]
pub struct Message {
    #[pyo3(get)]
    pub peer: Py<Peer>,
    /// `str` of a text frame, `bytes` of a binary one.
    #[pyo3(get)]
    pub data: Py<PyAny>,
    #[pyo3(get)]
    pub is_text: bool,
    pub id: OnceCell<Py<PyAny>>,
}

#[pymethods]
impl Message {
    #[getter]
    fn id(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        if self.id.get().is_none() {
            let id = self.glue(py)?.call_method0(intern!(py, "new_id"))?;
            let _ = self.id.set(id.unbind());
        }
        Ok(self.id.get().expect("just set").clone_ref(py))
    }

    fn text<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let data = self.data.bind(py);
        if self.is_text {
            return Ok(data.clone());
        }
        let text = String::from_utf8_lossy(data.cast::<PyBytes>()?.as_bytes());
        Ok(PyString::new(py, &text).into_any())
    }

    fn bytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let data = self.data.bind(py);
        match data.cast::<PyString>() {
            Ok(text) => Ok(PyBytes::new(py, text.to_str()?.as_bytes())),
            Err(_) => Ok(data.cast::<PyBytes>()?.clone()),
        }
    }

    fn memoryview<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        py.import(intern!(py, "builtins"))?.call_method1(intern!(py, "memoryview"), (self.bytes(py)?,))
    }

    fn file<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        py.import(intern!(py, "io"))?.call_method1(intern!(py, "BytesIO"), (self.bytes(py)?,))
    }

    #[pyo3(signature = (r#type = None))]
    fn json<'py>(&self, py: Python<'py>, r#type: Option<Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyAny>> {
        self.glue(py)?.call_method1(intern!(py, "read_json"), (&self.data, r#type))
    }

    fn __str__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.text(py)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let kind = if self.is_text { "text" } else { "binary" };
        let peer = self.peer.bind(py).str()?;
        Ok(format!("<Message {kind} of {} from {peer}>", self.data.bind(py).len()?))
    }
}

impl Message {
    fn glue<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(self.peer.get().engine.get().glue.bind(py).clone())
    }
}
