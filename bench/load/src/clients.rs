//! Many WebSocket clients in one thread.

use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::frame::{self, CLOSE, PING, PONG, TEXT};
use crate::poll::{Poll, Ready};
use crate::socket::{Input, Socket};

/// The sample nonce of RFC 6455 and its answer: a client of a bench need not be unpredictable.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &[u8] = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

const NORMAL: [u8; 2] = 1000_u16.to_be_bytes();

/// How many handshakes go on at a time where many clients are opened.
const WINDOW: usize = 64;
/// Seconds without any event after which a run is given up.
const PATIENCE: i64 = 30;

/// What a workload does with the texts that arrive.
pub trait Receiver {
    /// A text for a client. What is put into `out` is written at the end of the turn.
    fn text(&mut self, client: usize, text: &[u8], out: &mut Vec<u8>) -> Result<()>;
}

/// For workloads that expect no texts but the greeting.
pub struct Silence;

impl Receiver for Silence {
    fn text(&mut self, _client: usize, text: &[u8], _out: &mut Vec<u8>) -> Result<()> {
        bail!("got a text that nobody sent: {:?}", String::from_utf8_lossy(text))
    }
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Handshake,
    /// Accepted, but the server has not said its greeting yet.
    Greeting,
    Up,
    /// Our close frame is out, the server's has not come.
    Closing,
    /// Both close frames went; the server ends the connection.
    Ending,
}

struct Client {
    socket: Socket,
    state: State,
}

pub struct Clients {
    port: u16,
    /// What the server says to every client first.
    greeting: &'static [u8],
    poll: Poll,
    scratch: Vec<u8>,
    clients: Vec<Option<Client>>,
    free: Vec<usize>,
    up: usize,
    /// Those that came up since this was last taken.
    pub arrived: Vec<usize>,
}

impl Clients {
    pub fn new(port: u16, greeting: &'static [u8]) -> Result<Self> {
        let (poll, scratch) = (Poll::new()?, Vec::new());
        Ok(Self { port, greeting, poll, scratch, clients: Vec::new(), free: Vec::new(), up: 0, arrived: Vec::new() })
    }

    /// How many there are, in whatever state.
    pub fn len(&self) -> usize {
        self.clients.len() - self.free.len()
    }

    /// Open clients on a path, a few at a time, and return when all are up.
    pub fn open(&mut self, path: &str, count: usize) -> Result<()> {
        self.open_each(count, |_| path.into())
    }

    /// Open clients, each on a path of its own: by its number, which counts on from those that are there.
    pub fn open_each(&mut self, count: usize, path: impl Fn(usize) -> String) -> Result<()> {
        let (present, wanted) = (self.len(), self.up + count);
        while self.up < wanted {
            while self.len() < present + count && self.len() - self.up < WINDOW {
                self.connect(&path(self.len()))?;
            }
            self.turn(&mut Silence)?;
        }
        self.arrived.clear();
        Ok(())
    }

    /// Close clients politely, a few at a time, and return when the server has ended every connection.
    pub fn close_all(&mut self) -> Result<()> {
        let mut waiting: Vec<usize> = (0..self.clients.len()).filter(|&key| self.clients[key].is_some()).collect();
        while self.len() > 0 {
            while self.len() - waiting.len() < WINDOW
                && let Some(key) = waiting.pop()
            {
                self.close(key)?;
            }
            self.turn(&mut Silence)?;
        }
        Ok(())
    }

    /// Start one client's handshake.
    pub fn connect(&mut self, path: &str) -> Result<()> {
        // A connection on the loopback is there at once while the backlog has room: no need for more states.
        let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, self.port);
        let stream = TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
        let key = self.free.pop().unwrap_or(self.clients.len());
        let mut socket = Socket::new(stream, &self.poll, key)?;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        );
        socket.out.extend_from_slice(request.as_bytes());
        socket.flush(&self.poll, key)?;
        if key == self.clients.len() {
            self.clients.push(None);
        }
        self.clients[key] = Some(Client { socket, state: State::Handshake });
        Ok(())
    }

    /// Start one client's close handshake.
    pub fn close(&mut self, key: usize) -> Result<()> {
        let client = self.clients[key].as_mut().context("closed a client that is not there")?;
        ensure!(client.state == State::Up, "closed a client that is not up");
        client.state = State::Closing;
        self.up -= 1;
        frame::put_masked(&mut client.socket.out, CLOSE, &NORMAL);
        Ok(client.socket.flush(&self.poll, key)?)
    }

    /// Write frames to one client, made with `frame::put_masked`.
    pub fn send(&mut self, key: usize, frames: &[u8]) -> Result<()> {
        let client = self.clients[key].as_mut().context("sent to a client that is not there")?;
        client.socket.out.extend_from_slice(frames);
        Ok(client.socket.flush(&self.poll, key)?)
    }

    /// Wait until something arrives, hand it over, and write what came of it: once for each client.
    pub fn turn(&mut self, receiver: &mut impl Receiver) -> Result<()> {
        let count = self.poll.wait(Some(PATIENCE))?;
        ensure!(count > 0, "nothing happened for {PATIENCE} seconds ({} clients, {} up)", self.len(), self.up);
        self.serve_ready(count, receiver)
    }

    /// Do what there is to do without waiting for anything.
    pub fn glance(&mut self, receiver: &mut impl Receiver) -> Result<()> {
        let count = self.poll.wait(Some(0))?;
        self.serve_ready(count, receiver)
    }

    fn serve_ready(&mut self, count: usize, receiver: &mut impl Receiver) -> Result<()> {
        for index in 0..count {
            let ready = self.poll.ready(index);
            self.serve(ready, receiver).with_context(|| format!("client {}", ready.key))?;
        }
        Ok(())
    }

    fn serve(&mut self, ready: Ready, receiver: &mut impl Receiver) -> Result<()> {
        let client = self.clients[ready.key].as_mut().context("is reported after its end")?;
        let change = if ready.readable {
            client.read(ready.key, self.greeting, &mut self.scratch, receiver)?
        } else {
            Change::None
        };
        match change {
            Change::None => {}
            Change::Up => {
                self.up += 1;
                self.arrived.push(ready.key);
            }
            Change::Gone => {
                self.clients[ready.key] = None;
                self.free.push(ready.key);
                return Ok(());
            }
        }
        Ok(client.socket.flush(&self.poll, ready.key)?)
    }
}

enum Change {
    None,
    Up,
    Gone,
}

impl Client {
    /// Read once and go through the frames.
    fn read(
        &mut self,
        key: usize,
        greeting: &[u8],
        scratch: &mut Vec<u8>,
        receiver: &mut impl Receiver,
    ) -> Result<Change> {
        let length = match self.socket.read(scratch) {
            Ok(Input::Bytes(length)) => length,
            Ok(Input::Nothing) => return Ok(Change::None),
            Ok(Input::End) | Err(_) if self.state == State::Ending => return Ok(Change::Gone),
            Ok(Input::End) => bail!("the server ended the connection without a close frame"),
            Err(error) => return Err(anyhow!(error).context("the connection broke")),
        };
        let bytes = &scratch[..length];
        let before = self.state;
        let mut at = 0;
        if self.state == State::Handshake {
            at = handshake(bytes)?;
            if at > 0 {
                self.state = State::Greeting;
            }
        }
        if self.state != State::Handshake {
            while let Some(found) = frame::parse(bytes, at)? {
                let payload = &bytes[found.start..found.end];
                if self.state == State::Greeting && found.opcode == TEXT && payload == greeting {
                    self.state = State::Up;
                } else {
                    self.frame(key, found.opcode, payload, receiver)?;
                }
                at = found.end;
            }
        }
        self.socket.keep(&bytes[at..]);
        let came_up = self.state == State::Up && before != State::Up;
        Ok(if came_up { Change::Up } else { Change::None })
    }

    #[inline]
    fn frame(&mut self, key: usize, opcode: u8, payload: &[u8], receiver: &mut impl Receiver) -> Result<()> {
        match (opcode, self.state) {
            (TEXT, State::Up) => receiver.text(key, payload, &mut self.socket.out)?,
            (PING, _) => frame::put_masked(&mut self.socket.out, PONG, payload),
            (CLOSE, State::Closing) if payload.is_empty() || payload.starts_with(&NORMAL) => {
                self.state = State::Ending;
            }
            (CLOSE, _) => bail!("the server closed it: {}", close_reason(payload)),
            (opcode, _) => bail!("unexpected frame {opcode:#x}: {:?}", String::from_utf8_lossy(payload)),
        }
        Ok(())
    }
}

/// The length of the server's answer, 0 while it is not complete.
fn handshake(bytes: &[u8]) -> Result<usize> {
    let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else {
        return Ok(0);
    };
    let head = &bytes[..end];
    let accepted = head.starts_with(b"HTTP/1.1 101 ") && memchr::memmem::find(head, ACCEPT).is_some();
    let status = head.split(|&byte| byte == b'\r').next().unwrap_or_default();
    ensure!(accepted, "the handshake was refused: {}", String::from_utf8_lossy(status));
    ensure!(memchr::memmem::find(head, b"permessage-deflate").is_none(), "the server compresses unasked");
    Ok(end + 4)
}

fn close_reason(payload: &[u8]) -> String {
    match payload.split_first_chunk::<2>() {
        None => "no code".into(),
        Some((code, reason)) => format!("{} {}", u16::from_be_bytes(*code), String::from_utf8_lossy(reason)),
    }
}
