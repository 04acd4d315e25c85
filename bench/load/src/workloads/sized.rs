//! Texts of some size that come back to whoever sent them.

use anyhow::{Result, ensure};

use super::Workload;
use crate::clients::{Clients, Receiver};
use crate::frame::{TEXT, put_masked};

const CLIENTS: usize = 8;
/// Bytes that a client sends in a unit, and the most echoes that these are cut into.
const UNIT: usize = 1 << 20;
const MOST: usize = 1000;

/// A unit is a mebibyte of echoes for each of 8 clients, though not more than 1000 of them.
pub struct Sized {
    echoes: Echoes,
    frame: Vec<u8>,
}

impl Sized {
    pub fn new(size: usize) -> Self {
        let text: Vec<u8> = (b'a'..=b'z').cycle().take(size).collect();
        let mut frame = Vec::new();
        put_masked(&mut frame, TEXT, &text);
        Self { echoes: Echoes { text, frame: frame.clone(), missing: [0; CLIENTS], waiting: 0 }, frame }
    }
}

impl Workload for Sized {
    fn prepare(&mut self, clients: &mut Clients) -> Result<()> {
        clients.open("/echo", CLIENTS)
    }

    fn warm(&mut self, clients: &mut Clients) -> Result<f64> {
        self.run(clients, 1)?;
        Ok(1.0)
    }

    fn run(&mut self, clients: &mut Clients, units: u32) -> Result<u64> {
        let quota = (UNIT / self.echoes.text.len()).min(MOST) * units as usize;
        (self.echoes.missing, self.echoes.waiting) = ([quota; CLIENTS], CLIENTS);
        for client in 0..CLIENTS {
            clients.send(client, &self.frame)?;
        }
        while self.echoes.waiting > 0 {
            clients.turn(&mut self.echoes)?;
        }
        Ok((CLIENTS * quota) as u64)
    }
}

struct Echoes {
    text: Vec<u8>,
    frame: Vec<u8>,
    /// Echoes that each client has still to get.
    missing: [usize; CLIENTS],
    /// Clients that miss some.
    waiting: usize,
}

impl Receiver for Echoes {
    #[inline]
    fn text(&mut self, client: usize, echo: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let missing = &mut self.missing[client];
        ensure!(*missing > 0 && echo == self.text, "an echo of {} bytes is wrong", echo.len());
        *missing -= 1;
        if *missing > 0 {
            out.extend_from_slice(&self.frame);
        }
        self.waiting -= usize::from(*missing == 0);
        Ok(())
    }
}
