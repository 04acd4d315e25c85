//! Texts that come back to whoever sent them.

use anyhow::{Result, ensure};

use super::{Text, Workload};
use crate::clients::{Clients, Receiver};
use crate::frame::{TEXT, put_masked};

const CLIENTS: usize = 64;
/// Echoes of a client in a unit.
const ECHOES: u32 = 100;

/// A unit is 100 echoes for each of 64 clients, which keep so many in flight.
pub struct Echo {
    inflight: u32,
    echoes: Echoes,
}

impl Echo {
    pub fn new(inflight: u32) -> Self {
        Self { inflight, echoes: Echoes::default() }
    }
}

impl Workload for Echo {
    fn prepare(&mut self, clients: &mut Clients) -> Result<()> {
        clients.open("/echo", CLIENTS)
    }

    fn warm(&mut self, clients: &mut Clients) -> Result<f64> {
        self.run(clients, 1)?;
        Ok(1.0)
    }

    fn run(&mut self, clients: &mut Clients, units: u32) -> Result<u64> {
        let quota = units * ECHOES;
        let first = self.inflight.min(quota);
        self.echoes = Echoes { waiting: CLIENTS, quota, sent: [first; CLIENTS], received: [0; CLIENTS] };
        for client in 0..CLIENTS {
            let mut frames = Vec::new();
            for number in 0..first {
                put_masked(&mut frames, TEXT, &text(client, number));
            }
            clients.send(client, &frames)?;
        }
        while self.echoes.waiting > 0 {
            clients.turn(&mut self.echoes)?;
        }
        Ok(CLIENTS as u64 * u64::from(quota))
    }
}

struct Echoes {
    /// Clients that have not got all their echoes.
    waiting: usize,
    /// Echoes of a client.
    quota: u32,
    sent: [u32; CLIENTS],
    received: [u32; CLIENTS],
}

impl Default for Echoes {
    fn default() -> Self {
        Self { waiting: 0, quota: 0, sent: [0; CLIENTS], received: [0; CLIENTS] }
    }
}

impl Receiver for Echoes {
    #[inline]
    fn text(&mut self, client: usize, echo: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let (sent, received) = (&mut self.sent[client], &mut self.received[client]);
        let right = *received < *sent && echo == text(client, *received);
        ensure!(right, "echo {received} of {sent} is wrong: {:?}", String::from_utf8_lossy(echo));
        *received += 1;
        if *sent < self.quota {
            put_masked(out, TEXT, &text(client, *sent));
            *sent += 1;
        }
        self.waiting -= usize::from(*received == self.quota);
        Ok(())
    }
}

/// Twice eight hexadecimal digits: the client, and the number of its text.
#[inline]
fn text(client: usize, number: u32) -> Text {
    let both = (client as u64) << 32 | u64::from(number);
    std::array::from_fn(|digit| b"0123456789abcdef"[(both >> (60 - 4 * digit)) as usize & 0xF])
}
