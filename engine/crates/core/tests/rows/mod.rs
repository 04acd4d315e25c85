//! The rows: RFC 6455 and 7692, hostile rows W1 to W10, for a limit of 1000 bytes.

use crosspeer_core::Role;
use crosspeer_core::frame::{Header, Opcode, header, walk};

/// The bit of a last frame.
pub const FIN: u8 = 0x80;

/// What comes in, and what is made of it.
pub struct Row {
    pub name: String,
    pub role: Role,
    /// Compression was agreed on, with or without takeover.
    pub deflate: Option<bool>,
    pub bytes: Vec<u8>,
    pub events: Vec<String>,
    /// All frames are whole ones, so a server may send the same.
    pub mirrors: bool,
}

/// A client's frame, whatever its first byte.
pub fn client(first: u8, payload: &[u8]) -> Vec<u8> {
    let key = [0x37, 0xfa, 0x21, 0x3d];
    let masked: Vec<u8> = payload.iter().enumerate().map(|(at, byte)| byte ^ key[at % 4]).collect();
    raw(first, Some(key), payload.len(), &masked)
}

/// A server's frame, whatever its first byte.
pub fn server(first: u8, payload: &[u8]) -> Vec<u8> {
    raw(first, None, payload.len(), payload)
}

fn raw(first: u8, key: Option<[u8; 4]>, len: usize, payload: &[u8]) -> Vec<u8> {
    let (mut bytes, at) = header(&Header { fin: true, rsv1: false, opcode: Opcode::Text, key, len: len as u64 });
    bytes[0] = first;
    [&bytes[..at], payload].concat()
}

/// The frames of a client as a server would send them.
pub fn mirrored(mut bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while !bytes.is_empty() {
        let (_, head, len) = walk(&[&[0x81], &bytes[1..]].concat());
        let key = &bytes[head - 4..head];
        let payload: Vec<u8> = bytes[head..head + len].iter().zip(key.iter().cycle()).map(|(a, b)| a ^ b).collect();
        out.extend(server(bytes[0], &payload));
        bytes = &bytes[head + len..];
    }
    out
}

/// A name, bytes that are no UTF-8, and how many of them it takes to know.
pub fn invalid_utf8() -> Vec<(&'static str, &'static [u8], usize)> {
    vec![
        ("a continuation byte alone", b"ab\x80", 3),
        ("the last continuation byte", b"\xbf", 1),
        ("an overlong slash", b"\xc0\xaf", 1),
        ("an overlong c1", b"\xc1\xbf", 1),
        ("an overlong e0", b"\xe0\x9f\xbf", 2),
        ("an overlong f0", b"\xf0\x8f\xbf\xbf", 2),
        ("a surrogate", b"\xce\xba\xed\xa0\x80", 4),
        ("the last surrogate", b"\xed\xbf\xbf", 2),
        ("above U+10FFFF", b"\xf4\x90\x80\x80", 2),
        ("a five-byte form", b"\xf8\x88\x80\x80\x80", 1),
        ("a six-byte form", b"\xfc\x84\x80\x80\x80\x80", 1),
        ("fe", b"\xfe", 1),
        ("ff", b"\xff", 1),
        ("two bytes cut short", b"\xc3(", 2),
        ("three bytes cut short", b"\xe2\x82(", 3),
        ("four bytes cut short", b"\xf0\x9f\x98(", 4),
    ]
}

/// Every row.
pub fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    let mut add = |name: &str, frames: &[Vec<u8>], events: &[&str]| {
        rows.push(Row {
            name: name.to_owned(),
            role: Role::Server,
            deflate: None,
            bytes: frames.concat(),
            events: events.iter().map(|event| (*event).to_owned()).collect(),
            mirrors: true,
        });
    };
    messages(&mut add);
    control(&mut add);
    fragments(&mut add);
    closing(&mut add);
    text(&mut add);
    lengths(&mut add);
    // What is left has bytes that are no frames of a client, or compression.
    headers(&mut rows);
    deflate(&mut rows);
    rows
}

type Add<'a> = &'a mut dyn FnMut(&str, &[Vec<u8>], &[&str]);

fn messages(add: Add<'_>) {
    add("nothing", &[], &[]);
    add("a text", &[client(FIN | 1, b"hi")], &["text hi"]);
    add("bytes", &[client(FIN | 2, b"hi")], &["binary hi"]);
    add("an empty text", &[client(FIN | 1, b"")], &["text "]);
    add("empty bytes", &[client(FIN | 2, b"")], &["binary "]);
    add("a text that is not ASCII", &[client(FIN | 1, "κόσμε 😀".as_bytes())], &["text κόσμε 😀"]);
    add("NUL in a text", &[client(FIN | 1, b"a\0b")], &["text a\0b"]);
    add("a noncharacter", &[client(FIN | 1, b"\xef\xbf\xbf")], &["text \u{ffff}"]);
    add("the last code point", &[client(FIN | 1, b"\xf4\x8f\xbf\xbf")], &["text \u{10ffff}"]);
    add(
        "three messages",
        &[client(FIN | 1, b"a"), client(FIN | 2, b"b"), client(FIN | 1, b"c")],
        &["text a", "binary b", "text c"],
    );
    for size in [1, 7, 8, 9, 124, 125, 126, 127, 128, 255, 256, 999, 1000] {
        let text = "x".repeat(size);
        add(&format!("{size} bytes"), &[client(FIN | 1, text.as_bytes())], &[&format!("text {text}")]);
    }
}

fn control(add: Add<'_>) {
    add("a ping", &[client(FIN | 9, b"p")], &["ping p"]);
    add("an empty ping", &[client(FIN | 9, b"")], &["ping "]);
    add("the longest ping", &[client(FIN | 9, &[b'p'; 125])], &[&format!("ping {}", "p".repeat(125))]);
    add("a ping that is no text", &[client(FIN | 9, b"\x00\x7f")], &["ping \0\x7f"]);
    add("a pong nobody asked for", &[client(FIN | 10, b"p")], &["pong p"]);
    add("pings in a row", &vec![client(FIN | 9, b"p"); 5], &["ping p"; 5]);
    add("a ping of 126", &[client(FIN | 9, &[b'p'; 126])], &["violation 1002"]);
    add("a pong of 126", &[client(FIN | 10, &[b'p'; 126])], &["violation 1002"]);
    add("a fragmented ping", &[client(9, b"p")], &["violation 1002"]);
    add("a fragmented pong", &[client(10, b"p")], &["violation 1002"]);
    add("a fragmented close", &[client(8, b"")], &["violation 1002"]);
    add(
        "a message, then a bad frame, then a message",
        &[client(FIN | 1, b"a"), client(FIN | 0x21, b"b"), client(FIN | 1, b"c")],
        &["text a", "violation 1002"],
    );
    for opcode in (3..=7).chain(11..=15) {
        add(&format!("opcode {opcode}"), &[client(FIN | opcode, b"x")], &["violation 1002"]);
        add(&format!("opcode {opcode}, not the last"), &[client(opcode, b"")], &["violation 1002"]);
    }
    for bits in 1..=7u8 {
        add(&format!("reserved bits {bits}"), &[client(FIN | bits << 4 | 1, b"x")], &["violation 1002"]);
        add(&format!("reserved bits {bits} of a ping"), &[client(FIN | bits << 4 | 9, b"")], &["violation 1002"]);
    }
}

fn fragments(add: Add<'_>) {
    let begin = || client(1, b"a");
    add("two fragments", &[begin(), client(FIN, b"b")], &["text ab"]);
    add(
        "many fragments",
        &[vec![begin()], vec![client(0, b"b"); 50], vec![client(FIN, b"c")]].concat(),
        &[&format!("text a{}c", "b".repeat(50))],
    );
    add("empty fragments", &[client(2, b""), client(0, b""), client(FIN, b"")], &["binary "]);
    add("only the last has bytes", &[client(1, b""), client(FIN, b"x")], &["text x"]);
    add("a ping between", &[begin(), client(FIN | 9, b"p"), client(FIN, b"b")], &["ping p", "text ab"]);
    add("a pong between", &[begin(), client(FIN | 10, b""), client(FIN, b"b")], &["pong ", "text ab"]);
    add("a close between", &[begin(), client(FIN | 8, b"\x03\xe8"), client(FIN, b"b")], &["close 1000 "]);
    add("fragments, then a message", &[begin(), client(FIN, b"b"), client(FIN | 2, b"c")], &["text ab", "binary c"]);
    add("a continuation alone", &[client(FIN, b"x")], &["violation 1002"]);
    add("a continuation alone, not the last", &[client(0, b"x")], &["violation 1002"]);
    add("a continuation behind a message", &[client(FIN | 1, b"a"), client(FIN, b"b")], &["text a", "violation 1002"]);
    add("a text inside a message", &[begin(), client(FIN | 1, b"b")], &["violation 1002"]);
    add("bytes inside a message", &[begin(), client(FIN | 2, b"b")], &["violation 1002"]);
    add("a beginning inside a message", &[begin(), client(1, b"b")], &["violation 1002"]);
    add("reserved bit 1 of a continuation", &[begin(), client(FIN | 0x40, b"b")], &["violation 1002"]);
}

fn closing(add: Add<'_>) {
    let close = |code: u16, reason: &[u8]| client(FIN | 8, &[&code.to_be_bytes(), reason].concat());
    add("close", &[client(FIN | 8, b"")], &["close"]);
    add("close of one byte", &[client(FIN | 8, b"x")], &["violation 1002"]);
    add("close with a reason", &[close(1000, "grün".as_bytes())], &["close 1000 grün"]);
    add("the longest reason", &[close(1000, &[b'x'; 123])], &[&format!("close 1000 {}", "x".repeat(123))]);
    add("a reason too long", &[close(1000, &[b'x'; 124])], &["violation 1002"]);
    add("a reason that is no UTF-8", &[close(1000, b"\xff")], &["violation 1007"]);
    add("a reason that is cut", &[close(1000, b"abc\xf0\x9f")], &["violation 1007"]);
    add("data after close", &[close(1000, b""), client(FIN | 1, b"late"), client(FIN | 9, b"")], &["close 1000 "]);
    add("garbage after close", &[client(FIN | 8, b""), vec![0x81, 0x80, 1, 2, 3, 4]], &["close"]);
    add("two closes", &[client(FIN | 8, b""), client(FIN | 8, b"")], &["close"]);
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999] {
        add(&format!("close {code}"), &[close(code, b"")], &[&format!("close {code} ")]);
    }
    for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535] {
        add(&format!("close {code}"), &[close(code, b"")], &["violation 1002"]);
    }
}

fn text(add: Add<'_>) {
    for (name, text, _) in invalid_utf8() {
        add(name, &[client(FIN | 1, text)], &["violation 1007"]);
        add(
            &format!("{name}, as bytes"),
            &[client(FIN | 2, text)],
            &[&format!("binary {}", String::from_utf8_lossy(text))],
        );
        let (first, rest) = text.split_at(1);
        let frames = [client(1, first), client(0, rest), client(FIN, b"")];
        add(&format!("{name}, over fragments"), &frames, &["violation 1007"]);
        let long = [&[b'x'; 200], text, &[b'y'; 200][..]].concat();
        add(&format!("{name}, in a long text"), &[client(FIN | 1, &long)], &["violation 1007"]);
    }
    for cut in [&b"abc\xc3"[..], b"abc\xe2\x82", b"abc\xf0\x9f\x98"] {
        add(&format!("cut {cut:x?}"), &[client(FIN | 1, cut)], &["violation 1007"]);
        add(&format!("cut {cut:x?}, by a fragment"), &[client(1, cut), client(FIN, b"")], &["violation 1007"]);
    }
    let each: Vec<Vec<u8>> = "κ😀".bytes().map(|byte| client(0, &[byte])).collect();
    let frames = [vec![client(1, b"")], each, vec![client(FIN, b"")]].concat();
    add("code points over fragments", &frames, &["text κ😀"]);
    add(
        "a ping inside a code point",
        &[client(1, b"\xce"), client(FIN | 9, b"\xff"), client(FIN, b"\xba")],
        &["ping \u{fffd}", "text κ"],
    );
    add(
        "a cut text does not reach the next one",
        &[client(FIN | 1, b"a\xce"), client(FIN | 1, b"\xba")],
        &["violation 1007"],
    );
}

fn lengths(add: Add<'_>) {
    add("one byte too big", &[client(FIN | 2, &[0; 1001])], &["violation 1009"]);
    add("far too big", &[client(FIN | 2, &[0; 70_000])], &["violation 1009"]);
    add("too big over fragments", &[client(2, &[0; 600]), client(FIN, &[0; 401])], &["violation 1009"]);
    add(
        "just fits over fragments",
        &[client(2, &[b'x'; 600]), client(FIN, &[b'x'; 400])],
        &[&format!("binary {}", "x".repeat(1000))],
    );
    add("invalid before it is too big", &[client(1, b"\xff"), client(FIN, &[0; 1001])], &["violation 1007"]);
    add("a message that does not end", &[client(2, &[0; 300]), client(0, &[0; 300])], &[]);
}

fn headers(rows: &mut Vec<Row>) {
    let mut add = |name: &str, role: Role, bytes: &[u8], events: &[&str]| {
        let events = events.iter().map(|event| (*event).to_owned()).collect();
        rows.push(Row { name: name.to_owned(), role, deflate: None, bytes: bytes.to_vec(), events, mirrors: false });
    };
    use Role::{Client, Server};
    add("a client's frame without mask", Server, b"\x81\x02hi", &["violation 1002"]);
    add("a client's ping without mask", Server, b"\x89\x00", &["violation 1002"]);
    add("a server's frame with mask", Client, &client(FIN | 1, b"hi"), &["violation 1002"]);
    add("a server's frame", Client, b"\x81\x02hi", &["text hi"]);
    add("a zero key", Server, b"\x81\x82\0\0\0\0hi", &["text hi"]);
    add("a key of ff", Server, b"\x81\x82\xff\xff\xff\xff\x97\x96", &["text hi"]);
    add("16 bits for 125", Client, b"\x82\x7e\x00\x7d", &["violation 1002"]);
    add("16 bits for 0", Client, b"\x82\x7e\x00\x00", &["violation 1002"]);
    add("64 bits for 125", Client, b"\x82\x7f\0\0\0\0\0\0\0\x7d", &["violation 1002"]);
    add("64 bits for 65535", Client, b"\x82\x7f\0\0\0\0\0\0\xff\xff", &["violation 1002"]);
    add("64 bits for 65536", Client, b"\x82\x7f\0\0\0\0\0\x01\0\0", &["violation 1009"]);
    add("2^62", Server, b"\x82\xff\x40\0\0\0\0\0\0\0\0\0\0\0", &["violation 1009"]);
    add("2^63 - 1", Server, b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0", &["violation 1009"]);
    add("2^63", Server, b"\x82\xff\x80\0\0\0\0\0\0\0\0\0\0\0", &["violation 1002"]);
    add("2^64 - 1", Server, b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0", &["violation 1002"]);
    add("a long control frame by 16 bits", Server, b"\x89\xfe\x00\x7e\0\0\0\0", &["violation 1002"]);
    add("a long control frame by 64 bits", Server, b"\x88\xff\0\0\0\0\0\0\0\x01\0\0\0\0", &["violation 1002"]);
    add("a header that is cut", Server, b"\x82\xff\x00", &[]);
    add("a payload that is cut", Server, b"\x82\x85\0\0\0\0hi", &[]);
    add("a ping that is cut", Server, b"\x89\x85\0\0\0\0hi", &[]);
    add("not WebSocket at all", Server, b"GET / HTTP/1.1\r\n\r\n", &["violation 1002"]);
    add("zeros", Server, &[0; 100], &["violation 1002"]);
}

fn deflate(rows: &mut Vec<Row>) {
    let mut add = |name: &str, takeover: bool, frames: &[Vec<u8>], events: &[&str]| {
        let (bytes, events) = (frames.concat(), events.iter().map(|event| (*event).to_owned()).collect());
        let name = format!("deflate: {name}");
        rows.push(Row { name, role: Role::Server, deflate: Some(takeover), bytes, events, mirrors: true });
    };
    const HELLO: &[u8] = b"\xf2\x48\xcd\xc9\xc9\x07\x00";
    let text = FIN | 0x41;
    add("hello", false, &[client(text, HELLO)], &["text Hello"]);
    add("bytes", false, &[client(FIN | 0x42, HELLO)], &["binary Hello"]);
    add("fragments", false, &[client(0x41, &HELLO[..3]), client(FIN, &HELLO[3..])], &["text Hello"]);
    add("an empty last fragment", false, &[client(0x41, HELLO), client(FIN, b"")], &["text Hello"]);
    let between = [client(0x41, &HELLO[..3]), client(FIN | 9, b"p"), client(FIN, &HELLO[3..])];
    add("a ping between", false, &between, &["ping p", "text Hello"]);
    add("a compressed ping", false, &[client(FIN | 0x49, b"")], &["violation 1002"]);
    add("the bit in a continuation", false, &[client(0x41, HELLO), client(FIN | 0x40, b"")], &["violation 1002"]);
    add("the second bit", false, &[client(FIN | 0x61, HELLO)], &["violation 1002"]);
    add("a plain message", false, &[client(FIN | 1, b"plain")], &["text plain"]);
    let mixed = [client(text, HELLO), client(FIN | 1, b"plain"), client(text, HELLO)];
    add("mixed", true, &mixed, &["text Hello", "text plain", "text Hello"]);
    let second = || client(text, b"\xf2\x00\x11\x00\x00");
    add("with takeover", true, &[client(text, HELLO), second()], &["text Hello", "text Hello"]);
    add("without takeover", false, &[client(text, HELLO), second()], &["text Hello", "violation 1007"]);
    add("an empty message", false, &[client(text, b"\x00")], &["text "]);
    add("no bytes at all", false, &[client(text, b"")], &["text "]);
    add("a last block", false, &[client(text, b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00")], &["text Hello"]);
    add("corrupt", false, &[client(text, b"\x07"), client(FIN | 1, b"late")], &["violation 1007"]);
    add("a stored block that lies", false, &[client(text, b"\x00\x05\x00\xfa\xfehello\x00")], &["violation 1007"]);
    add("invalid text", false, &[client(text, b"\x00\x01\x00\xfe\xff\xff\x00")], &["violation 1007"]);
    add("cut text", false, &[client(text, b"\x00\x01\x00\xfe\xff\xce\x00")], &["violation 1007"]);
    add("too big by the header", false, &[client(FIN | 0x42, &[0; 3000])], &["violation 1009"]);
}
