"""One broker among the others of its fleet."""

from __future__ import annotations

import time
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

from crosspeer.peerjs.broker.carrier import Carrier
from crosspeer.peerjs.broker.claims import Claims
from crosspeer.peerjs.broker.directory import Directory, Entry, wins
from crosspeer.peerjs.broker.log import Log, digest_of
from crosspeer.peerjs.broker.state import REPLACED, TAKEN
from crosspeer.peerjs.broker.voice import Voice
from crosspeer.sync import Relay, connect
from crosspeer.wire.brokers import ROWS, BadWord, read_rows, read_word
from crosspeer.wire.peerjs import ID_TAKEN_TEXT

if TYPE_CHECKING:
    from collections.abc import Callable

    from crosspeer.core.sync import Sync
    from crosspeer.peerjs.broker.claims import Verdict
    from crosspeer.peerjs.broker.state import State


class Fleet:
    """Knows the ids of all nodes, and says what happens to ours (`sync.Part`).

    Args:
        judge: says whether who brings the token of one of our ids, or another one, may have it.
    """

    def __init__(self, state: State, relay: Relay, judge: Callable[[str, bool], Verdict]) -> None:
        self._state = state
        self._node = relay.node.bytes
        self._voice = Voice(relay)
        self._log = Log(time.time)
        self._directory = Directory()
        self.claims: Final = Claims(state, relay, self._voice, self._directory, self._log, judge)
        self.carrier: Final = Carrier(state, self._voice, self._directory)
        self._words: dict[str, Callable[..., None]] = {
            "here": self._here,
            "ask": self._ask,
            "ids": self._ids,
            "join": self._join,
            "left": self._left,
            "mine": self._mine,
            **self.claims.words,
            **self.carrier.words,
        }
        for id in state.registry:
            client = state.registry.get(id)
            assert client is not None
            self._log.join(id, Entry(self._log.stamp(), digest_of(id, client.token)))
        state.metrics.elsewhere = lambda: (1 + len(self._directory.nodes), len(self._directory))
        relay.add(self)

    def knows(self, id: str) -> bool:
        """Whether another node has an id, as far as is known here."""
        return self._directory.find(id) is not None

    def ids(self) -> list[str]:
        """The ids of all nodes, in the order of their registration."""
        entries = {**dict(self._directory), **self._log.entries}
        return sorted(entries, key=lambda id: entries[id].stamp)

    # What happens to our ids.

    def joined(self, id: str, entry: Entry) -> None:
        self._log.join(id, entry)
        self._voice.say("join", self._log.number, id, *entry)

    def left(self, id: str) -> None:
        self._log.leave(id)
        self._voice.say("left", self._log.number, id)

    # Part, for the relay.

    def changed(self, up: bool) -> None:
        self.claims.changed(up)
        if not up:
            self.carrier.cut_off()

    def announce(self) -> None:
        self.claims.forget()
        self._voice.say("here", self._log.number)

    def gone(self, node: bytes) -> None:
        self._directory.drop(node)
        self.carrier.gone(node)
        self.claims.gone(node)

    def heard(self, node: bytes, words: Any) -> None:
        if not isinstance(words, list):
            raise BadWord("words that are none")
        self.claims.heard(node)
        bad = None
        for word in words:
            try:
                name, fields = read_word(word)
                self._words[name](node, *fields)
            except BadWord as error:
                self._state.metrics.refused["said by another node"] += 1
                bad = error
        if bad is not None:
            raise bad

    # What other nodes say of their ids.

    def _here(self, node: bytes, number: int) -> None:
        if self._directory.meet(node):
            self._voice.say("here", self._log.number, to=node)
        # Once for each time that a node says so: an answer may be lost.
        self._directory.has_no_answer(node)
        self._catch_up(node, number)
        if not self._directory.is_behind(node):
            self.carrier.heard(node)
            for id in self._directory.shared(node, self._log.entries.keys()):
                # What we have said about it may be lost, like everything.
                self._contest(node, id)

    def _ask(self, node: bytes) -> None:
        rows = [[id, *entry] for id, entry in self._log.entries.items()]
        parts = [rows[at : at + ROWS] for at in range(0, len(rows), ROWS)] or [[]]
        for part, some in enumerate(parts):
            self._voice.say("ids", self._log.number, part, len(parts), some, to=node)

    def _ids(self, node: bytes, number: int, part: int, parts: int, rows: list[Any]) -> None:
        entries = {id: Entry(*entry) for id, entry in read_rows(rows).items()}
        for id in self._directory.replace(node, number, part, parts, entries):
            self._arrived(node, id)
        if not self._directory.is_behind(node):
            self.carrier.heard(node)
        self._catch_up(node, 0)

    def _join(self, node: bytes, number: int, id: str, stamp: int, digest: str) -> None:
        if self._directory.joined(node, number, id, Entry(stamp, digest)):
            self._arrived(node, id)
        self._catch_up(node, number)

    def _left(self, node: bytes, number: int, id: str) -> None:
        self._directory.left(node, number, id)
        self._catch_up(node, number)

    def _catch_up(self, node: bytes, number: int) -> None:
        if self._directory.has_to_ask(node, number):
            self._voice.say("ask", to=node)

    def _arrived(self, node: bytes, id: str) -> None:
        self.claims.arrived(id)
        if id in self._log.entries:
            self._contest(node, id)
        else:
            self.carrier.hand_over(id)

    def _contest(self, node: bytes, id: str) -> None:
        """Tell a node that we have an id of its own. It has to answer: perhaps it has it no more."""
        self._voice.say("mine", id, *self._log.entries[id], to=node)

    def _mine(self, node: bytes, id: str, stamp: int, digest: str) -> None:
        """Two nodes have one id, after they could not reach each other: one of them has to give it up."""
        mine, client, theirs = self._log.entries.get(id), self._state.registry.get(id), Entry(stamp, digest)
        if mine is None or client is None:
            return
        if not wins(theirs, node, mine, self._node):
            self._contest(node, id)
            return
        self._state.metrics.conflicts += 1
        if mine.digest == theirs.digest:
            self._state.drop(client, REPLACED, "replaced")
        else:
            client.send(ID_TAKEN_TEXT)
            self._state.drop(client, TAKEN, "id taken")


def relay_of(sync: Sync | str, key: str) -> Relay:
    """The relay of a broker. Without one of its own it shares a backplane with whatever else is there.

    Raises:
        ValueError: it cannot be had, or cannot be used by a broker.
    """
    if isinstance(sync, str):
        sync = connect(sync, prefix=f"peerjs-{blake2b(key.encode(), digest_size=6).hexdigest()}")
    if not isinstance(sync, Relay):
        raise ValueError("a broker takes the URL of a backend, or what crosspeer.sync.connect makes of one")
    return sync
