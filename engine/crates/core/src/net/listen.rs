//! Accepting, also when the process has no descriptor left.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{self, SocketFlags};

/// A listening socket, and a descriptor in reserve.
#[derive(Debug)]
pub(super) struct Listener {
    pub socket: OwnedFd,
    reserve: Option<OwnedFd>,
}

impl Listener {
    pub fn new(socket: OwnedFd) -> Self {
        let reserve = socket.try_clone().ok();
        Self { socket, reserve }
    }

    /// The next connection and where it comes from (None for a Unix socket), None when there is none.
    pub fn accept(&mut self) -> Option<(OwnedFd, Option<SocketAddr>)> {
        loop {
            match net::acceptfrom_with(&self.socket, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                Ok((socket, address)) => {
                    let address = address.and_then(|address| SocketAddr::try_from(address).ok());
                    if address.is_some() {
                        let _ = net::sockopt::set_tcp_nodelay(&socket, true);
                    }
                    return Some((socket, address));
                }
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(Errno::MFILE | Errno::NFILE) => {
                    // Let one in to send it away: a connection that waits would wake the loop for ever.
                    drop(self.reserve.take()?);
                    drop(net::accept_with(&self.socket, SocketFlags::CLOEXEC));
                    self.reserve = self.socket.try_clone().ok();
                }
                Err(_) => return None,
            }
        }
    }
}
