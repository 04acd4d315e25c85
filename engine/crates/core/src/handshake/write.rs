//! Answers: the 101 and refusals. Nothing an application gives can end a line (row H12).

use std::fmt;

use super::AcceptKey;
use crate::deflate::is_token;

/// A header that cannot be written: the name is no token, or the value has control characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadHeader;

impl fmt::Display for BadHeader {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a header whose name is no token, or whose value has control characters")
    }
}

impl std::error::Error for BadHeader {}

/// The answer that opens a connection, with the subprotocol and the extensions that were chosen.
///
/// # Errors
/// A header cannot be written.
pub fn switching<'a>(
    accept: &AcceptKey,
    protocol: Option<&str>,
    extensions: Option<&str>,
    headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
) -> Result<Vec<u8>, BadHeader> {
    let mut out = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n".to_vec();
    add(&mut out, "sec-websocket-accept", accept)?;
    if let Some(protocol) = protocol {
        add(&mut out, "sec-websocket-protocol", protocol.as_bytes())?;
    }
    if let Some(extensions) = extensions {
        add(&mut out, "sec-websocket-extensions", extensions.as_bytes())?;
    }
    for (name, value) in headers {
        add(&mut out, name, value)?;
    }
    out.extend_from_slice(b"\r\n");
    Ok(out)
}

/// An answer that refuses and closes. A content-type is up to the caller.
///
/// # Errors
/// A header cannot be written.
pub fn refusal<'a>(
    status: u16,
    headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    body: &[u8],
) -> Result<Vec<u8>, BadHeader> {
    let mut out = format!("HTTP/1.1 {status} {}\r\n", phrase(status)).into_bytes();
    for (name, value) in headers {
        // These two are said below, and must not be said differently.
        if !name.eq_ignore_ascii_case("content-length") && !name.eq_ignore_ascii_case("connection") {
            add(&mut out, name, value)?;
        }
    }
    add(&mut out, "content-length", body.len().to_string().as_bytes())?;
    add(&mut out, "connection", b"close")?;
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body);
    Ok(out)
}

fn add(out: &mut Vec<u8>, name: &str, value: &[u8]) -> Result<(), BadHeader> {
    let is_name = !name.is_empty() && name.bytes().all(is_token);
    if !is_name || value.iter().any(|&byte| byte.is_ascii_control() && byte != b'\t') {
        return Err(BadHeader);
    }
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
    Ok(())
}

/// The reason phrase of a status (RFC 9110 section 15), empty for one that is not known.
pub const fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        413 => "Content Too Large",
        414 => "URI Too Long",
        418 => "I'm a Teapot",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::super::accept_key;
    use super::*;

    #[test]
    fn the_101() {
        let accept = accept_key(b"dGhlIHNhbXBsZSBub25jZQ==");
        let answer = switching(&accept, Some("chat"), Some("permessage-deflate"), [("x-a", &b"b\xfc"[..])]).unwrap();
        let wanted = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
            sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nsec-websocket-protocol: chat\r\n\
            sec-websocket-extensions: permessage-deflate\r\nx-a: b\xfc\r\n\r\n";
        assert_eq!(answer, wanted);
    }

    #[test]
    fn no_header_can_end_a_line() {
        let accept = [b'a'; 28];
        for (name, value) in [("a", "b\r\nset-cookie: x=1"), ("a", "b\0"), ("a\r\nb", "c"), ("", "b"), ("a b", "c")] {
            assert_eq!(switching(&accept, None, None, [(name, value.as_bytes())]), Err(BadHeader));
            assert_eq!(refusal(403, [(name, value.as_bytes())], b""), Err(BadHeader));
        }
        assert_eq!(switching(&accept, Some("a\r\nb"), None, []), Err(BadHeader));
        assert!(!BadHeader.to_string().is_empty());
    }

    #[test]
    fn a_refusal_says_its_length_and_its_end_once() {
        let headers = [("Content-Length", &b"99"[..]), ("CONNECTION", b"keep-alive"), ("content-type", b"text/plain")];
        let answer = refusal(403, headers, b"no").unwrap();
        let wanted =
            b"HTTP/1.1 403 Forbidden\r\ncontent-type: text/plain\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno";
        assert_eq!(answer, wanted);
        assert!(refusal(499, [], b"").unwrap().starts_with(b"HTTP/1.1 499 \r\n"));
    }
}
