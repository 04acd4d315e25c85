"""The native engine at the server: its descriptor in the loop, its handshakes at the hub, plain HTTP to uvicorn."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Final

import crosspeer_engine

from crosspeer.core.admission import Admission
from crosspeer.core.hosts import HOSTS_KEY
from crosspeer.core.message import Message
from crosspeer.core.peer import Peer
from crosspeer.runtime.handshake import Waiting, in_time, rendered
from crosspeer.runtime.tasks import Tasks
from crosspeer.runtime.ticks import Ticks, early
from crosspeer.server.descriptors import Notice, first_reserved
from crosspeer.server.native.glue import Glue
from crosspeer.server.native.request import Head, request_of
from crosspeer.server.python.engine import PythonEngine
from crosspeer.wire.handshake import refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.responses import Response
    from starlette.types import Scope

    from crosspeer.core.hooks import HookTable
    from crosspeer.core.hosts import ServedHosts
    from crosspeer.core.hub import Hub
    from crosspeer.core.limits import Limits
    from crosspeer.core.outgoing import Outgoing
    from crosspeer.core.request import Request
    from crosspeer.core.session import Session
    from crosspeer.core.topics import Watcher

Key = tuple[int, int]
"""A connection of the engine: its place, and a number that no other connection of that place has."""

# Whoever asks whether something is a peer or a message means these too.
Peer.register(crosspeer_engine.Peer)
Message.register(crosspeer_engine.Message)

MAX_TABLES: Final = 256
"""Hook tables that are kept for the next connection with the same hooks."""


MAX_PAUSE: Final = 1.0
"""Longest time between two looks at deadlines, in seconds. A listener that had no descriptor waits for the next one."""


class NativeFanout:
    """The engine's topics, as the hub sees them. Its own peers subscribe and publish without this."""

    def __init__(self, engine: crosspeer_engine.Engine) -> None:
        self._engine = engine
        self._watcher: Watcher | None = None

    def add(self, topic: str, session: Session) -> None:
        raise TypeError("the native engine's peers subscribe by themselves")

    def discard(self, topic: str, session: Session) -> None:
        raise TypeError("the native engine's peers unsubscribe by themselves")

    def publish(self, topic: str, item: Outgoing, namespace: str | None, sender: Session | None) -> None:
        peer: object = sender
        mine = peer if isinstance(peer, crosspeer_engine.Peer) else None
        self._engine.publish(topic, item.data, namespace, item.compress, mine)

    def watch(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self._engine.watch_topics()
        self.tell()

    def tell(self) -> None:
        """Tell the watcher what has changed. Called after every turn of the engine."""
        if self._watcher is not None:
            for change in self._engine.changes():
                self._watcher(*change)

    def __len__(self) -> int:
        return self._engine.topics()


class NativeEngine:
    """Listens by itself: plain HTTP goes on to `adopt`, with its socket and what was read of it."""

    name = "native"
    listens = True

    def __init__(self, hub: Hub, adopt: Callable[[], asyncio.Protocol], hosts: ServedHosts) -> None:
        self.hub = hub
        self._hosts = hosts
        self.loop = asyncio.get_running_loop()
        self.glue = Glue(self)
        self._pause = _pause(hub.limits)
        self.engine = crosspeer_engine.Engine(self.glue, early(hub.limits, self._pause), hub.compression)
        self.engine.reserve_from(first_reserved())
        self._notice = Notice()
        self.fanout = NativeFanout(self.engine)
        # An upgrade on a connection that has served HTTP before is in asyncio's hands by then.
        self._python = PythonEngine(hub)
        self._adopt = adopt
        self._work = Tasks()
        self._tables: dict[int, tuple[HookTable, crosspeer_engine.Hooks]] = {}
        self._gone: set[Key] = set()
        self._asking: dict[Key, None] = {}
        self._ticks: Ticks | None = None
        self._scheduled = False

    # Engine, for the server.

    def start(self) -> None:
        self._python.start()
        self.hub.attach(self.fanout)
        self.engine.share(
            [self.hub.fanout.index, self._python.batch.index], self.hub.relays, self.hub.remembers, self.hub.attends
        )
        self.loop.add_reader(self.engine.fileno(), self.poll)
        self._ticks = Ticks(self.loop, self._pause, self._tick)

    def listen(self, listener: socket.socket) -> None:
        """Accept the connections of this socket too."""
        self.engine.listen(listener)

    def stop_listening(self) -> None:
        self.engine.stop_listening()

    async def finish(self) -> None:
        await self.glue.finish()
        await self._python.finish()

    async def stop(self, within: float) -> None:
        self.engine.stop_listening()
        self._work.cancel()
        self.glue.cancel()
        self.engine.abort_all()
        # Their ends, and with them the last hooks.
        while self.engine.poll():
            pass
        await self._work.finish()
        await asyncio.gather(self.glue.finish_within(within), self._python.stop(within))
        if self._ticks is not None:
            self._ticks.stop()
        self.loop.remove_reader(self.engine.fileno())
        self.fanout.tell()
        self.hub.detach(self.fanout)

    def handshake(self, scope: Scope, transport: asyncio.Transport, early: bytes) -> None:
        self._python.handshake(scope, transport, early)

    # The loop.

    def poll(self) -> None:
        """Do what there is to do, and come back soon if the turn was not enough for it."""
        self._scheduled = False
        if self.engine.poll():
            self.schedule()
        self.fanout.tell()

    def schedule(self) -> None:
        """Poll in the next turn of the loop: something was sent or ended outside of the engine's own."""
        if not self._scheduled:
            self._scheduled = True
            self.loop.call_soon(self.poll)

    def _tick(self) -> None:
        self.engine.reserve_from(first_reserved())
        self._notice.turned_away(self.engine.take_turned_away())
        if self.engine.tick():
            self.schedule()

    # Handshakes.

    def asked(self, key: Key, head: Head) -> None:
        """A handshake is to be answered."""
        request = request_of(head, self.hub)
        request.scope[HOSTS_KEY] = self._hosts
        admitted = self.hub.gate.admit(request)
        if isinstance(admitted, Admission):
            self._accept(key, head, request, admitted)
        else:
            self._asking[key] = None
            self._work.start(self._negotiate(key, head, request, admitted))

    async def _negotiate(self, key: Key, head: Head, request: Request, admitted: Waiting | Response) -> None:
        answer = await in_time(self.hub, request, admitted) if isinstance(admitted, Coroutine) else admitted
        del self._asking[key]
        if isinstance(answer, Admission):
            self._accept(key, head, request, answer)
        elif key not in self._gone:
            self.engine.refuse(key, refusal(await rendered(answer)))
        self._gone.discard(key)

    def left_early(self, key: Key) -> None:
        """The client did not wait for the answer to its handshake."""
        if key in self._asking:
            self._gone.add(key)

    def _accept(self, key: Key, head: Head, request: Request, admission: Admission) -> None:
        accepted = admission.accepted
        headers = [(name, value.encode("latin-1")) for name, value in accepted.header_pairs]
        # A request that the application has seen in `upgrade` may carry its marks; others are made anew when asked for.
        kept: Head | Request = head if admission.hooks.upgrade is None and not request.path_params else request
        opened = key not in self._gone and self.engine.accept(
            key,
            self._table(admission.hooks),
            admission.namespace,
            request.context,
            kept,
            accepted.protocol,
            accepted.compress,
            headers,
        )
        if not opened:
            admission.release()

    def _table(self, table: HookTable) -> crosspeer_engine.Hooks:
        known = self._tables.get(id(table))
        if known is not None and known[0] is table:
            return known[1]
        if len(self._tables) >= MAX_TABLES:
            self._tables.clear()
        made = crosspeer_engine.Hooks(table)
        self._tables[id(table)] = (table, made)
        return made

    # Plain HTTP.

    def plain_http(self, descriptor: int, data: bytes) -> None:
        self._work.start(self._hand_over(socket.socket(fileno=descriptor), data))

    async def _hand_over(self, connection: socket.socket, data: bytes) -> None:
        def adopt() -> asyncio.Protocol:
            protocol = self._adopt()
            made = protocol.connection_made

            def connection_made(transport: asyncio.BaseTransport) -> None:
                # Here and not behind the wait: by then uvloop has read on, and that would stand before this.
                made(transport)
                protocol.data_received(data)

            protocol.connection_made = connection_made  # type: ignore[method-assign]
            return protocol

        connection.setblocking(False)
        try:
            await self.loop.connect_accepted_socket(adopt, connection)
        except OSError:
            connection.close()


def _pause(limits: Limits) -> float:
    times = [limits.handshake_timeout, limits.close_timeout, limits.ping_timeout, limits.ping_interval]
    return min(MAX_PAUSE, min(time for time in times if time is not None) / 4)
