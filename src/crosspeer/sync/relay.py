"""A hub's way to the other hubs of its fleet, over any backend."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
import re
import uuid
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from crosspeer.core.outgoing import Outgoing
from crosspeer.core.presence import Attendee
from crosspeer.sync.journal import Journal, Means
from crosspeer.sync.link import Link
from crosspeer.sync.members import ANNOUNCE_EVERY, Members
from crosspeer.sync.port import LOG_MARK, Logs
from crosspeer.wire.closing import check_close
from crosspeer.wire.envelope import (
    MAX_NOTE,
    MIN_KEY,
    Address,
    EnvelopeError,
    Publication,
    decode,
    decode_crossws,
    encode,
    encode_crossws,
    encode_note,
    seal,
    unseal,
)
from crosspeer.wire.logged import is_numbered

if TYPE_CHECKING:
    from collections.abc import Mapping

    from crosspeer.core.hub import Hub
    from crosspeer.sync.part import Part
    from crosspeer.sync.port import Backend

logger = logging.getLogger("crosspeer")

_LEAVE: Final = {"do": "leave"}
ENVELOPE: Final = 64
"""Bytes that an envelope adds, generously."""
_PREFIX: Final = re.compile(r"[A-Za-z0-9_-]{1,24}\Z")
MAX_ROUTES: Final = 4096
"""Topics that are published to, whose names are encoded and hashed once."""
ROWS: Final = 40
"""Attendees of a note: as many as fit, with the longest info that each may have."""
FLUSH_WITHIN: Final = 1.0
"""Seconds that the logs get for what was published last."""
FIRST_CONNECTION: Final = 3.0
"""Seconds that `start` waits for the backplane. Then the hub serves its own peers, and the rest comes when it can."""


@dataclass(slots=True)
class Counts:
    """What went between this node and the others."""

    sent: int = 0
    received: int = 0
    refused: int = 0
    """Envelopes that were not understood, and publications that were too big to send."""
    outages: int = 0


class Relay:
    """Publications to and from the other nodes: one subscription a topic and node, whoever subscribes here.

    Args:
        backend: what carries them.
        prefix: names the fleet: hubs with another prefix on the same server hear nothing of each other.
        crossws: speak crossws's envelope on one channel of that name, so that its nodes understand. Every node then
            gets every message.
        key: a secret of the fleet, at least 16 bytes. What is not sealed with it is refused.
    """

    def __init__(
        self, backend: Backend, *, prefix: str = "crosspeer", crossws: str | None = None, key: bytes | None = None
    ) -> None:
        if not _PREFIX.match(prefix):
            raise ValueError(f"a prefix is at most 24 letters, digits, dashes and underscores, not {prefix!r}")
        if key is not None and crossws is not None:
            raise ValueError("nodes of crossws know no key: a fleet with them has none")
        if key is not None and len(key) < MIN_KEY:
            raise ValueError(f"a key has at least {MIN_KEY} bytes, not {len(key)}")
        self.node: Final = uuid.uuid4()
        self.counts: Final = Counts()
        self._backend = backend
        self._prefix = prefix
        self._crossws = crossws
        self._key = key
        self._everywhere = crossws or f"{prefix}:all"
        self._part: Part | None = None
        self._journal: Journal | None = None
        self._hub: Hub | None = None
        self._link: Link | None = None
        self._waited = False
        """Once is enough: a server and its application both ask for a start."""
        self._interests: Counter[str] = Counter()
        self._channels: dict[tuple[str, str], str] = {}
        """Of topics with subscribers here, so that their names are hashed once."""
        self._routes: dict[tuple[str | None, str], tuple[str, Address]] = {}
        self._gathered: dict[str, list[bytes]] = {}
        self._members = Members()
        self._announcing: asyncio.TimerHandle | None = None
        self._was_cut_off = False
        self._lost_before = 0
        """Publications that were lost when the others were last told."""

    @property
    def is_up(self) -> bool:
        """Whether the backplane is connected."""
        return self._link is not None and self._link.is_up

    def health(self) -> dict[str, Any]:
        """What `/_crosspeer/health` says of it."""
        counts = {"sent": self.counts.sent, "received": self.counts.received, "refused": self.counts.refused}
        if self._journal is not None:
            counts["gaps"] = self._journal.gaps
        status = "ok" if self.is_up else "degraded"
        return {"status": status, "nodes": self.nodes, "outages": self.counts.outages, "lost": self.lost, **counts}

    @property
    def lost(self) -> int:
        """Publications that never left, because the backplane took nothing for too long."""
        unlogged = 0 if self._journal is None else self._journal.lost
        return unlogged + (0 if self._link is None else self._link.lost)

    # For a part of the application.

    @property
    def max_note(self) -> int:
        """Bytes of what can be told at once, as JSON, generously."""
        return min(MAX_NOTE, self._backend.max_payload) - 2 * ENVELOPE

    def add(self, part: Part) -> None:
        """Let a part of the application talk with the same part on the other nodes. There is room for one.

        Raises:
            ValueError: there is one, or the others are nodes of crossws.
        """
        if self._crossws is not None or self._part is not None:
            raise ValueError("a relay carries the words of one part, and not to nodes of crossws")
        self._part = part
        if self._link is not None:
            self._link.subscribe(self._inbox(self.node.bytes))

    def tell(self, words: Any, node: bytes | None = None) -> None:
        """Tell the part of one node, or of all. What they cannot be told now is not kept for later.

        Raises:
            ValueError: it is bigger than `max_note`.
        """
        if self.is_up:
            self._say({"do": "part", "say": words}, self._everywhere if node is None else self._inbox(node))

    # Sync, for the hub.

    def bind(self, hub: Hub) -> None:
        if self._hub is not None:
            raise ValueError("a sync belongs to one hub")
        self._hub = hub
        if hub.history is None:
            return
        if isinstance(self._backend, Logs) and self._crossws is None:
            self._journal = Journal(hub, self._backend, self._means())
        else:
            logger.warning("each node keeps the history of topics for itself: the backplane has no logs for them")

    @property
    def journal(self) -> Journal | None:
        return self._journal

    def relay(self, namespace: str | None, topic: str, item: Outgoing) -> None:
        if self._link is None:
            self._started()
        if self._crossws is not None:
            envelope = encode_crossws(str(self.node), Publication(namespace, topic, item.data))
            self._started().publish(self._crossws, envelope)
            self.counts.sent += 1
            return
        channel, address = self._routes.get((namespace, topic)) or self._route(namespace, topic)
        data = address.entry(item.payload, is_text=item.is_text)
        if len(data) + ENVELOPE > self._backend.max_payload:
            self.counts.refused += 1
            logger.error("a publication to %r of %d bytes is too big for the other nodes", topic, len(data))
            return
        if not self._gathered:
            asyncio.get_running_loop().call_soon(self._flush)
        gathered = self._gathered.get(channel)
        if gathered is None:
            self._gathered[channel] = [data]
        else:
            gathered.append(data)

    def interest(self, namespace: str, topic: str, begun: bool) -> None:
        if self._crossws is not None:
            return
        link = self._started()
        channel = self._channel(namespace, topic)
        self._interests[channel] += 1 if begun else -1
        if self._interests[channel] == 0:
            del self._interests[channel]
            self._channels.pop((namespace, topic), None)
            link.unsubscribe(channel)
            if self._journal is not None:
                self._journal.forget(channel)
        elif begun and self._interests[channel] == 1:
            self._channels[namespace, topic] = channel
            link.subscribe(channel)
            if self._journal is not None and LOG_MARK in channel:
                self._journal.follow(namespace, topic)

    @property
    def peers_elsewhere(self) -> int:
        return self._members.peers

    @property
    def nodes(self) -> int:
        """How many nodes there are, this one included."""
        return 1 + len(self._members)

    def attend(self, namespace: str, topic: str, attendee: Attendee, present: bool) -> None:
        if self._crossws is None:
            row = (
                [namespace, topic, attendee.peer_id, attendee.info] if present else [namespace, topic, attendee.peer_id]
            )
            self._say({"do": "attend", "rows": [row]})

    def disconnect(self, target: str | Mapping[str, Any], code: int, reason: str) -> None:
        meant = {"peer": target} if isinstance(target, str) else {"where": dict(target)}
        self._say({"do": "disconnect", **meant, "code": code, "reason": reason})

    def send_to(self, peer_id: str, item: Outgoing) -> None:
        data = item.data if isinstance(item.data, str) else base64.b64encode(item.data).decode()
        kind = "text" if item.is_text else "binary"
        self._say({"do": "send", "peer": peer_id, kind: data})

    async def start(self) -> None:
        link = self._started()
        if link.is_up or self._waited:
            return
        self._waited = True
        if not await link.wait_up(FIRST_CONNECTION):
            self._was_cut_off = True
            logger.warning("the other nodes cannot be reached yet; peers of this one are served meanwhile")

    async def close(self) -> None:
        link, self._link = self._link, None
        self._waited = False
        if self._announcing is not None:
            self._announcing.cancel()
            self._announcing = None
        for node in self._members.all():
            self._forget(node)
        self._members = Members()
        if link is not None:
            if self._journal is not None and link.is_up:
                await self._journal.flush(FLUSH_WITHIN)
            self._flush_to(link)
            if self._crossws is None:
                link.publish(self._everywhere, self._sealed(self._everywhere, encode_note(self.node.bytes, _LEAVE)))
            await link.close()
        if self._journal is not None:
            self._journal.close()

    # Inside.

    def _means(self) -> Means:
        return Means(
            node=self.node.bytes,
            link=self._started,
            channel=self._channel,
            seal=self._sealed,
            unseal=self._unsealed,
            announce=self._announce_to_all,
            refused=self._refuse,
            most=lambda: self._backend.max_payload,
        )

    def _started(self) -> Link:
        """The link, made when it is first needed: a hub may be older than its loop, and outlive one."""
        if self._link is None:
            self._link = Link(self._backend, self._receive, self._changed, self._journal)
            self._link.subscribe(self._everywhere)
            if self._part is not None:
                self._link.subscribe(self._inbox(self.node.bytes))
            for channel in self._interests:
                self._link.subscribe(channel)
            self._link.start()
        return self._link

    def _inbox(self, node: bytes) -> str:
        """Where a node is told what is for it alone."""
        return f"{self._prefix}:{node.hex()}"

    def _channel(self, namespace: str | None, topic: str) -> str:
        """A name that no topic can break out of, whatever characters mean something to a backend."""
        if namespace is None:
            return self._everywhere
        known = self._channels.get((namespace, topic))
        if known is None:
            name = f"{len(namespace)}:{namespace}{topic}".encode()
            mark = ":" if self._journal is None or not self._keeps(topic) else LOG_MARK
            known = f"{self._prefix}{mark}{hashlib.blake2b(name, digest_size=16).hexdigest()}"
        return known

    def _route(self, namespace: str | None, topic: str) -> tuple[str, Address]:
        """The channel and the address of what is published to a topic, remembered for the next time."""
        if len(self._routes) >= MAX_ROUTES:
            self._routes.clear()
        route = self._routes[namespace, topic] = (self._channel(namespace, topic), Address(namespace, topic))
        return route

    def _keeps(self, topic: str) -> bool:
        return self._hub is not None and self._hub.history is not None and self._hub.history.keeps(topic)

    def _flush(self) -> None:
        if self._link is not None:
            self._flush_to(self._link)

    def _flush_to(self, link: Link) -> None:
        """What a turn of the loop has gathered leaves in one envelope a channel."""
        gathered, self._gathered = self._gathered, {}
        for channel, entries in gathered.items():
            self.counts.sent += len(entries)
            for part in _parts(entries, self._backend.max_payload - ENVELOPE):
                link.publish(channel, self._sealed(channel, encode(self.node.bytes, part)))
        if link.lost != self._lost_before:
            self._confess(link)

    def _sealed(self, channel: str, envelope: bytes) -> bytes:
        return envelope if self._key is None else seal(self._key, channel, envelope)

    def _unsealed(self, channel: str, data: bytes) -> bytes:
        return data if self._key is None else unseal(self._key, channel, data)

    def _announce_to_all(self, data: bytes) -> None:
        self._started().publish(self._everywhere, self._sealed(self._everywhere, data))

    def _refuse(self, reason: str) -> None:
        self.counts.refused += 1
        logger.debug("an envelope was dropped: %s", reason)

    def _changed(self, up: bool) -> None:
        if self._part is not None:
            self._part.changed(up)
        link = self._link
        if link is None or self._hub is None:
            # We leave, and nobody has to be told.
            return
        if self._journal is not None:
            self._journal.changed(up)
        if not up:
            self.counts.outages += 1
            self._was_cut_off = True
            self._hub.interrupted("lost")
            return
        logger.info("connected to the other nodes")
        if self.counts.outages:
            # What was on its way when the connection broke may not have arrived.
            self._confess(link)
        if self._crossws is None:
            self._announce()
        if self._was_cut_off:
            self._was_cut_off = False
            self._hub.interrupted("back")

    def _confess(self, link: Link) -> None:
        """Tell the others that some of our publications may be missing, before they get the next ones."""
        self._lost_before = link.lost
        if self._crossws is None:
            note = encode_note(self.node.bytes, {"do": "missed"})
            link.publish_first(self._everywhere, self._sealed(self._everywhere, note))

    def _announce(self) -> None:
        """Say that we are there, now and again."""
        if self._link is None or self._hub is None:
            return
        loop = asyncio.get_running_loop()
        for node in self._members.forget(loop.time()):
            self._forget(node)
            if self.is_up:
                self._hub.interrupted("gap")
        if self.is_up:
            self._say({"do": "here", "peers": sum(map(len, self._hub.peers.values()))})
            if self._part is not None:
                self._part.announce()
        if self._announcing is not None:
            self._announcing.cancel()
        self._announcing = loop.call_later(ANNOUNCE_EVERY, self._announce)

    def _tell_all(self) -> None:
        """Tell who is here, to a node that was not there when they came."""
        if self._hub is None or self._hub.attendance is None:
            return
        rows = [[namespace, topic, *attendee] for namespace, topic, attendee in self._hub.attendance.here()]
        for at in range(0, len(rows), ROWS):
            self._say({"do": "attend", "rows": rows[at : at + ROWS]})

    def _forget(self, node: bytes) -> None:
        if self._part is not None:
            self._part.gone(node)
        if self._hub is not None and self._hub.attendance is not None:
            self._hub.attendance.forget(node)

    def _attended(self, node: bytes, rows: list[Any]) -> None:
        attendance = None if self._hub is None else self._hub.attendance
        if attendance is None:
            return
        for row in rows:
            match row:
                case [str(namespace), str(topic), str(peer_id), info]:
                    attendance.joined_elsewhere(node, namespace, topic, Attendee(peer_id, info))
                case [str(namespace), str(topic), str(peer_id)]:
                    attendance.left_elsewhere(node, namespace, topic, peer_id)
                case _:
                    raise EnvelopeError("an attendee that means nothing")

    def _say(self, note: dict[str, Any], channel: str | None = None) -> None:
        """Tell all nodes, or who hears a channel. crossws's envelope has no words for it."""
        if self._crossws is not None:
            raise ValueError("nodes of crossws take publications only")
        data = encode_note(self.node.bytes, note)
        if len(data) > min(MAX_NOTE, self._backend.max_payload):
            raise ValueError(f"a note of {len(data)} bytes is too big for the other nodes")
        channel = channel or self._everywhere
        self._started().publish(channel, self._sealed(channel, data))

    def _heard(self, hub: Hub, node: bytes, note: Any) -> None:
        """What another node says. It is untrusted, so every field is looked at before it is used."""
        match note:
            case {"do": "here", "peers": peers}:
                self._meet(node, peers)
            case {"do": "part", "say": words}:
                if node not in self._members:
                    self._meet(node, 0)
                if self._part is not None:
                    self._part.heard(node, words)
            case {"do": "ask", "of": str(asked)}:
                if asked == self.node.hex:
                    self._tell_all()
            case {"do": "leave"}:
                self._members.left(node)
                self._forget(node)
            case {"do": "missed"}:
                hub.interrupted("gap")
            case {"do": "attend", "rows": list(rows)}:
                self._attended(node, rows)
            case _:
                _obey(hub, note)

    def _meet(self, node: bytes, peers: Any) -> None:
        if self._members.heard(node, peers, asyncio.get_running_loop().time()):
            # Who is new knows nobody yet, and we do not know who is there.
            self._announce()
            self._say({"do": "ask", "of": node.hex()})

    def _receive(self, channel: str, data: bytes) -> None:
        hub = self._hub
        if hub is None or self._link is None:
            # Who leaves answers nobody: it would come back by that.
            return
        try:
            publications = self._read(hub, channel, data)
        except ValueError as error:
            self.counts.refused += 1
            logger.debug("an envelope on %r was dropped: %s", channel, error)
            return
        for namespace, topic, message in publications:
            self.counts.received += 1
            try:
                hub.deliver(topic, message, namespace=namespace)
            except Exception as error:
                logger.error("a publication to %r was not delivered", topic, exc_info=error)

    def _read(self, hub: Hub, channel: str, data: bytes) -> list[Publication]:
        most = hub.limits.max_message_size
        if self._crossws is not None:
            node, publication = decode_crossws(data, most)
            return [] if node == str(self.node) else [publication]
        if self._journal is not None and LOG_MARK in channel:
            self._journal.received(channel, data)
            return []
        data = self._unsealed(channel, data)
        if self._journal is not None and channel == self._everywhere and is_numbered(data):
            self._journal.spread(data)
            return []
        envelope = decode(data, most)
        if envelope.node == self.node.bytes:
            if channel == self._inbox(self.node.bytes):
                raise EnvelopeError("our own id, and not from us")
            return []
        if envelope.note is not None:
            if channel not in (self._everywhere, self._inbox(self.node.bytes)):
                raise EnvelopeError("a note on the channel of a topic")
            self._heard(hub, envelope.node, envelope.note)
        for publication in envelope.publications:
            if self._channel(publication.namespace, publication.topic) != channel:
                raise EnvelopeError("a publication on the channel of another topic")
        return envelope.publications


def _parts(entries: list[bytes], most: int) -> list[list[bytes]]:
    """Batches of at most so many bytes."""
    parts: list[list[bytes]] = [[]]
    size = 0
    for data in entries:
        if size + len(data) > most and parts[-1]:
            parts.append([])
            size = 0
        parts[-1].append(data)
        size += len(data)
    return parts


def _obey(hub: Hub, note: Any) -> None:
    """What another node wants of peers that may be here.

    Raises:
        ValueError: it is nothing that one can want.
    """
    match note:
        case {"do": "disconnect", "peer": str(target), "code": int(code), "reason": str(reason)}:
            check_close(code, reason)
            hub.disconnect_here(target, code, reason)
        case {"do": "disconnect", "where": dict(target), "code": int(code), "reason": str(reason)}:
            check_close(code, reason)
            hub.disconnect_here(target, code, reason)
        case {"do": "send", "peer": str(target), "text": str(text)}:
            hub.send_here(target, Outgoing(text))
        case {"do": "send", "peer": str(target), "binary": str(text)}:
            hub.send_here(target, Outgoing(base64.b64decode(text, validate=True)))
        case _:
            raise EnvelopeError("a note that means nothing")
