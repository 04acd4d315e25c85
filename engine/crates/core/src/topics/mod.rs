//! The one index of who is subscribed to what. What becomes empty vanishes at once.
//!
//! A topic in a namespace is a room: a dense list of peer keys, which fan-out walks. Each entry knows its place in the
//! peer's own list and the other way round, so an entry is taken out of both by swapping the last one into its place.
//! Unlike Python's dict a room does not keep the order of subscription.

mod names;

pub use names::{Namespace, TopicError, check_topic};

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::limits::Limits;
use names::Namespaces;

/// The key of a peer: its place in the engine's slab.
pub type PeerKey = u32;

/// Topic to namespace to subscribers.
#[derive(Debug, Default)]
pub struct Topics {
    namespaces: Namespaces,
    /// Topics come from clients: the standard hasher is keyed, so that nobody can choose colliding ones.
    index: HashMap<Arc<str>, BTreeMap<Namespace, usize>>,
    rooms: Vec<Room>,
    free: Vec<usize>,
    peers: Vec<Option<Member>>,
    /// Rooms that came and went, for whoever watches.
    changes: Option<Vec<Change>>,
}

/// A topic has its first subscriber in a namespace, or lost its last one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The name of the namespace.
    pub namespace: Box<str>,
    /// The topic.
    pub topic: Arc<str>,
    /// The first came.
    pub begun: bool,
}

#[derive(Debug)]
struct Room {
    topic: Arc<str>,
    namespace: Namespace,
    peers: Vec<PeerKey>,
    /// For each peer the place of this room in its own list.
    places: Vec<u32>,
}

#[derive(Debug)]
struct Member {
    namespace: Namespace,
    rooms: Vec<Membership>,
}

#[derive(Clone, Copy, Debug)]
struct Membership {
    room: usize,
    /// The place in the room.
    place: u32,
}

impl Topics {
    /// No peers, no topics.
    pub fn new() -> Self {
        Self::default()
    }

    /// A peer is there, in one namespace for all its life.
    ///
    /// # Panics
    /// The key is in use.
    pub fn join(&mut self, peer: PeerKey, namespace: &str) -> Namespace {
        let namespace = self.namespaces.enter(namespace);
        let at = peer as usize;
        if at >= self.peers.len() {
            self.peers.resize_with(at + 1, || None);
        }
        let old = self.peers[at].replace(Member { namespace, rooms: Vec::new() });
        assert!(old.is_none(), "the peer's key is in use");
        namespace
    }

    /// A peer is gone, with all its topics. Nothing happens if it was never there.
    pub fn leave(&mut self, peer: PeerKey) {
        self.unsubscribe_all(peer);
        if let Some(member) = self.peers.get_mut(peer as usize).and_then(Option::take) {
            self.namespaces.exit(member.namespace);
        }
    }

    /// Subscribe a peer. False: it was subscribed already.
    ///
    /// # Errors
    /// It is no name for a topic, or the peer has as many as it may have.
    ///
    /// # Panics
    /// The peer has not joined.
    pub fn subscribe(&mut self, peer: PeerKey, topic: &str, limits: &Limits) -> Result<bool, TopicError> {
        check_topic(topic, limits.max_topic_length)?;
        let Member { namespace, ref rooms } = *self.member(peer);
        let known = self.room(topic, namespace);
        if known.is_some_and(|room| rooms.iter().any(|membership| membership.room == room)) {
            return Ok(false);
        }
        if rooms.len() >= limits.max_topics {
            return Err(TopicError::TooMany { most: limits.max_topics });
        }
        let at = known.unwrap_or_else(|| self.open(topic, namespace));
        let room = &mut self.rooms[at];
        let member = self.peers[peer as usize].as_mut().expect("it was there above");
        member.rooms.push(Membership { room: at, place: room.peers.len() as u32 });
        room.peers.push(peer);
        room.places.push(member.rooms.len() as u32 - 1);
        Ok(true)
    }

    /// Unsubscribe a peer. False: it was not subscribed.
    ///
    /// # Panics
    /// The peer has not joined.
    pub fn unsubscribe(&mut self, peer: PeerKey, topic: &str) -> bool {
        let Member { namespace, ref rooms } = *self.member(peer);
        let Some(room) = self.room(topic, namespace) else { return false };
        let Some(at) = rooms.iter().position(|membership| membership.room == room) else { return false };
        let member = self.peers[peer as usize].as_mut().expect("it was there above");
        let gone = member.rooms.swap_remove(at);
        if let Some(moved) = member.rooms.get(at) {
            self.rooms[moved.room].places[moved.place as usize] = at as u32;
        }
        self.remove(gone);
        true
    }

    /// Unsubscribe a peer from everything: it is closing, and nothing goes to it any more.
    pub fn unsubscribe_all(&mut self, peer: PeerKey) {
        let Some(Some(member)) = self.peers.get_mut(peer as usize) else { return };
        for gone in std::mem::take(&mut member.rooms) {
            self.remove(gone);
        }
    }

    /// The topics of a peer, in no order.
    pub fn topics_of(&self, peer: PeerKey) -> impl Iterator<Item = &str> {
        let member = self.peers.get(peer as usize).and_then(Option::as_ref);
        member.into_iter().flat_map(|member| &member.rooms).map(|membership| &*self.rooms[membership.room].topic)
    }

    /// Whether a peer is subscribed.
    pub fn is_subscribed(&self, peer: PeerKey, topic: &str) -> bool {
        let Some(Some(member)) = self.peers.get(peer as usize) else { return false };
        let room = self.room(topic, member.namespace);
        room.is_some_and(|room| member.rooms.iter().any(|membership| membership.room == room))
    }

    /// The subscribers of a topic in one namespace.
    pub fn of(&self, topic: &str, namespace: Namespace) -> &[PeerKey] {
        self.room(topic, namespace).map_or(&[], |room| &self.rooms[room].peers)
    }

    /// The subscribers of a topic in each namespace that has some.
    pub fn everywhere(&self, topic: &str) -> impl Iterator<Item = &[PeerKey]> {
        self.index.get(topic).into_iter().flat_map(|spaces| spaces.values()).map(|&room| &*self.rooms[room].peers)
    }

    /// The namespace of that name, if a peer is in it.
    pub fn namespace(&self, name: &str) -> Option<Namespace> {
        self.namespaces.find(name)
    }

    /// The namespace that a peer has joined.
    pub fn namespace_of(&self, peer: PeerKey) -> Option<Namespace> {
        self.peers.get(peer as usize)?.as_ref().map(|member| member.namespace)
    }

    /// Keep the changes from now on. Those topics that there are already count as begun.
    pub fn watch(&mut self) {
        if self.changes.is_none() {
            let begun = self.rooms.iter().filter(|room| !room.peers.is_empty());
            self.changes = Some(begun.map(|room| self.change(room, true)).collect());
        }
    }

    /// What has changed since the last call, in order.
    pub fn take_changes(&mut self) -> Vec<Change> {
        self.changes.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Whether something has.
    pub fn has_changes(&self) -> bool {
        self.changes.as_ref().is_some_and(|changes| !changes.is_empty())
    }

    fn change(&self, room: &Room, begun: bool) -> Change {
        Change { namespace: self.namespaces.name(room.namespace).into(), topic: Arc::clone(&room.topic), begun }
    }

    fn changed(&mut self, at: usize, begun: bool) {
        if self.changes.is_some() {
            let change = self.change(&self.rooms[at], begun);
            self.changes.get_or_insert_default().push(change);
        }
    }

    /// Topics with subscribers.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether nobody is subscribed to anything.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    fn member(&self, peer: PeerKey) -> &Member {
        self.peers.get(peer as usize).and_then(Option::as_ref).expect("the peer has joined")
    }

    fn room(&self, topic: &str, namespace: Namespace) -> Option<usize> {
        self.index.get(topic)?.get(&namespace).copied()
    }

    fn open(&mut self, topic: &str, namespace: Namespace) -> usize {
        let topic = self.index.get_key_value(topic).map_or_else(|| Arc::from(topic), |(known, _)| Arc::clone(known));
        let room = Room { topic: Arc::clone(&topic), namespace, peers: Vec::new(), places: Vec::new() };
        let at = match self.free.pop() {
            Some(at) => {
                self.rooms[at] = room;
                at
            }
            None => {
                self.rooms.push(room);
                self.rooms.len() - 1
            }
        };
        self.index.entry(topic).or_default().insert(namespace, at);
        self.changed(at, true);
        at
    }

    /// Take an entry out of its room, whose last one moves into the place.
    fn remove(&mut self, gone: Membership) {
        let room = &mut self.rooms[gone.room];
        let place = gone.place as usize;
        room.peers.swap_remove(place);
        room.places.swap_remove(place);
        if let Some(&moved) = room.peers.get(place) {
            let member = self.peers[moved as usize].as_mut().expect("a subscriber is there");
            member.rooms[room.places[place] as usize].place = gone.place;
        } else if room.peers.is_empty() {
            self.vanish(gone.room);
        }
    }

    fn vanish(&mut self, at: usize) {
        self.changed(at, false);
        let room = &mut self.rooms[at];
        (room.peers, room.places) = (Vec::new(), Vec::new());
        if let Some(spaces) = self.index.get_mut(&room.topic) {
            spaces.remove(&room.namespace);
            if spaces.is_empty() {
                self.index.remove(&room.topic);
            }
        }
        room.topic = Arc::from("");
        self.free.push(at);
    }
}

#[cfg(test)]
mod tests;
