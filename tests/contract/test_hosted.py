"""The adapter contract on foreign servers: each a real process, started once, in which the tests run."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import pytest

from hosted.contract import HostedContract
from hosted.process import Process
from hosted.servers import SERVERS

if TYPE_CHECKING:
    from collections.abc import Iterator


class Hosted(HostedContract):
    """Subclass it with the name of a server in `hosted.servers`."""

    server: ClassVar[str]

    def __init_subclass__(cls) -> None:
        cls.reasons = SERVERS[cls.server].reasons

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
    column = "uvicorn"
    server = "uvicorn"


class TestUvicornOnWsproto(Hosted):
    column = "uvicorn"
    server = "uvicorn-wsproto"


class TestUvicornOnWebsockets(Hosted):
    column = "uvicorn"
    server = "uvicorn-websockets"


class TestUvicornUnderGunicorn(Hosted):
    column = "uvicorn"
    server = "gunicorn-uvicorn"


class TestHypercorn(Hosted):
    column = "hypercorn"
    server = "hypercorn"


class TestGranian(Hosted):
    column = "granian"
    server = "granian"


class TestGranianRSGI(Hosted):
    column = "granian (RSGI)"
    server = "granian-rsgi"


class TestDaphne(Hosted):
    column = "daphne"
    server = "daphne"


class TestGunicorn(Hosted):
    column = "gunicorn"
    server = "gunicorn"
