//! One who speaks and many who listen.

use anyhow::{Result, ensure};

use super::{Text, Workload};
use crate::clients::{Clients, Receiver};
use crate::frame::{TEXT, put_masked};

/// The client that was opened first.
const PUBLISHER: usize = 0;

/// A unit is a burst: so many texts at once, which reach every subscriber before the next burst.
pub struct Publish {
    audience: Audience,
    frames: Vec<u8>,
}

impl Publish {
    pub fn new(burst: usize, subscribers: usize) -> Self {
        let burst: Vec<Text> = (0..burst).map(text).collect();
        let mut frames = Vec::new();
        for text in &burst {
            put_masked(&mut frames, TEXT, text);
        }
        Self { audience: Audience { subscribers, waiting: 0, burst, heard: Vec::new() }, frames }
    }
}

impl Workload for Publish {
    fn prepare(&mut self, clients: &mut Clients) -> Result<()> {
        clients.open("/fan", 1 + self.audience.subscribers)
    }

    fn warm(&mut self, clients: &mut Clients) -> Result<f64> {
        self.run(clients, 1)?;
        Ok(1.0)
    }

    fn run(&mut self, clients: &mut Clients, units: u32) -> Result<u64> {
        for _ in 0..units {
            self.audience.expect();
            clients.send(PUBLISHER, &self.frames)?;
            while self.audience.waiting > 0 {
                clients.turn(&mut self.audience)?;
            }
        }
        Ok((self.audience.subscribers * self.audience.burst.len()) as u64 * u64::from(units))
    }
}

struct Audience {
    subscribers: usize,
    /// Subscribers that have not heard the whole burst.
    waiting: usize,
    burst: Vec<Text>,
    /// How many texts of the burst each client has heard.
    heard: Vec<usize>,
}

impl Audience {
    fn expect(&mut self) {
        self.waiting = self.subscribers;
        self.heard.clear();
        self.heard.resize(1 + self.subscribers, 0);
        self.heard[PUBLISHER] = self.burst.len();
    }
}

impl Receiver for Audience {
    #[inline]
    fn text(&mut self, client: usize, text: &[u8], _out: &mut Vec<u8>) -> Result<()> {
        let heard = &mut self.heard[client];
        let right = self.burst.get(*heard).is_some_and(|expected| expected == text);
        ensure!(right, "text {heard} of a burst is wrong: {:?}", String::from_utf8_lossy(text));
        *heard += 1;
        self.waiting -= usize::from(*heard == self.burst.len());
        Ok(())
    }
}

fn text(number: usize) -> Text {
    let text = format!("publication {number:04}");
    text.as_bytes().try_into().expect("it has the length of a text")
}
