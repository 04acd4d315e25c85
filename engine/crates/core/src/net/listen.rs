//! Accepting, also when the process has no descriptor left.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{self, SocketFlags};

/// A listening socket.
#[derive(Debug)]
pub(super) struct Listener {
    pub socket: OwnedFd,
    /// It is not watched for now: whoever comes could not be let in, and would wake the loop for ever.
    pub is_waiting: bool,
}

/// What there was to accept.
pub(super) enum Accepted {
    /// A connection, and where it comes from (None for a Unix socket).
    Connection(OwnedFd, Option<SocketAddr>),
    /// Nobody else is there.
    Nobody,
    /// Somebody, and no descriptor or no memory for a connection.
    NoRoom,
}

impl Listener {
    pub fn new(socket: OwnedFd) -> Self {
        Self { socket, is_waiting: false }
    }

    /// The next connection.
    pub fn accept(&self) -> Accepted {
        loop {
            match net::acceptfrom_with(&self.socket, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                Ok((socket, address)) => {
                    let address = address.and_then(|address| SocketAddr::try_from(address).ok());
                    if address.is_some() {
                        let _ = net::sockopt::set_tcp_nodelay(&socket, true);
                    }
                    return Accepted::Connection(socket, address);
                }
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => return Accepted::NoRoom,
                Err(_) => return Accepted::Nobody,
            }
        }
    }
}
