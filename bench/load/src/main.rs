//! The two ends of the bench: a load generator, and a server that does nothing but the work itself.

mod clients;
mod floor;
mod frame;
mod poll;
mod socket;
mod workloads;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use workloads::{
    Amount, Chat, Connect, Echo, Heartbeat, Idle, Latency, Publish, Register, Registered, Relay, Sized, Topics, measure,
};

#[derive(Parser)]
#[command(version, about)]
struct Cli {
    /// The port on the loopback
    #[arg(long, env = "PORT")]
    port: u16,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve /chat, /echo and /fan with the least possible work
    Floor,
    /// 32 clients that send 640 texts each and hear all of them
    Chat(Amount),
    /// 64 clients whose texts come back
    Echo {
        /// How many each client keeps in flight
        #[arg(long, default_value_t = 1)]
        inflight: u32,
        #[command(flatten)]
        amount: Amount,
    },
    /// Subscribers and one publisher
    Publish {
        /// How many hear it
        #[arg(long, default_value_t = 1000)]
        subscribers: usize,
        /// How many texts are published at once
        #[arg(long, default_value_t = 1)]
        burst: usize,
        #[command(flatten)]
        amount: Amount,
    },
    /// Texts that come back to 8 clients, each with one in flight
    Sized {
        /// Bytes of a text, 16 or more
        #[arg(long, value_parser = clap::value_parser!(u32).range(16..))]
        size: u32,
        #[command(flatten)]
        amount: Amount,
    },
    /// Texts that go to one of many topics, each of which has one subscriber
    Topics {
        #[arg(long)]
        topics: usize,
        #[command(flatten)]
        amount: Amount,
    },
    /// 64 clients whose texts come back, sent when they are due and not when there is time
    Latency {
        /// Texts a second, of all clients together
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
        rate: u32,
        #[command(flatten)]
        amount: Amount,
    },
    /// Connections that are opened and closed
    Connect(Amount),
    /// Connections that stay
    Idle(Amount),
    /// PeerJS clients that send offers of 2 KB to each other through a broker
    Relay {
        /// How many are on their way at a time
        #[arg(long, default_value_t = 64)]
        inflight: usize,
        #[command(flatten)]
        amount: Amount,
    },
    /// PeerJS clients that come to a broker and go
    Register(Amount),
    /// PeerJS clients that stay with a broker
    Registered(Amount),
    /// 10,000 PeerJS clients that send a heartbeat every 5 seconds
    Heartbeat(Amount),
}

fn main() -> ExitCode {
    let Cli { port, command } = Cli::parse();
    match run(port, command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(port: u16, command: Command) -> Result<()> {
    match command {
        Command::Floor => floor::serve(port),
        Command::Chat(amount) => measure(Chat::default(), port, amount),
        Command::Echo { inflight, amount } => measure(Echo::new(inflight), port, amount),
        Command::Publish { subscribers, burst, amount } => measure(Publish::new(burst, subscribers), port, amount),
        Command::Sized { size, amount } => measure(Sized::new(size as usize), port, amount),
        Command::Topics { topics, amount } => measure(Topics::new(topics), port, amount),
        Command::Latency { rate, amount } => measure(Latency::new(rate), port, amount),
        Command::Connect(amount) => measure(Connect, port, amount),
        Command::Idle(amount) => measure(Idle, port, amount),
        Command::Relay { inflight, amount } => measure(Relay::new(inflight), port, amount),
        Command::Register(amount) => measure(Register::default(), port, amount),
        Command::Registered(amount) => measure(Registered, port, amount),
        Command::Heartbeat(amount) => measure(Heartbeat::default(), port, amount),
    }
}
