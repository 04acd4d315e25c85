"""Whose an id is, when clients may ask for it on any node: whoever asks has to hear yes from all the others.

No two nodes can both hear it. Each would have to say yes to the other before it began to ask itself, and so before the
other had asked. Nothing in that depends on the order in which a backplane delivers, on clocks, or on what is lost.
"""

from __future__ import annotations

import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, Literal

from crosspeer.peerjs.broker.clock import Event, sleep, wait
from crosspeer.peerjs.broker.directory import Entry
from crosspeer.peerjs.broker.log import digest_of
from crosspeer.peerjs.broker.state import REPLACED
from crosspeer.wire.brokers import BadWord

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from crosspeer.peerjs.broker.directory import Directory
    from crosspeer.peerjs.broker.log import Log
    from crosspeer.peerjs.broker.state import State
    from crosspeer.peerjs.broker.voice import Voice
    from crosspeer.sync import Relay

Verdict = Literal["granted", "taken", "too often", "later"]
"""What becomes of a claim. `later`: somebody is just being let in with that id on another node, so ask again."""

SETTLE: Final = 0.3
"""Seconds after the others can be reached (again) until we know who they are. Claims wait for it."""
PATIENCE: Final = 1.0
"""Seconds into an outage until claims are decided without the others: most are shorter."""
ANSWER_WITHIN: Final = 2.0
"""Seconds that a claim waits for the answers of nodes which are thought to be there."""
AGAIN_AFTER: Final = 0.05
"""Seconds, on average: two that are in each other's way are not to stay so."""


class Claim:
    """A client of this node that asks for an id."""

    __slots__ = ("decided", "entry", "is_heir", "over", "verdict", "waiting")

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.verdict: Verdict | None = None
        """None while it is asked for."""
        self.decided = Event()
        self.over = Event()
        """The client is registered, or turned away."""
        self.waiting: set[bytes] = set()
        """Nodes that have not answered."""
        self.is_heir = False
        """Whether the client has the id already, on another node."""

    def ask(self, nodes: set[bytes], is_heir: bool) -> None:
        """Begin (again) to wait for answers."""
        self.waiting, self.is_heir = nodes, is_heir
        self.verdict = None
        self.decided.clear()
        self.look()

    def decide(self, verdict: Verdict) -> None:
        if self.verdict is None:
            self.verdict = verdict
            self.decided.set()

    def look(self) -> None:
        if not self.waiting:
            self.decide("granted")


class Claims:
    """The claims of this node's clients, and its answers to those of others.

    Args:
        judge: says whether who brings the token of an id, or another one, may have it.
    """

    def __init__(
        self,
        state: State,
        relay: Relay,
        voice: Voice,
        directory: Directory,
        log: Log,
        judge: Callable[[str, bool], Verdict],
    ) -> None:
        self._state = state
        self._relay = relay
        self._voice = voice
        self._directory = directory
        self._log = log
        self._judge = judge
        self._node = relay.node.bytes
        self._claims: dict[str, Claim] = {}
        self._asked: dict[int, Claim] = {}
        self._last = 0
        self._promised: dict[str, tuple[str, float]] = {}
        """Ids that were given up for a client who comes in elsewhere: its digest, and how long nobody else gets it."""
        self._silent: set[bytes] = set()
        """Nodes that did not answer. They are not waited for until they say something."""
        self._reached = Event()
        self._settled_at = 0.0
        self._lost_at: float | None = None
        self.words: Final[dict[str, Callable[..., None]]] = {"claim": self._claimed, "yes": self._yes, "no": self._no}

    @asynccontextmanager
    async def claimed(self, id: str, token: str) -> AsyncIterator[tuple[Verdict, Entry]]:
        """Ask for an id. Inside, whoever was granted it is alone to do so; it has to be registered before any await.

        An id of this node is granted too: its token is the caller's to look at.
        """
        while (other := self._claims.get(id)) is not None:
            await other.over.wait()
        claim = self._claims[id] = Claim(Entry(self._log.stamp(), digest_of(id, token)))
        try:
            verdict = "granted" if id in self._state.registry else await self._decide(id, claim)
            yield verdict, claim.entry
        finally:
            del self._claims[id]
            claim.over.set()

    # What becomes of the others.

    def changed(self, up: bool) -> None:
        now = self._state.clock.time()
        if up:
            self._settled_at = now + SETTLE
            self._reached.set()
            return
        # Nobody waits for the one that has happened; the next loop to run this may be another.
        self._reached = Event()
        self._lost_at = now
        for claim in self._asked.values():
            claim.decide("later")

    def heard(self, node: bytes) -> None:
        self._silent.discard(node)

    def gone(self, node: bytes) -> None:
        """A node is not there any more: nothing is to be expected of it."""
        self._silent.discard(node)
        for claim in tuple(self._asked.values()):
            claim.waiting.discard(node)
            claim.look()

    def arrived(self, id: str) -> None:
        """A client has come in elsewhere: if it was promised the id, that is done."""
        self._promised.pop(id, None)

    def forget(self) -> None:
        """Leave out the promises that nobody has come for."""
        now = self._state.clock.time()
        self._promised = {id: promise for id, promise in self._promised.items() if promise[1] > now}

    # Our own claims.

    async def _decide(self, id: str, claim: Claim) -> Verdict:
        until = self._state.clock.time() + ANSWER_WITHIN
        while await self._reach():
            verdict = await self._ask(id, claim, until)
            if verdict != "later":
                return verdict
            if self._reached.is_set() and self._state.clock.time() >= until:
                return "taken"
            await sleep(AGAIN_AFTER * random.uniform(0.5, 1.5))
        claim.verdict = self._alone(id, claim, None)
        return claim.verdict

    async def _reach(self) -> bool:
        """Wait until the others can be asked. False: for longer than a moment they cannot."""
        await self._relay.start()
        now = self._state.clock.time()
        if self._lost_at is None:
            self._lost_at = now
        if not self._reached.is_set():
            await wait(self._reached, self._lost_at + PATIENCE - now)
        if self._reached.is_set() and self._settled_at > (now := self._state.clock.time()):
            await sleep(self._settled_at - now)
        return self._reached.is_set()

    async def _ask(self, id: str, claim: Claim, until: float) -> Verdict:
        known = self._directory.find(id)
        claim.ask(self._directory.nodes - self._silent, known is not None and known[1].digest == claim.entry.digest)
        self._last = number = self._last + 1
        self._asked[number] = claim
        self._voice.say("claim", number, id, *claim.entry)
        try:
            if not await wait(claim.decided, until - self._state.clock.time()):
                self._silent |= claim.waiting
                claim.decide(self._alone(id, claim, claim.waiting))
        finally:
            del self._asked[number]
        assert claim.verdict is not None
        return claim.verdict

    def _alone(self, id: str, claim: Claim, silent: set[bytes] | None) -> Verdict:
        """Decide by what is known of nodes that do not answer; None: of all of them."""
        known = self._directory.find(id)
        if known is None or (silent is not None and known[0] not in silent):
            return "granted"
        if known[1].digest != claim.entry.digest:
            return "taken"
        self._inherit(claim, known[1].stamp)
        return "granted"

    def _inherit(self, claim: Claim, stamp: int) -> None:
        """The client has the id already: the registration that is to come has to be the later one."""
        claim.is_heir = True
        if claim.entry.stamp <= stamp:
            claim.entry = claim.entry._replace(stamp=self._log.stamp(after=stamp))

    def _yes(self, node: bytes, number: int, stamp: int) -> None:
        claim = self._asked.get(number)
        if claim is None or claim.verdict is not None:
            return
        if stamp:
            # It has given up the id for us.
            self._inherit(claim, stamp)
        claim.waiting.discard(node)
        claim.look()

    def _no(self, node: bytes, number: int, why: str) -> None:
        if why not in ("taken", "too often", "later"):
            raise BadWord("a reason that is none")
        claim = self._asked.get(number)
        if claim is not None:
            claim.decide(why)  # type: ignore[arg-type]

    # Claims of other nodes.

    def _claimed(self, node: bytes, number: int, id: str, stamp: int, digest: str) -> None:
        self._voice.say(*self._answer(node, number, id, Entry(stamp, digest)), to=node)

    def _answer(self, node: bytes, number: int, id: str, theirs: Entry) -> list[Any]:
        mine = self._log.entries.get(id)
        if mine is not None:
            return self._give_up(number, id, mine, theirs)
        claim = self._claims.get(id)
        if claim is not None and claim.verdict in (None, "granted"):
            keeps = claim.is_heir and claim.entry.digest != theirs.digest
            if keeps or claim.verdict is not None or (claim.entry.stamp, self._node) < (theirs.stamp, node):
                return ["no", number, "later"]
            claim.decide("later")
        digest, until = self._promised.get(id, ("", 0.0))
        if digest != theirs.digest and until > self._state.clock.time():
            return ["no", number, "later"]
        return ["yes", number, 0]

    def _give_up(self, number: int, id: str, mine: Entry, theirs: Entry) -> list[Any]:
        """An id of this node is asked for: the client that has it may have come again, elsewhere."""
        verdict = self._judge(id, mine.digest == theirs.digest)
        client = self._state.registry.get(id)
        if verdict != "granted" or client is None:
            return ["no", number, verdict]
        self._promised[id] = (theirs.digest, self._state.clock.time() + ANSWER_WITHIN)
        self._state.metrics.takeovers += 1
        self._state.drop(client, REPLACED, "replaced")
        return ["yes", number, mine.stamp]
