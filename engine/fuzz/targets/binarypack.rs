//! BinaryPack: any bytes are items and then an end; what is read is written and read again as the same.

#![no_main]

use crosspeer_core::binarypack::{Beyond, Item, Reader, Writer};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let (mut reader, mut writer, mut items) = (Reader::new(data), Writer::default(), Vec::new());
    while let Ok(item) = reader.item() {
        if write(&mut writer, item).is_err() {
            break;
        }
        items.push(item);
    }
    assert!(items.len() <= data.len(), "an item has a byte at least");
    let mut again = Reader::new(writer.as_bytes());
    for item in items {
        let read = again.item().expect("what was written is read");
        assert!(same(item, read), "{item:?} came back as {read:?}");
    }
    assert_eq!(again.item(), Err(Beyond), "nothing was written but items");
});

/// Write an item, unless only the reference has a form for it. Nothing is written then.
fn write(writer: &mut Writer, item: Item<'_>) -> Result<(), Beyond> {
    match item {
        Item::None => writer.none(),
        Item::Boolean(value) => writer.boolean(value),
        Item::Integer(value) => writer.integer(value),
        Item::Unsigned(value) => writer.integer(i64::try_from(value).map_err(|_| Beyond)?),
        Item::Number(value) => writer.number(value)?,
        Item::Text(value) => writer.text(value)?,
        Item::Binary(value) => writer.binary(value)?,
        Item::Array(length) => writer.array(length as usize)?,
        Item::Map(length) => writer.map(length as usize)?,
    }
    Ok(())
}

/// Whether two items are one value: a number may be written in more than one form.
fn same(one: Item<'_>, other: Item<'_>) -> bool {
    match (number(one), number(other)) {
        (Some(one), Some(other)) => one == other,
        (None, None) => {
            one == other || matches!((one, other), (Item::Number(a), Item::Number(b)) if a.is_nan() && b.is_nan())
        }
        _ => false,
    }
}

/// The value of a whole number.
fn number(item: Item<'_>) -> Option<i128> {
    match item {
        Item::Integer(value) => Some(value.into()),
        Item::Unsigned(value) => Some(value.into()),
        Item::Number(value) if value.fract() == 0.0 && value.abs() < 1e19 => Some(value as i128),
        _ => None,
    }
}
