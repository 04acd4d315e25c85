"""The peer: what hooks hold in their hands."""

from __future__ import annotations

import uuid
from abc import ABCMeta
from typing import TYPE_CHECKING, Any

from crosspeer.core.outgoing import Outgoing, Sendable, outgoing
from crosspeer.wire.closing import CloseCode

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from crosspeer.core.history import Position
    from crosspeer.core.recovery import Recovery
    from crosspeer.core.request import Request
    from crosspeer.core.session import ReadyState, Session


class Peer(metaclass=ABCMeta):  # noqa: B024 - for `register`
    """Someone you can talk to. One class for every server and transport (crossws `Peer`).

    The native engine has a class of its own that is registered here: `isinstance(peer, Peer)` holds for both.
    """

    __slots__ = ("__weakref__", "_id", "_session")

    def __init__(self, session: Session) -> None:
        self._session = session
        self._id: str | None = None

    @property
    def id(self) -> str:
        """A random UUID (version 4), made on first use. It is public: never take it for a secret."""
        if self._id is None:
            self._id = str(uuid.uuid4())
            self._session.hub._named[self._id] = self
        return self._id

    @property
    def namespace(self) -> str:
        """Where the peer lives: `publish` and `peers` stay inside. By default the path of its request."""
        return self._session.namespace

    @property
    def context(self) -> dict[str, Any]:
        """Whatever `upgrade` and the hooks keep of this peer."""
        return self._session.request.context

    @property
    def request(self) -> Request:
        """The handshake."""
        return self._session.request

    @property
    def remote_address(self) -> str | None:
        """The address of the other side as the server saw it."""
        return self._session.request.remote_address

    @property
    def topics(self) -> frozenset[str]:
        """The topics it is subscribed to; in `close`, those it has just left."""
        return frozenset(self._session.topics)

    @property
    def peers(self) -> AbstractSet[Peer]:
        """All peers of the same namespace, this one included while it is connected. A live, read-only view."""
        return self._session.hub._peers_of(self._session.namespace)

    @property
    def websocket(self) -> WebSocketInfo:
        """The connection, in the words of the web's `WebSocket`."""
        return WebSocketInfo(self._session)

    @property
    def buffered_amount(self) -> int:
        """Bytes that were sent to this peer and have not left yet."""
        return self._session.buffered_amount

    @property
    def dropped(self) -> int:
        """Messages to this peer that `Limits.overflow` threw away."""
        return self._session.outbox.dropped

    def send(self, data: Sendable = None, *, compress: bool | None = None) -> None:
        """Send to this peer. Never waits; a peer that is gone is silently skipped.

        str goes as text, bytes-like as binary, None as empty text, anything else as JSON text.

        Raises:
            TypeError, ValueError: the data has no such form (see `outgoing`).
        """
        # Most messages are text, and this is the hot path of every answer.
        item = Outgoing(data, compress) if isinstance(data, str) else outgoing(data, compress)
        if not self._session.push(item):
            self._session.overflow()

    def subscribe(self, topic: str, *, since: Position | str | None = None) -> Recovery | None:
        """Receive what is published to a topic of this namespace. A second time changes nothing.

        Args:
            since: where the peer stood when it was here last, as a `Position` or its text, for a topic with history
                (`Hub(history=)`): what it has missed is replayed first, all of it or nothing. By default what its
                client says by itself, as the browser module does.

        Returns:
            Where it stands now and whether it was recovered: await it. None for a topic without history.

        Raises:
            LimitExceeded: too many topics, or too long a name.
            ValueError: an empty name, or one with control characters; `since` for a topic without history.
        """
        hub = self._session.hub
        if not hub.attends:
            hub.require_no(since, topic)
            self._session.subscribe(topic)
            return None
        return hub.subscribed(self, topic, since, self._session.subscribe(topic))

    def unsubscribe(self, topic: str) -> None:
        """Receive it no longer."""
        self._session.unsubscribe(topic)

    def publish(self, topic: str, data: Sendable = None, *, compress: bool | None = None) -> None:
        """Send to every subscriber of a topic in this namespace but this peer, which need not be one.

        Never waits, and never raises because of another peer. It still works in `close`.

        Raises:
            TypeError, ValueError: the data has no form to be sent in.
        """
        session = self._session
        session.hub._publish(topic, outgoing(data, compress), session.namespace, session)

    def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Close politely: what was sent goes out, then the close frame. A second time changes nothing.

        Raises:
            ValueError: a code that must not be sent, or a reason of more than 123 bytes (RFC 6455 section 7.4).
        """
        self._session.close(code, reason)

    def terminate(self) -> None:
        """Drop the connection now, without a close frame: the other side sees 1006."""
        self._session.terminate()

    def ping(self, data: bytes = b"") -> None:
        """Send a ping; its answer comes to the `pong` hook. Servers without pings ignore it.

        Raises:
            ValueError: more than 125 bytes (RFC 6455 section 5.5).
        """
        self._session.ping(bytes(data))

    async def wait_for_drain(self, threshold: int = 0) -> None:
        """Wait until at most `threshold` bytes are unsent, or the peer is gone. Cancel it to stop waiting."""
        if self.buffered_amount > threshold:
            await self._session.transport.wait_for_drain(threshold)

    def __str__(self) -> str:
        return self.id

    def __repr__(self) -> str:
        return f"<Peer {self.id} in {self.namespace!r} {self._session.state.name.lower()}>"


class WebSocketInfo:
    """The members of the web's `WebSocket` that say something of the connection."""

    __slots__ = ("_session",)

    binary_type = "bytes"
    """The type of `message.data` for a binary message."""

    def __init__(self, session: Session) -> None:
        self._session = session

    @property
    def url(self) -> str:
        """The URL of the request, with ws or wss for its scheme."""
        url = self._session.request.url
        return str(url.replace(scheme="wss" if url.scheme == "https" else "ws"))

    @property
    def protocol(self) -> str:
        """The subprotocol that was chosen, empty if none."""
        return self._session.protocol

    @property
    def extensions(self) -> str:
        """The extensions that were negotiated, empty if none."""
        return self._session.extensions

    @property
    def ready_state(self) -> ReadyState:
        return self._session.state

    @property
    def buffered_amount(self) -> int:
        return self._session.buffered_amount
