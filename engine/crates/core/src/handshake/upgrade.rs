//! The rules of a WebSocket handshake (RFC 6455 section 4.2.1), and what the client offers with it.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use sha1::{Digest, Sha1};

use super::head::Count;
use super::{Head, Outcome, Refusal};
use crate::deflate::{self, Offer, is_token};

/// The value of `Sec-WebSocket-Accept`.
pub type AcceptKey = [u8; 28];

/// RFC 6455 section 1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// As others read keys: the bits behind the sixteenth byte may be set.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

/// A handshake that keeps the rules.
#[derive(Debug)]
pub struct Upgrade {
    /// The request.
    pub head: Head,
    /// What proves that it was understood.
    pub accept: AcceptKey,
    /// The subprotocols that the client offers, the one it likes best first.
    pub protocols: Vec<String>,
    /// The ways of compression that the client offers. What is wrong in them was left out (row H13).
    pub deflate: Vec<Offer>,
}

/// Whose request it is, and whether it is in order.
pub(super) fn decide(head: Head) -> Result<Outcome, Refusal> {
    // HTTP/1.0 has no upgrades: the header is to be ignored (RFC 9110 section 7.8).
    if !head.lists("upgrade", "websocket") || !head.is_http11() {
        return Ok(Outcome::PlainHttp);
    }
    if head.method() != "GET" {
        let headers = &[("allow", "GET")];
        return Err(Refusal { status: 405, headers, reason: "a WebSocket handshake is a GET request" });
    }
    if !head.lists("connection", "upgrade") {
        return Err(Refusal::bad("the connection header does not say upgrade"));
    }
    match head.only("host") {
        Err(Count::None) => return Err(Refusal::bad("there is no host header")),
        Err(Count::Several) => return Err(Refusal::bad("there is more than one host header")),
        Ok(_) => {}
    }
    check_no_body(&head)?;
    if head.only("sec-websocket-version") != Ok(b"13") {
        let headers = &[("upgrade", "websocket"), ("sec-websocket-version", "13")];
        return Err(Refusal { status: 426, headers, reason: "only version 13 of WebSocket is spoken here" });
    }
    let key = head.only("sec-websocket-key").ok().filter(|key| is_key(key));
    let accept = accept_key(key.ok_or(Refusal::bad("the key is missing or wrong"))?);
    let protocols = protocols(&head)?;
    let deflate = head.all("sec-websocket-extensions").flat_map(deflate::offers).collect();
    Ok(Outcome::Upgrade(Box::new(Upgrade { head, accept, protocols, deflate })))
}

/// What a body says is for the server behind a proxy, perhaps, and a second request for this one (row H9).
fn check_no_body(head: &Head) -> Result<(), Refusal> {
    let length = head.only("content-length");
    let is_sound = match length {
        Err(Count::None) => true,
        Err(Count::Several) => false,
        Ok(value) => !value.is_empty() && value.iter().all(|&byte| byte == b'0'),
    };
    if !is_sound || head.all("transfer-encoding").next().is_some() {
        return Err(Refusal::bad("a WebSocket handshake has no body"));
    }
    Ok(())
}

/// Sixteen bytes in base64.
fn is_key(key: &[u8]) -> bool {
    let mut bytes = [0; 18];
    key.len() == 24 && BASE64.decode_slice(key, &mut bytes) == Ok(16)
}

/// What a server answers to a key (RFC 6455 section 4.2.2).
pub fn accept_key(key: &[u8]) -> AcceptKey {
    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    let mut accept = [0; 28];
    BASE64.encode_slice(digest, &mut accept).expect("20 bytes become 28");
    accept
}

/// The names of all header lines, which are one list together.
fn protocols(head: &Head) -> Result<Vec<String>, Refusal> {
    let mut found = Vec::new();
    for member in head.all("sec-websocket-protocol").flat_map(|value| value.split(|&byte| byte == b',')) {
        match member.trim_ascii() {
            [] => {}
            name if name.iter().all(|&byte| is_token(byte)) => {
                found.push(name.iter().copied().map(char::from).collect());
            }
            _ => return Err(Refusal::bad("a subprotocol that is no token")),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc() {
        assert_eq!(&accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn a_key_is_sixteen_bytes() {
        for good in ["dGhlIHNhbXBsZSBub25jZQ==", "AAAAAAAAAAAAAAAAAAAAAA==", "dGhlIHNhbXBsZSBub25jZR=="] {
            assert!(is_key(good.as_bytes()), "{good}");
        }
        for bad in [
            "",
            "c2hvcnQ=",
            "dGhlIHNhbXBsZSBub25jZQ",
            "dGhlIHNhbXBsZSBub25jZQ= ",
            "dGhlIHNhbXBsZSBub25jZQA=",
            "dGhlIHNhbXBsZSBub25jZQAA",
            "!!!!!!!!!!!!!!!!!!!!!!!!",
            "dGhlIHNhbXBsZSBub25jZ-==",
        ] {
            assert!(!is_key(bad.as_bytes()), "{bad}");
        }
    }
}
