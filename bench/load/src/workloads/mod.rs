//! What is measured, one file each, and the part that they share: warm up, begin, run, end.

mod broker;
mod chat;
mod connect;
mod echo;
mod idle;
mod latency;
mod publish;
mod sized;
mod topics;

use std::io::{Write, stdin, stdout};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rustix::time::{ClockId, clock_gettime};

use crate::clients::Clients;

pub use broker::{Heartbeat, Register, Registered, Relay};
pub use chat::Chat;
pub use connect::Connect;
pub use echo::Echo;
pub use idle::Idle;
pub use latency::Latency;
pub use publish::Publish;
pub use sized::Sized;
pub use topics::Topics;

/// The length of the texts that are sent.
const TEXT_SIZE: usize = 16;
type Text = [u8; TEXT_SIZE];

/// One kind of work, done in units so that it can be cut to length.
pub trait Workload {
    /// What the server says to every client first.
    const GREETING: &'static [u8] = b"ready";

    /// Open the clients that all runs share.
    fn prepare(&mut self, clients: &mut Clients) -> Result<()>;

    /// Do a small piece; which share of a unit it was.
    fn warm(&mut self, clients: &mut Clients) -> Result<f64>;

    /// Do that many units and wait until all of it has been answered; how many messages (or handshakes) it was.
    fn run(&mut self, clients: &mut Clients, units: u32) -> Result<u64>;

    /// Seconds from when a message was due to its echo, of the last run: at 50, 90, 99 and 99.9 %, and the longest.
    fn latency(&mut self) -> Option<[f64; 5]> {
        None
    }
}

/// How much to do.
#[derive(Clone, Copy, clap::Args)]
pub struct Amount {
    /// Units of work in the measured phase
    #[arg(long)]
    units: u32,
    /// Fewer units, so that the measured phase takes about this long at the pace of the warm-up
    #[arg(long, value_name = "SECONDS")]
    cut_to: Option<f64>,
    /// How long to warm up
    #[arg(long, value_name = "SECONDS", default_value_t = 0.5)]
    warm_up: f64,
}

/// Run a workload between two marks on the standard output, at each of which a line is waited for, and report.
pub fn measure<W: Workload>(mut workload: W, port: u16, amount: Amount) -> Result<()> {
    let mut clients = Clients::new(port, W::GREETING)?;
    workload.prepare(&mut clients)?;
    let pace = warm_up(&mut workload, &mut clients, Duration::from_secs_f64(amount.warm_up))?;
    let units = amount.cut_to.map_or(amount.units, |seconds| ((seconds / pace) as u32).clamp(1, amount.units));

    mark("begin")?;
    let (start, cpu) = (Instant::now(), cpu_seconds());
    let messages = workload.run(&mut clients, units)?;
    let (seconds, cpu) = (start.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    mark("end")?;

    // A delivery too many would arrive now, and be refused.
    clients.close_all()?;
    let latency = workload.latency().map_or_else(|| "null".into(), |found| format!("{found:?}"));
    println!(
        r#"{{"units": {units}, "messages": {messages}, "seconds": {seconds:.6}, "load_cpu_seconds": {cpu:.6}, "latency": {latency}}}"#
    );
    Ok(())
}

/// Do small pieces for a while; the seconds that a unit takes by the second half of them.
fn warm_up(workload: &mut impl Workload, clients: &mut Clients, long: Duration) -> Result<f64> {
    let start = Instant::now();
    let (mut since, mut done) = (start, 0.0);
    loop {
        done += workload.warm(clients)?;
        if start.elapsed() >= long {
            return Ok(since.elapsed().as_secs_f64() / done);
        }
        if since == start && start.elapsed() >= long / 2 {
            (since, done) = (Instant::now(), 0.0);
        }
    }
}

/// Print a mark and wait for the answer of whoever reads the server's clock.
pub fn mark(name: &str) -> Result<()> {
    println!("{name}");
    stdout().flush()?;
    ensure!(stdin().read_line(&mut String::new())? > 0, "nobody answers {name:?}");
    Ok(())
}

fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
