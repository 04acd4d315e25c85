//! The floor: a server that does nothing but the work itself, for nobody could do it with less.
//!
//! One thread, one epoll set, one room. A frame is made once, appended to the buffer of everybody who gets it, and each
//! buffer is written with one system call at the end of the turn. No hooks, no limits, no checks that are not needed.

use std::io::{ErrorKind, Result};
use std::net::{Ipv4Addr, TcpListener};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use memchr::memmem::find;
use rustix::net::{AddressFamily, SocketType, sockopt};
use sha1_smol::Sha1;

use crate::frame::{self, CLOSE, TEXT};
use crate::poll::Poll;
use crate::socket::{Input, Socket};

const LISTENER: usize = usize::MAX;
const BACKLOG: i32 = 4096;
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

#[derive(Clone, Copy)]
enum Path {
    Chat,
    Echo,
    Fan,
}

struct Peer {
    socket: Socket,
    /// None before the handshake.
    path: Option<Path>,
    /// Its place in the room.
    seat: usize,
    is_dirty: bool,
}

struct Floor {
    poll: Poll,
    peers: Vec<Option<Peer>>,
    free: Vec<usize>,
    room: Vec<usize>,
    /// Whose buffer is to be written at the end of the turn.
    dirty: Vec<usize>,
    /// The frame that is being sent.
    frame: Vec<u8>,
}

/// Serve until killed.
pub fn serve(port: u16) -> anyhow::Result<()> {
    let listener = listen(port)?;
    let poll = Poll::new()?;
    poll.add(&listener, LISTENER)?;
    let (peers, free, room, dirty, frame) = Default::default();
    let mut floor = Floor { poll, peers, free, room, dirty, frame };
    let mut scratch = Vec::new();
    loop {
        for index in 0..floor.poll.wait(None)? {
            let ready = floor.poll.ready(index);
            if ready.key == LISTENER {
                floor.accept(&listener)?;
                continue;
            }
            if ready.readable && !floor.read(ready.key, &mut scratch) {
                floor.remove(ready.key);
            }
            if ready.writable {
                floor.mark(ready.key);
            }
        }
        floor.flush();
    }
}

fn listen(port: u16) -> Result<TcpListener> {
    // As the standard library does it, but with a longer backlog.
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    rustix::net::bind(&socket, &std::net::SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))?;
    rustix::net::listen(&socket, BACKLOG)?;
    let listener = TcpListener::from(socket);
    listener.set_nonblocking(true)?;
    Ok(listener)
}

impl Floor {
    fn accept(&mut self, listener: &TcpListener) -> Result<()> {
        loop {
            let stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            let key = self.free.pop().unwrap_or_else(|| {
                self.peers.push(None);
                self.peers.len() - 1
            });
            let socket = Socket::new(stream, &self.poll, key)?;
            self.peers[key] = Some(Peer { socket, path: None, seat: 0, is_dirty: false });
        }
    }

    /// Read and serve one peer; whether it stays.
    fn read(&mut self, key: usize, scratch: &mut Vec<u8>) -> bool {
        let Some(peer) = &mut self.peers[key] else {
            return true;
        };
        let length = match peer.socket.read(scratch) {
            Ok(Input::Bytes(length)) => length,
            Ok(Input::Nothing) => return true,
            Ok(Input::End) | Err(_) => return false,
        };
        let bytes = &mut scratch[..length];
        let mut at = 0;
        if peer.path.is_none() {
            let Some((path, end)) = handshake(bytes, &mut peer.socket.out) else {
                peer.socket.keep(bytes);
                return true;
            };
            at = end;
            peer.path = Some(path);
            peer.seat = self.room.len();
            self.room.push(key);
            frame::put_plain(&mut peer.socket.out, TEXT, b"ready");
            self.mark(key);
        }
        while let Ok(Some(found)) = frame::parse(bytes, at) {
            at = found.end;
            let payload = &mut bytes[found.start..found.end];
            frame::apply_mask(payload, found.mask.unwrap_or_default());
            if !self.take(key, found.opcode, payload) {
                return false;
            }
        }
        if let Some(peer) = &mut self.peers[key] {
            peer.socket.keep(&bytes[at..]);
        }
        true
    }

    /// Answer one frame; whether the peer stays.
    fn take(&mut self, key: usize, opcode: u8, payload: &[u8]) -> bool {
        let mut frame = std::mem::take(&mut self.frame);
        frame.clear();
        frame::put_plain(&mut frame, opcode, payload);
        let path = self.peers[key].as_ref().and_then(|peer| peer.path);
        match (opcode, path) {
            (TEXT, Some(Path::Echo)) => self.put(key, &frame),
            (TEXT, Some(path)) => self.publish(key, matches!(path, Path::Chat), &frame),
            (CLOSE, _) => {
                self.put(key, &frame);
                if let Some(peer) = &mut self.peers[key] {
                    let _ = peer.socket.flush(&self.poll, key);
                }
            }
            _ => {}
        }
        self.frame = frame;
        opcode != CLOSE
    }

    /// Send to everybody in the room, perhaps the sender too.
    fn publish(&mut self, sender: usize, to_sender: bool, frame: &[u8]) {
        for seat in 0..self.room.len() {
            let key = self.room[seat];
            if key != sender || to_sender {
                self.put(key, frame);
            }
        }
    }

    #[inline]
    fn put(&mut self, key: usize, frame: &[u8]) {
        if let Some(peer) = &mut self.peers[key] {
            peer.socket.out.extend_from_slice(frame);
        }
        self.mark(key);
    }

    #[inline]
    fn mark(&mut self, key: usize) {
        if let Some(peer) = &mut self.peers[key]
            && !peer.is_dirty
        {
            peer.is_dirty = true;
            self.dirty.push(key);
        }
    }

    fn flush(&mut self) {
        while let Some(key) = self.dirty.pop() {
            let Some(peer) = &mut self.peers[key] else {
                continue;
            };
            peer.is_dirty = false;
            if peer.socket.flush(&self.poll, key).is_err() {
                self.remove(key);
            }
        }
    }

    fn remove(&mut self, key: usize) {
        let Some(peer) = self.peers[key].take() else {
            return;
        };
        self.free.push(key);
        if peer.path.is_some() {
            self.room.swap_remove(peer.seat);
            if let Some(moved) = self.room.get(peer.seat)
                && let Some(moved) = &mut self.peers[*moved]
            {
                moved.seat = peer.seat;
            }
        }
    }
}

/// Answer a complete request; its path and its length.
fn handshake(bytes: &[u8], out: &mut Vec<u8>) -> Option<(Path, usize)> {
    let end = find(bytes, b"\r\n\r\n")? + 4;
    let name = b"Sec-WebSocket-Key: ";
    let key = find(bytes, name)? + name.len();
    let path = match bytes.get(4..9)? {
        b"/chat" => Path::Chat,
        b"/echo" => Path::Echo,
        _ => Path::Fan,
    };
    let mut hash = Sha1::new();
    hash.update(bytes.get(key..key + 24)?);
    hash.update(GUID);
    let accept = BASE64_STANDARD.encode(hash.digest().bytes());
    out.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n");
    out.extend_from_slice(format!("Sec-WebSocket-Accept: {accept}\r\n\r\n").as_bytes());
    Some((path, end))
}
