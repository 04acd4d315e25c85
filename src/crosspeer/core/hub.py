"""The hub: all peers of one application."""

from __future__ import annotations

import logging
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Literal
from weakref import WeakValueDictionary

from crosspeer.core.fanout import Fanout, SessionFanout
from crosspeer.core.gate import Gate, Resolve
from crosspeer.core.heartbeat import HeartbeatLike, as_heartbeat
from crosspeer.core.history import Histories, History, Kept, Log, Position
from crosspeer.core.hosts import Hosts, host_check
from crosspeer.core.limits import Limits
from crosspeer.core.origins import Origins, origin_check
from crosspeer.core.outgoing import Outgoing, Sendable, outgoing
from crosspeer.core.peers import Namespaces, PeerSet
from crosspeer.core.positions import positions_of
from crosspeer.core.presence import Attendance, Attendee, Presence
from crosspeer.core.recovery import Outcome, Recovery
from crosspeer.core.session import Session
from crosspeer.core.sse import SSELike, as_sse
from crosspeer.core.violations import Violations
from crosspeer.wire.closing import CloseCode, check_close
from crosspeer.wire.deflate import Deflate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from crosspeer.core.hooks import HooksLike
    from crosspeer.core.peer import Peer
    from crosspeer.core.request import Request
    from crosspeer.core.sync import Journal, Outage, Sync

logger = logging.getLogger("crosspeer")


class Hub:
    """All peers of one application. Whatever takes hooks also takes a hub.

    Args:
        hooks: for every peer, before those that `resolve` finds.
        resolve: asked once a connection for the hooks of its request, sync or async. None is answered with 404,
            a `Response` refuses.
        namespace: says where the peer of a request lives; by default its path. `upgrade` has the last word.
        limits: the bounds of every queue, size and time.
        origins: the web pages that may connect beside those of the same origin: "*", or `https://example.com`s.
        allowed_hosts: the names that clients may connect to, as `example.com` or `*.example.com`; "*" is any. Without
            any it is the server's to say: on a loopback address it answers to `localhost` and the like alone.
        sync: relays publications to other hubs: the URL of a backend, as `redis://localhost`, or one made by
            `crosspeer.sync`.
        outage: called when messages of other hubs may be missing, with what has happened: "lost", "back" or "gap". Tell
            your peers there, by `deliver`.
        presence: topics whose subscribers may be known, by patterns: see `presence()`.
        history: topics to remember, by patterns as `chat/*`: see `Peer.subscribe`.
        compression: permessage-deflate for clients that offer it: True, or how in detail. `upgrade` has the last word
            about a single peer.
        heartbeat: finds peers that are gone without a word on servers that do not, or not in time: True, the seconds
            of silence before a peer is asked, or a `Heartbeat`. Where the server pings, it sets the times in `limits`.
        sse: peers that come by `EventSource`, on every path with hooks: with the bounds of an `SSE`, or False for none.
    """

    def __init__(
        self,
        hooks: HooksLike | None = None,
        *,
        resolve: Resolve | None = None,
        namespace: Callable[[Request], str] | None = None,
        limits: Limits | None = None,
        origins: Origins = None,
        allowed_hosts: Hosts = None,
        sync: Sync | str | None = None,
        outage: Callable[[Outage], None] | None = None,
        history: Mapping[str, History] | None = None,
        presence: Mapping[str, Presence] | None = None,
        compression: Deflate | bool = False,
        heartbeat: HeartbeatLike = None,
        sse: SSELike = True,
    ) -> None:
        self.heartbeat = as_heartbeat(heartbeat)
        """How peers are asked for a sign of life, None if only the server asks them."""
        self.limits = limits or Limits()
        if self.heartbeat is not None:
            beat = self.heartbeat
            self.limits = replace(self.limits, ping_interval=beat.interval, ping_timeout=beat.timeout)
        self.compression = Deflate() if compression is True else compression or None
        """How messages are compressed for clients that offer it, None if they are not."""
        self.sse = as_sse(sse)
        """How peers that come by `EventSource` are served, None if they are not."""
        self.peers = Namespaces()
        """Namespace to set of peers: a live, read-only view."""
        self.violations: Final = Violations()
        """How many peers were closed for breaking a rule or a bound: `violations.counts`, by close code."""
        most = self.limits.max_connections
        hosts, pages = host_check(allowed_hosts), origin_check(origins)
        self.gate: Final = Gate(self, hooks, resolve, namespace, hosts, pages, most)
        """Takes handshakes; what adapters ask."""
        self.history = Histories(history) if history else None
        """What topics remember, None if none does."""
        self.attendance = Attendance(presence) if presence else None
        """Who is in which topic, None if nobody is to know."""
        self.sync: Sync | None = None
        """The way to other hubs, None for a hub that is alone."""
        self.fanout = SessionFanout()
        """For peers whose transport has none of its own."""
        self._outage = outage
        self._fanouts: list[Fanout] = [self.fanout]
        self._named: WeakValueDictionary[str, Peer] = WeakValueDictionary()
        """Peers that somebody knows the id of."""
        if sync is not None:
            self.join(sync)

    @property
    def connections(self) -> int:
        """How many connections it holds, those in the middle of their handshake included."""
        return self.gate.connections

    @property
    def status(self) -> Literal["ok", "degraded", "closing"]:
        """`closing`: new peers are refused. `degraded`: peers are served, and other nodes cannot be reached."""
        if self.gate.is_closing:
            return "closing"
        return "ok" if self.sync is None or self.sync.is_up else "degraded"

    @property
    def topics(self) -> int:
        """How many topics have subscribers."""
        return sum(map(len, self._fanouts))

    def publish(
        self, topic: str, data: Sendable = None, *, namespace: str | None = None, compress: bool | None = None
    ) -> None:
        """Send to every subscriber of a topic, in one namespace or (None) in all, each exactly once.

        Never waits, and never raises because of one bad peer. Call it on the event loop's thread; from another
        one by `loop.call_soon_threadsafe(hub.publish, ...)`.

        Raises:
            TypeError, ValueError: the data has no form to be sent in.
        """
        self._publish(topic, outgoing(data, compress), namespace, None)

    def deliver(self, topic: str, data: str | bytes, *, namespace: str | None = None) -> None:
        """Send to the subscribers on this hub only: what came from another hub is not relayed again."""
        self._fan_out(topic, Outgoing(data), namespace, None)

    def peers_count(self) -> int:
        """How many peers there are, those of other hubs included, as these said in the last seconds."""
        here = sum(map(len, self.peers.values()))
        return here if self.sync is None else here + self.sync.peers_elsewhere

    def presence(self, topic: str, *, namespace: str) -> list[Attendee]:
        """Who is subscribed to a topic in a namespace, on whatever node, with what the application says of them.

        Raises:
            ValueError: `Hub(presence=...)` does not name the topic.
        """
        if self.attendance is None or self.attendance.rule(topic) is None:
            raise ValueError(f"nobody may know who is in {topic!r}: Hub(presence=...) names the topics where one may")
        return self.attendance.of(topic, namespace)

    def send_to(self, peer_id: str, data: Sendable = None, *, compress: bool | None = None) -> None:
        """Send to one peer, wherever it is connected. Nothing happens if it is nowhere.

        Raises:
            TypeError, ValueError: the data has no form to be sent in.
        """
        item = outgoing(data, compress)
        if not self.send_here(peer_id, item) and self.sync is not None:
            self.sync.send_to(peer_id, item)

    def disconnect(
        self,
        peer_id: str | None = None,
        *,
        where: Mapping[str, Any] | None = None,
        code: int = CloseCode.DISCONNECTED,
        reason: str = "disconnected",
    ) -> None:
        """Close a peer, or every peer whose context has these entries, wherever they are connected.

        Args:
            where: keys and values as JSON has them: `where={"user": "ada"}`.
            code: 4500 by default; codes from there on ask a client not to come back.

        Raises:
            TypeError: neither or both of the two are given.
            ValueError: the code or the reason must not be sent.
        """
        if (peer_id is None) is (where is None):
            raise TypeError("disconnect takes a peer's id, or where=")
        check_close(code, reason)
        target = peer_id if where is None else dict(where)
        assert target is not None
        self.disconnect_here(target, code, reason)
        if self.sync is not None:
            self.sync.disconnect(target, code, reason)

    async def close(self, code: int = CloseCode.GOING_AWAY, reason: str = "") -> None:
        """Close every peer and wait until the last `close` hook has ended. New handshakes meanwhile get 503."""
        check_close(code, reason)
        with self.gate.refusing():
            sessions = self.sessions()
            for session in sessions:
                session.close(code, reason)
            for session in sessions:
                await session.wait_closed()
        if self.sync is not None:
            await self.sync.close()

    def join(self, sync: Sync | str) -> None:
        """Share topics with other hubs from now on, as `Hub(sync=...)` does from the beginning.

        Raises:
            ValueError: it does so already, or no backend is known by that URL.
            MissingExtra: the backend's client library is not installed.
        """
        if self.sync is not None:
            raise ValueError("this hub has a sync already")
        self.sync = _open(sync) if isinstance(sync, str) else sync
        self.sync.bind(self)
        for fanout in self._fanouts:
            fanout.watch(self.sync.interest)

    # For other hubs, by way of `sync`.

    def interrupted(self, outage: Outage) -> None:
        """Tell the application that messages of other hubs may be missing."""
        if self._outage is not None:
            try:
                self._outage(outage)
            except Exception as error:
                logger.error("the outage callback failed", exc_info=error)

    def send_here(self, peer_id: str, item: Outgoing) -> bool:
        """Send to a peer of this hub. False: it is not here."""
        peer = self._named.get(peer_id)
        if peer is None or peer not in self._peers_of(peer.namespace):
            return False
        peer.send(item.data, compress=item.compress)
        return True

    def disconnect_here(self, target: str | Mapping[str, Any], code: int, reason: str) -> None:
        """Close the peers of this hub that are meant."""
        if isinstance(target, str):
            found = self._named.get(target)
            peers = [] if found is None else [found]
        else:
            peers = [peer for space in self.peers.values() for peer in space if _matches(peer.context, target)]
        for peer in peers:
            peer.close(code, reason)

    # What adapters and servers use.

    def sessions(self) -> list[Session]:
        """The sessions of all connected peers."""
        return [peer._session for peers in self.peers.values() for peer in peers]

    def attach(self, fanout: Fanout) -> None:
        """Let publications reach the subscribers of an engine too."""
        self._fanouts.append(fanout)
        if self.sync is not None:
            fanout.watch(self.sync.interest)

    def detach(self, fanout: Fanout) -> None:
        """Undo that. A second time does nothing."""
        if fanout in self._fanouts:
            self._fanouts.remove(fanout)

    @property
    def relays(self) -> bool:
        """Whether publications go to other hubs."""
        return self.sync is not None

    @property
    def remembers(self) -> bool:
        """Whether publications have to be kept before they are delivered."""
        return self.history is not None

    @property
    def attends(self) -> bool:
        """Whether somebody has to know of every subscription."""
        return self.history is not None or self.attendance is not None

    def publish_beside(self, done: Fanout, topic: str, item: Outgoing, namespace: str) -> None:
        """Go on with a publication that an engine has made among its own subscribers."""
        for fanout in self._fanouts:
            if fanout is not done:
                fanout.publish(topic, item, namespace, None)
        self._relay(topic, item, namespace)

    # What sessions and peers use.

    def _publish(self, topic: str, item: Outgoing, namespace: str | None, sender: Session | None) -> None:
        if self.history is not None and (journal := self._journal(topic)) is not None:
            # It comes back from the log, in the order that holds for all.
            try:
                journal.publish(namespace, topic, item, sender)
            except Exception as error:
                logger.error("a publication to %r was not kept", topic, exc_info=error)
            return
        self._fan_out(topic, item, namespace, sender)
        self._relay(topic, item, namespace)

    def subscribed(self, peer: Peer, topic: str, since: Position | str | None, is_new: bool) -> Recovery | None:
        """Go on with a subscription: replay what the peer has missed."""
        if is_new and self.attendance is not None and (attendee := self.attendance.join(peer, topic)) is not None:
            self._tell(peer.namespace, topic, attendee, present=True)
        if self.history is None or not self.history.keeps(topic):
            self.require_no(since, topic)
            return None
        position = since if isinstance(since, Position) else Position.parse(since)
        if not is_new:
            position = None
        elif since is None:
            position = positions_of(peer.request).get(topic)
        journal = self._journal(topic)
        if journal is not None:
            return journal.subscribed(peer, topic, position, is_new)
        log: Log | None = self.history.log(peer.namespace, topic)
        assert log is not None
        missed = None if position is None else log.since(position, self.history.clock())
        return Recovery(self.replay(peer, missed, log.position))

    def replay(self, peer: Peer, missed: list[Kept] | None, position: Position) -> Outcome:
        """Send a peer what it has missed, if all of that is there and goes into its queue.

        Args:
            position: where it stands then.
        """
        assert self.history is not None
        size = sum(item.size for item in missed or ())
        room = self.limits.max_queue_size - peer.buffered_amount
        if missed is None or size > room or not self.history.budget.take(size):
            # Half of it would be worse than nothing: the peer has to know that it missed something.
            return Outcome(recovered=False, position=position, replayed=0)
        for item in missed:
            send_item(peer, item)
        return Outcome(recovered=True, position=position, replayed=len(missed))

    def unsubscribed(self, peer: Peer, topic: str) -> None:
        """Go on with the end of a subscription."""
        if self.attendance is not None and (attendee := self.attendance.part(peer, topic)) is not None:
            self._tell(peer.namespace, topic, attendee, present=False)

    def _tell(self, namespace: str, topic: str, attendee: Attendee, *, present: bool) -> None:
        if self.sync is not None:
            self.sync.attend(namespace, topic, attendee, present)

    def require_no(self, since: object, topic: str) -> None:
        """Raise for a position in a topic that has none."""
        if since is not None:
            raise ValueError(f"no history is kept of {topic!r}: Hub(history=...) names the topics that have one")

    def _journal(self, topic: str) -> Journal | None:
        """What keeps the log of a topic for all hubs; None: it has none, or each hub keeps its own."""
        if self.history is None or self.sync is None or not self.history.keeps(topic):
            return None
        return self.sync.journal

    def _relay(self, topic: str, item: Outgoing, namespace: str | None) -> None:
        if self.sync is not None:
            try:
                self.sync.relay(namespace, topic, item)
            except Exception as error:
                logger.error("a publication to %r was not relayed", topic, exc_info=error)

    def _fan_out(self, topic: str, item: Outgoing, namespace: str | None, sender: Session | None) -> None:
        if self.history is not None and self.history.keeps(topic) and self._journal(topic) is None:
            spaces = self._spaces_of(topic) if namespace is None else (namespace,)
            for space in spaces:
                self.fan_out(topic, self.history.record(space, topic, item), space, sender)
            return
        for fanout in self._fanouts:
            fanout.publish(topic, item, namespace, sender)

    def fan_out(self, topic: str, item: Outgoing, namespace: str | None, sender: Session | None) -> None:
        """Send to the subscribers on this hub, as it is."""
        for fanout in self._fanouts:
            fanout.publish(topic, item, namespace, sender)

    def _spaces_of(self, topic: str) -> list[str]:
        """The namespaces that a publication to all of them goes to: each has a history of its own."""
        assert self.history is not None
        return list(dict.fromkeys([*self.peers, *self.history.namespaces(topic)]))

    def _enter(self, session: Session) -> None:
        self.peers._add(session.namespace, session.peer)

    def _leave(self, session: Session) -> None:
        self.peers._discard(session.namespace, session.peer)
        self.gate.release()

    def _peers_of(self, namespace: str) -> PeerSet:
        return self.peers.get(namespace) or PeerSet({})


def send_item(peer: Peer, item: Outgoing) -> None:
    """Send what is ready to be sent, and keeps what is known of it where the peer's transport can use it."""
    session: object = peer._session
    if not isinstance(session, Session):
        peer.send(item.data, compress=item.compress)
    elif not session.push(item):
        session.overflow()


def _matches(context: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return all(key in context and context[key] == value for key, value in wanted.items())


def _open(url: str) -> Sync:
    """Whoever names a backend by its URL gets the package that has them; nobody else needs it."""
    sync: Sync = import_module("crosspeer.sync").connect(url)
    return sync


def as_hub(value: Hub | HooksLike) -> Hub:
    """Take a hub, or hooks in any form, as a hub.

    Raises:
        TypeError: it is neither.
    """
    return value if isinstance(value, Hub) else Hub(value)
