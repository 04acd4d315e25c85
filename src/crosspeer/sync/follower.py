"""What one node knows of the log of one topic that has subscribers here, and what these get.

Everything that they get comes through here, so a node that has to look something up in the log holds all of it for a
moment, and nobody gets anything twice or too early. It knows no loop and no backend: `Journal` does what takes time.

While the log cannot be reached the node goes *apart*: its own peers' messages are delivered at once, at positions of an
epoch of its own, until all of them have come back from the log.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from crosspeer.core.history import History, Kept, Log, Position, moved
from crosspeer.core.hub import send_item
from crosspeer.core.recovery import Outcome, Recovery

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from crosspeer.core.hub import Hub
    from crosspeer.core.outgoing import Outgoing
    from crosspeer.core.peer import Peer
    from crosspeer.sync.port import LogName, Page
    from crosspeer.wire.logged import Stamp

logger = logging.getLogger("crosspeer")

MAX_HELD: Final = 10_000
"""Messages that wait for a page of the log. Beyond it they are left to the next page."""


class Entry(NamedTuple):
    """A message of the log. None for its item: it was malformed, and only its place is known."""

    stamp: Stamp
    item: Outgoing | None
    own: int | None = None
    """The number of a message of this node."""


class Own(NamedTuple):
    """What this node remembers of its message until it comes from the log."""

    sender: Any
    """The session that has published it, which does not get it; None if nobody here has."""
    was_delivered: bool
    """Before it came from the log."""


class Asked(NamedTuple):
    """A peer that waits for the log."""

    since: Position | None
    recovery: Recovery


class Owner(Protocol):
    """What a follower has to ask for."""

    def look_up(self, follower: Follower) -> None:
        """Read the log soon, and hand the page over."""
        ...

    def is_looking_up(self, follower: Follower) -> bool:
        """Whether another page will come."""
        ...

    def renew(self, follower: Follower, epoch: str) -> None:
        """The log of this epoch has lost messages that were delivered: begin it anew, and read it then."""
        ...

    def missed(self) -> None:
        """The log has lost something that subscribers here have not got."""
        ...

    @property
    def number(self) -> int:
        """Of our latest message."""
        ...

    def claim(self, follower: Follower, number: int) -> Own | None:
        """One of our messages has come from the log. None: it is no news."""
        ...

    def waiter(self) -> Recovery:
        """A recovery that is not known yet."""
        ...


class Follower:
    """One topic in one namespace.

    Args:
        entries: reads the messages of a page.
    """

    def __init__(
        self,
        hub: Hub,
        owner: Owner,
        namespace: str,
        topic: str,
        name: LogName,
        entries: Callable[[Follower, Page], list[Entry]],
    ) -> None:
        assert hub.history is not None
        self.name: Final = name
        self.namespace: Final = namespace
        self.topic: Final = topic
        self._hub = hub
        self._owner = owner
        self._now = hub.history.clock
        self._entries = entries
        self._kept: History = name.kept
        self._log: Log | None = None
        """A copy of the log's end, as far as it was delivered. None: not read yet."""
        self._apart: Log | None = None
        self._left_at = 0
        """Where the copy stood when we went apart."""
        self._asked: dict[Peer, Asked] = {}
        self._ahead: dict[Peer, Asked] = {}
        """Of these those who know more than we do yet: what they have had elsewhere they do not get again."""
        self._held: deque[Entry] = deque()
        self._is_holding = True
        self._is_puzzled = False
        """What was held does not fit behind the page: the next one decides whether it was ever in the log."""
        self._is_doubtful = False
        """Some message is passed over until we are back, so that only who begins afresh misses nothing."""
        self._early = 0
        """Messages that were delivered here and have not come back from the log."""
        self._born = owner.number
        """Our messages up to this number may be in the part of the log that nobody here was sent."""

    @property
    def offset(self) -> int | None:
        """Up to where the log was delivered."""
        return None if self._log is None else self._log.position.offset

    def has(self, stamp: Stamp) -> bool:
        """Whether this message was delivered already."""
        return self._log is not None and stamp.epoch == self._log.epoch and stamp.offset <= self._log.position.offset

    def wanted(self) -> int | None:
        """From where on the log is to be read now. None: only where it stands is of interest."""
        asked = [since.offset for since, _ in self._asked.values() if since is not None]
        if self._log is None:
            return min(asked, default=None)
        if any(offset < self._log.floor for offset in asked):
            # Whoever asks next may ask for a little more: all of it, and not again and again.
            return self._log.bottom
        return self._log.position.offset

    # Peers.

    def subscribed(self, peer: Peer, since: Position | None, *, is_up: bool) -> Recovery:
        """A peer has subscribed. It gets whatever is delivered from now on, and before that what it has missed."""
        if is_up and self._is_unknown(since):
            recovery = self._owner.waiter()
            before = self._asked.get(peer)
            if before is not None:
                self._refuse(before)
            self._asked[peer] = Asked(since, recovery)
            self._hold()
            return recovery
        return Recovery(self._answer(peer, since))

    def _is_unknown(self, since: Position | None) -> bool:
        """Whether only the log can tell."""
        log = self._log
        if log is None:
            return self._apart is None
        if since is None or since.epoch != log.epoch or self._apart is not None:
            return False
        return log.bottom <= since.offset < log.floor or since.offset > log.position.offset

    def _answer(self, peer: Peer, since: Position | None) -> Outcome:
        missed = None if since is None else self._missed(since)
        return self._hub.replay(peer, missed, self._position())

    def _missed(self, since: Position) -> list[Kept] | None:
        if self._apart is None:
            return None if self._log is None else self._log.since(since, self._now())
        if since.epoch == self._apart.epoch:
            return self._apart.since(since, self._now())
        if self._log is None or self._is_doubtful or since.offset > self._left_at:
            return None
        # What both have seen, and then what we have delivered alone.
        shared = self._log.since(since, self._now())
        alone = self._apart.since(Position(self._apart.epoch, 0), self._now())
        if shared is None or alone is None:
            return None
        return [kept for kept in shared if kept.position.offset <= self._left_at] + alone

    def _position(self) -> Position:
        """Where who is subscribed stands."""
        log = self._apart or self._log
        if log is None:
            log = self._apart = Log(self.topic, self._kept)
        return log.position

    def _refuse(self, asked: Asked) -> None:
        asked.recovery.settle(Outcome(recovered=False, position=self._position(), replayed=0))

    # The log.

    def arrived(self, entry: Entry) -> None:
        """A message was published on the channel of the log."""
        if not self._is_holding:
            self._take(entry)
        elif len(self._held) < MAX_HELD:
            self._held.append(entry)

    def take_page(self, page: Page, after: int | None, asked_at: int | None) -> Iterator[None]:
        """The log was read.

        Yields when those who have waited for it are to go on first: what they send then comes before what is new.

        Args:
            after: from where on it was asked.
            asked_at: up to where it was delivered then.
        """
        bottom = 0 if after is None or page.floor <= after else page.floor
        entries = self._entries(self, page)
        lost = False
        if self._log is None:
            yield from self._begin(page, entries, bottom)
            lost = self._apart is not None
        elif page.epoch == self._log.epoch and asked_at is not None and page.head < asked_at:
            self._owner.renew(self, page.epoch)
            return
        elif page.epoch != self._log.epoch or page.floor > self._log.position.offset:
            yield from self._begin(page, entries, bottom)
            lost = True
        else:
            yield from self._extend(page, entries, bottom)
        if lost:
            # Who comes back from before has missed something, wherever it was.
            self._owner.missed()
            self._apart = None if self._apart is None or self._early <= 0 else Log(self.topic, self._kept)
            self._left_at = page.head
            self._tell(recovered=False)
        if not self._asked:
            self._is_holding = False
            self._let_go()
            self._rejoin()
        # Else another page will tell.

    def _begin(self, page: Page, entries: list[Entry], bottom: int) -> Iterator[None]:
        """Take the page for what the topic is from now on: nobody gets it."""
        log = self._log = Log(self.topic, self._kept, Position(page.epoch, page.head))
        older = [(entry.stamp.offset, entry.item) for entry in entries if entry.item is not None]
        log.prepend(older, page.floor, self._now())
        log.bottom = max(log.bottom, bottom)
        self._born = self._owner.number
        for entry in entries:
            own = None if entry.own is None else self._owner.claim(self, entry.own)
            if own is not None and own.was_delivered:
                self._early -= 1
        if self._asked:
            self._answer_all()
            yield

    def _extend(self, page: Page, entries: list[Entry], bottom: int) -> Iterator[None]:
        log = self._log
        assert log is not None
        if page.floor < log.floor:
            older = [(entry.stamp.offset, entry.item) for entry in entries if entry.item is not None]
            log.prepend(older, page.floor, self._now())
            log.bottom = max(log.bottom, bottom)
        if self._asked:
            self._answer_all(page.head)
            yield
        newer = [entry for entry in entries if entry.stamp.offset > log.position.offset]
        if not self._ahead and not self._asked:
            for entry in newer:
                self._take(entry)
            return
        for entry in newer:
            if (fresh := self._keep(entry)) is not None:
                self._send_to_each(*fresh, entry.stamp.offset)
        ahead, self._ahead = self._ahead, {}
        for since, recovery in ahead.values():
            # Skipped what it had: the rest was its replay.
            missed = [entry for entry in newer if since is not None and entry.stamp.offset > since.offset]
            recovery.settle(Outcome(recovered=True, position=self._position(), replayed=len(missed)))
        if ahead:
            yield

    def _answer_all(self, head: int = -1) -> None:
        """Answer those who wait, but for those who know more than we do yet."""
        asked, self._asked = self._asked, {}
        for peer, (since, recovery) in asked.items():
            if self.topic not in peer.topics:
                self._refuse(Asked(since, recovery))
            elif since is not None and self._is_ahead(since, head):
                self._ahead[peer] = Asked(since, recovery)
            elif self._is_unknown(since) and self._owner.is_looking_up(self):
                # It came after the question.
                self._asked[peer] = Asked(since, recovery)
            else:
                recovery.settle(self._answer(peer, since))

    def _is_ahead(self, since: Position, head: int) -> bool:
        log = self._log
        if log is None or self._apart is not None:
            return False
        return since.epoch == log.epoch and log.position.offset < since.offset <= head

    def _let_go(self) -> None:
        held, self._held = self._held, deque()
        strange = []
        for entry in held:
            log, place = self._log, entry.stamp
            if log is not None and place.epoch == log.epoch and place.previous <= log.position.offset:
                self._take(entry)
            else:
                strange.append(entry)
        self._is_puzzled = bool(strange) and not self._is_puzzled
        if self._is_puzzled:
            self._held.extend(strange)
            self._hold()

    def _take(self, entry: Entry) -> None:
        """Deliver the next message, or find that it is not the next one."""
        log = self._log
        place = entry.stamp
        if log is None or place.epoch != log.epoch or place.previous > log.position.offset:
            self._held.append(entry)
            self._hold()
        elif place.offset > log.position.offset:
            if (fresh := self._keep(entry)) is not None:
                kept, sender = fresh
                self._hub.fan_out(self.topic, kept, self.namespace, sender)
            self._rejoin()

    def _keep(self, entry: Entry) -> tuple[Kept, Any] | None:
        """Go on to a message, and return what is to be delivered and who has sent it.

        None: it is malformed, or it was delivered before.
        """
        log = self._log
        assert log is not None
        if entry.item is None:
            log.skip(entry.stamp.offset)
            return None
        kept = log.append(entry.item, self._now(), entry.stamp.offset)
        own = None if entry.own is None else self._owner.claim(self, entry.own)
        if own is not None and own.was_delivered:
            self._early -= 1
            return None
        if self._apart is not None:
            kept = self._apart.append(entry.item, self._now())
        return kept, None if own is None else own.sender

    def _send_to_each(self, kept: Kept, sender: Any, offset: int) -> None:
        """Deliver, but not to those who have had it elsewhere, or who still wait for what comes before it."""
        for peer in tuple(self._hub.peers.get(self.namespace, ())):
            asked = self._ahead.get(peer)
            has_it = asked is not None and asked.since is not None and offset <= asked.since.offset
            has_to_wait = peer in self._asked
            if (
                self.topic in peer.topics
                and not (has_it or has_to_wait)
                and (sender is None or peer._session is not sender)
            ):
                send_item(peer, kept)

    def _hold(self) -> None:
        self._is_holding = True
        self._owner.look_up(self)

    def cut_off(self) -> None:
        """The log cannot be reached: nobody waits for it, and it has to be read when it can."""
        self._is_holding = True
        self._held.clear()
        asked, self._asked, self._ahead = self._ahead | self._asked, {}, {}
        for peer, (since, recovery) in asked.items():
            recovery.settle(self._answer(peer, since))

    # Apart.

    def deliver_early(self, item: Outgoing, sender: Any, number: int) -> None:
        """Deliver a message of our own before it comes from the log."""
        if number <= self._born:
            self._pass_over()
            return
        self._leave()
        self._early += 1
        assert self._apart is not None
        self._hub.fan_out(self.topic, self._apart.append(item, self._now()), self.namespace, sender)

    def _pass_over(self) -> None:
        """A message of our own was published before those here subscribed. Nobody knows whether the log had it by then.

        Who stands in the log may have had it or not: that is told. Whoever begins afresh does so behind it.
        """
        if self._log is not None and not self._is_doubtful:
            self._apart = None
            self._leave()
            self._owner.missed()
            self._tell(recovered=False)
        self._is_doubtful = True
        self._leave()
        self._early += 1

    def _leave(self) -> None:
        if self._apart is None:
            self._apart = Log(self.topic, self._kept)
            self._left_at = 0 if self._log is None else self._log.position.offset

    def given_up(self) -> None:
        """One of those will not come back: the log has lost it, or has it where nobody here was sent it."""
        self._early -= 1
        self._rejoin()

    def _rejoin(self) -> None:
        """Be together with the others again, as soon as the log has everything that was delivered here."""
        if self._apart is not None and self._early <= 0 and not self._is_holding and self._log is not None:
            self._apart, self._early, self._is_doubtful = None, 0, False
            self._tell(recovered=True)

    def _tell(self, *, recovered: bool) -> None:
        """Tell who is here that they stand elsewhere now."""
        position = self._position()
        if self._kept.tagged:
            item = moved(self.topic, position, recovered=recovered)
            self._hub.fan_out(self.topic, item, self.namespace, None)
        if not recovered and self._kept.lost is not None:
            try:
                self._kept.lost(self.namespace, self.topic, position)
            except Exception as error:
                logger.error("the callback for messages of %r that were lost failed", self.topic, exc_info=error)
