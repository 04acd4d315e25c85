//! A thin skin on epoll, level-triggered.

use std::os::fd::{AsFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

const EVENTS: usize = 1024;

pub struct Poll {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

/// What a descriptor is ready for.
#[derive(Clone, Copy)]
pub struct Ready {
    pub key: usize,
    pub readable: bool,
    pub writable: bool,
}

impl Poll {
    pub fn new() -> Result<Self, Errno> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Self { epoll, events: Vec::with_capacity(EVENTS) })
    }

    /// Watch a descriptor until it is closed.
    pub fn add(&self, fd: impl AsFd, key: usize) -> Result<(), Errno> {
        epoll::add(&self.epoll, fd, epoll::EventData::new_u64(key as u64), epoll::EventFlags::IN)
    }

    /// Say whether a descriptor has something to write that did not fit.
    pub fn want_write(&self, fd: impl AsFd, key: usize, wanted: bool) -> Result<(), Errno> {
        let out = if wanted { epoll::EventFlags::OUT } else { epoll::EventFlags::empty() };
        epoll::modify(&self.epoll, fd, epoll::EventData::new_u64(key as u64), epoll::EventFlags::IN | out)
    }

    /// Wait for something to happen; the number of descriptors that are ready is 0 when `seconds` have passed.
    pub fn wait(&mut self, seconds: Option<i64>) -> Result<usize, Errno> {
        self.events.clear();
        let timeout = seconds.map(|tv_sec| Timespec { tv_sec, tv_nsec: 0 });
        loop {
            match epoll::wait(&self.epoll, spare_capacity(&mut self.events), timeout.as_ref()) {
                Err(Errno::INTR) => {}
                result => return result,
            }
        }
    }

    /// One of those that the last `wait` found.
    pub fn ready(&self, index: usize) -> Ready {
        // The kernel's event is a packed struct: its fields are copied, not borrowed.
        let epoll::Event { flags, data } = self.events[index];
        let broken = epoll::EventFlags::HUP | epoll::EventFlags::ERR;
        Ready {
            key: data.u64() as usize,
            readable: flags.intersects(epoll::EventFlags::IN | broken),
            writable: flags.contains(epoll::EventFlags::OUT),
        }
    }
}
