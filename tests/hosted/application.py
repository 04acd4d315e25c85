"""What the server's process loads: an application that serves the hub of the test which runs now."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import logging
import os
import re
import signal
import traceback
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from starlette.responses import PlainTextResponse

from crosspeer import SSE
from crosspeer.testing import events, sockets
from hosted.contract import HostedContract
from hosted.parameters import parameters
from hosted.servers import SERVERS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from crosspeer import Hub
    from crosspeer.testing.contracts.harness import Connect

TIMEOUT = 40.0
"""For one test, in seconds."""
LEAVING = 10.0
"""For what a test's connections leave behind to end, in seconds."""


class Host:
    """The process's side of the line to pytest."""

    def __init__(self) -> None:
        self.server = SERVERS[os.environ["HOSTED_SERVER"]]
        self.url = os.environ["HOSTED_URL"]
        self.adapter: Any = None
        """Serves the hub of the test that runs now."""
        self._calls = 0
        self._idle = asyncio.Event()
        self._control: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Open the line; called in the server's loop by whatever happens there first."""
        if self._control is None:
            self._control = asyncio.get_running_loop().create_task(self._obey())

    @contextmanager
    def call(self) -> Iterator[Any]:
        """One call of the application, which is over when the server is to know nothing of its connection any more."""
        self.start()
        self._calls += 1
        self._idle.clear()
        try:
            yield self.adapter
        finally:
            self._calls -= 1
            if self._calls == 0:
                self._idle.set()

    async def idle(self) -> None:
        """Wait until no connection is served any more."""
        try:
            async with asyncio.timeout(LEAVING):
                while self._calls:
                    await self._idle.wait()
        except TimeoutError:
            raise AssertionError(f"{self._calls} connections are served after the test") from None

    async def _obey(self) -> None:
        """Run the tests that pytest asks for, one after the other. Without pytest there is no reason to live on."""
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_unix_connection(os.environ["HOSTED_CONTROL"])
            while line := await reader.readline():
                result = await self._run(**json.loads(line))
                writer.write(json.dumps(result).encode() + b"\n")
                await writer.drain()
        os.killpg(os.getpgrp(), signal.SIGTERM)

    async def _run(self, test: str, choice: list[int]) -> dict[str, str]:
        with logs() as captured:
            try:
                method = getattr(HostedContract(), test)
                arguments = parameters(method, choice)
                if "caplog" in inspect.signature(method).parameters:
                    arguments["caplog"] = captured
                async with asyncio.timeout(TIMEOUT):
                    await method(HostHarness(self), **arguments)
                complaints = captured.complaints(self.server.noise)
                assert not complaints, "the server logged errors:\n" + "\n".join(complaints)
            except pytest.skip.Exception as skipped:
                return {"outcome": "skipped", "text": str(skipped)}
            except (asyncio.CancelledError, GeneratorExit, KeyboardInterrupt, SystemExit):
                raise
            except BaseException as error:
                lines = traceback.TracebackException.from_exception(error, capture_locals=True).format()
                return {"outcome": "failed", "text": "".join(lines) + "\nlogged:\n" + captured.text}
        return {"outcome": "passed", "text": ""}


class HostHarness:
    """The harness of the contract, in the server's own process."""

    def __init__(self, host: Host) -> None:
        self.capabilities = host.server.capabilities
        self.url = host.url
        self.prefix = host.server.prefix
        """What all paths begin with."""
        self.page = rsgi_page if hasattr(host.server.adapter, "__rsgi__") else asgi_page
        self._host = host

    @asynccontextmanager
    async def serve(self, hub: Hub, http: Any = None) -> AsyncIterator[Connect]:
        host = self._host
        host.adapter = host.server.adapter(hub, http=http)

        def connect(path: str = "/", **options: Any) -> Any:
            if host.server.has_events:
                return events.connect(self.url + self.prefix + path, **options)
            return sockets.connect(self.url.replace("http", "ws", 1) + self.prefix + path, **options)

        if host.server.has_events:
            # Who has gone is gone soon: the contract does not wait for clients that come back.
            hub.sse = SSE(resume=0.3)

        try:
            yield connect
            await hub.close()
            await host.idle()
        finally:
            host.adapter = None


class Logs(logging.Handler):
    """What is logged meanwhile, as pytest's `caplog` has it."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.setFormatter(logging.Formatter("%(levelname)s %(name)s %(message)s"))
        self.entries: list[tuple[logging.LogRecord, str]] = []

    @property
    def text(self) -> str:
        return "".join(text + "\n" for _, text in self.entries)

    def complaints(self, noise: tuple[str, ...]) -> list[str]:
        """The errors that are not of crosspeer's own."""
        return [
            text
            for record, text in self.entries
            if record.levelno >= logging.ERROR
            and not record.name.startswith("crosspeer")
            and not any(re.search(re.escape(known), text) for known in noise)
        ]

    def emit(self, record: logging.LogRecord) -> None:
        if all(record is not known for known, _ in self.entries):
            self.entries.append((record, self.format(record)))


@contextmanager
def logs() -> Iterator[Logs]:
    """Capture what any logger says; servers have loggers that do not propagate."""
    handler = Logs()
    known = [logger for logger in logging.root.manager.loggerDict.values() if isinstance(logger, logging.Logger)]
    listened_to = [logging.root, *(logger for logger in known if not logger.propagate)]
    for logger in listened_to:
        logger.addHandler(handler)
    try:
        yield handler
    finally:
        for logger in listened_to:
            logger.removeHandler(handler)


host = Host()


async def application(scope: Any, receive: Any, send: Any) -> None:
    """The ASGI application."""
    host.start()
    if scope["type"] == "lifespan":
        while True:
            event = await receive()
            await send({"type": event["type"] + ".complete"})
            if event["type"] == "lifespan.shutdown":
                return
    with host.call() as adapter:
        await (adapter or asgi_page)(scope, receive, send)


class RSGIApplication:
    """The RSGI application."""

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        # The loop does not run yet.
        loop.call_soon(host.start)

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        with host.call() as adapter:
            await adapter.__rsgi__(scope, protocol)


rsgi_application = RSGIApplication()


async def asgi_page(scope: Any, receive: Any, send: Any) -> None:
    """Plain HTTP beside the peers."""
    await PlainTextResponse("the page")(scope, receive, send)


async def rsgi_page(scope: Any, protocol: Any) -> None:
    protocol.response_str(200, [("content-type", "text/plain")], "the page")
