"""The adapter contract on event streams of foreign servers, each a real process."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import pytest

from hosted.contract import HostedContract
from hosted.process import Process

if TYPE_CHECKING:
    from collections.abc import Iterator


class Hosted(HostedContract):
    """Subclass it with the name of a server in `hosted.servers`."""

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


class TestUvicorn(Hosted):
    server = "uvicorn-events"


class TestHypercorn(Hosted):
    server = "hypercorn-events"


class TestGranian(Hosted):
    server = "granian-events"


class TestGranianRSGI(Hosted):
    server = "granian-rsgi-events"


class TestDaphne(Hosted):
    server = "daphne-events"


class TestGunicorn(Hosted):
    server = "gunicorn-events"
