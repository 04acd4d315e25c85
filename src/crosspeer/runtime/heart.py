"""The clock of a hub's heartbeat: one timer for all of its peers, running while there are some."""

from __future__ import annotations

import asyncio
import logging
import secrets
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from crosspeer.core.heartbeat import Heartbeat, Pulses
from crosspeer.core.outgoing import Outgoing
from crosspeer.core.session import ReadyState
from crosspeer.wire.closing import CloseCode

if TYPE_CHECKING:
    from collections.abc import Callable

    from crosspeer.core.hub import Hub
    from crosspeer.core.limits import Limits
    from crosspeer.core.session import Session
    from crosspeer.runtime.connection import Connection

logger = logging.getLogger("crosspeer")


class PeerPulse:
    """The heartbeat of one connection."""

    __slots__ = ("_connection", "_heart", "_payload", "_session")

    def __init__(self, heart: Heart, session: Session, connection: Connection) -> None:
        self._heart = heart
        self._session = session
        self._connection = connection
        self._payload: bytes | None = None

    def heard(self) -> None:
        self._heart.heard(self)

    def moved(self, since: float) -> None:
        """A message left a queue that was held up all the time since then: somebody reads at the other end.

        Some servers make every message wait a little; that alone says nothing.
        """
        if self._heart.loop.time() - since >= self._heart.slowness:
            self._heart.heard(self)

    def is_answer(self, data: bytes) -> bool:
        return data == self._payload

    def swallows(self, message: str | bytes) -> bool:
        """Take note of a message; True for one that answers the heartbeat and is no hook's business."""
        self._heart.heard(self)
        return message == self._heart.reply and not self._connection.capabilities.ping

    def end(self) -> None:
        """The connection is gone."""
        self._heart.leave(self)

    # For the heart.

    def ask(self) -> None:
        """Ask for a sign of life, if the peer is not about to go anyway."""
        session, question = self._session, self._heart.question
        if session.state is not ReadyState.OPEN:
            return
        if self._connection.capabilities.ping:
            if self._payload is None:
                # What nobody guesses: the pong of an application's own ping is never taken for ours.
                self._payload = secrets.token_bytes(4)
            self._connection.ping(self._payload)
        elif session.buffered_amount + question.size <= session.hub.limits.max_queue_size:
            # A full queue asks by itself: its progress is the answer, and no message is dropped for a question.
            self._connection.push(question)

    def give_up(self) -> None:
        """It gave none. Where the server cannot drop a connection it is told why instead."""
        if self._connection.is_paused:
            # We do not read it, so it cannot have been heard.
            self._heart.watch(self)
        elif self._connection.capabilities.terminate:
            self._session.terminate()
        else:
            self._session.finish(CloseCode.GOING_AWAY, "no sign of life")


class Heart:
    """The pulses of one hub on one loop."""

    def __init__(self, heartbeat: Heartbeat) -> None:
        self.loop = asyncio.get_running_loop()
        self.question = Outgoing(heartbeat.message)
        self.reply = heartbeat.reply
        self.slowness = heartbeat.timeout / 4
        """Seconds of waiting that only a slow reader can be the cause of."""
        self._pulses: Pulses[PeerPulse] = Pulses(heartbeat)
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, pulse: PeerPulse) -> None:
        """Count from now on."""
        if self._pulses.add(pulse, self.loop.time()):
            self._wait()

    def heard(self, pulse: PeerPulse) -> None:
        if self._pulses.heard(pulse, self.loop.time()):
            self._wait()

    def leave(self, pulse: PeerPulse) -> None:
        self._pulses.discard(pulse)
        if not self._pulses and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        due = self._pulses.due(self.loop.time())
        self._timer = None if due is None else self.loop.call_at(due, self._look)

    def _look(self) -> None:
        to_ask, gone = self._pulses.look(self.loop.time())
        for pulse in to_ask:
            _attempt(pulse.ask)
        for pulse in gone:
            _attempt(pulse.give_up)
        self._wait()


def _attempt(step: Callable[[], None]) -> None:
    try:
        step()
    except Exception as error:
        # Whatever a server raises for one connection, the others are looked after.
        logger.debug("the heartbeat of a peer failed", exc_info=error)


def _of_limits(limits: Limits) -> Heartbeat | None:
    """The pings that a server with pings is meant to send."""
    return None if limits.ping_interval is None else Heartbeat(limits.ping_interval, limits.ping_timeout)


_hearts: WeakKeyDictionary[Hub, Heart] = WeakKeyDictionary()


def pulse_of(session: Session, connection: Connection) -> PeerPulse | None:
    """Watch a new connection, if its hub has a heartbeat, or its server none."""
    heartbeat = session.hub.heartbeat or (connection.keeps_alive and _of_limits(session.hub.limits)) or None
    if heartbeat is None:
        return None
    heart = _hearts.get(session.hub)
    if heart is None or heart.loop is not asyncio.get_running_loop():
        heart = _hearts[session.hub] = Heart(heartbeat)
    pulse = PeerPulse(heart, session, connection)
    heart.watch(pulse)
    return pulse
