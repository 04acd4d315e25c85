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
from crosspeer.sync.link import Link
from crosspeer.sync.members import ANNOUNCE_EVERY, Members
from crosspeer.wire.closing import check_close
from crosspeer.wire.envelope import (
    MAX_NOTE,
    EnvelopeError,
    Publication,
    decode,
    decode_crossws,
    encode,
    encode_crossws,
    encode_note,
    entry,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from crosspeer.core.hub import Hub
    from crosspeer.sync.port import Backend

logger = logging.getLogger("crosspeer")

ENVELOPE: Final = 64
"""Bytes that an envelope adds, generously."""
_PREFIX: Final = re.compile(r"[A-Za-z0-9_-]{1,24}\Z")
ROWS: Final = 40
"""Attendees of a note: as many as fit, with the longest info that each may have."""
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
    """

    def __init__(self, backend: Backend, *, prefix: str = "crosspeer", crossws: str | None = None) -> None:
        if not _PREFIX.match(prefix):
            raise ValueError(f"a prefix is at most 24 letters, digits, dashes and underscores, not {prefix!r}")
        self.node: Final = uuid.uuid4()
        self.counts: Final = Counts()
        self._backend = backend
        self._prefix = prefix
        self._crossws = crossws
        self._everywhere = crossws or f"{prefix}:all"
        self._hub: Hub | None = None
        self._link: Link | None = None
        self._waited = False
        """Once is enough: a server and its application both ask for a start."""
        self._interests: Counter[str] = Counter()
        self._channels: dict[tuple[str, str], str] = {}
        """Of topics with subscribers here, so that their names are hashed once."""
        self._gathered: dict[str, list[bytes]] = {}
        self._members = Members()
        self._announcing: asyncio.TimerHandle | None = None

    @property
    def is_up(self) -> bool:
        """Whether the backplane is connected."""
        return self._link is not None and self._link.is_up

    def health(self) -> dict[str, Any]:
        """What `/_crosspeer/health` says of it."""
        counts = {"sent": self.counts.sent, "received": self.counts.received, "refused": self.counts.refused}
        status = "ok" if self.is_up else "degraded"
        return {"status": status, "nodes": self.nodes, "outages": self.counts.outages, "lost": self.lost, **counts}

    @property
    def lost(self) -> int:
        """Publications that never left, because the backplane took nothing for too long."""
        return 0 if self._link is None else self._link.lost

    # Sync, for the hub.

    def bind(self, hub: Hub) -> None:
        if self._hub is not None:
            raise ValueError("a sync belongs to one hub")
        self._hub = hub

    def relay(self, namespace: str | None, topic: str, item: Outgoing) -> None:
        link = self._started()
        publication = Publication(namespace, topic, item.data)
        if self._crossws is not None:
            link.publish(self._crossws, encode_crossws(str(self.node), publication))
            self.counts.sent += 1
            return
        data = entry(publication, item.payload)
        if len(data) + ENVELOPE > self._backend.max_payload:
            self.counts.refused += 1
            logger.error("a publication to %r of %d bytes is too big for the other nodes", topic, len(data))
            return
        if not self._gathered:
            asyncio.get_running_loop().call_soon(self._flush)
        self._gathered.setdefault(self._channel(namespace, topic), []).append(data)

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
        elif begun and self._interests[channel] == 1:
            self._channels[namespace, topic] = channel
            link.subscribe(channel)

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
            self._flush_to(link)
            if self._crossws is None:
                link.publish(self._everywhere, encode_note(self.node.bytes, {"do": "leave"}))
            await link.close()

    # Inside.

    def _started(self) -> Link:
        """The link, made when it is first needed: a hub may be older than its loop, and outlive one."""
        if self._link is None:
            self._link = Link(self._backend, self._receive, self._changed)
            self._link.subscribe(self._everywhere)
            for channel in self._interests:
                self._link.subscribe(channel)
            self._link.start()
        return self._link

    def _channel(self, namespace: str | None, topic: str) -> str:
        """A name that no topic can break out of, whatever characters mean something to a backend."""
        if namespace is None:
            return self._everywhere
        known = self._channels.get((namespace, topic))
        if known is None:
            name = f"{len(namespace)}:{namespace}{topic}".encode()
            known = f"{self._prefix}:{hashlib.blake2b(name, digest_size=16).hexdigest()}"
        return known

    def _flush(self) -> None:
        if self._link is not None:
            self._flush_to(self._link)

    def _flush_to(self, link: Link) -> None:
        """What a turn of the loop has gathered leaves in one envelope a channel."""
        gathered, self._gathered = self._gathered, {}
        for channel, entries in gathered.items():
            self.counts.sent += len(entries)
            for part in _parts(entries, self._backend.max_payload - ENVELOPE):
                link.publish(channel, encode(self.node.bytes, part))

    def _changed(self, up: bool) -> None:
        if up:
            logger.info("connected to the other nodes")
            if self._crossws is None:
                self._announce()
        else:
            self.counts.outages += 1

    def _announce(self) -> None:
        """Say that we are there, now and again."""
        if self._link is None or self._hub is None:
            return
        loop = asyncio.get_running_loop()
        for node in self._members.forget(loop.time()):
            self._forget(node)
        if self.is_up:
            self._say({"do": "here", "peers": sum(map(len, self._hub.peers.values()))})
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

    def _say(self, note: dict[str, Any]) -> None:
        """Tell all nodes. crossws's envelope has no words for it."""
        if self._crossws is not None:
            raise ValueError("nodes of crossws take publications only")
        data = encode_note(self.node.bytes, note)
        if len(data) > min(MAX_NOTE, self._backend.max_payload):
            raise ValueError(f"a note of {len(data)} bytes is too big for the other nodes")
        self._started().publish(self._everywhere, data)

    def _heard(self, hub: Hub, node: bytes, note: Any) -> None:
        """What another node says. It is untrusted, so every field is looked at before it is used."""
        match note:
            case {"do": "here", "peers": peers}:
                if self._members.heard(node, peers, asyncio.get_running_loop().time()):
                    # Who is new knows nobody yet, and we do not know who is there.
                    self._announce()
                    self._say({"do": "ask", "of": node.hex()})
            case {"do": "ask", "of": str(asked)}:
                if asked == self.node.hex:
                    self._tell_all()
            case {"do": "leave"}:
                self._members.left(node)
                self._forget(node)
            case {"do": "attend", "rows": list(rows)}:
                self._attended(node, rows)
            case _:
                _obey(hub, note)

    def _receive(self, channel: str, data: bytes) -> None:
        hub = self._hub
        if hub is None:
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
        envelope = decode(data, most)
        if envelope.node == self.node.bytes:
            return []
        if envelope.note is not None:
            if channel != self._everywhere:
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
