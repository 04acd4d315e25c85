//! A room in which everybody talks at once and hears everything.

use anyhow::{Result, ensure};

use super::{Text, Workload};
use crate::clients::{Clients, Receiver};
use crate::frame::{TEXT, put_masked};

const CLIENTS: usize = 32;
const TEXTS: usize = 640;
/// Texts of a client in a batch of the warm-up.
const FEW: usize = 64;

/// A unit is a batch: every client sends 640 texts, and all of them reach all.
#[derive(Default)]
pub struct Chat {
    room: Room,
}

impl Workload for Chat {
    fn prepare(&mut self, clients: &mut Clients) -> Result<()> {
        clients.open("/chat", CLIENTS)
    }

    fn warm(&mut self, clients: &mut Clients) -> Result<f64> {
        self.batches(clients, FEW, 1)?;
        Ok(FEW as f64 / TEXTS as f64)
    }

    fn run(&mut self, clients: &mut Clients, units: u32) -> Result<u64> {
        self.batches(clients, TEXTS, units)
    }
}

impl Chat {
    fn batches(&mut self, clients: &mut Clients, texts: usize, count: u32) -> Result<u64> {
        let mut frames = vec![Vec::new(); CLIENTS];
        let mut expected = 0_u64;
        for (client, frames) in frames.iter_mut().enumerate() {
            for number in 0..texts {
                let text = text(client, number);
                expected = expected.wrapping_add(digest(&text));
                put_masked(frames, TEXT, &text);
            }
        }
        for _ in 0..count {
            self.room.expect(CLIENTS * texts);
            for (client, frames) in frames.iter().enumerate() {
                clients.send(client, frames)?;
            }
            while self.room.waiting > 0 {
                clients.turn(&mut self.room)?;
            }
            ensure!(self.room.sums.iter().all(|&sum| sum == expected), "a client heard other texts than were sent");
        }
        Ok((CLIENTS * texts * CLIENTS) as u64 * u64::from(count))
    }
}

/// What the clients have still to hear, and a sum over what they have heard.
#[derive(Default)]
struct Room {
    /// Clients that have not heard everything.
    waiting: usize,
    missing: [usize; CLIENTS],
    sums: [u64; CLIENTS],
}

impl Room {
    fn expect(&mut self, texts: usize) {
        *self = Self { waiting: CLIENTS, missing: [texts; CLIENTS], sums: [0; CLIENTS] };
    }
}

impl Receiver for Room {
    #[inline]
    fn text(&mut self, client: usize, text: &[u8], _out: &mut Vec<u8>) -> Result<()> {
        let Ok(text) = <&Text>::try_from(text) else {
            anyhow::bail!("heard what nobody said: {:?}", String::from_utf8_lossy(text));
        };
        ensure!(self.missing[client] > 0, "heard more than was sent: {:?}", String::from_utf8_lossy(text));
        self.sums[client] = self.sums[client].wrapping_add(digest(text));
        self.missing[client] -= 1;
        self.waiting -= usize::from(self.missing[client] == 0);
        Ok(())
    }
}

fn text(client: usize, number: usize) -> Text {
    let text = format!("client {client:02} no {number:03}");
    text.as_bytes().try_into().expect("it has the length of a text")
}

/// A number for a text; the sum of these tells whether the right texts came, in whatever order.
#[inline]
fn digest(text: &Text) -> u64 {
    let (words, _) = text.as_chunks::<8>();
    u64::from_ne_bytes(words[0]).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ u64::from_ne_bytes(words[1])
}
