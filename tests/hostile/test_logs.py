"""Row P17: what a client sends never begins a line of a log, and never reaches a terminal as more than text."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from hostile.handshakes import request
from hostile.stage import ENGINES, needed
from process import serving
from raw import CLOSE, FIN, TEXT, Raw, frame, handshake

if TYPE_CHECKING:
    from pathlib import Path

APPLICATION = """
from crosspeer import Hooks, Hub

class Rooms(Hooks):
    def upgrade(self, request):
        if "broken" in request.url.path:
            raise RuntimeError("broken")
        return {"protocol": "x-not-offered"}

    def message(self, peer, message):
        peer.subscribe(message.text())

hub = Hub(Rooms())
"""
FORGED = "\r\n12:00:00 CRITICAL forged\x1b[31m\x07\u202e"


@pytest.mark.parametrize("engine", ENGINES)
async def test_nothing_that_a_client_sends_begins_a_line_or_colours_one(engine: str, tmp_path: Path) -> None:
    (tmp_path / "logged.py").write_text(APPLICATION)
    async with serving("logged:hub", "--engine", needed(engine), "--log-level", "debug", cwd=tmp_path) as command:
        path, plain = "/" + quote(FORGED), FORGED.replace("\r\n", " ").encode().decode("latin-1")
        attacks = [
            (request(f"User-Agent: {plain.strip()}".replace("\x1b", "").replace("\x07", ""), path="/page"), 426),
            (request(path=path), 426),
            (handshake(path), 101),
            (handshake(path + "/broken"), 500),
            (handshake(path, Origin="https://evil.example" + quote(FORGED)), 403),
            (handshake(path, Sec_WebSocket_Protocol="a, b"), 101),
            (handshake(path, Host="evil.example"), 421),
            (handshake("/raw\x1b[31m"), 400),
            (handshake(X="a\x1b[31m\x00"), 400),
        ]
        for data, status in attacks:
            async with Raw(command.url) as client:
                client.send(data)
                assert (await client.head())[0] == status
        # The topic has control characters: the hook raises, with the topic in its words.
        async with Raw(command.url) as client:
            await client.upgrade("/peer")
            client.send(frame(FIN | TEXT, FORGED.encode()))
            assert (await client.close_code())[0] == 1011
        async with Raw(command.url) as client:
            await client.upgrade("/peer")
            client.send(frame(FIN | CLOSE, (4000).to_bytes(2, "big") + FORGED.encode()))
            await client.ended()
        command.signal()
        await command.ended()
        for line in command.output.split("\n"):
            assert line.isprintable(), repr(line)
            assert not line.startswith("12:00:00 CRITICAL")
        assert "broken" in command.output
