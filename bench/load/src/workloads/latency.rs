//! How long an echo takes while the server is busy with so many others.
//!
//! The load is open: a text is sent when it is due, whether or not earlier ones have come back, and its time runs from
//! when it was due. So a server that stops for a moment is charged for everything that had to wait meanwhile.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::{Text, Workload};
use crate::clients::{Clients, Receiver};
use crate::frame::{TEXT, put_masked};

const CLIENTS: u64 = 64;
const UNITS_A_SECOND: f64 = 10.0;
/// Seconds for which no echo comes before the run is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// A unit is a tenth of a second; texts are spread evenly over time and clients.
pub struct Latency {
    rate: f64,
    echoes: Echoes,
}

impl Latency {
    pub fn new(rate: u32) -> Self {
        let echoes = Echoes { start: Instant::now(), apart: 1.0 / f64::from(rate), sent: 0, found: Vec::new() };
        Self { rate: f64::from(rate), echoes }
    }
}

impl Workload for Latency {
    fn prepare(&mut self, clients: &mut Clients) -> Result<()> {
        clients.open("/echo", CLIENTS as usize)
    }

    fn warm(&mut self, clients: &mut Clients) -> Result<f64> {
        self.run(clients, 1)?;
        Ok(1.0)
    }

    fn run(&mut self, clients: &mut Clients, units: u32) -> Result<u64> {
        // Whole rounds of all clients.
        let total = (f64::from(units) / UNITS_A_SECOND * self.rate / CLIENTS as f64).ceil() as u64 * CLIENTS;
        let echoes = &mut self.echoes;
        (echoes.start, echoes.sent) = (Instant::now(), 0);
        echoes.found.clear();
        echoes.found.reserve(total as usize);
        let (mut frame, mut heard, mut last) = (Vec::new(), 0, echoes.start);
        while (echoes.found.len() as u64) < total {
            let now = Instant::now();
            while echoes.sent < total && echoes.due(echoes.sent) <= now {
                frame.clear();
                put_masked(&mut frame, TEXT, &text(echoes.sent));
                clients.send((echoes.sent % CLIENTS) as usize, &frame)?;
                echoes.sent += 1;
            }
            // Without waiting: the next text is due before a sleep would end.
            clients.glance(echoes)?;
            if echoes.found.len() > heard {
                (heard, last) = (echoes.found.len(), now);
            }
            ensure!(now - last < PATIENCE, "only {heard} of {total} echoes came");
        }
        Ok(total)
    }

    fn latency(&mut self) -> Option<[f64; 5]> {
        let found = &mut self.echoes.found;
        found.sort_unstable();
        let last = found.len().checked_sub(1)?;
        Some([0.5, 0.9, 0.99, 0.999, 1.0].map(|share| f64::from(found[(last as f64 * share) as usize]) / 1e9))
    }
}

struct Echoes {
    start: Instant,
    /// Seconds from one text to the next.
    apart: f64,
    sent: u64,
    /// Nanoseconds of each echo; four seconds are the most that is told.
    found: Vec<u32>,
}

impl Echoes {
    fn due(&self, number: u64) -> Instant {
        self.start + Duration::from_secs_f64(number as f64 * self.apart)
    }
}

impl Receiver for Echoes {
    #[inline]
    fn text(&mut self, client: usize, echo: &[u8], _out: &mut Vec<u8>) -> Result<()> {
        let number = str::from_utf8(echo).ok().and_then(|digits| u64::from_str_radix(digits, 16).ok());
        let Some(number) = number.filter(|&number| number < self.sent && number % CLIENTS == client as u64) else {
            anyhow::bail!("an echo is wrong: {:?}", String::from_utf8_lossy(echo));
        };
        let taken = Instant::now().saturating_duration_since(self.due(number)).as_nanos();
        self.found.push(u32::try_from(taken).unwrap_or(u32::MAX));
        Ok(())
    }
}

fn text(number: u64) -> Text {
    std::array::from_fn(|digit| b"0123456789abcdef"[(number >> (60 - 4 * digit)) as usize & 0xF])
}
