"""The adapter contract on event streams: the peers come by GETs for events, and send by POSTs."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

import running
from crosspeer import SSE, Hub, Server
from crosspeer.core.transport import Capabilities
from crosspeer.testing import events
from crosspeer.testing.contracts import AdapterContract
from plain import plain_uvicorn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from crosspeer.testing.contracts.harness import Connect

REASONS = {
    "subprotocol": "HTTP has no subprotocols.",
    "ping": "There are no pings in an event stream.",
    "terminate": "A stream is ended, and the client may take that for a pause.",
}


def dialer(url: str) -> Connect:
    def connect(path: str = "/", **options: Any) -> events.connect:
        return events.connect(url + path, **options)

    return connect


def impatient(hub: Hub) -> Hub:
    """Who has gone is gone soon: the contract does not wait for clients that come back."""
    assert hub.sse is not None
    hub.sse = replace(hub.sse, resume=0.3)
    return hub


class EventHarness:
    capabilities = Capabilities(subprotocol=False, ping=False, terminate=False)

    def __init__(self, engine: str) -> None:
        self.engine = engine

    @asynccontextmanager
    async def serve(self, hub: Hub) -> AsyncIterator[Connect]:
        async with Server(impatient(hub), port=0, engine=self.engine, shutdown_timeout=5) as server:
            yield dialer(server.url)


class PlainHarness:
    """A uvicorn that knows nothing of crosspeer: it cannot drop a connection whose reader has stopped."""

    capabilities = EventHarness.capabilities

    @asynccontextmanager
    async def serve(self, hub: Hub) -> AsyncIterator[Connect]:
        async with plain_uvicorn(impatient(hub)) as url:
            yield dialer(url)


class ForeignHarness:
    """The adapter of another server."""

    capabilities = EventHarness.capabilities

    def __init__(self, server: str) -> None:
        self.server = server

    @asynccontextmanager
    async def serve(self, hub: Hub) -> AsyncIterator[Connect]:
        async with running.SERVERS[self.server](impatient(hub)) as url:
            yield dialer(url)


class TestEventStreams(AdapterContract):
    column = "event streams"
    reasons = REASONS

    @pytest.fixture
    def harness(self) -> EventHarness:
        return EventHarness("python")


class TestEventStreamsBesideTheNativeEngine(AdapterContract):
    @pytest.fixture
    def harness(self) -> EventHarness:
        pytest.importorskip("crosspeer_engine", reason="the native engine is not built here: it needs cargo")
        return EventHarness("native")


class TestEventStreamsOnPlainUvicorn(AdapterContract):
    @pytest.fixture
    def harness(self) -> PlainHarness:
        return PlainHarness()


class TestEventStreamsOnAiohttp(AdapterContract):
    @pytest.fixture
    def harness(self) -> ForeignHarness:
        return ForeignHarness("aiohttp")


class TestEventStreamsOnTornado(AdapterContract):
    @pytest.fixture
    def harness(self) -> ForeignHarness:
        return ForeignHarness("tornado")


class TestEventStreamsOnSanic(AdapterContract):
    @pytest.fixture
    def harness(self) -> ForeignHarness:
        return ForeignHarness("sanic")


def test_the_bounds_are_checked() -> None:
    with pytest.raises(ValueError, match="resume"):
        SSE(resume=-1)
    with pytest.raises(TypeError, match="sse is"):
        Hub(sse=5)  # type: ignore[arg-type]
