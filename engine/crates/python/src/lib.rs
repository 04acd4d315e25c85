//! Bindings: the core's engine under Python hooks. What a socket does is the core's matter, what a hook may do is in
//! `crosspeer.core.session`, whose faster copy this is.

mod binarypack;
mod engine;
mod hooks;
mod message;
mod outgoing;
mod peer;
mod session;

use pyo3::prelude::*;

// SAFETY: their cells are only touched by code that holds the GIL, which this module asks for (it does not declare itself
// free of it), and no borrow of a cell outlives a call into Python.
#[allow(unsafe_code)]
mod shared {
    unsafe impl Send for crate::engine::Engine {}
    unsafe impl Sync for crate::engine::Engine {}
    unsafe impl Send for crate::peer::Peer {}
    unsafe impl Sync for crate::peer::Peer {}
    unsafe impl Send for crate::message::Message {}
    unsafe impl Sync for crate::message::Message {}
}

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<engine::Engine>()?;
    module.add_class::<hooks::Hooks>()?;
    module.add_class::<message::Message>()?;
    module.add_class::<peer::Peer>()?;
    module.add_function(wrap_pyfunction!(binarypack::pack, module)?)?;
    module.add_function(wrap_pyfunction!(binarypack::unpack, module)?)?;
    module.add_function(wrap_pyfunction!(engine::parse_head, module)?)
}
