//! What PeerJS clients do at their broker.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::Workload;
use crate::clients::{Clients, Receiver, Silence};
use crate::frame::{TEXT, put_masked};

const OPEN: &[u8] = br#"{"type":"OPEN"}"#;

/// Where the client of a number registers.
fn path(number: usize) -> String {
    format!("/peerjs?key=peerjs&id=c{number}&token=t{number}&version=1.5.5")
}

/// The payload of an offer as a browser makes it: 2 KB with what stands around it, most of it session description.
fn payload() -> String {
    let mut lines = vec![
        "v=0".into(),
        "o=- 4611731400430051336 2 IN IP4 127.0.0.1".into(),
        "s=-".into(),
        "t=0 0".into(),
        "a=group:BUNDLE 0".into(),
        "a=extmap-allow-mixed".into(),
        "a=msid-semantic: WMS".into(),
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel".into(),
        "c=IN IP4 0.0.0.0".into(),
        "a=ice-ufrag:8hhY".into(),
        "a=ice-pwd:asd88fgpdd777uzjYhagZg".into(),
        "a=ice-options:trickle".into(),
        format!("a=fingerprint:sha-256 {}", ["D2"; 32].join(":")),
        "a=setup:actpass".into(),
        "a=mid:0".into(),
        "a=sctp-port:5000".into(),
        "a=max-message-size:262144".into(),
    ];
    lines.extend((0..52).map(|number| format!("a=rtpmap:{} VP8/90000", 96 + number)));
    let sdp: String = lines.iter().map(|line| format!(r"{line}\r\n")).collect();
    let connection = "dc_4wkgs1ufaqo";
    format!(r#"{{"sdp":{{"type":"offer","sdp":"{sdp}"}},"type":"data","connectionId":"{connection}","#)
        + &format!(r#""label":"{connection}","reliable":false,"serialization":"binary"}}"#)
}

const CLIENTS: usize = 64;
/// Offers in a unit.
const OFFERS: u64 = 640;

/// A unit is 640 offers. There are 32 pairs of clients; who gets an offer sends one back.
pub struct Relay {
    offers: Offers,
}

impl Relay {
    pub fn new(inflight: usize) -> Self {
        Self { offers: Offers::new(inflight.clamp(1, CLIENTS)) }
    }
}

impl Workload for Relay {
    const GREETING: &'static [u8] = OPEN;

    fn prepare(&mut self, clients: &mut Clients) -> Result<()> {
        clients.open_each(CLIENTS, path)
    }

    fn warm(&mut self, clients: &mut Clients) -> Result<f64> {
        self.run(clients, 1)?;
        Ok(1.0)
    }

    fn run(&mut self, clients: &mut Clients, units: u32) -> Result<u64> {
        let offers = &mut self.offers;
        let total = u64::from(units) * OFFERS;
        (offers.to_send, offers.to_arrive) = (total, total);
        for client in 0..offers.inflight {
            offers.to_send -= 1;
            clients.send(client, &offers.frames[client])?;
        }
        while offers.to_arrive > 0 {
            clients.turn(offers)?;
        }
        Ok(total)
    }
}

struct Offers {
    inflight: usize,
    /// What each client sends to its other.
    frames: Vec<Vec<u8>>,
    /// What each client gets.
    expected: Vec<String>,
    to_send: u64,
    to_arrive: u64,
}

impl Offers {
    fn new(inflight: usize) -> Self {
        let payload = payload();
        let frames = (0..CLIENTS).map(|client| {
            let mut frame = Vec::new();
            let text = format!(r#"{{"type":"OFFER","payload":{payload},"dst":"c{}"}}"#, client ^ 1);
            put_masked(&mut frame, TEXT, text.as_bytes());
            frame
        });
        let expected = (0..CLIENTS).map(|client| {
            format!(r#"{{"type":"OFFER","src":"c{}","dst":"c{client}","payload":{payload}}}"#, client ^ 1)
        });
        Self { inflight, frames: frames.collect(), expected: expected.collect(), to_send: 0, to_arrive: 0 }
    }
}

impl Receiver for Offers {
    #[inline]
    fn text(&mut self, client: usize, text: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let right = self.to_arrive > 0 && text == self.expected[client].as_bytes();
        ensure!(right, "got what nobody sent: {:.200}", String::from_utf8_lossy(text));
        self.to_arrive -= 1;
        if self.to_send > 0 {
            self.to_send -= 1;
            out.extend_from_slice(&self.frames[client]);
        }
        Ok(())
    }
}

/// Clients in a unit of `Register`.
const REGISTRATIONS: u32 = 100;
/// How many of them are there at a time.
const WINDOW: usize = 16;

/// A unit is 100 clients: handshake, OPEN, close handshake, end. No two of them have the same id.
#[derive(Default)]
pub struct Register {
    opened: usize,
}

impl Workload for Register {
    const GREETING: &'static [u8] = OPEN;

    fn prepare(&mut self, _clients: &mut Clients) -> Result<()> {
        Ok(())
    }

    fn warm(&mut self, clients: &mut Clients) -> Result<f64> {
        self.run(clients, 1)?;
        Ok(1.0)
    }

    fn run(&mut self, clients: &mut Clients, units: u32) -> Result<u64> {
        let total = u64::from(units * REGISTRATIONS);
        let end = self.opened + total as usize;
        while self.opened < end || clients.len() > 0 {
            while self.opened < end && clients.len() < WINDOW {
                clients.connect(&path(self.opened))?;
                self.opened += 1;
            }
            clients.turn(&mut Silence)?;
            while let Some(client) = clients.arrived.pop() {
                clients.close(client)?;
            }
        }
        Ok(total)
    }
}

/// Clients in a unit of `Registered`.
const REGISTERED: usize = 1000;

/// A unit is 1000 clients, which stay until after the end. There is one unit more from the start.
pub struct Registered;

impl Workload for Registered {
    const GREETING: &'static [u8] = OPEN;

    fn prepare(&mut self, clients: &mut Clients) -> Result<()> {
        clients.open_each(REGISTERED, path)
    }

    fn warm(&mut self, _clients: &mut Clients) -> Result<f64> {
        Ok(1.0)
    }

    fn run(&mut self, clients: &mut Clients, units: u32) -> Result<u64> {
        let count = REGISTERED * units as usize;
        clients.open_each(count, path)?;
        Ok(count as u64)
    }
}

const MANY: usize = 10_000;
/// Seconds from one heartbeat of a client to its next, as `peerjs` has it.
const INTERVAL: f64 = 5.0;
/// Heartbeats that are sent at once: many clients do not do it in step.
const STEP: usize = 10;

/// A unit is one heartbeat of each of 10,000 clients, in five seconds. All have to be there in the end.
#[derive(Default)]
pub struct Heartbeat {
    frame: Vec<u8>,
}

impl Workload for Heartbeat {
    const GREETING: &'static [u8] = OPEN;

    fn prepare(&mut self, clients: &mut Clients) -> Result<()> {
        put_masked(&mut self.frame, TEXT, br#"{"type":"HEARTBEAT"}"#);
        clients.open_each(MANY, path)
    }

    fn warm(&mut self, _clients: &mut Clients) -> Result<f64> {
        Ok(1.0)
    }

    fn run(&mut self, clients: &mut Clients, units: u32) -> Result<u64> {
        let start = Instant::now();
        let total = MANY * units as usize;
        for first in (0..total).step_by(STEP) {
            let due = start + Duration::from_secs_f64(INTERVAL * first as f64 / MANY as f64);
            sleep(due.saturating_duration_since(Instant::now()));
            for number in first..first + STEP {
                clients.send(number % MANY, &self.frame)?;
            }
            clients.glance(&mut Silence)?;
        }
        ensure!(clients.len() == MANY, "only {} of {MANY} clients are left", clients.len());
        Ok(total as u64)
    }
}
