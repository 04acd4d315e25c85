"""What peers see when an ASGI server stops, as the page of each server says: an application has no say in it."""

from __future__ import annotations

from pathlib import Path

import pytest

import running
from serving import served

APPLICATION = """\
from crosspeer import Hooks, Hub
from crosspeer.adapters import asgi, rsgi


class Chat(Hooks):
    def open(self, peer):
        peer.send("welcome")

    def close(self, peer, details):
        print("closed with", details.code, flush=True)


hub = Hub(Chat())
app = asgi.Adapter(hub)
native = rsgi.Adapter(hub)
"""


@pytest.mark.parametrize(
    ("command", "seen", "told"),
    [
        ("uvicorn chat:app --port 3000", 1012, "closed with 1012"),
        ("hypercorn chat:app --graceful-timeout 1 --bind 127.0.0.1:3000", 1011, "closed with 1006"),
        ("granian chat:app --interface asgi --port 3000", 1006, None),
        ("granian chat:native --interface rsgi --port 3000", 1006, None),
        ("daphne chat:app --port 3000", 1006, ""),
        ("gunicorn chat:app --worker-class asgi --graceful-timeout 1 --bind 127.0.0.1:3000", 1006, ""),
    ],
    ids=["uvicorn", "hypercorn", "granian", "granian-rsgi", "daphne", "gunicorn"],
)
async def test_peers_see_their_server_stop(command: str, seen: int, told: str | None, tmp_path: Path) -> None:
    (tmp_path / "chat.py").write_text(APPLICATION)
    async with served(command, tmp_path) as server:
        client = await running.dialer(server.url)()
        assert await client.receive() == "welcome"
        await server.stop()
        assert await client.wait_closed() == seen
    # None: it hangs up in the middle of whatever runs, and `close` hooks have time or have not.
    if told:
        assert told in server.output
    elif told is not None:
        assert "closed with" not in server.output, "its page says that no `close` hook runs"
