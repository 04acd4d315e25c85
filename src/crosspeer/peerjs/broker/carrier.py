"""How messages reach clients of other nodes: each has a number, and waits here until its receiver's node has it.

So none is lost without a word: what nobody confirms in time is told to its sender by EXPIRE, like what nobody came for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from crosspeer.peerjs.broker.flights import Flights
from crosspeer.wire.brokers import read_relayed
from crosspeer.wire.peerjs import PARTINGS, leave_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from crosspeer.peerjs.broker.directory import Directory, Entry
    from crosspeer.peerjs.broker.registry import Client
    from crosspeer.peerjs.broker.state import State
    from crosspeer.peerjs.broker.voice import Voice

ENVELOPE: Final = 256
"""Bytes that a message may be larger than its sender's frame: it says whom it is from."""


class Place(NamedTuple):
    """Where a client of another node is."""

    node: bytes
    entry: Entry


class Carrier:
    """Messages to and from the clients of other nodes."""

    def __init__(self, state: State, voice: Voice, directory: Directory) -> None:
        self._state = state
        self._voice = voice
        self._directory = directory
        self._most = state.limits.max_message_size + ENVELOPE
        self._unheard: set[bytes] = set()
        """Nodes that have said nothing since an outage began."""
        self.flights = Flights(state.queues.room, state.options.expire_timeout)
        self.carries = voice.carries
        """Whether a text is not too big for another node."""
        self.words: Final[dict[str, Callable[..., None]]] = {
            "message": self._message,
            "got": self._got,
            "none": self._none,
            "lost": self._lost,
            "expired": self._expired,
        }

    def place(self, id: str) -> Place | None:
        """Where an id is, if it is on another node and that can be reached."""
        found = self._directory.find(id)
        if found is None or found[0] in self._unheard or not self._voice.is_heard:
            return None
        return Place(*found)

    def send(self, place: Place, src: str, kind: str, dst: str, text: str, now: float) -> bool:
        """Send a message to a client of another node. False: too much is on its way already."""
        number = 0
        if kind not in PARTINGS:
            message = self._state.queues.room.take(src, kind, text)
            if message is None:
                return False
            number = self.flights.start(place.node, place.entry, dst, message, now)
            self._state.watch(self.flights.due())
        self._voice.say("message", number, text, to=place.node)
        self._state.metrics.forwarded[kind] += 1
        return True

    def hand_over(self, id: str) -> None:
        """A client has come in elsewhere: what waits for it here is for it."""
        place = self.place(id)
        if place is not None:
            now = self._state.clock.time()
            for message in self._state.queues.take(id):
                self.send(place, message.src, message.type, id, message.text, now)

    def expired(self, absent: str, src: str) -> None:
        """Nobody came for a message whose sender has gone on to another node."""
        place = self.place(src)
        if place is not None:
            self._voice.say("expired", absent, src, to=place.node)

    # What becomes of the others.

    def cut_off(self) -> None:
        """The others cannot be reached. Who is there has to say so when they can be again."""
        self._unheard = self._directory.nodes

    def heard(self, node: bytes) -> None:
        """A node is there, and we know its ids: what waited for them during an outage goes on."""
        if node in self._unheard:
            self._unheard.discard(node)
            for id in self._state.queues:
                self.hand_over(id)

    def gone(self, node: bytes) -> None:
        self._unheard.discard(node)

    # What other nodes say.

    def _message(self, node: bytes, number: int, text: str) -> None:
        kind, src, dst = read_relayed(text, self._most)
        client = self._state.registry.get(dst)
        answer = "none" if client is None else self._deliver(client, kind, src, text)
        if number:
            self._voice.say(answer, number, to=node)

    def _deliver(self, client: Client, kind: str, src: str, text: str) -> str:
        if not client.is_reachable:
            return "lost"
        now = self._state.clock.time()
        since = now - self._state.limits.contact_time
        if kind in PARTINGS and not client.knows(src, since):
            self._state.metrics.refused["stranger"] += 1
            return "got"
        client.send(text)
        client.met(src, now, since)
        self._state.metrics.relayed[kind] += 1
        return "got"

    def _got(self, node: bytes, number: int) -> None:
        self.flights.end(node, number)

    def _none(self, node: bytes, number: int) -> None:
        """It was gone already: by now it may have come in somewhere else, or here, or comes in a moment."""
        flight = self.flights.end(node, number)
        if flight is None:
            return
        state, message, dst, now = self._state, flight.message, flight.dst, self._state.clock.time()
        place, client = self.place(dst), state.registry.get(dst)
        if client is not None:
            if self._deliver(client, message.type, message.src, message.text) == "lost":
                self._tell_of_loss(message.src, dst)
        elif place is not None and place != (flight.node, flight.entry):
            self.send(place, message.src, message.type, dst, message.text, now)
        elif not state.park(message.src, dst, message.type, message.text, now):
            state.expire(dst, message.src, now)

    def _lost(self, node: bytes, number: int) -> None:
        flight = self.flights.end(node, number)
        if flight is not None:
            self._tell_of_loss(flight.message.src, flight.dst)

    def _tell_of_loss(self, src: str, dst: str) -> None:
        """A message came to a connection that was about to end."""
        sender = self._state.registry.get(src)
        if sender is not None:
            sender.send(leave_text(dst, src))

    def _expired(self, node: bytes, absent: str, src: str) -> None:
        self._state.expire_here(absent, src, self._state.clock.time())
