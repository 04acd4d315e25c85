"""Topics with history, on a backplane that keeps their logs: what this node appends to them, and reads of them.

What is published goes to the log, and from there to all nodes, this one included. It waits here until the log has it,
and is appended again after an outage, under the same number.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from crosspeer.core.history import MAX_LOGS, Position
from crosspeer.core.outgoing import Outgoing
from crosspeer.core.recovery import Outcome, Recovery
from crosspeer.sync.backlog import Backlog, Pending, Returning
from crosspeer.sync.follower import Entry, Follower, Own
from crosspeer.sync.link import Link, heed_cancellation
from crosspeer.sync.port import Append, LogName
from crosspeer.sync.reading import ANSWER_WITHIN, Reading
from crosspeer.wire.envelope import EnvelopeError, Publication, entry
from crosspeer.wire.logged import Stamp, decode_numbered, encode_numbered, read_stamp

if TYPE_CHECKING:
    from collections.abc import Callable

    from crosspeer.core.hub import Hub
    from crosspeer.core.peer import Peer
    from crosspeer.core.session import Session
    from crosspeer.sync.port import Logs, Page

logger = logging.getLogger("crosspeer")

PATIENCE: Final = 2.0
"""Seconds that our own peers wait for a log that does not answer. Then they get what is published here at once."""
CHECK_EVERY: Final = 10.0
"""Seconds between two looks at where the logs stand: nobody else misses a last message that was lost on its way."""
LOGGED: Final = 256
"""Bytes that a number, an envelope, a seal and a stamp add, generously."""
NOWHERE: Final = Position("0" * 16, 0)


@dataclass(frozen=True, slots=True)
class Means:
    """What the journal needs of the relay that it is a part of."""

    node: bytes
    link: Callable[[], Link]
    channel: Callable[[str, str], str]
    """Of a namespace and a topic."""
    seal: Callable[[str, bytes], bytes]
    """For a channel."""
    unseal: Callable[[str, bytes], bytes]
    announce: Callable[[bytes], None]
    """Tell all nodes of a message for all namespaces."""
    refused: Callable[[str], None]
    """A message cannot be read, for this reason."""
    most: Callable[[], int]
    """Bytes of one message."""


class Journal:
    """All topics of one node that have a log for all nodes.

    Args:
        logs: what keeps them.
    """

    def __init__(self, hub: Hub, logs: Logs, means: Means) -> None:
        assert hub.history is not None
        self._hub = hub
        self._rule = hub.history.rule
        self._logs = logs
        self._means = means
        self._number = 0
        self._followers: dict[str, Follower] = {}
        """By their channels."""
        self._spaces: OrderedDict[tuple[str, str], None] = OrderedDict()
        """Topics and namespaces that have or had subscribers here: where a message for all namespaces goes."""
        self._own = Returning()
        """Our messages, until they have come back or nobody here waits for that."""
        self._backlog = Backlog(self._lose)
        self._reading = Reading(logs, self)
        self._has_news = asyncio.Event()
        self._is_idle = asyncio.Event()
        self._is_idle.set()
        self._is_up = False
        self._has_log = False
        """Whether it is there, and not too slow, so that somebody may wait for it."""
        self._is_alone = True
        """Our own messages are delivered at once. From one turn later on: those who have waited go on first."""
        self._timer: asyncio.TimerHandle | None = None
        self.lost = 0
        """Messages that no log has, because none was there for too long."""
        self.gaps = 0
        """Times that messages were missed which the log had lost, too."""

    # Journal, for the hub.

    def publish(self, namespace: str | None, topic: str, item: Outgoing, sender: Session | None) -> None:
        self._number += 1
        if namespace is not None:
            self._put(namespace, topic, item, sender, is_spread=False)
            return
        for space in dict.fromkeys([*self._hub.peers, *(space for name, space in self._spaces if name == topic)]):
            self._put(space, topic, item, None, is_spread=True)
        # Other nodes know of other namespaces. Where both know one, the number makes one message of two.
        record = entry(Publication(None, topic, item.data), item.payload)
        self._means.announce(encode_numbered(self._means.node, self._number, record, is_spread=True))

    def subscribed(self, peer: Peer, topic: str, since: Position | None, is_new: bool) -> Recovery:
        follower = self._followers.get(self._means.channel(peer.namespace, topic))
        if follower is None:
            if not is_new:
                # It is on its way out.
                return Recovery(Outcome(recovered=False, position=NOWHERE, replayed=0))
            follower = self.follow(peer.namespace, topic)
        return follower.subscribed(peer, since, is_up=self._has_log)

    # For the relay.

    def follow(self, namespace: str, topic: str) -> Follower:
        """A topic has subscribers here."""
        name = self._name(namespace, topic)
        follower = self._followers.get(name.channel)
        if follower is None:
            follower = self._followers[name.channel] = Follower(self._hub, self, namespace, topic, name, self._entries)
            self._spaces[topic, namespace] = None
            self._spaces.move_to_end((topic, namespace))
            if len(self._spaces) > MAX_LOGS:
                self._spaces.popitem(last=False)
            self._means.link().subscribe(name.channel)
            self.look_up(follower)
            for pending in self._own.of(name.channel) if self._is_alone else ():
                _deliver_early(follower, pending)
        return follower

    def forget(self, channel: str) -> None:
        """The last of them is gone."""
        follower = self._followers.pop(channel, None)
        if follower is None:
            return
        follower.cut_off()
        self._reading.forget(follower)
        for pending in self._own.of(channel):
            # Who subscribes next has not seen it.
            pending.was_delivered = False
            if pending.is_stored:
                self._own.take(channel, pending.number)

    def spread(self, data: bytes) -> None:
        """Another node has published to all namespaces: put it into the logs of those that we know.

        Raises:
            EnvelopeError: it is malformed.
        """
        numbered = decode_numbered(data, self._hub.limits.max_message_size)
        publication = numbered.publication
        if not numbered.is_spread or publication.namespace is not None:
            raise EnvelopeError("for one namespace, or without a mark")
        if numbered.node == self._means.node or self._rule(publication.topic) is None:
            return
        item = Outgoing(publication.data)
        for topic, space in self._spaces:
            if topic == publication.topic:
                record = entry(Publication(space, topic, item.data), item.payload)
                again = encode_numbered(numbered.node, numbered.number, record, is_spread=True)
                self._append(self._name(space, topic), again, f"{numbered.node.hex()}-all", numbered.number)

    def received(self, channel: str, data: bytes) -> None:
        """Something was published on the channel of a log.

        Raises:
            EnvelopeError: it is malformed, and it is not even known where it stands.
        """
        stamp, rest = read_stamp(data)
        follower = self._followers.get(channel)
        if follower is not None:
            # Of what begins anew, and of what is no news, the place says all.
            is_news = stamp.offset > 0 and not follower.has(stamp)
            follower.arrived(self._entry(follower, stamp, rest) if is_news else Entry(stamp, None))

    def changed(self, up: bool) -> None:
        """The backplane can be reached, or not any more."""
        self._is_up = up
        if up:
            self._find_log()
        else:
            self._stop_waiting()

    async def begin(self) -> None:
        """See whether the backplane has logs."""
        await self._logs.read([])

    async def serve(self, link: Link) -> None:
        """Append and read for as long as the connection stands."""
        self._backlog.resend()
        # A hub may live in one loop after the other, and events do not.
        self._has_news = asyncio.Event()
        self._has_news.set()
        for follower in self._followers.values():
            self.look_up(follower)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_appending())
            group.create_task(self._reading.serve(link))
            group.create_task(self._keep_checking())

    async def flush(self, within: float) -> None:
        """Wait until the logs have what was published, if that is soon."""
        try:
            async with asyncio.timeout(within):
                await self._is_idle.wait()
        except TimeoutError:
            pass

    def close(self) -> None:
        """Give up what no log has."""
        self.changed(False)
        self.lost += self._backlog.drop()
        self._is_idle = asyncio.Event()
        self._is_idle.set()
        self._own.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # For its followers.

    def look_up(self, follower: Follower) -> None:
        self._reading.add(follower)

    def is_looking_up(self, follower: Follower) -> bool:
        return follower in self._reading

    def renew(self, follower: Follower, epoch: str) -> None:
        self._reading.renew(follower, epoch)

    def claim(self, follower: Follower, number: int) -> Own | None:
        pending = self._own.take(follower.name.channel, number)
        return None if pending is None else Own(pending.sender, pending.was_delivered)

    def missed(self) -> None:
        self.gaps += 1

    @property
    def number(self) -> int:
        return self._number

    def waiter(self) -> Recovery:
        return _Waited(asyncio.Event())

    # For its reading.

    def follows(self, follower: Follower) -> bool:
        return self._followers.get(follower.name.channel) is follower

    def stored(self, follower: Follower) -> list[int]:
        return [pending.number for pending in self._own.of(follower.name.channel) if pending.is_stored]

    def settle(self, follower: Follower, stored: list[int]) -> None:
        # Those that have not come with the page stand before what it is for.
        for number in stored:
            own = self.claim(follower, number)
            if own is not None and own.was_delivered:
                follower.given_up()

    def unreadable(self, follower: Follower) -> None:
        self._means.refused(f"the log of {follower.topic!r} cannot be read")
        follower.cut_off()

    # Inside.

    def _name(self, namespace: str, topic: str) -> LogName:
        rule = self._rule(topic)
        assert rule is not None
        return LogName(self._means.channel(namespace, topic), *rule)

    def _put(self, namespace: str, topic: str, item: Outgoing, sender: Any, *, is_spread: bool) -> None:
        """Publish a message of this node in one namespace."""
        name = self._name(namespace, topic)
        record = entry(Publication(namespace, topic, item.data), item.payload)
        numbered = encode_numbered(self._means.node, self._number, record, is_spread=is_spread)
        if len(numbered) + LOGGED > self._means.most():
            self._means.refused(f"{len(numbered)} bytes are too many for the log of {topic!r}")
            self._hub.fan_out(topic, item, namespace, sender)
            return
        writer = self._means.node.hex() + ("-all" if is_spread else "")
        pending = self._append(name, numbered, writer, self._number, item, sender)
        follower = self._followers.get(name.channel)
        self._own.add(pending)
        if follower is not None and self._is_alone:
            _deliver_early(follower, pending)

    def _append(
        self, name: LogName, numbered: bytes, writer: str, number: int, item: Outgoing | None = None, sender: Any = None
    ) -> Pending:
        loop = asyncio.get_running_loop()
        data = self._means.seal(name.channel, numbered)
        pending = Pending(name, writer, number, data, loop.time(), item, sender)
        self._means.link()
        self._backlog.add(pending)
        self._is_idle.clear()
        self._has_news.set()
        if self._timer is None:
            self._timer = loop.call_later(PATIENCE, self._grow_impatient)
        return pending

    def _lose(self, pending: Pending) -> None:
        self.lost += 1
        if pending.item is None:
            return
        self._own.take(pending.log.channel, pending.number)
        follower = self._followers.get(pending.log.channel)
        if follower is not None and pending.was_delivered:
            follower.given_up()

    def _grow_impatient(self) -> None:
        """Look after messages of ours that have not come back."""
        loop = asyncio.get_running_loop()
        patience = loop.time() - PATIENCE
        oldest = self._backlog.oldest
        if oldest is not None and oldest.since <= patience and self._has_log:
            self._stop_waiting()
            for follower in self._followers.values():
                self.look_up(follower)
        for channel in self._own.channels():
            first = self._own.of(channel)[0]
            if channel in self._followers and first.is_stored and first.since <= patience:
                self.look_up(self._followers[channel])
        self._timer = loop.call_later(PATIENCE, self._grow_impatient) if self._own or oldest else None

    def _stop_waiting(self) -> None:
        """The log is not there, or too slow."""
        self._has_log = False
        for follower in list(self._followers.values()):
            follower.cut_off()
        asyncio.get_running_loop().call_soon(self._be_alone)

    def _find_log(self) -> None:
        self._has_log, self._is_alone = True, False

    def _be_alone(self) -> None:
        if self._has_log:
            return
        self._is_alone = True
        for channel in self._own.channels():
            for pending in self._own.of(channel):
                follower = self._followers.get(channel)
                if follower is not None and not pending.was_delivered:
                    _deliver_early(follower, pending)

    async def _keep_appending(self) -> None:
        while True:
            heed_cancellation()
            await self._has_news.wait()
            self._has_news.clear()
            while batch := self._backlog.send():
                new = [Append(it.log, it.writer, it.number, it.data) for it in batch]
                async with asyncio.timeout(ANSWER_WITHIN):
                    await self._logs.append(new)
                for pending in self._backlog.stored():
                    if pending.item is not None and pending.log.channel not in self._followers:
                        self._own.take(pending.log.channel, pending.number)
            self._find_log()
            if not self._has_news.is_set():
                self._is_idle.set()

    async def _keep_checking(self) -> None:
        while True:
            await asyncio.sleep(CHECK_EVERY)
            for follower in self._followers.values():
                self.look_up(follower)

    def _entries(self, follower: Follower, page: Page) -> list[Entry]:
        before = [page.floor, *(offset for offset, _ in page.entries)]
        stamped = zip(before, page.entries, strict=False)
        return [self._entry(follower, Stamp(page.epoch, last, offset), data) for last, (offset, data) in stamped]

    def _entry(self, follower: Follower, stamp: Stamp, data: bytes) -> Entry:
        """Read a message of a log. It is untrusted: where it is malformed, there is a place with nothing in it."""
        channel = follower.name.channel
        try:
            numbered = decode_numbered(self._means.unseal(channel, data), self._hub.limits.max_message_size)
            publication = numbered.publication
            if (publication.namespace, publication.topic) != (follower.namespace, follower.topic):
                raise EnvelopeError("a message of another topic")
        except EnvelopeError as error:
            self._means.refused(str(error))
            return Entry(stamp, None)
        own = numbered.number if numbered.node == self._means.node else None
        return Entry(stamp, Outgoing(publication.data), own)


class _Waited(Recovery):
    """A recovery that somebody may wait for."""

    __slots__ = ("_event",)

    def __init__(self, event: asyncio.Event) -> None:
        super().__init__(None, event.wait)
        self._event = event

    def settle(self, outcome: Outcome) -> None:
        super().settle(outcome)
        self._event.set()


def _deliver_early(follower: Follower, pending: Pending) -> None:
    if pending.item is not None:
        pending.was_delivered = True
        follower.deliver_early(pending.item, pending.sender, pending.number)
