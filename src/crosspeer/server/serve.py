"""`serve`: run a server until a signal stops it."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import logging
import os
import signal
from typing import TYPE_CHECKING, Any

from crosspeer.server.logs import PatientHandler
from crosspeer.server.server import Server

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from starlette.types import ASGIApp

    from crosspeer.core.hosts import Hosts
    from crosspeer.core.sync import Sync
    from crosspeer.server.target import Target

logger = logging.getLogger("crosspeer")

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def serve(
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
    started: Callable[[Server], None] | None = None,
) -> None:
    """Serve until SIGTERM or Ctrl+C, on uvloop where it is installed. For the arguments see `Server`.

    `started` is called with the server when it listens, instead of a line in the log.

    The first signal stops accepting, closes peers with 1012 and ends within `shutdown_timeout` seconds; the second
    ends the process now.

    Raises:
        OSError: the address is taken or not there.
        RuntimeError: the application's start-up (ASGI lifespan) failed.
        TypeError: the target cannot be served.
        ValueError: one of `allowed_hosts` is no host.
    """
    if not logging.getLogger().handlers and not logger.handlers:
        logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s", handlers=[PatientHandler()])
    server = Server(
        target,
        http=http,
        host=host,
        port=port,
        engine=engine,
        ssl_certfile=ssl_certfile,
        ssl_keyfile=ssl_keyfile,
        allowed_hosts=allowed_hosts,
        sync=sync,
        shutdown_timeout=shutdown_timeout,
        sock=sock,
    )
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_run(server, started or _announce))


def _announce(server: Server) -> None:
    logger.info("crosspeer is on %s (%s engine; Ctrl+C stops it)", server.url, server.engine)


async def _run(server: Server, started: Callable[[Server], None]) -> None:
    stopping = asyncio.Event()
    with _signals(stopping):
        await server.start()
        started(server)
        await stopping.wait()
        logger.info("stopping; once more to stop now")
        await server.stop()


@contextlib.contextmanager
def _signals(stopping: asyncio.Event) -> Any:
    """Let the first signal set an event, and every later one end the process."""
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in _SIGNALS}

    def first(number: int, _frame: object) -> None:
        for each in _SIGNALS:
            signal.signal(each, _exit_now)
        loop.call_soon_threadsafe(stopping.set)

    for number in _SIGNALS:
        # Not the loop's own handlers: those wait for a hook that blocks, and the second signal must not.
        signal.signal(number, first)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _exit_now(number: int, _frame: object) -> None:
    logging.shutdown()
    os._exit(128 + number)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if importlib.util.find_spec("uvloop") is None:
        return None
    import uvloop

    return uvloop.new_event_loop
