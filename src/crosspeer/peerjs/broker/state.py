"""What all parts of one broker share, and its only timer."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from crosspeer.core.heartbeat import Heartbeat, Pulses
from crosspeer.peerjs.broker.clock import Alarm, Clock
from crosspeer.peerjs.broker.events import Events
from crosspeer.peerjs.broker.metrics import Metrics
from crosspeer.peerjs.broker.queues import Queues
from crosspeer.peerjs.broker.registry import Client, Registry
from crosspeer.runtime.tasks import Tasks
from crosspeer.wire.closing import CloseCode
from crosspeer.wire.peerjs import expire_text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from crosspeer.peerjs.broker.fleet import Fleet
    from crosspeer.peerjs.broker.options import Options

logger = logging.getLogger("crosspeer.peerjs")

REPLACED: Final = 4501
TAKEN: Final = 4504
"""Codes of crosspeer's own, for its own client: `peerjs` looks at none. From 4500 on, coming again is no use."""
MAX_LOGGED: Final = 64


class State:
    """One broker's memory: who is there, what waits, what was counted, and what will be due."""

    def __init__(self, options: Options, clock: Clock) -> None:
        self.options = options
        self.limits = options.limits
        self.clock = clock
        self.registry = Registry()
        self.queues = Queues(options.limits, options.expire_timeout, options.cleanup_out_msgs)
        self.metrics = Metrics(lambda: len(self.registry), lambda: (self.queues.room.messages, self.queues.room.size))
        self.events = Events()
        self.fleet: Fleet | None = None
        """The other nodes, None for a broker that is alone."""
        self._pulses: Pulses[Client] = Pulses(_heartbeat(options.alive_timeout))
        self.heard = self._pulses.heard
        """To be called with a client that gives a sign of life, and the time."""
        self._pulses_due: float | None = None
        self._alarm = Alarm(clock, self._look)
        self._tasks = Tasks()

    def enter(self, client: Client) -> None:
        """A client has registered."""
        self.registry.add(client)
        self.metrics.registrations += 1
        now = self.clock.time()
        self._pulses.add(client, now)
        if self._pulses_due is None:
            self._pulses_due = self._pulses.due(now)
        self._alarm.set(self._pulses_due)

    def leave(self, client: Client) -> Awaitable[None] | None:
        """A client's registration ends, if it has not ended before. The result has to be awaited, if there is one."""
        if not self.registry.remove(client):
            return None
        if self.fleet is not None:
            self.fleet.left(client.id)
        return self.events.emit("disconnect", client)

    def end(self, client: Client) -> Awaitable[None] | None:
        """A client's connection has ended, and its registration with it."""
        self._pulses.discard(client)
        if not self._pulses:
            self._pulses_due = None
            self._alarm.set(self._waiting_due(self.clock.time()))
        return self.leave(client)

    def drop(self, client: Client, code: int, reason: str) -> None:
        """End a client's registration, and its connection."""
        waiting = self.leave(client)
        if waiting is not None:
            self._tasks.start(_finish(waiting))
        client.peer.close(code, reason)

    def park(self, src: str, dst: str, kind: str, text: str, now: float) -> bool:
        """Keep a message for a peer that is not there. False: there is no room."""
        if not self.queues.put(src, dst, kind, text, now):
            return False
        self.watch(self.queues.due(now))
        return True

    def expire(self, absent: str, src: str, now: float) -> None:
        """Tell a sender that nobody came for its messages, wherever it is by now."""
        if not self.expire_here(absent, src, now) and self.fleet is not None:
            self.fleet.carrier.expired(absent, src)

    def expire_here(self, absent: str, src: str, now: float) -> bool:
        """The same, of this node. False: it is not here."""
        sender = self.registry.get(src)
        if sender is None:
            return False
        sender.send(expire_text(absent, src))
        self.queues.tell(src, absent, now)
        self.metrics.expired += 1
        return True

    def watch(self, due: float | None) -> None:
        """Look after what will be due then."""
        if due is not None:
            self._alarm.set(due)

    def refused(self, reason: str, id: str, address: str) -> None:
        """Count and log what was not done. What clients write is never logged as it is, and no payload at all."""
        self.metrics.refused[reason] += 1
        logger.info("refused: %s (id %s, from %s)", reason, ascii(id[:MAX_LOGGED]), address or "somewhere")

    # The timer.

    def _look(self, now: float) -> None:
        for absent, src in self._expired(now):
            self.expire(absent, src, now)
        if self._pulses_due is not None and now >= self._pulses_due:
            to_ask, gone = self._pulses.look(now)
            self._pulses_due = self._pulses.due(now)
            for client in to_ask:
                _attempt(client.peer.ping)
            for client in gone:
                _attempt(self._give_up, client)
        self.watch(self._waiting_due(now))
        self.watch(self._pulses_due)

    def _expired(self, now: float) -> list[tuple[str, str]]:
        expired = self.queues.expire(now)
        return expired if self.fleet is None else [*expired, *self.fleet.carrier.flights.expire(now)]

    def _waiting_due(self, now: float) -> float | None:
        """When something that waits expires: for an absent peer, or for the answer of another node."""
        due = self.queues.due(now)
        flight_due = None if self.fleet is None else self.fleet.carrier.flights.due()
        return min(due, flight_due) if due is not None and flight_due is not None else due or flight_due

    def _give_up(self, client: Client) -> None:
        self.metrics.refused["silent"] += 1
        self.drop(client, CloseCode.GOING_AWAY, "no sign of life")


def _attempt(step: Callable[..., None], *args: Any) -> None:
    try:
        step(*args)
    except Exception as error:
        # Whatever one connection raises, the others are looked after.
        logger.error("a look after a client failed", exc_info=error)


def _heartbeat(alive_timeout: float) -> Heartbeat:
    """Ask after two thirds of the time. The question may come a sixteenth of that early, so the rest is longer."""
    interval = alive_timeout * 2 / 3
    return Heartbeat(interval=interval, timeout=alive_timeout - interval + interval / 16)


async def _finish(waiting: Awaitable[None]) -> None:
    await waiting
