"""The stage that hostile handshakes play on: a server with peers and plain HTTP, a witness, and what was logged."""

from __future__ import annotations

import logging
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HTTPRequest
from starlette.responses import PlainTextResponse

from crosspeer import Hooks, Hub, Limits, Server
from crosspeer.testing import sockets
from crosspeer.testing.contracts.harness import Recorder, talk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from starlette.types import Receive, Scope, Send

    from crosspeer import Message, Peer, Request

ENGINES = ("native", "python", "uvicorn")
LIMITS = Limits(close_timeout=1)


def needed(engine: str) -> str:
    """The engine, or a reason to skip."""
    if engine == "native":
        pytest.importorskip("crosspeer_engine", reason="the native engine is not built here: it needs cargo")
    return engine


class Echo(Recorder):
    """Remembers which handshakes reached it too."""

    def upgrade(self, request: Request) -> None:
        self.note("upgrade", request.url.path)

    def message(self, peer: Peer, message: Message) -> None:
        self.note("message", message.data)
        peer.send(message.data)


class Pages:
    """Plain HTTP: remembers what was asked for, and answers when the whole request is there."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return
        request = HTTPRequest(scope, receive)
        self.asked.append(request.url.path)
        try:
            body = await request.body()
        except ClientDisconnect:
            return
        await PlainTextResponse(f"{request.url.path} {len(body)}")(scope, receive, send)


class Log(logging.Handler):
    """All warnings and errors of the process, with their control characters."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        # A busy machine may hold a loop up: that is no row of the table.
        if record.module != "watchdog":
            self.lines.append(record.getMessage())


class Stage:
    """A server, its hooks, its pages, its log and the witness."""

    def __init__(self, server: Server, hooks: Echo, pages: Pages, log: Log, witness: Any) -> None:
        assert server.hub is not None
        self.server, self.url, self.hub = server, server.url, server.hub
        self.hooks, self.pages, self.log, self.witness = hooks, pages, log, witness

    async def undisturbed(self) -> None:
        """The witness is served, and nobody is there but itself."""
        await talk(self.witness, self.witness)
        assert self.hub.connections == 1

    def logged(self, *patterns: str) -> None:
        """Nothing was logged but lines of these forms, and they stay in their lines."""
        for line in self.log.lines:
            assert line.isprintable(), repr(line)
            assert any(re.fullmatch(pattern, line) for pattern in patterns), line
        self.log.lines.clear()


@asynccontextmanager
async def stage(
    engine: str,
    *,
    limits: Limits = LIMITS,
    routes: Mapping[str, Hooks] | None = None,
    server: Mapping[str, Any] | None = None,
    **hub: Any,
) -> AsyncIterator[Stage]:
    """Set the stage with one engine. Peers are at `/`, at `/witness` and on the routes; all else is not found."""
    hooks, pages, log = Echo(), Pages(), Log()
    known = {"/": hooks, "/witness": Echo(), **(routes or {})}
    made = Hub(resolve=lambda request: known.get(request.url.path), limits=limits, **hub)
    root = logging.getLogger()
    root.addHandler(log)
    try:
        async with (
            Server(made, http=pages, port=0, engine=engine, shutdown_timeout=3, **(server or {})) as running,
            sockets.connect(running.url.replace("http", "ws") + "/witness") as witness,
        ):
            yield Stage(running, hooks, pages, log, witness)
    finally:
        root.removeHandler(log)
    assert log.lines == [], "what was logged at the end"
