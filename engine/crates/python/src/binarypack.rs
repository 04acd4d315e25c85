//! Python values to BinaryPack and back (`crosspeer.wire.binarypack`, whose faster copy this is).
//!
//! Values of the plain types only: whatever else stands in one is left to the reference, all of it, and so is every
//! error. Nothing here runs code of Python's, so no value changes while it is walked.

use crosspeer_core::binarypack::{Beyond, Item, Reader, Writer};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};

/// Deeper values go to the reference, whose stack grows on the heap.
const MAX_DEPTH: usize = 128;
/// Longer binary goes to the reference, which copies it once less.
const MAX_BINARY: usize = 64 * 1024;
const USUAL_SIZE: usize = 256;

/// Write a value, or return None: then it is the reference's.
#[pyfunction]
pub fn pack<'py>(value: &Bound<'py, PyAny>, max_depth: usize) -> Option<Bound<'py, PyBytes>> {
    let mut writer = Writer::with_capacity(USUAL_SIZE);
    write(&mut writer, value, max_depth.min(MAX_DEPTH)).ok()?;
    Some(PyBytes::new(value.py(), writer.as_bytes()))
}

fn write(writer: &mut Writer, value: &Bound<'_, PyAny>, depth: usize) -> Result<(), Beyond> {
    if let Ok(text) = value.cast_exact::<PyString>() {
        return writer.text(text.to_str().map_err(|_| Beyond)?);
    } else if value.is_exact_instance_of::<PyInt>() {
        writer.integer(value.extract().map_err(|_| Beyond)?);
    } else if let Ok(number) = value.cast_exact::<PyFloat>() {
        return writer.number(number.value());
    } else if let Ok(flag) = value.cast_exact::<PyBool>() {
        writer.boolean(flag.is_true());
    } else if value.is_none() {
        writer.none();
    } else if let Ok(data) = value.cast_exact::<PyBytes>() {
        if data.as_bytes().len() > MAX_BINARY {
            return Err(Beyond);
        }
        return writer.binary(data.as_bytes());
    } else if let Ok(map) = value.cast_exact::<PyDict>() {
        let depth = depth.checked_sub(1).ok_or(Beyond)?;
        writer.map(map.len())?;
        for (key, item) in map.iter() {
            let key = key.cast_exact::<PyString>().map_err(|_| Beyond)?;
            writer.text(key.to_str().map_err(|_| Beyond)?)?;
            write(writer, &item, depth)?;
        }
    } else if let Ok(list) = value.cast_exact::<PyList>() {
        let depth = depth.checked_sub(1).ok_or(Beyond)?;
        writer.array(list.len())?;
        for item in list.iter() {
            write(writer, &item, depth)?;
        }
    } else if let Ok(tuple) = value.cast_exact::<PyTuple>() {
        let depth = depth.checked_sub(1).ok_or(Beyond)?;
        writer.array(tuple.len())?;
        for item in tuple.iter() {
            write(writer, &item, depth)?;
        }
    } else {
        return Err(Beyond);
    }
    Ok(())
}

/// Read the first value, or return NotImplemented: then it is the reference's, and so is what is wrong with it.
#[pyfunction]
pub fn unpack<'py>(py: Python<'py>, data: &[u8], max_depth: usize, max_items: usize) -> Bound<'py, PyAny> {
    let mut room = max_items;
    read(py, &mut Reader::new(data), max_depth.min(MAX_DEPTH), &mut room)
        .unwrap_or_else(|Beyond| py.NotImplemented().into_bound(py))
}

fn read<'py>(
    py: Python<'py>,
    reader: &mut Reader<'_>,
    depth: usize,
    room: &mut usize,
) -> Result<Bound<'py, PyAny>, Beyond> {
    Ok(match reader.item()? {
        Item::None => py.None().into_bound(py),
        Item::Boolean(value) => PyBool::new(py, value).to_owned().into_any(),
        Item::Integer(value) => number(value.into_pyobject(py)),
        Item::Unsigned(value) => number(value.into_pyobject(py)),
        Item::Number(value) => PyFloat::new(py, value).into_any(),
        Item::Text(value) => PyString::new(py, value).into_any(),
        Item::Binary(value) => PyBytes::new(py, value).into_any(),
        Item::Array(length) => {
            let depth = descend(length, depth, room)?;
            // Not of that length from the start: the head may lie.
            let list = PyList::empty(py);
            for _ in 0..length {
                list.append(read(py, reader, depth, room)?).map_err(|_| Beyond)?;
            }
            list.into_any()
        }
        Item::Map(length) => {
            let depth = descend(length, depth, room)?;
            let map = PyDict::new(py);
            for _ in 0..length {
                let Item::Text(key) = reader.item()? else { return Err(Beyond) };
                map.set_item(key, read(py, reader, depth, room)?).map_err(|_| Beyond)?;
            }
            map.into_any()
        }
    })
}

fn number<'py>(made: Result<Bound<'py, PyInt>, std::convert::Infallible>) -> Bound<'py, PyAny> {
    let Ok(made) = made;
    made.into_any()
}

/// Go into an array or a map: one step deeper, and so many items more.
fn descend(length: u32, depth: usize, room: &mut usize) -> Result<usize, Beyond> {
    *room = room.checked_sub(length as usize).ok_or(Beyond)?;
    depth.checked_sub(1).ok_or(Beyond)
}
