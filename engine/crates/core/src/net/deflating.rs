//! Compression on the way out: what one connection has agreed on, and the forms of a message that goes to many.

use crate::budget::Budget;
use crate::deflate::{COMPRESSION_BITS, Compressor, Compressors, Config, Inflater, Params};
use crate::frame::Kind;
use crate::limits::Overflow;
use crate::outgoing::Frame;

/// Inflated bytes beyond what honest data gives ([`crate::message::FAIR_RATIO`]): a second, and at once (row W2).
const EXCESS_RATE: f64 = 16.0 * 1024.0 * 1024.0;
const EXCESS_BURST: f64 = 32.0 * 1024.0 * 1024.0;

/// The compression of one connection.
#[derive(Debug)]
pub(super) struct Deflating {
    pub params: Params,
    /// A context of its own, where the client may rely on what it was sent before.
    own: Option<Compressor>,
    /// For bombs that each keep the limit of a message.
    pub budget: Budget,
}

impl Deflating {
    pub fn new(params: Params, config: &Config) -> Self {
        let takeover = !params.server_no_context_takeover;
        Self {
            params,
            own: takeover.then(|| Compressor::new(config.level, params.server_max_window_bits, true)),
            budget: Budget::new(EXCESS_RATE, EXCESS_BURST),
        }
    }

    pub fn inflater(&self) -> Inflater {
        Inflater::new(!self.params.client_no_context_takeover)
    }
}

/// What is agreed on with a queue of that policy: a message that may be dropped after it was compressed must not be one
/// that later ones refer to.
pub(super) fn config_for(config: Config, policy: Overflow) -> Config {
    let alone = config.server_no_context_takeover || policy != Overflow::Close;
    Config { server_no_context_takeover: alone, ..config }
}

/// The compressors that all connections share, made when the first is needed.
#[derive(Debug)]
pub(super) struct Shared {
    pub level: u32,
    made: Option<Box<Compressors>>,
}

impl Shared {
    pub const fn new(level: u32) -> Self {
        Self { level, made: None }
    }
}

/// A message and its compressed forms, each made when the first peer needs it.
pub(super) struct Forms<'f> {
    pub plain: &'f Frame,
    pub kind: Kind,
    /// Whoever can is to get it compressed.
    pub wanted: bool,
    compressors: &'f mut Shared,
    shared: [Option<Frame>; 7],
    /// For the one peer that it is being queued for: a second attempt must not compress it again.
    own: Option<(u32, Frame)>,
}

impl<'f> Forms<'f> {
    pub fn new(plain: &'f Frame, wanted: bool, compressors: &'f mut Shared) -> Self {
        let kind = plain.kind();
        Self { plain, kind, wanted, compressors, shared: [const { None }; 7], own: None }
    }

    /// The frame for a peer that compresses.
    pub fn compressed(&mut self, index: u32, deflating: &mut Deflating) -> &Frame {
        let Some(own) = &mut deflating.own else { return self.shared(&deflating.params) };
        if self.own.as_ref().is_none_or(|(of, _)| *of != index) {
            let mut out = Vec::new();
            own.compress(self.plain.payload(), &mut out);
            self.own = Some((index, Frame::compressed(self.kind, &out)));
        }
        self.own.as_ref().map_or(self.plain, |(_, frame)| frame)
    }

    fn shared(&mut self, params: &Params) -> &Frame {
        let slot = &mut self.shared[usize::from(params.server_max_window_bits - COMPRESSION_BITS.start())];
        slot.get_or_insert_with(|| {
            let mut out = Vec::new();
            let level = self.compressors.level;
            let made = self.compressors.made.get_or_insert_with(|| Box::new(Compressors::new(level)));
            made.compress(params, self.plain.payload(), &mut out);
            // What does not get smaller goes as it is: nothing refers to it.
            if out.len() < self.plain.size() { Frame::compressed(self.kind, &out) } else { self.plain.clone() }
        })
    }
}
