//! BinaryPack, how PeerJS writes values on its data channels: one item after the other, in both directions.
//!
//! The reference is `crosspeer.wire.binarypack`, which has the reasons too. Here are the items that nearly every message
//! is made of; what is rare or wrong is [`Beyond`], and for the reference to write, read or refuse. Whoever walks a value
//! counts its items and its depth.

/// The item is rare or wrong: the reference knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beyond;

const MAP: u8 = 0x80;
const ARRAY: u8 = 0x90;
const BINARY: u8 = 0xa0;
const TEXT: u8 = 0xb0;
const NONE: u8 = 0xc0;
const FALSE: u8 = 0xc2;
const TRUE: u8 = 0xc3;
const FLOAT32: u8 = 0xca;
const FLOAT64: u8 = 0xcb;
const UINT8: u8 = 0xcc;
const UINT16: u8 = 0xcd;
const UINT32: u8 = 0xce;
const UINT64: u8 = 0xcf;
const INT8: u8 = 0xd0;
const INT16: u8 = 0xd1;
const INT32: u8 = 0xd2;
const INT64: u8 = 0xd3;
const TEXT16: u8 = 0xd8;
const TEXT32: u8 = 0xd9;
const BINARY16: u8 = 0xda;
const BINARY32: u8 = 0xdb;
const ARRAY16: u8 = 0xdc;
const ARRAY32: u8 = 0xdd;
const MAP16: u8 = 0xde;
const MAP32: u8 = 0xdf;
const NEGATIVE: u8 = 0xe0;

/// Writes items in forms that JavaScript reads exactly.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// A writer for a message of about so many bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        Writer { bytes: Vec::with_capacity(capacity) }
    }

    /// What was written.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// null.
    pub fn none(&mut self) {
        self.bytes.push(NONE);
    }

    /// true or false.
    pub fn boolean(&mut self, value: bool) {
        self.bytes.push(if value { TRUE } else { FALSE });
    }

    /// The shortest form, but for negative integers of more than 32 bits: JavaScript reads those as doubles only.
    pub fn integer(&mut self, value: i64) {
        match value {
            -32..=0x7f => self.bytes.push(value as u8),
            0x80..=0xff => self.tagged(UINT8, &[value as u8]),
            0x100..=0xffff => self.tagged(UINT16, &(value as u16).to_be_bytes()),
            0x1_0000..=0xffff_ffff => self.tagged(UINT32, &(value as u32).to_be_bytes()),
            0x1_0000_0000.. => self.tagged(INT64, &value.to_be_bytes()),
            -0x80..=-33 => self.tagged(INT8, &[value as u8]),
            -0x8000..=-0x81 => self.tagged(INT16, &(value as i16).to_be_bytes()),
            -0x8000_0000..=-0x8001 => self.tagged(INT32, &(value as i32).to_be_bytes()),
            // No double holds the others, so no JavaScript does; another reader has them exactly.
            _ if (value as f64) as i128 == i128::from(value) => self.double(value as f64),
            _ => self.tagged(INT64, &value.to_be_bytes()),
        }
    }

    /// A number of JavaScript: without a fraction it is an integer.
    ///
    /// # Errors
    /// It has no fraction, and is beyond 63 bits.
    pub fn number(&mut self, value: f64) -> Result<(), Beyond> {
        const LIMIT: f64 = 9_223_372_036_854_775_808.0;
        if value.fract() != 0.0 || !value.is_finite() {
            self.double(value);
        } else if (-LIMIT..LIMIT).contains(&value) {
            self.integer(value as i64);
        } else {
            return Err(Beyond);
        }
        Ok(())
    }

    /// A text.
    ///
    /// # Errors
    /// It has more than 4 GiB, as in all that have a length.
    pub fn text(&mut self, value: &str) -> Result<(), Beyond> {
        self.head(value.len(), TEXT, TEXT16, TEXT32)?;
        self.bytes.extend_from_slice(value.as_bytes());
        Ok(())
    }

    /// Binary.
    pub fn binary(&mut self, value: &[u8]) -> Result<(), Beyond> {
        self.head(value.len(), BINARY, BINARY16, BINARY32)?;
        self.bytes.extend_from_slice(value);
        Ok(())
    }

    /// The head of an array, whose items follow.
    pub fn array(&mut self, length: usize) -> Result<(), Beyond> {
        self.head(length, ARRAY, ARRAY16, ARRAY32)
    }

    /// The head of a map, whose keys and values follow in turn.
    pub fn map(&mut self, length: usize) -> Result<(), Beyond> {
        self.head(length, MAP, MAP16, MAP32)
    }

    fn head(&mut self, length: usize, short: u8, long: u8, longest: u8) -> Result<(), Beyond> {
        match length {
            0..=15 => self.bytes.push(short + length as u8),
            16..=0xffff => self.tagged(long, &(length as u16).to_be_bytes()),
            _ => self.tagged(longest, &u32::try_from(length).map_err(|_| Beyond)?.to_be_bytes()),
        }
        Ok(())
    }

    fn double(&mut self, value: f64) {
        self.tagged(FLOAT64, &value.to_be_bytes());
    }

    fn tagged(&mut self, tag: u8, number: &[u8]) {
        self.bytes.push(tag);
        self.bytes.extend_from_slice(number);
    }
}

/// One item of a message.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Item<'a> {
    /// null, undefined, and every tag that is reserved.
    None,
    /// true or false.
    Boolean(bool),
    /// Any integer but those of 64 bits without a sign.
    Integer(i64),
    /// An integer of 64 bits without a sign.
    Unsigned(u64),
    /// A float or a double.
    Number(f64),
    /// A text.
    Text(&'a str),
    /// Binary.
    Binary(&'a [u8]),
    /// So many items follow, if the message is right.
    Array(u32),
    /// So many keys and values follow, if the message is right.
    Map(u32),
}

/// Reads items. It allocates nothing, whatever a head claims.
#[derive(Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader of a message.
    pub fn new(data: &'a [u8]) -> Self {
        Reader { rest: data }
    }

    /// The next item.
    ///
    /// # Errors
    /// The bytes end in it, or it is a text that is no sound UTF-8.
    pub fn item(&mut self) -> Result<Item<'a>, Beyond> {
        let tag = self.take(1)?[0];
        Ok(match tag {
            0..MAP => Item::Integer(i64::from(tag)),
            MAP..ARRAY => Item::Map(u32::from(tag - MAP)),
            ARRAY..BINARY => Item::Array(u32::from(tag - ARRAY)),
            BINARY..TEXT => self.binary(u32::from(tag - BINARY))?,
            TEXT..NONE => self.text(u32::from(tag - TEXT))?,
            FALSE => Item::Boolean(false),
            TRUE => Item::Boolean(true),
            FLOAT32 => Item::Number(f64::from(f32::from_be_bytes(self.number()?))),
            FLOAT64 => Item::Number(f64::from_be_bytes(self.number()?)),
            UINT8 => Item::Integer(i64::from(u8::from_be_bytes(self.number()?))),
            UINT16 => Item::Integer(i64::from(self.short()?)),
            UINT32 => Item::Integer(i64::from(self.long()?)),
            UINT64 => Item::Unsigned(u64::from_be_bytes(self.number()?)),
            INT8 => Item::Integer(i64::from(i8::from_be_bytes(self.number()?))),
            INT16 => Item::Integer(i64::from(i16::from_be_bytes(self.number()?))),
            INT32 => Item::Integer(i64::from(i32::from_be_bytes(self.number()?))),
            INT64 => Item::Integer(i64::from_be_bytes(self.number()?)),
            TEXT16 => {
                let length = self.short()?;
                self.text(u32::from(length))?
            }
            TEXT32 => {
                let length = self.long()?;
                self.text(length)?
            }
            BINARY16 => {
                let length = self.short()?;
                self.binary(u32::from(length))?
            }
            BINARY32 => {
                let length = self.long()?;
                self.binary(length)?
            }
            ARRAY16 => Item::Array(u32::from(self.short()?)),
            ARRAY32 => Item::Array(self.long()?),
            MAP16 => Item::Map(u32::from(self.short()?)),
            MAP32 => Item::Map(self.long()?),
            NEGATIVE.. => Item::Integer(i64::from(tag as i8)),
            _ => Item::None,
        })
    }

    fn text(&mut self, length: u32) -> Result<Item<'a>, Beyond> {
        let bytes = self.take(length as usize)?;
        std::str::from_utf8(bytes).map(Item::Text).map_err(|_| Beyond)
    }

    fn binary(&mut self, length: u32) -> Result<Item<'a>, Beyond> {
        self.take(length as usize).map(Item::Binary)
    }

    fn short(&mut self) -> Result<u16, Beyond> {
        self.number().map(u16::from_be_bytes)
    }

    fn long(&mut self) -> Result<u32, Beyond> {
        self.number().map(u32::from_be_bytes)
    }

    fn number<const SIZE: usize>(&mut self) -> Result<[u8; SIZE], Beyond> {
        let (number, rest) = self.rest.split_first_chunk().ok_or(Beyond)?;
        self.rest = rest;
        Ok(*number)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Beyond> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Beyond)?;
        self.rest = rest;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn integer(value: i64) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.integer(value);
        writer.bytes
    }

    #[test]
    fn integers_have_their_shortest_form_that_javascript_reads() {
        for (value, bytes) in [
            (0, &[0][..]),
            (127, &[0x7f]),
            (-32, &[0xe0]),
            (-33, &[0xd0, 0xdf]),
            (128, &[0xcc, 0x80]),
            (256, &[0xcd, 1, 0]),
            (-129, &[0xd1, 0xff, 0x7f]),
            (65_536, &[0xce, 0, 1, 0, 0]),
            (-32_769, &[0xd2, 0xff, 0xff, 0x7f, 0xff]),
            (1 << 32, &[0xd3, 0, 0, 0, 1, 0, 0, 0, 0]),
            (-(1 << 31) - 1, &[0xcb, 0xc1, 0xe0, 0, 0, 0, 0x20, 0, 0]),
            (i64::MIN + 1, &[0xd3, 0x80, 0, 0, 0, 0, 0, 0, 1]),
        ] {
            assert_eq!(integer(value), bytes, "{value}");
        }
    }

    #[test]
    fn every_integer_comes_back() {
        for shift in 0..63 {
            for near in [-1, 0, 1] {
                for value in [(1i64 << shift) + near, -(1i64 << shift) + near] {
                    let bytes = integer(value);
                    match Reader::new(&bytes).item() {
                        Ok(Item::Integer(read)) => assert_eq!(read, value),
                        Ok(Item::Number(read)) => assert_eq!(read as i128, i128::from(value)),
                        other => panic!("{value} came back as {other:?}"),
                    }
                }
            }
        }
    }

    #[test]
    fn a_number_without_a_fraction_is_an_integer() {
        let mut writer = Writer::default();
        for value in [0.0, -0.0, 1.0, 1.5, f64::INFINITY] {
            writer.number(value).unwrap();
        }
        let mut expected = vec![0, 0, 1, 0xcb];
        expected.extend(1.5f64.to_be_bytes());
        expected.push(0xcb);
        expected.extend(f64::INFINITY.to_be_bytes());
        assert_eq!(writer.as_bytes(), expected);
        assert_eq!(writer.number(1e19), Err(Beyond));
    }

    #[test]
    fn lengths_have_three_forms() {
        for (length, head) in [(15, 1), (16, 3), (65_535, 3), (65_536, 5)] {
            let mut writer = Writer::default();
            let text = "x".repeat(length);
            writer.text(&text).unwrap();
            assert_eq!(writer.as_bytes().len(), head + length);
            assert_eq!(Reader::new(writer.as_bytes()).item(), Ok(Item::Text(&text)));
        }
    }

    #[test]
    fn what_ends_too_early_is_no_item() {
        let whole = [0xd9u8, 0, 0, 0, 2, b'a', b'b'];
        for end in 0..whole.len() {
            assert_eq!(Reader::new(&whole[..end]).item(), Err(Beyond));
        }
        assert_eq!(Reader::new(&whole).item(), Ok(Item::Text("ab")));
        assert_eq!(Reader::new(&[0xb1, 0xff]).item(), Err(Beyond));
    }

    #[test]
    fn any_byte_begins_an_item_or_ends_too_early() {
        for tag in 0..=255u8 {
            let long = [&[tag][..], &[0; 16]].concat();
            assert!(Reader::new(&long).item().is_ok(), "{tag:#x}");
            let _ = Reader::new(&[tag]).item();
        }
        assert_eq!(Reader::new(&[0xdf, 0xff, 0xff, 0xff, 0xff]).item(), Ok(Item::Map(u32::MAX)));
    }
}
