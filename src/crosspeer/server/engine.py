"""The port of engines, which turn upgrade requests into peers, and the choice of one."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Final, Literal, Protocol, cast

from crosspeer.core.errors import CrosspeerError
from crosspeer.server.python import PythonEngine

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Callable

    from starlette.types import Scope

    from crosspeer.core.hosts import ServedHosts
    from crosspeer.core.hub import Hub

logger = logging.getLogger("crosspeer")

EngineName = Literal["auto", "native", "python", "uvicorn"]
NAMES: Final = ("auto", "native", "python", "uvicorn")
ENVIRONMENT: Final = "CROSSPEER_ENGINE"
"""The variable that chooses where no argument does."""


class EngineError(CrosspeerError, ValueError):
    """There is no such engine."""


class Engine(Protocol):
    """The WebSocket connections of one server. It is made on the loop that it runs on."""

    name: str
    listens: bool
    """It accepts connections by itself; otherwise they come to it from the HTTP protocol only."""

    def start(self) -> None:
        """Let the hub know of it."""
        ...

    def listen(self, listener: socket.socket) -> None:
        """Accept connections of a socket, if the engine does that by itself: `listens`."""
        ...

    def stop_listening(self) -> None: ...

    async def finish(self) -> None:
        """Wait for the hooks that run, those of peers that are gone already included."""
        ...

    async def stop(self, within: float) -> None:
        """Drop whatever is left and cancel its hooks; each peer's `close` hook has some seconds to end.

        The server has closed its peers politely before. A second time does nothing but to cancel what still runs.
        """
        ...

    def handshake(self, scope: Scope, socket: asyncio.Transport, early: bytes) -> None:
        """Take over a connection whose upgrade request was read, with the bytes that came behind it.

        MUST answer it, whatever is wrong with it, and MUST set a protocol of its own before it returns.
        """
        ...


def chosen(name: str | None) -> EngineName:
    """The engine of an argument, of the environment, or `auto`.

    Raises:
        EngineError: it is none of them.
    """
    name = name or os.environ.get(ENVIRONMENT) or "auto"
    if name not in NAMES:
        raise EngineError(f"there is no engine {name!r}: choose {', '.join(NAMES[:-1])} or {NAMES[-1]}")
    return cast("EngineName", name)


def make_engine(
    name: EngineName, hub: Hub, adopt: Callable[[], asyncio.Protocol], *, hosts: ServedHosts, tls: bool
) -> Engine | None:
    """Make the chosen engine on the running loop; None leaves WebSockets to uvicorn and the ASGI adapter.

    Args:
        adopt: makes the HTTP protocol for a connection that turned out to be plain HTTP.
        hosts: the names that the server answers to beside those of the hub.
        tls: the connections are encrypted, which asyncio does.

    Raises:
        EngineError: the native engine is wanted and not to be had.
    """
    if name == "uvicorn":
        return None
    if name == "python":
        return PythonEngine(hub)
    if tls:
        logger.info("TLS is served by the Python engine")
        return PythonEngine(hub)
    try:
        from crosspeer.server.native import NativeEngine
    except ModuleNotFoundError as error:
        if name == "native":
            raise EngineError(f"there is no native engine here ({error}): pip install 'crosspeer[native]'") from None
        logger.info("the native engine is not installed (%s): the Python engine serves", error)
        return PythonEngine(hub)
    return NativeEngine(hub, adopt, hosts)
