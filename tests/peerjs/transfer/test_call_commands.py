"""`crosspeer call` as its users meet it: a film from one process into a file of another."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Any

import av
import pytest
from click.testing import CliRunner

from crosspeer.cli import main
from crosspeer.peerjs import Peer
from footage import film, is_pattern
from peers import DEADLINE, own_broker, until
from process import crosspeer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def broker() -> AsyncIterator[dict[str, Any]]:
    # Whoever calls nobody is told so soon.
    async with own_broker(expire_timeout=0.5) as where:
        yield where


@pytest.fixture
def here(broker: dict[str, Any]) -> tuple[str, ...]:
    """The options that lead to the broker."""
    return ("--host", broker["host"], "--port", str(broker["port"]), "--ice", "none")


def pictures(path: Path) -> list[Any]:
    with av.open(str(path)) as file:
        return [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]


async def test_a_film_is_sent_and_recorded(tmp_path: Path, here: tuple[str, ...]) -> None:
    await film(tmp_path / "film.mp4", 2.0)
    async with crosspeer("call", "--id", "ada", "--record", "visit.mp4", *here, cwd=tmp_path) as ada:
        await ada.printed(r"    crosspeer call ada --video FILE --host 127.0.0.1 --port \d+\n")
        async with crosspeer("call", "ada", "--video", "film.mp4", *here, cwd=tmp_path) as bob:
            await bob.printed("In a call with ada.")
            await bob.printed("That was all.")
            assert await bob.ended() == 0
        await ada.printed("Recording to visit.mp4.")
        assert await ada.ended() == 0
    assert "has hung up." in ada.output
    assert "Traceback" not in ada.output + bob.output
    images = pictures(tmp_path / "visit.mp4")
    assert len(images) > 5
    assert is_pattern(images[-1])
    with av.open(str(tmp_path / "visit.mp4")) as file:
        assert {each.type for each in file.streams} == {"video", "audio"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_recording_is_complete_after_a_signal(tmp_path: Path, here: tuple[str, ...], number: int) -> None:
    await film(tmp_path / "film.mp4", 0.5)
    async with crosspeer("call", "--id", "ada", "--record", "visit.mp4", *here, cwd=tmp_path) as ada:
        await ada.printed("This is ada")
        async with crosspeer("call", "ada", "--video", "film.mp4", "--loop", *here, cwd=tmp_path) as bob:
            await ada.printed("Recording")
            await until(lambda: (tmp_path / "visit.mp4").stat().st_size > 0)
            ada.signal(number)
            assert await ada.ended() == 128 + number
            await bob.printed("ada has hung up.")
            assert await bob.ended() == 0
    assert "Hung up." in ada.output
    assert "Traceback" not in ada.output + bob.output
    assert pictures(tmp_path / "visit.mp4")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["ada"], "there is nothing to send: give --video FILE, --camera, or --pattern"),
        (["ada", "--loop"], "there is nothing to send"),
        (["ada", "--pattern", "--video", "note.txt"], "exclude each other"),
        (["ada", "--video", "nowhere.mp4"], "'nowhere.mp4' does not exist"),
        (["ada", "--video", "."], "'.' is a directory"),
        (["ada", "--video", "note.txt"], "note.txt"),
        (["ada", "--camera", "/dev/nowhere"], "/dev/nowhere"),
        (["nobody", "--pattern"], "nobody of this id is at http://127.0.0.1"),
        (["ada", "--pattern", "--record", "note.txt"], "note.txt is there already"),
        (["taken", "--pattern", "--id", "taken"], 'ID "taken" is taken'),
    ],
)
async def test_wrong_input(
    tmp_path: Path, broker: dict[str, Any], arguments: list[str], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "note.txt").write_text("no film")
    where = ("--host", broker["host"], "--port", str(broker["port"]))
    async with Peer("taken", **broker), asyncio.timeout(DEADLINE):
        result = await asyncio.to_thread(CliRunner().invoke, main, ["call", *arguments, *where])
    assert result.exit_code in (1, 2)
    assert isinstance(result.exception, SystemExit)
    assert says in " ".join(result.output.split())
    assert len(result.output.strip().splitlines()) <= 5
