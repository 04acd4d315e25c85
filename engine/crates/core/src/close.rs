//! Close codes and reasons: which may be received, which may be sent (RFC 6455 section 7.4).

use std::fmt;

/// Bytes of a reason: a close frame holds at most 125, two of them the code (RFC 6455 section 5.5).
pub const MAX_REASON: usize = 123;

/// Normal end.
pub const NORMAL: u16 = 1000;
/// The other side broke the protocol.
pub const PROTOCOL_ERROR: u16 = 1002;
/// Reported, never sent: the close frame had no code.
pub const NO_STATUS: u16 = 1005;
/// Reported, never sent: there was no close frame.
pub const ABNORMAL: u16 = 1006;
/// A text that is no UTF-8, a compressed message that cannot be inflated.
pub const INVALID_DATA: u16 = 1007;
/// A budget was used up.
pub const POLICY: u16 = 1008;
/// A message over the limit.
pub const TOO_BIG: u16 = 1009;
/// A hook failed.
pub const INTERNAL_ERROR: u16 = 1011;
/// The server is restarted.
pub const SERVICE_RESTART: u16 = 1012;
/// The outgoing queue is full.
pub const TRY_LATER: u16 = 1013;

/// What the other side did wrong: the close frame to answer with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The code to close with.
    pub code: u16,
    /// For the close frame and the log. It never repeats what came in.
    pub reason: &'static str,
}

impl Violation {
    pub(crate) const fn protocol(reason: &'static str) -> Self {
        Self { code: PROTOCOL_ERROR, reason }
    }

    pub(crate) const fn data(reason: &'static str) -> Self {
        Self { code: INVALID_DATA, reason }
    }

    pub(crate) const fn too_big() -> Self {
        Self { code: TOO_BIG, reason: "the message is too big" }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.code, self.reason)
    }
}

/// Whether a code may stand in a close frame, in either direction.
///
/// 1004, 1005, 1006 and 1015 are reserved; 1016 to 2999 are unassigned, so nobody can mean anything by them.
pub const fn is_valid(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// Whether `code` and `reason` may be sent.
///
/// # Errors
/// Says what is wrong: the code is reserved or out of range, or the reason is over [`MAX_REASON`] bytes.
pub fn check(code: u16, reason: &str) -> Result<(), Unsendable> {
    if !is_valid(code) {
        return Err(Unsendable::Code(code));
    }
    if reason.len() > MAX_REASON {
        return Err(Unsendable::Reason(reason.len()));
    }
    Ok(())
}

/// Why a close frame cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsendable {
    /// The code must not be sent.
    Code(u16),
    /// The reason has so many bytes.
    Reason(usize),
}

impl fmt::Display for Unsendable {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(out, "close code {code} must not be sent: use 1000 to 1014 or 3000 to 4999"),
            Self::Reason(_) => write!(out, "a close reason takes at most {MAX_REASON} bytes of UTF-8"),
        }
    }
}

impl std::error::Error for Unsendable {}

/// Read the payload of a received close frame. No code at all is `None`.
pub(crate) fn parse(payload: &[u8]) -> Result<(Option<u16>, &str), Violation> {
    match payload {
        [] => Ok((None, "")),
        [_] => Err(Violation::protocol("a close frame of one byte")),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            if !is_valid(code) {
                return Err(Violation::protocol("a close code that must not be sent"));
            }
            let reason = std::str::from_utf8(reason).map_err(|_| Violation::data("a close reason that is no UTF-8"))?;
            Ok((Some(code), reason))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_assigned_and_private_codes_may_be_used() {
        let valid: Vec<u16> = (0..=u16::MAX).filter(|&code| is_valid(code)).collect();
        let mut expected = vec![1000, 1001, 1002, 1003];
        expected.extend(1007..=1014);
        expected.extend(3000..=4999);
        assert_eq!(valid, expected);
    }

    #[test]
    fn a_reason_has_123_bytes_at_most() {
        assert_eq!(check(1000, &"x".repeat(123)), Ok(()));
        assert_eq!(check(1000, &"ü".repeat(62)), Err(Unsendable::Reason(124)));
        assert_eq!(check(1005, ""), Err(Unsendable::Code(1005)));
        assert!(Unsendable::Code(7).to_string().contains("close code 7"));
        assert!(Unsendable::Reason(124).to_string().contains("123"));
    }

    #[test]
    fn a_payload_is_nothing_or_a_code_and_a_reason() {
        assert_eq!(parse(b""), Ok((None, "")));
        assert_eq!(parse(b"\x03\xe8"), Ok((Some(1000), "")));
        assert_eq!(parse(b"\x0f\xa0over"), Ok((Some(4000), "over")));
        assert_eq!(parse(b"\x03").unwrap_err().code, PROTOCOL_ERROR);
        assert_eq!(parse(b"\x03\xed").unwrap_err().code, PROTOCOL_ERROR);
        assert_eq!(parse(b"\x03\xe8\xff").unwrap_err().code, INVALID_DATA);
        assert_eq!(Violation::too_big().to_string(), "1009 the message is too big");
    }
}
