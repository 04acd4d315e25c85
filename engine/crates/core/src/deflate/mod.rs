//! permessage-deflate (RFC 7692): what is offered, what is agreed, and the two directions.
//!
//! Compression is without context takeover by default, so that one compressed payload serves every peer with the
//! same window; decompression too, so that a peer that is silent holds no window at all.

mod compress;
mod inflate;
mod offer;

pub use compress::{Compressor, Compressors};
pub use inflate::{Fault, Inflater};
pub(crate) use offer::is_token;
pub use offer::{Offer, offers};

/// The four bytes that end each sync flush: taken off by the sender, put back by the receiver (RFC 7692 section 7.2).
pub const TAIL: [u8; 4] = [0x00, 0x00, 0xFF, 0xFF];

/// Windows of 2^9 to 2^15 bytes can be compressed with. zlib has none of 2^8 for raw deflate, so an offer that asks
/// for that is declined. Every window can be decompressed, for that is always done with the largest one.
pub const COMPRESSION_BITS: std::ops::RangeInclusive<u8> = 9..=15;

/// What this side wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Forget each message that was compressed: without it nothing compressed can be shared between peers.
    pub server_no_context_takeover: bool,
    /// Ask the client to do the same, so that no window has to be kept for it.
    pub client_no_context_takeover: bool,
    /// The largest window to compress with, 9 to 15.
    pub server_max_window_bits: u8,
    /// The largest window that the client is asked to compress with, 8 to 15, where it lets itself be asked.
    pub client_max_window_bits: u8,
    /// 0 (none) to 9 (smallest).
    pub level: u32,
    /// Bytes from which on a message is worth it.
    pub threshold: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            server_no_context_takeover: true,
            client_no_context_takeover: true,
            server_max_window_bits: 15,
            client_max_window_bits: 15,
            level: 6,
            threshold: 1024,
        }
    }
}

/// What the two sides have agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Params {
    /// The server forgets each message that it compressed.
    pub server_no_context_takeover: bool,
    /// The client does.
    pub client_no_context_takeover: bool,
    /// The server's window, 9 to 15.
    pub server_max_window_bits: u8,
    /// The client's window, 8 to 15.
    pub client_max_window_bits: u8,
}

impl Params {
    /// The first offer that can be met, answered with it. `None`: no compression.
    pub fn negotiate(offers: &[Offer], config: &Config) -> Option<Self> {
        offers.iter().find_map(|offer| Self::answer(offer, config))
    }

    fn answer(offer: &Offer, config: &Config) -> Option<Self> {
        let wished = config.server_max_window_bits.clamp(*COMPRESSION_BITS.start(), *COMPRESSION_BITS.end());
        let server = offer.server_max_window_bits.unwrap_or(15);
        if !COMPRESSION_BITS.contains(&server) {
            return None;
        }
        Some(Self {
            server_no_context_takeover: offer.server_no_context_takeover || config.server_no_context_takeover,
            client_no_context_takeover: offer.client_no_context_takeover || config.client_no_context_takeover,
            server_max_window_bits: server.min(wished),
            client_max_window_bits: match offer.client_max_window_bits {
                None => 15,
                Some(most) => most.unwrap_or(15).min(config.client_max_window_bits.clamp(8, 15)),
            },
        })
    }

    /// The value of the `Sec-WebSocket-Extensions` header of the 101.
    pub fn header(&self) -> String {
        let mut value = String::from("permessage-deflate");
        if self.server_no_context_takeover {
            value.push_str("; server_no_context_takeover");
        }
        if self.client_no_context_takeover {
            value.push_str("; client_no_context_takeover");
        }
        // An offer with a window wants to see it in the answer (RFC 7692 section 7.1.2.1); 15 is what it means without.
        if self.server_max_window_bits < 15 {
            value.push_str("; server_max_window_bits=");
            value.push_str(&self.server_max_window_bits.to_string());
        }
        // Less than 15 only where the client offered to be asked.
        if self.client_max_window_bits < 15 {
            value.push_str("; client_max_window_bits=");
            value.push_str(&self.client_max_window_bits.to_string());
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agreed(header: &str, config: &Config) -> Option<String> {
        Params::negotiate(&offers(header.as_bytes()), config).map(|params| params.header())
    }

    #[test]
    fn offers_and_their_answers() {
        let shared = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
        let rows = [
            ("permessage-deflate", Some(shared.to_owned())),
            ("permessage-deflate; client_max_window_bits", Some(shared.to_owned())),
            ("permessage-deflate; client_max_window_bits=8", Some(format!("{shared}; client_max_window_bits=8"))),
            ("permessage-deflate; server_max_window_bits=15", Some(shared.to_owned())),
            ("permessage-deflate; server_max_window_bits=9", Some(format!("{shared}; server_max_window_bits=9"))),
            ("permessage-deflate; server_max_window_bits=8", None),
            (
                "permessage-deflate; server_max_window_bits=8, permessage-deflate; server_max_window_bits=12",
                Some(format!("{shared}; server_max_window_bits=12")),
            ),
            ("x-webkit-deflate-frame", None),
            ("", None),
        ];
        for (offer, answer) in rows {
            assert_eq!(agreed(offer, &Config::default()), answer, "{offer}");
        }
    }

    #[test]
    fn contexts_are_kept_only_when_both_sides_want_it() {
        let keep = Config { server_no_context_takeover: false, client_no_context_takeover: false, ..Config::default() };
        assert_eq!(agreed("permessage-deflate", &keep).unwrap(), "permessage-deflate");
        assert_eq!(
            agreed("permessage-deflate; client_no_context_takeover", &keep).unwrap(),
            "permessage-deflate; client_no_context_takeover"
        );
        let small = Config { server_max_window_bits: 10, ..keep };
        assert_eq!(agreed("permessage-deflate", &small).unwrap(), "permessage-deflate; server_max_window_bits=10");
        let params = Params::negotiate(&offers(b"permessage-deflate; client_max_window_bits=11"), &small).unwrap();
        assert_eq!((params.server_max_window_bits, params.client_max_window_bits), (10, 11));
        let asked = Config { client_max_window_bits: 12, ..keep };
        for (offer, answer) in [("", ""), ("; client_max_window_bits", "; client_max_window_bits=12")] {
            let agreed = agreed(&format!("permessage-deflate{offer}"), &asked).unwrap();
            assert_eq!(agreed, format!("permessage-deflate{answer}"));
        }
    }
}
