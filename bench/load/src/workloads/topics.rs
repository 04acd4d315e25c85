//! One who speaks to many topics, each of which has one who listens.

use anyhow::{Context, Result, ensure};

use super::Workload;
use crate::clients::{Clients, Receiver};
use crate::frame::{TEXT, put_masked};

/// Clients among whom the topics are shared out: a server that bounds the topics of one client has them all the same.
const SUBSCRIBERS: usize = 1000;
/// Texts on their way at a time.
const BURST: usize = 64;
/// Texts in a unit.
const TEXTS: usize = 100 * BURST;
/// From one topic to the next that is spoken to: far apart, and coprime to every power of ten.
const STRIDE: usize = 7919;

/// A unit is 6400 texts, 64 at a time. A client on `/topics?from=&to=` listens to the topics of these numbers, `to`
/// left out; a text is the name of the topic that it is for.
pub struct Topics {
    topics: usize,
    next: usize,
    subscribers: usize,
    texts: Texts,
}

impl Topics {
    pub fn new(topics: usize) -> Self {
        let (topics, subscribers) = (topics.max(1), topics.clamp(1, SUBSCRIBERS));
        Self { topics, next: 0, subscribers, texts: Texts { each: topics.div_ceil(subscribers), ..Texts::default() } }
    }
}

impl Workload for Topics {
    fn prepare(&mut self, clients: &mut Clients) -> Result<()> {
        let (each, topics) = (self.texts.each, self.topics);
        clients.open_each(self.subscribers, |client| {
            format!("/topics?from={}&to={}", (client * each).min(topics), ((client + 1) * each).min(topics))
        })?;
        clients.open("/topics?from=0&to=0", 1)
    }

    fn warm(&mut self, clients: &mut Clients) -> Result<f64> {
        self.run(clients, 1)?;
        Ok(1.0)
    }

    fn run(&mut self, clients: &mut Clients, units: u32) -> Result<u64> {
        let total = units as usize * TEXTS;
        let mut frames = Vec::new();
        for _ in 0..total / BURST {
            frames.clear();
            for _ in 0..BURST {
                let text = self.next.to_string();
                put_masked(&mut frames, TEXT, text.as_bytes());
                self.texts.waiting += 1;
                self.texts.sum = self.texts.sum.wrapping_add(self.next);
                self.next = (self.next + STRIDE) % self.topics;
            }
            clients.send(self.subscribers, &frames)?;
            while self.texts.waiting > 0 {
                clients.turn(&mut self.texts)?;
            }
            ensure!(self.texts.sum == 0, "other topics were heard than were spoken to");
        }
        Ok(total as u64)
    }
}

#[derive(Default)]
struct Texts {
    /// Topics of a client.
    each: usize,
    /// Texts that were not heard yet, and the sum of their topics.
    waiting: usize,
    sum: usize,
}

impl Receiver for Texts {
    #[inline]
    fn text(&mut self, client: usize, text: &[u8], _out: &mut Vec<u8>) -> Result<()> {
        let topic: usize = str::from_utf8(text)?.parse().context("a text that is no topic")?;
        ensure!(self.waiting > 0 && topic / self.each == client, "client {client} heard topic {topic}");
        self.waiting -= 1;
        self.sum = self.sum.wrapping_sub(topic);
        Ok(())
    }
}
