//! What Python sends, as a kind and its bytes.

use crosspeer_core::Kind;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

/// Hand what is sent to `with`: `str` as text, `bytes` as binary, the rest as `crosspeer.core.outgoing` converts it.
pub fn encoded<R>(
    glue: &Bound<'_, PyAny>,
    data: &Bound<'_, PyAny>,
    with: impl FnOnce(Kind, &[u8]) -> R,
) -> PyResult<R> {
    if let Ok(text) = data.cast::<PyString>() {
        return Ok(with(Kind::Text, text.to_str()?.as_bytes()));
    }
    if let Ok(bytes) = data.cast::<PyBytes>() {
        return Ok(with(Kind::Binary, bytes.as_bytes()));
    }
    let converted = glue.call_method1(intern!(data.py(), "convert"), (data,))?;
    match converted.cast::<PyString>() {
        Ok(text) => Ok(with(Kind::Text, text.to_str()?.as_bytes())),
        Err(_) => Ok(with(Kind::Binary, converted.cast::<PyBytes>()?.as_bytes())),
    }
}
