//! Clients that come and go.

use anyhow::Result;

use super::Workload;
use crate::clients::{Clients, Silence};

/// Connections in a unit.
const CONNECTIONS: u32 = 100;
/// How many are open at a time.
const WINDOW: usize = 16;

/// A unit is 100 connections: handshake, "ready", close handshake, end.
pub struct Connect;

impl Workload for Connect {
    fn prepare(&mut self, _clients: &mut Clients) -> Result<()> {
        Ok(())
    }

    fn warm(&mut self, clients: &mut Clients) -> Result<f64> {
        self.run(clients, 1)?;
        Ok(1.0)
    }

    fn run(&mut self, clients: &mut Clients, units: u32) -> Result<u64> {
        let total = units * CONNECTIONS;
        let mut opened = 0;
        while opened < total || clients.len() > 0 {
            while opened < total && clients.len() < WINDOW {
                clients.connect("/echo")?;
                opened += 1;
            }
            clients.turn(&mut Silence)?;
            while let Some(client) = clients.arrived.pop() {
                clients.close(client)?;
            }
        }
        Ok(u64::from(total))
    }
}
