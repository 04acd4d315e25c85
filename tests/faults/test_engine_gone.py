"""F19: the native engine is not there, or has a bug. (What a panic in its core does is tested there, in Rust.)"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from crosspeer import Hub, Peer, Server
from crosspeer.testing import sockets
from crosspeer.testing.contracts.harness import Recorder, talk
from hostile.stage import ENGINES, needed
from process import serving
from raw import CLOSE, FIN, TEXT, Raw, frame

APPLICATION: Final = """
import sys
sys.modules["crosspeer_engine"] = None
from crosspeer import Hooks

class Echo(Hooks):
    def message(self, peer, message):
        peer.send(message.data)
"""


async def test_without_it_the_python_engine_serves_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "echo.py").write_text(APPLICATION)
    async with (
        serving("echo:Echo", cwd=tmp_path) as server,
        sockets.connect(server.url.replace("http", "ws"), timeout=20) as client,
    ):
        await talk(client, client)
        assert "the native engine is not installed" in server.output
        assert "python engine" in server.output


async def test_asked_for_and_not_there_it_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "echo.py").write_text(APPLICATION)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "crosspeer", "serve", "echo:Echo", "--port", "0", "--engine", "native"),
        cwd=tmp_path,
        env=os.environ,
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 1
    assert b"pip install 'crosspeer[native]'" in said


class PanicException(BaseException):
    """What PyO3 raises for a panic: each library in Rust has such a class of its own, and none is in a module."""


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("later", [False, True], ids=["now", "later"])
async def test_a_panic_in_a_hook_is_one_peers_matter(engine: str, later: bool) -> None:
    """It is none of `Exception`'s, and must not end the loop, nor leave a peer mute."""

    class Panicking(Recorder):
        def message(self, peer: Peer, message: Any) -> Any:
            return self.panic() if later and message.data == "panic" else self.answer(peer, message.data)

        async def panic(self) -> None:
            raise PanicException("a bug in Rust")

        def answer(self, peer: Peer, text: str) -> None:
            if text == "panic":
                raise PanicException("a bug in Rust")
            peer.send(text)

    hooks = Panicking()
    async with (
        Server(Hub(hooks), port=0, engine=needed(engine)) as server,
        sockets.connect(server.url.replace("http", "ws")) as witness,
        Raw(server.url) as client,
    ):
        await client.upgrade()
        client.send(frame(FIN | TEXT, b"panic"))
        assert await client.close_code() == (1011, "internal error")
        assert "a bug in Rust" in str(hooks.of("error")[0])
        client.send(frame(FIN | CLOSE, (1011).to_bytes(2, "big")))
        await hooks.wait_for("close")
        await talk(witness, witness)
