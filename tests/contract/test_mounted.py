"""The adapter contract in applications of frameworks, each on a real server.

Whatever a server cannot do, a framework on it cannot do either, and otherwise they change nothing: none has a column.
Peers come by WebSocket, and once more by event streams, of which frameworks see more: the latter are plain HTTP.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import pytest

from hosted.contract import HostedContract
from hosted.process import Process

if TYPE_CHECKING:
    from collections.abc import Iterator


class Mounted(HostedContract):
    """Subclass it with the name of a framework in `hosted.servers`."""

    server: ClassVar[str]

    @pytest.fixture(scope="class")
    @classmethod
    def process(cls) -> Iterator[Process]:
        process = Process(cls.server)
        yield process
        process.stop()

    @pytest.fixture
    def harness(self, process: Process) -> Process:
        return process


class TestStarlette(Mounted):
    server = "starlette"


class TestStarletteEvents(Mounted):
    server = "starlette-events"


class TestFastAPI(Mounted):
    server = "fastapi"


class TestFastAPIEvents(Mounted):
    server = "fastapi-events"


class TestLitestar(Mounted):
    server = "litestar"


class TestLitestarEvents(Mounted):
    server = "litestar-events"


class TestQuart(Mounted):
    server = "quart"


class TestQuartEvents(Mounted):
    server = "quart-events"


class TestDjango(Mounted):
    server = "django"


class TestDjangoEvents(Mounted):
    server = "django-events"
