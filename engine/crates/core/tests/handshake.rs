//! Rows of requests in, outcomes out: hostile rows H6 to H13 and RFC 6455 section 4.2.1; each row in any pieces too.

use crosspeer_core::deflate::Params;
use crosspeer_core::handshake::{Outcome, Request};
use proptest::prelude::*;

const GOOD: &[(&str, &str)] = &[
    ("Host", "example.com"),
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("Sec-WebSocket-Version", "13"),
];

/// A request whose headers are the good ones, changed: an empty value drops, a name that begins with `+` adds.
fn request(line: &str, changes: &[(&str, &str)]) -> Vec<u8> {
    let mut headers: Vec<(String, String)> =
        GOOD.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    for (name, value) in changes {
        match (name.strip_prefix('+'), value.is_empty()) {
            (Some(name), _) => headers.push((name.to_owned(), (*value).to_owned())),
            (None, true) => headers.retain(|header| header.0 != *name),
            (None, false) => headers.iter_mut().filter(|header| header.0 == *name).for_each(|header| {
                header.1 = (*value).to_owned();
            }),
        }
    }
    let lines: Vec<String> = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("{line}\r\n{}\r\n", lines.concat()).into_bytes()
}

fn outcome(bytes: &[u8], pieces: &[usize]) -> String {
    let mut request = Request::new();
    let mut end = 0;
    for piece in pieces.iter().copied().chain([bytes.len()]) {
        end = (end + piece).min(bytes.len());
        match request.read(&bytes[..end]) {
            Outcome::Incomplete => {}
            Outcome::PlainHttp => return "plain".to_owned(),
            Outcome::Refuse(refusal) => return refusal.status.to_string(),
            Outcome::Upgrade(upgrade) => {
                let rest = String::from_utf8_lossy(&bytes[upgrade.head.len()..]).into_owned();
                let deflate = Params::negotiate(&upgrade.deflate, &Default::default()).is_some();
                return format!("upgrade {} [{}] {deflate} {rest}", upgrade.head.target(), upgrade.protocols.join("|"));
            }
        }
    }
    "incomplete".to_owned()
}

fn rows() -> Vec<(String, Vec<u8>, String)> {
    let get = "GET /chat?room=1 HTTP/1.1";
    let ok = "upgrade /chat?room=1 [] false ";
    let mut rows = Vec::new();
    let mut add = |name: &str, bytes: Vec<u8>, outcome: &str| rows.push((name.to_owned(), bytes, outcome.to_owned()));
    let changed = |changes: &[(&str, &str)]| request(get, changes);

    add("good", changed(&[]), ok);
    add("frames behind it", [changed(&[]), b"frames".to_vec()].concat(), &format!("{ok}frames"));
    add("cut", changed(&[])[..100].to_vec(), "incomplete");
    add("upgrade in capitals", changed(&[("Upgrade", "WebSocket")]), ok);
    add("upgrade in a list", changed(&[("Upgrade", "h2c , websocket")]), ok);
    add("upgrade in a second line", changed(&[("Upgrade", "h2c"), ("+upgrade", "websocket")]), ok);
    add("connection in a list", changed(&[("Connection", "keep-alive, UPGRADE")]), ok);
    add("connection in a second line", changed(&[("Connection", "keep-alive"), ("+Connection", "upgrade")]), ok);
    add("an absolute target", request("GET http://x/ HTTP/1.1", &[]), "upgrade http://x/ [] false ");
    add("names in capitals", changed(&[("Host", ""), ("+HOST", "x")]), ok);
    add("an empty body", changed(&[("+Content-Length", "0")]), ok);
    add("values with white space around them", changed(&[("Sec-WebSocket-Version", "  13\t")]), ok);

    add("no upgrade", changed(&[("Upgrade", "")]), "plain");
    add("another upgrade", changed(&[("Upgrade", "h2c")]), "plain");
    add("a name that begins with websocket", changed(&[("Upgrade", "websockets")]), "plain");
    add("a version of websocket", changed(&[("Upgrade", "websocket/13")]), "plain");
    add("HTTP/1.0", request("GET / HTTP/1.0", &[]), "plain");
    add("a plain request", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), "plain");
    add("a plain request with a body", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi".to_vec(), "plain");

    for method in ["POST", "HEAD", "PUT", "get", "CONNECT", "OPTIONS"] {
        add(method, request(&format!("{method} / HTTP/1.1"), &[]), "405");
    }
    add("no connection", changed(&[("Connection", "")]), "400");
    add("another connection", changed(&[("Connection", "keep-alive")]), "400");
    add("no host", changed(&[("Host", "")]), "400");
    add("two hosts", changed(&[("+Host", "example.com")]), "400");
    for version in ["8", "777", "0", "14", "013", "13, 8", "x", "-13"] {
        add(&format!("version {version}"), changed(&[("Sec-WebSocket-Version", version)]), "426");
    }
    add("no version", changed(&[("Sec-WebSocket-Version", "")]), "426");
    add("two versions", changed(&[("+Sec-WebSocket-Version", "13")]), "426");
    let smuggled = [changed(&[("Sec-WebSocket-Version", "777")]), b"GET /smuggled HTTP/1.1\r\n\r\n".to_vec()];
    add("a request behind a bad handshake", smuggled.concat(), "426");
    for key in ["c2hvcnQ=", "!!!!!!!!!!!!!!!!!!!!!!!!", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZQAA"] {
        add(&format!("key {key}"), changed(&[("Sec-WebSocket-Key", key)]), "400");
    }
    add("no key", changed(&[("Sec-WebSocket-Key", "")]), "400");
    add("two keys", changed(&[("+Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")]), "400");
    for length in ["1", "99999999999999999999", "-1", "+0", "0x0", "abc", "0, 0"] {
        add(&format!("content-length {length}"), changed(&[("+Content-Length", length)]), "400");
    }
    add("two lengths", changed(&[("+Content-Length", "0"), ("+Content-Length", "0")]), "400");
    for coding in ["chunked", "identity", "xchunked"] {
        add(&format!("coding {coding}"), changed(&[("+Transfer-Encoding", coding)]), "400");
    }

    let raw = |line: &str| format!("{get}\r\nHost: x\r\n{line}\r\n\r\n").into_bytes();
    add("a folded line", raw("A: b\r\n c"), "400");
    add("NUL in a value", raw("A: b\0c"), "400");
    add("NUL in a name", raw("A\0: b"), "400");
    add("CR in a value", raw("A: b\rc"), "400");
    add("a bare LF", raw("A: b\nC: d"), "400");
    add("a space before the colon", raw("Upgrade : websocket"), "400");
    add("no colon", raw("Upgrade"), "400");
    add("no name", raw(": websocket"), "400");
    add("only bare LFs", b"GET / HTTP/1.1\nHost: x\n\n".to_vec(), "400");
    add("an empty line in front", [b"\r\n".to_vec(), changed(&[])].concat(), "400");
    add("TLS", b"\x16\x03\x01\x02\x00\x01".to_vec(), "400");
    add("not even HTTP", b"hello there\r\n\r\n".to_vec(), "400");
    add("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), "400");
    add("HTTP/1.2", request("GET / HTTP/1.2", &[]), "400");
    add("HTTP/0.9", b"GET /\r\n\r\n".to_vec(), "400");
    add("a target that is not ASCII", request("GET /\u{fc} HTTP/1.1", &[]), "400");
    add("a control character in the target", request("GET /\x01 HTTP/1.1", &[]), "400");

    add("a long target", request(&format!("GET /{} HTTP/1.1", "x".repeat(9000)), &[]), "414");
    add("a long target that never ends", [b"GET /".to_vec(), vec![b'x'; 9000]].concat(), "414");
    add("a long header", changed(&[("+X", &"x".repeat(8192))]), "431");
    add("the longest header", changed(&[("+X", &"x".repeat(8189))]), ok);
    add("101 headers", changed(&vec![("+X", "y"); 96]), "431");
    add("100 headers", changed(&vec![("+X", "y"); 95]), ok);
    add("2000 headers", changed(&vec![("+X", "y"); 1995]), "431");
    add("a large head", changed(&vec![("+X", &*"x".repeat(4000)); 9]), "431");

    let protocol = |value: &str| changed(&[("+Sec-WebSocket-Protocol", value)]);
    add("subprotocols", protocol("chat, superchat"), "upgrade /chat?room=1 [chat|superchat] false ");
    let two = [("+Sec-WebSocket-Protocol", "b"), ("+sec-websocket-protocol", "a,,")];
    add("subprotocols in two lines", changed(&two), "upgrade /chat?room=1 [b|a] false ");
    add("a subprotocol with a space", protocol("a b"), "400");
    add("a subprotocol in quotes", protocol("\"a\""), "400");
    add("a subprotocol far behind", protocol(&format!("b{}x", " ".repeat(7000))), "400");

    let extension = |value: &str| changed(&[("+Sec-WebSocket-Extensions", value)]);
    let deflate = "upgrade /chat?room=1 [] true ";
    add("compression", extension("permessage-deflate; client_max_window_bits"), deflate);
    let two = [("+Sec-WebSocket-Extensions", "foo"), ("+Sec-WebSocket-Extensions", "permessage-deflate")];
    add("extensions in two lines", changed(&two), deflate);
    add("the second offer", extension("permessage-deflate; server_max_window_bits=8, permessage-deflate"), deflate);
    for parameter in [
        "client_max_window_bits=99",
        "client_max_window_bits=7",
        "server_max_window_bits=7",
        "server_max_window_bits=8",
        "server_max_window_bits=16",
        "server_max_window_bits=\"\"",
        "server_no_context_takeover; server_no_context_takeover",
        "unknown",
        "a=\"\\\\\\",
    ] {
        add(&format!("declined: {parameter}"), extension(&format!("permessage-deflate; {parameter}")), ok);
    }
    add("hostile extensions", extension(&"a;b=\"\\\\\"".repeat(700)), ok);
    rows
}

#[test]
fn every_row_has_its_outcome_at_once_and_byte_by_byte() {
    let rows = rows();
    assert!(rows.len() >= 90, "{} rows", rows.len());
    for (name, bytes, wanted) in &rows {
        assert_eq!(outcome(bytes, &[]), *wanted, "{name}");
    }
    for (name, bytes, wanted) in rows.iter().filter(|row| row.1.len() < 1000) {
        let slowly = outcome(bytes, &vec![1; bytes.len()]);
        assert!(wanted.starts_with(&slowly), "{name}, byte by byte: {slowly}, not {wanted}");
    }
}

#[test]
fn a_refused_version_is_told_the_right_one() {
    let mut request = Request::new();
    let Outcome::Refuse(refusal) = request.read(&self::request("GET / HTTP/1.1", &[("Sec-WebSocket-Version", "8")]))
    else {
        panic!("not refused")
    };
    assert_eq!(refusal.headers, [("upgrade", "websocket"), ("sec-websocket-version", "13")]);
}

#[test]
fn a_drip_of_bytes_is_not_looked_at_again_and_again() {
    // Were it so, 32 KiB byte by byte would be half a billion bytes to look at, many times the limit below.
    let line = format!("X: {}\r\n", "x".repeat(8000));
    let bytes = format!("GET / HTTP/1.1\r\n{line}{line}{line}").into_bytes();
    let mut request = Request::new();
    let start = std::time::Instant::now();
    for end in 1..=bytes.len() {
        assert!(matches!(request.read(&bytes[..end]), Outcome::Incomplete));
    }
    assert!(start.elapsed().as_millis() < 100, "{:?}", start.elapsed());
}

proptest! {
    #[test]
    fn pieces_do_not_matter(
        which in any::<prop::sample::Index>(), pieces in prop::collection::vec(1usize..400, 0..30),
    ) {
        let rows = rows();
        let (name, bytes, wanted) = which.get(&rows);
        let got = outcome(bytes, &pieces);
        prop_assert!(got == *wanted || (wanted.starts_with("upgrade") && wanted.len() >= got.len()), "{}: {}", name, got);
    }

    #[test]
    fn nothing_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), good: bool) {
        let bytes = if good { [request("GET / HTTP/1.1", &[]), bytes].concat() } else { bytes };
        outcome(&bytes, &[]);
        let mut broken = request("GET / HTTP/1.1", &[("+Sec-WebSocket-Extensions", "permessage-deflate; a=\"b\"")]);
        for (at, byte) in bytes.iter().enumerate().take(3) {
            let place = (at * 97 + usize::from(*byte)) % broken.len();
            broken[place] = *byte;
        }
        outcome(&broken, &[]);
    }
}
