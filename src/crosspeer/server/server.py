"""The default server: hooks and plain HTTP on one port. The HTTP is uvicorn's, the peers are an engine's."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ipaddress
import logging
import os
import socket
from typing import TYPE_CHECKING, Any, Final, Self

import uvicorn

from crosspeer.adapters.asgi import Adapter
from crosspeer.core.hosts import LOOPBACK, HostNames, Hosts, ServedHosts
from crosspeer.core.limits import Limits
from crosspeer.runtime.drain import drain
from crosspeer.runtime.tasks import LAST_GRACE
from crosspeer.server.engine import Engine, chosen, make_engine
from crosspeer.server.http import HTTPProtocol
from crosspeer.server.lifespan import Lifespan
from crosspeer.server.listening import Listener
from crosspeer.server.pressure import Pressure
from crosspeer.server.target import Target, application
from crosspeer.server.watchdog import Watchdog
from crosspeer.server.websocket import WebSocketProtocol

if TYPE_CHECKING:
    from types import TracebackType

    from starlette.types import ASGIApp

    from crosspeer.core.hub import Hub
    from crosspeer.core.sync import Sync

logger = logging.getLogger("crosspeer")

BACKLOG: Final = 4096
"""Connections that wait to be accepted: a whole room comes back at once after a restart."""
UNSENT: Final = 128 * 1024
"""Bytes that the system takes from us before it has sent the ones before."""
_DRAIN_SHARE: Final = 0.7
"""The peers' part of the time for a shutdown. The rest is for requests that are still being answered."""
_CLOSE_SHARE: Final = 0.15
"""The part for the `close` hooks of peers that had to be dropped after that."""


class Server:
    """Serves peers, and plain HTTP beside them.

    ```python
    async with Server(Chat(), port=0) as server:
        print(server.url)
    ```

    Args:
        target: hooks in any form, a hub, `Routes`, or any ASGI application.
        http: an ASGI application for plain HTTP, beside hooks or a hub.
        host: the address to listen on, IPv4 or IPv6.
        port: the port; 0 takes a free one, which `url` tells.
        engine: which engine serves the WebSockets of hooks or a hub: "native", "python",
            "uvicorn", or "auto" for the best
            that there is. Without one, the environment variable CROSSPEER_ENGINE says it.
        ssl_certfile, ssl_keyfile: PEM files; with them it serves https and wss.
        allowed_hosts: names that it answers to beside those of its hub, "*" for any: for a proxy on the same machine,
            since on a loopback address it answers peers of `localhost` and the like alone.
        sync: the way to other nodes, for a hub that has none of its own; see `Hub`.
        shutdown_timeout: seconds from `stop` to its end, whatever peers and requests do.
        sock: a listening socket to use instead of `host` and `port`.
    """

    def __init__(
        self,
        target: Target,
        *,
        http: ASGIApp | None = None,
        host: str = "127.0.0.1",
        port: int = 3000,
        engine: str | None = None,
        ssl_certfile: str | os.PathLike[str] | None = None,
        ssl_keyfile: str | os.PathLike[str] | None = None,
        allowed_hosts: Hosts = None,
        sync: Sync | str | None = None,
        shutdown_timeout: float = 10.0,
        sock: socket.socket | None = None,
    ) -> None:
        self._app = application(target, http)
        self.hub: Final = self._app.hub if isinstance(self._app, Adapter) else None
        """The hub that it serves, None for a plain ASGI application."""
        if sync is not None and self.hub is not None and self.hub.sync is None:
            self.hub.join(sync)
        self._host = host
        self._port = port
        self._engine_name = chosen(engine)
        self._engine: Engine | None = None
        self._certificate = (ssl_certfile, ssl_keyfile)
        self._hosts: ServedHosts = () if allowed_hosts is None else (HostNames(allowed_hosts),)
        self._shutdown_timeout = shutdown_timeout
        self._socket = sock
        self._server: uvicorn.Server | None = None
        self._ticks: asyncio.Task[None] | None = None
        self._watchdog: Watchdog | None = None
        self._pressure: Pressure | None = None

    @property
    def url(self) -> str:
        """Where it listens: `http://host:port` (https with a certificate), or `unix:path` for a Unix socket.

        Raises:
            RuntimeError: it is not running.
        """
        if self._server is None or self._socket is None:
            raise RuntimeError("the server is not running")
        name = self._socket.getsockname()
        if isinstance(name, str):
            return f"unix:{name}"
        host, port = name[:2]
        scheme = "https" if self._certificate[0] else "http"
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

    @property
    def engine(self) -> str:
        """The name of the engine that serves its WebSockets."""
        return "uvicorn" if self._engine is None else self._engine.name

    async def start(self) -> None:
        """Listen, and return when connections are accepted.

        Raises:
            OSError: the address is taken or not there.
            EngineError: the engine that was asked for is not installed.
            RuntimeError: it runs already, or the application's start-up (ASGI lifespan) failed.
        """
        if self._server is not None:
            raise RuntimeError("the server is running already")
        if self._socket is None or self._socket.fileno() < 0:
            self._socket = bind(self._host, self._port)
        _keep_little_unsent(self._socket)
        server = uvicorn.Server(self._config())
        server.config.load()
        server.lifespan = Lifespan(server.config)
        try:
            if self.hub is not None and self.hub.sync is not None:
                await self.hub.sync.start()
            engine = self._make_engine(server)
            await server.startup(sockets=[])
        except BaseException as error:
            await self._undo_start(server)
            if isinstance(error, SystemExit):
                # uvicorn's way to say that the lifespan failed; its log has the reason.
                raise RuntimeError("the application did not start") from None
            raise
        if engine is not None:
            engine.start()
        if engine is not None and engine.listens:
            engine.listen(self._socket)
        else:
            self._listen(server, self._socket)
        self._engine = engine
        self._server = server
        self._ticks = asyncio.create_task(server.main_loop())
        self._watchdog = Watchdog()
        if self.hub is not None and self.hub.limits.max_memory is not None:
            self._pressure = Pressure(self.hub, self.hub.limits.max_memory)

    async def stop(self) -> None:
        """Stop accepting, close peers with 1012 in batches, let requests end, and be gone within the deadline.

        Cancelling it drops everything at once.
        """
        server, self._server = self._server, None
        if server is None:
            return
        deadline = asyncio.get_running_loop().time() + self._shutdown_timeout
        for listener in server.servers:
            listener.close()
        if self._engine is not None:
            self._engine.stop_listening()
        if self._socket is not None:
            # The engine worked on a duplicate: whoever comes now is to be turned away by the system.
            self._socket.close()
        with contextlib.nullcontext() if self.hub is None else self.hub.gate.refusing():
            try:
                async with asyncio.timeout_at(deadline):
                    await self._end_politely(server, deadline)
            except TimeoutError:
                logger.warning("not everything ended within %g s of the shutdown", self._shutdown_timeout)
                await self._end_now(server)
            except asyncio.CancelledError:
                await self._end_now(server)
                raise
            finally:
                server.should_exit = True
                if self._pressure is not None:
                    self._pressure.stop()
                if self._watchdog is not None:
                    self._watchdog.stop()
                if self._ticks is not None:
                    await self._ticks

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _undo_start(self, server: uvicorn.Server) -> None:
        assert self._socket is not None
        self._socket.close()
        if isinstance(server.lifespan, Lifespan):
            await server.lifespan.abort()
        if self.hub is not None and self.hub.sync is not None:
            await self.hub.sync.close()

    async def _end_politely(self, server: uvicorn.Server, deadline: float) -> None:
        within = self._shutdown_timeout
        if self.hub is not None:
            await _empty(self.hub, self._engine, within * _DRAIN_SHARE)
        if self._engine is not None:
            await self._engine.stop(within * _CLOSE_SHARE)
        if self.hub is not None and self.hub.sync is not None:
            # The last words of the last hook are relayed.
            await self.hub.sync.close()
        server.config.timeout_graceful_shutdown = max(1, int(deadline - asyncio.get_running_loop().time() - 1))
        await server.shutdown(sockets=[self._socket] if self._socket else None)

    async def _end_now(self, server: uvicorn.Server) -> None:
        await _drop_everything(server)
        if self._engine is not None:
            await self._engine.stop(0)
        if isinstance(server.lifespan, Lifespan):
            await server.lifespan.abort()

    @property
    def _limits(self) -> Limits:
        return Limits() if self.hub is None else self.hub.limits

    @property
    def _served(self) -> ServedHosts:
        assert self._socket is not None
        return (*self._hosts, LOOPBACK) if is_loopback(self._socket) else self._hosts

    def _make_engine(self, server: uvicorn.Server) -> Engine | None:
        if self.hub is None:
            return None
        tls, hosts = self._certificate[0] is not None, self._served
        adopt = functools.partial(_http_protocol, server)
        engine = make_engine(self._engine_name, self.hub, adopt, hosts=hosts, tls=tls)
        # The HTTP protocol hands every upgrade to it.
        server.config.http_protocol_class = functools.partial(  # type: ignore[assignment]
            HTTPProtocol, limits=self.hub.limits, hosts=hosts, engine=engine
        )
        return engine

    def _listen(self, server: uvicorn.Server, listener: socket.socket) -> None:
        """Accept connections on asyncio. Whoever does not get on with TLS has a handshake's time for it."""
        factory = functools.partial(_http_protocol, server)
        # uvicorn closes it, and waits for that.
        servers: list[Any] = server.servers
        servers.append(Listener(listener, factory, server.config.ssl, self._limits.handshake_timeout))

    def _config(self) -> uvicorn.Config:
        certfile, keyfile = (None if path is None else os.fspath(path) for path in self._certificate)
        limits, hosts = self._limits, self._served
        return uvicorn.Config(
            self._app,
            http=functools.partial(HTTPProtocol, limits=limits, hosts=hosts),  # type: ignore[arg-type]
            ws=functools.partial(WebSocketProtocol, limits=limits, hosts=hosts),  # type: ignore[arg-type]
            ws_max_size=limits.max_message_size,
            ws_ping_interval=limits.ping_interval,
            ws_ping_timeout=limits.ping_timeout,
            # 116 KiB an idle connection is too much to be the default.
            ws_per_message_deflate=self.hub is not None and self.hub.compression is not None,
            log_config=None,
            access_log=logger.isEnabledFor(logging.DEBUG),
            ssl_certfile=certfile,
            ssl_keyfile=keyfile,
            server_header=False,
            proxy_headers=False,
            backlog=BACKLOG,
        )


def bind(host: str, port: int) -> socket.socket:
    """Make a listening socket.

    Raises:
        OSError: the address is taken, or not one of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=BACKLOG)


def is_loopback(listener: socket.socket) -> bool:
    """Whether only this machine reaches it, by an address. Web pages reach no Unix socket."""
    name = listener.getsockname()
    if not isinstance(name, tuple):
        return False
    address = ipaddress.ip_address(name[0].partition("%")[0])
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def _http_protocol(server: uvicorn.Server, *, turned_away: bool = False) -> asyncio.Protocol:
    config, state = server.config, server.server_state
    protocol: Any = config.http_protocol_class
    lifespan = server.lifespan.state
    made: HTTPProtocol = protocol(config=config, server_state=state, app_state=lifespan)
    made.turned_away = turned_away
    return made


def _keep_little_unsent(listener: socket.socket) -> None:
    """Let the system keep little of what a reader has no room for. Connections inherit it from their listener.

    What waits then waits in the peer's own queue, where it is counted and where the policies are; and the smallest
    progress of a slow reader is seen, so that the heartbeat does not take it for a dead one.
    """
    if listener.family == socket.AF_UNIX:
        return
    # asyncio sets it on sockets whose protocol number says TCP, and those that are accepted here have none.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT)


async def _empty(hub: Hub, engine: Engine | None, within: float) -> None:
    """Let the peers go, and the last hooks of those end that had gone before."""
    end = asyncio.get_running_loop().time() + within
    await drain(hub, within=within)
    if engine is not None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(end):
                await engine.finish()


async def _drop_everything(server: uvicorn.Server) -> None:
    """End what ignored every polite request: cancel its tasks and drop its connections."""
    tasks = set(server.server_state.tasks)
    for task in tasks:
        task.cancel()
    listeners: list[Any] = server.servers
    for listener in listeners:
        listener.abort()
    for connection in tuple(server.server_state.connections):
        transport: Any = connection.transport
        transport.abort()
    if tasks:
        await asyncio.wait(tasks, timeout=LAST_GRACE)
