"""What happens to a message of a client: it goes on to another, waits for it, or is refused."""

from __future__ import annotations

from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Final

from crosspeer.peerjs.broker.state import logger
from crosspeer.wire.closing import CloseCode
from crosspeer.wire.peerjs import (
    CANDIDATE,
    HEARTBEAT,
    HEARTBEAT_TEXT,
    LEAVE,
    OFFER,
    PARTINGS,
    SIGNALS,
    BadMessage,
    Signal,
    error_text,
    is_valid_id,
    leave_text,
    parse,
    relayed,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from crosspeer.peerjs.broker.registry import Client
    from crosspeer.peerjs.broker.state import State

BAD_MESSAGES: Final = 4502
"""Close code of a connection that sent too many messages which had to be refused."""


class Relay:
    """The rules of one broker for what its clients say."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._limits = state.limits
        self._authorize = state.options.authorize
        # Looked up once: these are asked for every message.
        self._events = state.events
        self._now = state.clock.time
        self._heard = state.heard
        self._find = state.registry.get
        self._relayed = state.metrics.relayed
        self._memory = state.limits.contact_time

    def receive(self, client: Client, data: str | bytes) -> Awaitable[None] | None:
        """A frame of a registered client. What is returned has to be awaited before its next one."""
        now = self._now()
        self._heard(client, now)
        if data == HEARTBEAT_TEXT and not self._events.has_message:
            self._say_more(client, now)
            return None
        try:
            signal = parse(data)
        except BadMessage as error:
            return self._bad(client, error)
        if self._events.has_message:
            waiting = self._events.emit("message", client, {**signal[0], "src": client.id})
            if waiting is not None:
                return self._handle_after(waiting, client, signal)
        return self._handle(client, signal, now)

    # Inside.

    async def _handle_after(self, waiting: Awaitable[None], client: Client, signal: Signal) -> None:
        await waiting
        again = self._handle(client, signal, self._now())
        if again is not None:
            await again

    def _handle(self, client: Client, signal: Signal, now: float) -> Awaitable[None] | None:
        body, kind, dst, payload = signal
        if isinstance(kind, str) and (kind in SIGNALS or kind in PARTINGS):
            if client.is_registered and isinstance(dst, str) and dst:
                if len(body) > 3 and body.get("src", client.id) != client.id:
                    self._state.metrics.refused["forged source"] += 1
                return self._relay(client, kind, dst, payload, now)
            return self._cannot_relay(client, kind, dst)
        if kind == HEARTBEAT or kind is None:
            # Some clients have signs of life of their own making, without a type.
            self._say_more(client, now)
        else:
            self._refuse(client, "unknown type", "unknown message type")
        return None

    def _cannot_relay(self, client: Client, kind: str, dst: Any) -> Awaitable[None] | None:
        if kind == LEAVE and dst is None:
            return self._state.leave(client)
        if client.is_registered:
            self._refuse(client, "no destination", "dst is not the id of a peer")
        else:
            self._refuse(client, "not registered", "this id has left")
        return None

    def _relay(self, client: Client, kind: str, dst: str, payload: str | None, now: float) -> Awaitable[None] | None:
        if not client.may_relay(self._limits, now):
            self._refuse(client, "too many messages", "too many messages, try later")
        elif not client.knows(dst, now - self._memory) and kind in PARTINGS:
            # No error: clients of old say goodbye long after their last message.
            self._state.refused("stranger", client.id, client.address)
        elif not client.knows(dst, now - self._memory) and not client.may_meet(self._limits, now):
            self._refuse(client, "too many peers", "too many peers, try later")
        elif self._authorize is None:
            self._deliver(client, kind, dst, payload, now)
        else:
            return self._ask(client, kind, dst, payload)
        return None

    def _ask(self, client: Client, kind: str, dst: str, payload: str | None) -> Awaitable[None] | None:
        """Ask the application. Its failure is no permission."""
        assert self._authorize is not None
        try:
            answer = self._authorize(client.id, dst, kind)
        except Exception as error:
            logger.error("authorize failed", exc_info=error)
            answer = False
        if isawaitable(answer):
            return self._act_after(answer, client, kind, dst, payload)
        self._act(client, kind, dst, payload, bool(answer))
        return None

    async def _act_after(
        self, answer: Awaitable[bool], client: Client, kind: str, dst: str, payload: str | None
    ) -> None:
        try:
            allowed = bool(await answer)
        except Exception as error:
            logger.error("authorize failed", exc_info=error)
            allowed = False
        if client.is_registered:
            self._act(client, kind, dst, payload, allowed)

    def _act(self, client: Client, kind: str, dst: str, payload: str | None, allowed: bool) -> None:
        now = self._now()
        if allowed:
            self._deliver(client, kind, dst, payload, now)
            return
        self._state.refused("not authorized", client.id, client.address)
        if kind == OFFER:
            # As if there were no such peer: a browser takes an error for the end of its broker.
            self._state.expire(dst, client.id, now)

    def _deliver(self, client: Client, kind: str, dst: str, payload: str | None, now: float) -> None:
        other = self._find(dst)
        if other is None:
            self._look_elsewhere(client, kind, dst, payload, now)
        elif other.is_reachable:
            other.peer.send(relayed(kind, client.id, dst, payload))
            client.met(dst, now, now - self._memory)
            other.met(client.id, now, now - self._memory)
            self._relayed[kind] += 1
        else:
            client.send(leave_text(dst, client.id))

    def _look_elsewhere(self, client: Client, kind: str, dst: str, payload: str | None, now: float) -> None:
        """The receiver is not here: it may be on another node, or still come."""
        state = self._state
        place = None if state.fleet is None else state.fleet.carrier.place(dst)
        if kind in PARTINGS and place is None:
            return
        if kind != CANDIDATE:
            state.queues.untell(client.id, dst)
        elif state.queues.was_told(client.id, dst, now):
            return
        if not is_valid_id(dst):
            # Nobody will ever have it.
            state.expire(dst, client.id, now)
            return
        text = relayed(kind, client.id, dst, payload)
        if state.fleet is None or place is None:
            is_kept = state.park(client.id, dst, kind, text, now)
        elif state.fleet.carrier.carries(text):
            is_kept = state.fleet.carrier.send(place, client.id, kind, dst, text, now)
        else:
            self._refuse(client, "too big for a node", "message too large for a peer on another node")
            return
        if is_kept:
            client.met(dst, now, now - self._memory)
        else:
            state.refused("no room to wait", client.id, client.address)
            state.expire(dst, client.id, now)

    def _say_more(self, client: Client, now: float) -> None:
        if not client.may_say_more(self._limits, now):
            self._state.refused("too many heartbeats", client.id, client.address)
            client.peer.close(CloseCode.POLICY, "too many heartbeats")

    def _bad(self, client: Client, error: BadMessage) -> Awaitable[None] | None:
        self._refuse(client, "bad message", f"bad message: {error}")
        return self._events.emit("error", error)

    def _refuse(self, client: Client, reason: str, message: str) -> None:
        """Tell a client what was wrong. One that does not stop is not listened to for ever."""
        self._state.refused(reason, client.id, client.address)
        client.refusals += 1
        if client.refusals > self._limits.refused_messages:
            client.peer.close(BAD_MESSAGES, "too many bad messages")
        else:
            client.send(error_text(message))
