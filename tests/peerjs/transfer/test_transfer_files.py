"""Files from one peer to another over a real connection: whole, after a cut, in the way, and from liars."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from crosspeer.peerjs import PeerError
from crosspeer.peerjs.rtc.choose import NAMES
from crosspeer.peerjs.transfer import (
    OFFER_OPTIONS,
    Receiver,
    Refused,
    Sender,
    Source,
    TransferError,
    Watch,
    claims,
    sources_of,
)
from crosspeer.peerjs.transfer.messages import CHUNK
from crosspeer.peerjs.transfer.names import SUFFIX
from peers import DEADLINE, connected, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from crosspeer.peerjs import DataConnection
    from peers import Peers

MIB = 1024 * 1024


class Noted(Watch):
    """What a watch is told."""

    def __init__(self, moved: Callable[[int], object] = lambda offset: None) -> None:
        self.events: list[tuple[Any, ...]] = []
        self._moved = moved

    def begins(self, name: str, size: int, offset: int) -> None:
        self.events.append(("begins", name, size, offset))

    def moved(self, offset: int) -> None:
        self._moved(offset)

    def ends(self, name: str, path: Path) -> None:
        self.events.append(("ends", name))

    def fails(self, name: str, text: str) -> None:
        self.events.append(("fails", name, text))

    @property
    def starts(self) -> list[int]:
        """Where each file was taken up."""
        return [event[3] for event in self.events if event[0] == "begins"]


class Line:
    """Both ends of a connection, the far one at a receiver."""

    def __init__(self, here: DataConnection, watch: Noted, serving: asyncio.Task[bool]) -> None:
        self.here = here
        self.sender = Sender(here)
        self.watch = watch
        self.serving = serving

    async def answer(self) -> dict[str, Any]:
        """The next message of the receiver."""
        async with asyncio.timeout(DEADLINE):
            message: dict[str, Any] = await self.here.receive()
        return message


@asynccontextmanager
async def line(peers: Peers, receiver: Receiver, *, engine: str | None = None, **options: Any) -> AsyncIterator[Line]:
    here, there = await peers.open(engine=engine), await peers.open(engine=engine)
    pair = await connected(here, there, **{**OFFER_OPTIONS, **options})
    watch = Noted()
    serving = asyncio.ensure_future(receiver.serve(pair.there, watch))
    try:
        yield Line(pair.here, watch, serving)
    finally:
        await pair.here.close()
        async with asyncio.timeout(DEADLINE):
            with suppress(TransferError):
                await serving


def made(path: Path, size: int, seed: int = 1) -> Source:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(random.Random(seed).randbytes(size))
    return Source(path, path.name)


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}


@pytest.mark.parametrize("engine", NAMES)
async def test_files_of_all_sizes_and_a_folder(peers: Peers, tmp_path: Path, inbox: Path, engine: str) -> None:
    photos = tmp_path / "photos"
    sizes = {"0": 0, "1": 1, "a/chunk": CHUNK, "a/more": CHUNK + 1, "a/b/Größe ✓": 3 * MIB + 7}
    for name, size in sizes.items():
        made(photos / name, size)
    (photos / "link").symlink_to("/etc/passwd")
    (photos / ".hidden").write_text("x")
    left_out: list[Path] = []
    async with line(peers, Receiver(inbox), engine=engine) as there, asyncio.timeout(DEADLINE):
        for source in sources_of(photos, left_out=left_out.append):
            assert await there.sender.send(source) == source.name
            assert (inbox / source.name).read_bytes() == source.path.read_bytes()
        await there.sender.finish()
        assert await there.serving is True
    assert names(inbox) == {f"photos/{name}" for name in sizes}
    assert sorted(path.name for path in left_out) == [".hidden", "link"]
    assert [event for event in there.watch.events if event[0] == "fails"] == []


async def test_a_cut_file_goes_on_where_it_was(peers: Peers, tmp_path: Path, inbox: Path) -> None:
    source = made(tmp_path / "film", 20 * MIB)
    receiver = Receiver(inbox)
    async with line(peers, receiver) as there, asyncio.timeout(DEADLINE):
        cutting = Noted(lambda offset: there.here.close() if offset > 4 * MIB else None)
        with pytest.raises(PeerError):
            await Sender(there.here, cutting).send(source)
        assert await there.serving is False
    assert names(inbox) == {"film" + SUFFIX}
    came = (inbox / f"film{SUFFIX}").stat().st_size
    assert 4 * MIB < came < 20 * MIB
    async with line(peers, receiver) as there, asyncio.timeout(DEADLINE):
        await there.sender.send(source)
    assert there.watch.starts == [came]
    assert names(inbox) == {"film"}
    assert (inbox / "film").read_bytes() == source.path.read_bytes()


@pytest.mark.parametrize(
    ("came", "start"),
    [
        pytest.param(lambda data: data[: 2 * MIB], 2 * MIB, id="a part"),
        pytest.param(lambda data: data, 3 * MIB, id="all, but for its end"),
        pytest.param(lambda data: b"x" + data[1 : 2 * MIB], 0, id="the source has changed"),
        pytest.param(lambda data: data + b"x", 0, id="the source has become shorter"),
        pytest.param(lambda data: data[:MIB] + bytes(MIB), 0, id="the disk lost what was written last"),
        pytest.param(lambda data: b"", 0, id="nothing"),
    ],
)
async def test_what_came_before(
    peers: Peers, tmp_path: Path, inbox: Path, came: Callable[[bytes], bytes], start: int
) -> None:
    source = made(tmp_path / "film", 3 * MIB)
    (inbox / f"film{SUFFIX}").write_bytes(came(source.path.read_bytes()))
    async with line(peers, Receiver(inbox)) as there, asyncio.timeout(DEADLINE):
        assert await there.sender.send(source) == "film"
    assert there.watch.starts == [start]
    assert names(inbox) == {"film"}
    assert (inbox / "film").read_bytes() == source.path.read_bytes()


async def test_a_source_that_changes_meanwhile(peers: Peers, tmp_path: Path, inbox: Path) -> None:
    source = made(tmp_path / "log", 20 * MIB)
    receiver = Receiver(inbox)
    async with line(peers, receiver) as there, asyncio.timeout(DEADLINE):

        def change(offset: int) -> None:
            with source.path.open("r+b") as file:
                file.truncate(offset)

        with pytest.raises(Refused, match="log has changed while it was being sent"):
            await Sender(there.here, Noted(change)).send(source)
        # The connection is as good as before, and so is the next attempt.
        made(source.path, 1 * MIB, seed=2)
        assert await there.sender.send(source) == "log"
    assert there.watch.events[1] == ("fails", "log", "the other side gave up: log has changed while it was being sent")
    assert there.watch.starts[1] == 0
    assert (inbox / "log").read_bytes() == source.path.read_bytes()


async def test_a_file_that_is_there_already(peers: Peers, tmp_path: Path, inbox: Path) -> None:
    receiver = Receiver(inbox)
    source = made(tmp_path / "a.txt", MIB)
    async with line(peers, receiver) as there, asyncio.timeout(DEADLINE):
        assert await there.sender.send(source) == "a.txt"
        assert await there.sender.send(source) == "a.txt"
        assert there.watch.starts == [0, MIB]
        assert names(inbox) == {"a.txt"}
        made(tmp_path / "a.txt", MIB, seed=2)
        assert await there.sender.send(source) == "a (1).txt"
        made(tmp_path / "a.txt", 5, seed=3)
        assert await there.sender.send(source) == "a (2).txt"
        assert names(inbox) == {"a.txt", "a (1).txt", "a (2).txt"}
    async with line(peers, Receiver(inbox, overwrite=True)) as there, asyncio.timeout(DEADLINE):
        assert await there.sender.send(source) == "a.txt"
    assert names(inbox) == {"a.txt", "a (1).txt", "a (2).txt"}
    assert (inbox / "a.txt").read_bytes() == source.path.read_bytes()


async def test_links_in_the_folder_lead_nowhere(peers: Peers, tmp_path: Path, inbox: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    secret = outside / "secret"
    secret.write_bytes(b"secret")
    (inbox / "folder").symlink_to(outside)
    (inbox / "a").symlink_to(secret)
    (inbox / f"b{SUFFIX}").symlink_to(secret)
    os.link(secret, inbox / f"c{SUFFIX}")
    os.mkfifo(inbox / f"d{SUFFIX}")
    path = made(tmp_path / "source", 6).path
    for overwrite in (False, True):
        async with line(peers, Receiver(inbox, overwrite=overwrite)) as there, asyncio.timeout(DEADLINE):
            with pytest.raises(Refused, match="folder is no folder"):
                await there.sender.send(Source(path, "folder/new"))
            assert await there.sender.send(Source(path, "a")) == ("a" if overwrite else "a (1)")
            for name in ("c", "d"):
                with pytest.raises(Refused, match="no ordinary file"):
                    await there.sender.send(Source(path, name))
            with pytest.raises(Refused, match="b cannot be written"):
                await there.sender.send(Source(path, "b"))
    assert names(outside) == {"secret"}
    assert secret.read_bytes() == b"secret"
    assert not (inbox / "a").is_symlink()


@pytest.mark.parametrize(
    ("name", "why"),
    [("../x", "outside"), ("/tmp/x", "outside"), ("a\\b", "backslash"), ("a\0", "cannot be seen"), (".x", "hidden")],
)
async def test_a_name_that_leads_elsewhere(peers: Peers, tmp_path: Path, inbox: Path, name: str, why: str) -> None:
    source = made(tmp_path / "a", 10)
    async with line(peers, Receiver(inbox)) as there, asyncio.timeout(DEADLINE):
        with pytest.raises(Refused, match=why):
            await there.sender.send(Source(source.path, name))
        assert await there.sender.send(source) == "a"
    assert names(tmp_path) == {"a", "inbox/a"}


async def test_sizes(peers: Peers, tmp_path: Path, inbox: Path) -> None:
    async with line(peers, Receiver(inbox, max_size=MIB)) as there, asyncio.timeout(DEADLINE):
        with pytest.raises(Refused, match="it has 1048577 bytes, and 1048576 are allowed"):
            await there.sender.send(made(tmp_path / "a", MIB + 1))
        assert await there.sender.send(made(tmp_path / "b", MIB)) == "b"
    async with line(peers, Receiver(inbox)) as there:
        await there.here.send({"type": "offer", "name": "huge", "size": 2**53})
        answer = await there.answer()
        assert answer["type"] == "refuse"
        assert "there is no room for its 9007199254740992 bytes" in answer["text"]
    assert names(inbox) == {"b"}


def offer(size: int = 10) -> dict[str, Any]:
    return {"type": "offer", "name": "file", "size": size}


def data(offset: int, data: Any) -> dict[str, Any]:
    return {"type": "data", "offset": offset, "data": data}


END = {"type": "end", "sha256": hashlib.sha256(b"0123456789").digest()}
LIES: dict[str, tuple[list[Any], str]] = {
    "no message": (["hello"], "a str in place of a message"),
    "deep nonsense": ([[[[[[]]]]]], "a list in place of a message"),
    "an absurd size": ([offer(2**62)], "unsound size"),
    "an endless name": ([{**offer(), "name": "x" * 1_000_000}], "unsound name"),
    "data of the wrong offset": ([offer(), data(5, b"56789")], "data for byte 5, when 0 was next"),
    "data in the wrong order": ([offer(), data(0, b"01"), data(4, b"45"), data(2, b"23")], "byte 4, when 2 was next"),
    "more than it said": ([offer(), data(0, b"0" * 11)], "more than the 10 bytes"),
    "less than it said": ([offer(), data(0, b"01234"), END], "end after 5 of 10 bytes"),
    "a second file amid the first": ([offer(), data(0, b"01234"), offer(3)], "offer amid a file"),
    "data that is text": ([offer(), data(0, "0123456789")], "unsound data"),
    "data of nothing": ([offer(), data(0, b"")], "unsound data"),
}


@pytest.mark.parametrize(("messages", "why"), LIES.values(), ids=LIES)
async def test_a_sender_that_lies(peers: Peers, inbox: Path, messages: list[Any], why: str) -> None:
    async with line(peers, Receiver(inbox)) as there:
        for message in messages:
            await there.here.send(message)
            if isinstance(message, dict) and message["type"] == "offer" and (await there.answer())["type"] == "refuse":
                break
        with pytest.raises(TransferError, match=why):
            async with asyncio.timeout(DEADLINE):
                await there.serving
        async with asyncio.timeout(DEADLINE):
            rest = [message async for message in there.here]
    if rest:
        assert rest[-1]["type"] == "refuse"
        assert why in rest[-1]["text"]
    assert names(inbox) <= {f"file{SUFFIX}"}


async def test_a_wrong_checksum(peers: Peers, tmp_path: Path, inbox: Path) -> None:
    async with line(peers, Receiver(inbox)) as there:
        await there.here.send(offer())
        assert await there.answer() == {"type": "go", "offset": 0}
        await there.here.send(data(0, b"0123456780"))
        assert await there.answer() == {"type": "ack", "offset": 10}
        await there.here.send(END)
        assert "checksum" in (await there.answer())["text"]
        assert names(inbox) == set()
        # Nothing of it is left, and the connection goes on.
        assert await there.sender.send(made(tmp_path / "file", 10)) == "file"


async def test_a_connection_for_something_else(peers: Peers, inbox: Path) -> None:
    async with line(peers, Receiver(inbox), metadata=None) as there:
        assert "version 1 of the transfer of crosspeer" in (await there.answer())["text"]


async def test_a_peer_that_is_no_receiver(peers: Peers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crosspeer.peerjs.transfer.sender.ANSWER", 0.2)
    pair = await connected(await peers.open(), await peers.open("page"), **OFFER_OPTIONS)
    with pytest.raises(
        TransferError, match=r"page: nothing was heard for 0.2 seconds; does it run `crosspeer receive`"
    ):
        await Sender(pair.here).send(made(tmp_path / "a", 1))


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ([{"type": "go", "offset": 7}], "go on from byte 7"),
        ([{"type": "go", "offset": 0}, {"type": "ack", "offset": 10_000_000}], "acknowledgement of 10000000 bytes"),
        ([{"type": "have", "offset": 10_000_000}], "first 10000000 of"),
        ([{"type": "done", "name": "a"}], "done after an offer"),
        ([b"\0" * 1000], "a bytes in place of a message"),
        ([{"type": "refuse", "text": "\x1b[2J no"}], r"\\x1b\[2J no"),
    ],
)
async def test_a_receiver_that_lies(peers: Peers, tmp_path: Path, answers: list[Any], why: str) -> None:
    pair = await connected(await peers.open(), await peers.open(), **OFFER_OPTIONS)
    for answer in answers:
        await pair.there.send(answer)
    async with asyncio.timeout(DEADLINE):
        with pytest.raises(TransferError, match=why):
            await Sender(pair.here).send(made(tmp_path / "a", MIB))


class TestTwoSendersOfOneName:
    async def test_one_that_has_fallen_silent_gives_way(
        self, peers: Peers, tmp_path: Path, inbox: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(claims, "SILENCE", 0.1)
        receiver = Receiver(inbox)
        source = made(tmp_path / "file", MIB)
        start = source.path.read_bytes()[:1000]
        async with line(peers, receiver) as cut, line(peers, receiver) as there:
            await cut.here.send(offer(MIB))
            assert (await cut.answer())["type"] == "go"
            await cut.here.send(data(0, start))
            assert (await cut.answer())["type"] == "ack"
            async with asyncio.timeout(DEADLINE):
                assert await there.sender.send(source) == "file"
                assert await cut.serving is False
            assert there.watch.starts == [1000]

    async def test_one_that_is_at_work_does_not(
        self, peers: Peers, tmp_path: Path, inbox: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(claims, "_PATIENCE", 0.1)
        receiver = Receiver(inbox)
        source = made(tmp_path / "file", 10)
        async with line(peers, receiver) as first, line(peers, receiver) as there:
            await first.here.send(offer())
            assert (await first.answer())["type"] == "go"
            with pytest.raises(Refused, match="file is being received from another peer"):
                await there.sender.send(source)
            await first.here.send(data(0, b"0123456789"))
            await first.answer()
            await first.here.send(END)
            assert (await first.answer())["type"] == "done"
        assert (inbox / "file").read_bytes() == b"0123456789"

    async def test_another_program(self, peers: Peers, tmp_path: Path, inbox: Path) -> None:
        source = made(tmp_path / "file", 10)
        async with line(peers, Receiver(inbox)) as first, line(peers, Receiver(inbox)) as there:
            await first.here.send(offer())
            await first.answer()
            with pytest.raises(Refused, match="file is being received by another program"):
                await there.sender.send(source)


async def test_a_sender_cannot_run_away_from_the_disk(peers: Peers, tmp_path: Path, inbox: Path) -> None:
    """Bytes in memory are bounded by the window, however slow the receiver is."""
    source = made(tmp_path / "film", 30 * MIB)
    pair = await connected(await peers.open(), await peers.open(), **OFFER_OPTIONS)
    sending = asyncio.ensure_future(Sender(pair.here).send(source))
    assert (await pair.there.receive())["type"] == "offer"
    await pair.there.send({"type": "go", "offset": 0})
    await until(lambda: pair.there._inbox._size > 7 * MIB)
    before = -1
    while (now := pair.there._inbox._size) != before:
        before = now
        await asyncio.sleep(0.1)
    assert 7 * MIB < now < 9 * MIB
    sending.cancel()
    await asyncio.wait({sending})
