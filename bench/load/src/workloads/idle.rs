//! Clients that are there and do nothing.

use anyhow::Result;

use super::Workload;
use crate::clients::Clients;

/// Connections in a unit.
const CONNECTIONS: usize = 1000;

/// A unit is 1000 connections, which stay until after the end, so that the server's memory can be read then.
///
/// There is one unit more from the start: the first connections cost what the server does once.
pub struct Idle;

impl Workload for Idle {
    fn prepare(&mut self, clients: &mut Clients) -> Result<()> {
        clients.open("/echo", CONNECTIONS)
    }

    fn warm(&mut self, _clients: &mut Clients) -> Result<f64> {
        Ok(1.0)
    }

    fn run(&mut self, clients: &mut Clients, units: u32) -> Result<u64> {
        let count = CONNECTIONS * units as usize;
        clients.open("/echo", count)?;
        Ok(count as u64)
    }
}
