"""F22: nobody reads the log, or the disk that it goes to is full. The peers do not notice."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from crosspeer.server.logs import PatientHandler
from crosspeer.testing import sockets
from process import TIMEOUT

APPLICATION: Final = """
import logging
from crosspeer import Hooks

class Loud(Hooks):
    def message(self, peer, message):
        for number in range(int(message.data)):
            logging.getLogger("app").warning("line %d %s", number, "x" * 200)
        peer.send("logged")
"""
LINES: Final = 2000
"""Of 200 bytes: more than any pipe holds."""
ROUNDS: Final = 6
"""Together more than waits to be written."""


@asynccontextmanager
async def logging_to(stream: int, folder: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """A server whose standard error is this, and its URL."""
    (folder / "loud.py").write_text(APPLICATION)
    code = "import loud, crosspeer; crosspeer.serve(loud.Loud(), port=0, started=lambda s: print(s.url, flush=True))"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=stream
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(TIMEOUT):
            url = (await process.stdout.readline()).decode().strip()
        yield process, url.replace("http", "ws")
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def be_loud(url: str) -> None:
    async with sockets.connect(url, timeout=TIMEOUT) as client:
        for _ in range(ROUNDS):
            await client.send(str(LINES))
            assert await client.receive() == "logged"


async def test_a_log_that_nobody_reads_holds_nobody_up(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    try:
        async with logging_to(writer, tmp_path) as (process, url):
            os.close(writer)
            await be_loud(url)
            process.terminate()
            async with asyncio.timeout(TIMEOUT):
                assert await process.wait() == 0
    finally:
        os.close(reader)


async def test_a_log_that_is_read_again_says_what_is_missing(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    async with logging_to(writer, tmp_path) as (process, url):
        os.close(writer)
        await be_loud(url)
        stream = asyncio.StreamReader(limit=1024 * 1024)
        pipe = os.fdopen(reader)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stream), pipe
        )
        try:
            async with asyncio.timeout(TIMEOUT):
                while b"lines of the log were dropped" not in (line := await stream.readline()):
                    assert line
            process.terminate()
            async with asyncio.timeout(TIMEOUT):
                rest = await stream.read()
            assert b"once more to stop now" in rest
        finally:
            transport.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
async def test_a_full_disk_is_nobodys_business(tmp_path: Path) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    async with logging_to(full, tmp_path) as (process, url):
        os.close(full)
        await be_loud(url)
        process.terminate()
        async with asyncio.timeout(TIMEOUT):
            assert await process.wait() == 0


def record(text: str, *args: Any) -> logging.LogRecord:
    return logging.LogRecord("app", logging.WARNING, __file__, 1, text, args, None)


async def test_what_finds_no_room_is_counted() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, True)
    handler = PatientHandler(writer, waiting=10)
    try:
        for number in range(5000):
            handler.handle(record("line %d %s", number, "x" * 100))
        dropped = handler.dropped
        assert dropped > 0
        text = b""
        async with asyncio.timeout(TIMEOUT):
            while b"were dropped" not in text:
                text += await asyncio.to_thread(os.read, reader, 65536)
        handler.handle(record("after"))
        while not text.endswith(b"after\n"):
            text += await asyncio.to_thread(os.read, reader, 65536)
        told = re.findall(r"^(\d+) lines of the log were dropped: nobody took them$", text.decode(), re.MULTILINE)
        assert sum(map(int, told)) == dropped
        assert text.count(b"line ") == 5000 - dropped
    finally:
        handler.close()
        os.close(reader)
        os.close(writer)


def test_a_record_that_cannot_be_formatted_is_its_own_matter(capsys: pytest.CaptureFixture[str]) -> None:
    reader, writer = os.pipe()
    handler = PatientHandler(writer)
    try:
        handler.handle(record("%d", "no number"))
        handler.handle(record("fine"))
        handler.flush()
        assert os.read(reader, 100) == b"fine\n"
        assert "no number" in capsys.readouterr().err
    finally:
        handler.close()
        os.close(reader)
        os.close(writer)
