"""`crosspeer send`, `receive` and `chat` as their users meet them: two processes, a broker, cuts, wrong inputs."""

from __future__ import annotations

import asyncio
import os
import pty
import random
import re
import resource
import shlex
import signal
import socket
import termios
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from crosspeer.cli import main
from crosspeer.peerjs import Peer
from crosspeer.peerjs.transfer.names import SUFFIX
from peers import DEADLINE, own_broker, until
from process import Command, crosspeer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

MIB = 1024 * 1024
ICE = ("--ice", "none")


@pytest.fixture
async def broker() -> AsyncIterator[dict[str, Any]]:
    # Whoever calls nobody is told so soon.
    async with own_broker(expire_timeout=0.5) as where:
        yield where


@pytest.fixture
def here(broker: dict[str, Any]) -> tuple[str, ...]:
    """The options that lead to the broker."""
    return ("--host", broker["host"], "--port", str(broker["port"]), *ICE)


@asynccontextmanager
async def receiving(tmp_path: Path, *options: str) -> AsyncIterator[Command]:
    async with crosspeer("receive", "--output", "inbox", *options, cwd=tmp_path) as command:
        await command.printed(r"Files go to .*")
        yield command


def big(path: Path, size: int) -> bytes:
    """A file that takes a while, made fast."""
    data = random.Random(1).randbytes(MIB) + bytes(size - MIB)
    path.write_bytes(data)
    return data


async def test_the_command_that_receive_prints(tmp_path: Path, here: tuple[str, ...]) -> None:
    data = random.Random(1).randbytes(3 * MIB)
    (tmp_path / "a photo.jpg").write_bytes(data)
    async with receiving(tmp_path, "--once", *here) as there:
        typed = shlex.split((await there.printed(r"    crosspeer (send FILE .*)\n"))[1])
        assert typed[3:] == list(here[:4])
        typed[typed.index("FILE")] = "a photo.jpg"
        async with crosspeer(*typed, *ICE, cwd=tmp_path) as command:
            assert await command.ended() == 0
        assert await there.ended() == 0
    assert (tmp_path / "inbox" / "a photo.jpg").read_bytes() == data
    for output in (command.output, there.output):
        assert re.search(r"a photo.jpg: 3.15 MB (to|from) [\w-]{36}\n", output), output
        assert re.search(r"a photo.jpg: complete, checksum right, [\d.]+ [kMG]?B/s\n", output), output
        assert "Traceback" not in output


async def test_folders_and_several_files(tmp_path: Path, here: tuple[str, ...]) -> None:
    for name in ("photos/a.jpg", "photos/b/c.jpg", "photos/.thumbs", "note.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    async with receiving(tmp_path, "bob", "--once", *here) as there:
        async with crosspeer("send", "photos/", "note.txt", "bob", *here, cwd=tmp_path) as command:
            assert await command.ended() == 0
        assert ".thumbs is left out" in command.output
        assert await there.ended() == 0
    inbox = tmp_path / "inbox"
    found = {path.relative_to(inbox).as_posix(): path.read_text() for path in inbox.rglob("*") if path.is_file()}
    assert found == {name: name for name in ("photos/a.jpg", "photos/b/c.jpg", "note.txt")}


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("side", "number"),
    [
        ("sender", signal.SIGINT),
        ("sender", signal.SIGKILL),
        ("receiver", signal.SIGINT),
        # Until the network notices it takes 20 seconds.
        pytest.param("receiver", signal.SIGKILL, marks=pytest.mark.slow),
    ],
)
async def test_a_cut_transfer_goes_on(tmp_path: Path, here: tuple[str, ...], side: str, number: int) -> None:
    data = big(tmp_path / "film.mp4", 64 * MIB)
    send = ("send", "film.mp4", "bob", *here)
    # A broker gives the id of a peer that was killed to nobody else, but for who has its token.
    receive = ("bob", "--once", "--token", "bob-1", *here)
    async with receiving(tmp_path, *receive) as there, crosspeer(*send, cwd=tmp_path) as command:
        await command.printed("film.mp4: [1-4]0 %")
        stopped = command if side == "sender" else there
        stopped.signal(number)
        assert await stopped.ended() == (130 if number == signal.SIGINT else -signal.SIGKILL)
        assert "Traceback" not in stopped.output
        assert ("Stopped." in stopped.output) == (number == signal.SIGINT)
        assert (tmp_path / "inbox" / f"film.mp4{SUFFIX}").stat().st_size >= 5 * MIB
        if side == "sender":
            async with crosspeer(*send, cwd=tmp_path) as again:
                assert await again.ended() == 0
            assert await there.ended() == 0
            told = [again, there]
        else:
            await command.printed("trying again", timeout=60)
            async with receiving(tmp_path, *receive) as again:
                assert await command.ended() == 0
                assert await again.ended() == 0
            told = [command, again]
    for each in told:
        assert re.search(r"film.mp4: 67.1 MB .*, goes on after \d\d? %", each.output), each.output
        assert "checksum right" in each.output
    assert (tmp_path / "inbox" / "film.mp4").read_bytes() == data
    assert [path.name for path in (tmp_path / "inbox").iterdir()] == ["film.mp4"]


async def test_a_disk_that_is_full(tmp_path: Path, here: tuple[str, ...]) -> None:
    """The limit of a process stands in for the one of a disk: the same call fails at the same place."""
    big(tmp_path / "film.mp4", 20 * MIB)
    (tmp_path / "note.txt").write_text("small")
    async with receiving(tmp_path, "bob", *here) as there:
        hard = resource.prlimit(there.process.pid, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(there.process.pid, resource.RLIMIT_FSIZE, (5_000_000, hard))
        async with crosspeer("send", "film.mp4", "note.txt", "bob", *here, cwd=tmp_path) as command:
            assert await command.ended() == 1
        assert "film.mp4: bob says: film.mp4 cannot be written: File too large" in command.output
        assert "note.txt: complete" in command.output
        assert "1 of 2 files did not get through" in command.output
        await there.printed("film.mp4: film.mp4 cannot be written: File too large")
        assert (tmp_path / "inbox" / f"film.mp4{SUFFIX}").stat().st_size == 5_000_000
        # There is room again.
        resource.prlimit(there.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
        async with crosspeer("send", "film.mp4", "bob", *here, cwd=tmp_path) as command:
            assert await command.ended() == 0
        assert "goes on after 23 %" in command.output


class Screen:
    """A terminal, and all that was written on it."""

    def __init__(self) -> None:
        self.text = ""
        self.end, self.tty = pty.openpty()
        termios.tcsetwinsize(self.tty, (25, 100))
        asyncio.get_running_loop().add_reader(self.end, self._read)

    def _read(self) -> None:
        self.text += os.read(self.end, 65536).decode(errors="replace")

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self.end)
        os.close(self.end)
        os.close(self.tty)

    def command(self, *arguments: str, cwd: Path) -> AbstractAsyncContextManager[Command]:
        return crosspeer(*arguments, cwd=cwd, stdout=self.tty, stderr=self.tty)


async def test_a_bar_on_a_terminal(tmp_path: Path, here: tuple[str, ...]) -> None:
    big(tmp_path / "film.mp4", 40 * MIB)
    left, right = Screen(), Screen()
    try:
        async with left.command("receive", "bob", "--once", "-o", "inbox", *here, cwd=tmp_path) as there:
            await until(lambda: "Files go to" in left.text)
            async with right.command("send", "film.mp4", "bob", *here, cwd=tmp_path) as sending:
                assert await sending.ended() == 0
            assert await there.ended() == 0
        for screen in (left, right):
            await until(lambda screen=screen: "checksum right" in screen.text)
            pattern = r"film.mp4: +\d+%\|.*/41.9M \[\d\d:\d\d<\d\d:\d\d, +[\d.]+[kM]B/s\]"
            assert re.search(pattern, screen.text), screen.text
    finally:
        left.close()
        right.close()


async def test_hidden_files(tmp_path: Path, here: tuple[str, ...]) -> None:
    (tmp_path / ".profile").write_text("x")
    async with receiving(tmp_path, "bob", *here) as there:
        async with crosspeer("send", ".profile", "bob", *here, cwd=tmp_path) as command:
            assert await command.ended() == 1
        assert ".profile: bob says: .profile is not taken: it is hidden" in command.output
        there.signal(signal.SIGINT)
        assert await there.ended() == 130
    async with receiving(tmp_path, "bob", "--hidden", "--once", *here) as there:
        async with crosspeer("send", ".profile", "bob", *here, cwd=tmp_path) as command:
            assert await command.ended() == 0
        assert await there.ended() == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["send"], "Missing argument"),
        (["send", "nowhere.txt", "bob"], "'nowhere.txt' does not exist"),
        (["send", "file", "nobody"], "Could not connect to peer nobody: nobody of this id is at http://127.0.0.1"),
        (["send", "file", "empty"], "Could not connect to peer empty"),
        (["send", "file", "file.txt"], "'file.txt' is no id: letters and digits"),
        (["send", "empty", "bob"], "there is no file to send"),
        (["send", "fifo", "bob"], "is neither a file nor a folder"),
        (["send", "odd\nname", "bob"], "cannot be sent under its name: it has characters that cannot be seen"),
        (["send", "file", "--retry", "-1", "bob"], "-1.0 is not in the range"),
        (["receive", "not/valid"], "'not/valid' is no id: letters and digits"),
        (["receive", "taken"], 'ID "taken" is taken'),
        (["receive", "--output", "file"], "File exists"),
        (["receive", "--output", "file/below"], "Not a directory"),
        (["receive", "--max-size", "many"], "'many' is no size, such as 500M or 2G"),
        (["receive", "--max-size", "0"], "'0' is no size"),
        (["receive", "--key", "wrong"], "check --host, --port, --path"),
        (["receive", "bob", "--key", "wrong"], "check --host, --port, --path, --key"),
        (["receive", "--path", "/elsewhere"], "check --host, --port, --path"),
        (["chat", "nobody"], "nobody of this id is at"),
        (["chat", "--id", "taken"], 'ID "taken" is taken'),
        (["chat", "--id", "ada", "ada"], "this is our own id"),
        (["chat", "bob", "--ice", "stun"], "--ice is stun:HOST:PORT"),
        (["chat", "bob", "--ice", "turn:example.org:3478"], "needs a user and a password before the @"),
        (["chat", "bob", "--host", "a b"], "host is a name or an address"),
        (["chat", "bob", "--engine", "warp"], "'warp' is not one of"),
    ],
)
async def test_wrong_input_is_answered_in_a_line_that_helps(
    tmp_path: Path, broker: dict[str, Any], arguments: list[str], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("x")
    (tmp_path / "odd\nname").write_text("x")
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "fifo")
    where = {"--host": broker["host"], "--port": str(broker["port"])}
    rest = [word for pair in where.items() if pair[0] not in arguments for word in pair]
    async with Peer("taken", **broker), asyncio.timeout(DEADLINE):
        # Not in a process of its own: that takes ten times as long.
        result = await asyncio.to_thread(CliRunner().invoke, main, [*arguments, *rest])
    assert result.exit_code in (1, 2)
    assert isinstance(result.exception, SystemExit)
    assert says in " ".join(result.output.split())
    assert len(result.output.strip().splitlines()) <= 5


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")
@pytest.mark.parametrize("arguments", [["send", "file", "bob"], ["receive", "--output", "folder"]])
async def test_what_may_not_be_read_or_written(tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "file").chmod(0)
    (tmp_path / "folder").mkdir(0o500)
    async with crosspeer(*arguments, cwd=tmp_path) as command:
        assert await command.ended() in (1, 2)
    assert "Traceback" not in command.output


@pytest.mark.parametrize("arguments", [["send", "file", "bob"], ["receive"], ["receive", "bob"], ["chat", "bob"]])
async def test_a_broker_that_is_not_there(tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "file").write_text("x")
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        async with crosspeer(*arguments, "--host", "127.0.0.1", "--port", str(port), cwd=tmp_path) as command:
            assert await command.ended() == 1
    assert f"(http://127.0.0.1:{port}/): check --host, --port, --path, --key" in command.output
    assert len(command.output.strip().splitlines()) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("arguments", [["receive", "bob"], ["chat", "--id", "bob"]])
async def test_a_signal_ends_it_cleanly(
    tmp_path: Path, broker: dict[str, Any], here: tuple[str, ...], arguments: list[str], number: int
) -> None:
    async with crosspeer(*arguments, *here, cwd=tmp_path) as command:
        await command.printed("This is bob")
        command.signal(number)
        assert await command.ended() == 128 + number
        # The id is free at once.
        async with Peer("bob", **broker):
            pass
    assert "Traceback" not in command.output


async def test_a_chat_of_two(tmp_path: Path, here: tuple[str, ...]) -> None:
    pipe = {"stdin": asyncio.subprocess.PIPE}
    async with crosspeer("chat", "--id", "bob", *here, cwd=tmp_path, **pipe) as bob:
        await bob.printed(r"    crosspeer chat bob --host 127.0.0.1 --port \d+\n")
        bob.type("before anybody came")
        async with crosspeer("chat", "bob", "--id", "ada", *here, cwd=tmp_path, **pipe) as ada:
            await ada.printed("bob: before anybody came\n")
            await bob.printed(r"\* ada is here\n")
            ada.type("hello, ✓ world")
            await bob.printed("ada: hello, ✓ world\n")
            ada.type("\x1b[2J\x07 evil \x9b")
            await bob.printed(re.escape(r"ada: \x1b[2J\x07 evil \x9b") + "\n")
            ada.type("x" * 100_000)
            await bob.printed("ada: x{4096}\\.\\.\\.\n", times=2)
            bob.type("bye")
            await ada.printed("bob: bye\n")
            assert ada.process.stdin is not None
            ada.process.stdin.close()
            assert await ada.ended() == 0
        await bob.printed(r"\* ada has left\n")
        assert bob.process.stdin is not None
        bob.process.stdin.close()
        assert await bob.ended() == 0
    assert "Traceback" not in ada.output + bob.output


async def test_a_chat_with_something_else(broker: dict[str, Any], here: tuple[str, ...], tmp_path: Path) -> None:
    async with crosspeer("chat", "--id", "bob", *here, cwd=tmp_path, stdin=asyncio.subprocess.PIPE) as bob:
        await bob.printed("This is bob")
        async with Peer("page", **broker) as page, asyncio.timeout(DEADLINE):
            connection = await page.connect("bob")
            await connection.send({"x": 1, "text": "a\x1bb"})
            await connection.send([b"\0"])
            bob.type("hello page")
            assert await connection.receive() == "hello page"
        await bob.printed(re.escape("page: {'x': 1, 'text': 'a\\\\x1bb'}".replace("\\\\", "\\")) + "\n")
        await bob.printed(re.escape(r"page: [b'\x00']") + "\n")
        await bob.printed(r"\* page has left")


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_a_large_file_is_not_held_in_memory(tmp_path: Path, here: tuple[str, ...]) -> None:
    size = 400 * MIB
    with (tmp_path / "film.mp4").open("wb") as file:
        file.truncate(size)
    async with receiving(tmp_path, "bob", "--once", *here) as there:
        small = _peak(there)
        async with crosspeer("send", "film.mp4", "bob", *here, cwd=tmp_path) as command:
            await command.printed("film.mp4: 90 %", timeout=60)
            peaks = [_peak(command), _peak(there)]
            assert await command.ended() == 0
    assert max(peaks) - small < 100 * MIB, peaks
    assert (tmp_path / "inbox" / "film.mp4").stat().st_size == size


def _peak(command: Command) -> int:
    """The most memory that a process has had, in bytes."""
    with open(f"/proc/{command.process.pid}/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
