"""The commands of the guide to files and chats, typed as it says, into terminals of their own."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from pages import ROOT
from process import crosspeer

if TYPE_CHECKING:
    from pathlib import Path

PAGE = (ROOT / "docs" / "transfer.md").read_text()


def typed(begin: str) -> list[str]:
    """The command of the page that begins so, without its first word."""
    lines = [line for line in PAGE.splitlines() if line.startswith(f"crosspeer {begin}")]
    assert lines, f"the page has no command that begins with {begin!r}"
    return shlex.split(lines[0])[1:]


async def test_a_broker_of_one_s_own(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(bytes(4_200_000))
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "monday.txt").write_text("monday")
    async with crosspeer(*at(typed("peerserver"), "0"), cwd=tmp_path) as broker:
        port = (await broker.printed(r"Started PeerServer on .*, port: (\d+)"))[1]
        async with crosspeer(*at(typed("receive ada --host"), port), cwd=tmp_path) as receiving:
            told = await receiving.printed(r"This is ada. On the other side, type\n    crosspeer send FILE ada (.*)\n")
            assert told[1] == f"--host localhost --port {port}"
            async with crosspeer(*at(typed("send photo.jpg"), port), cwd=tmp_path) as sending:
                assert await sending.ended() == 0
            await receiving.printed("monday.txt: complete")
    shown = re.search(r"```text\n(photo.jpg: .*\n)(photo.jpg: complete.*\n)", PAGE)
    assert shown is not None
    assert shown[1] in sending.output
    assert re.sub(r"[\d.]+ ..?/s", "", shown[2]) in re.sub(r"[\d.]+ ..?/s", "", sending.output)
    assert (tmp_path / "inbox" / "photo.jpg").stat().st_size == 4_200_000
    assert (tmp_path / "inbox" / "notes" / "monday.txt").read_text() == "monday"


def at(words: list[str], port: str) -> list[str]:
    """The same command at another port."""
    assert "9000" in words
    return [port if word == "9000" else word for word in words]
