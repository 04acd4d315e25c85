//! A non-blocking socket that is written once a turn.

use std::io::{ErrorKind, Read, Result, Write};
use std::net::TcpStream;

use crate::poll::Poll;

/// Room for one read. Both ends read big and parse in place.
pub const READ: usize = 1 << 18;

pub struct Socket {
    stream: TcpStream,
    /// What waits for the end of the turn.
    pub out: Vec<u8>,
    /// The start of a frame whose end has not come yet.
    rest: Vec<u8>,
    waits_to_write: bool,
}

/// What a read brought.
pub enum Input {
    /// So many bytes lie in the scratch buffer, the rest of the last read included.
    Bytes(usize),
    Nothing,
    End,
}

impl Socket {
    pub fn new(stream: TcpStream, poll: &Poll, key: usize) -> Result<Self> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        poll.add(&stream, key)?;
        Ok(Self { stream, out: Vec::new(), rest: Vec::new(), waits_to_write: false })
    }

    /// Read once. A socket that has more is reported again by the poll.
    pub fn read(&mut self, scratch: &mut Vec<u8>) -> Result<Input> {
        let kept = self.rest.len();
        if scratch.len() < kept + READ {
            scratch.resize(kept + READ, 0);
        }
        scratch[..kept].copy_from_slice(&self.rest);
        match self.stream.read(&mut scratch[kept..]) {
            Ok(0) => Ok(Input::End),
            Ok(count) => Ok(Input::Bytes(kept + count)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Input::Nothing),
            Err(error) => Err(error),
        }
    }

    /// Remember what was read and not parsed.
    pub fn keep(&mut self, rest: &[u8]) {
        self.rest.clear();
        self.rest.extend_from_slice(rest);
    }

    /// Write what waits, with one system call; what does not fit goes when the poll says so.
    pub fn flush(&mut self, poll: &Poll, key: usize) -> Result<()> {
        if !self.out.is_empty() {
            match self.stream.write(&self.out) {
                Ok(count) if count == self.out.len() => self.out.clear(),
                Ok(count) => drop(self.out.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        let wanted = !self.out.is_empty();
        if wanted != self.waits_to_write {
            self.waits_to_write = wanted;
            poll.want_write(&self.stream, key, wanted)?;
        }
        Ok(())
    }
}
