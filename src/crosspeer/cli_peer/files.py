"""`crosspeer send` and `crosspeer receive`."""

from __future__ import annotations

import asyncio
import os
import re
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from crosspeer.cli_peer.options import Broker, PeerId, peer_options
from crosspeer.cli_peer.progress import in_bytes, shown
from crosspeer.cli_peer.running import Failed, fail, peer_at, run, say, tell_command
from crosspeer.peerjs import PeerError, PeerLimits
from crosspeer.peerjs.transfer import OFFER_OPTIONS, BadName, Receiver, Refused, Sender, TransferError, sources_of
from crosspeer.peerjs.transfer.names import printable
from crosspeer.runtime.tasks import Tasks

if TYPE_CHECKING:
    from collections.abc import Iterable

    from crosspeer.cli_peer.progress import Shown
    from crosspeer.peerjs import DataConnection, Peer
    from crosspeer.peerjs.transfer import Source

MIB: Final = 1024 * 1024
_LIMITS: Final = PeerLimits(max_message_size=2 * MIB, max_items=1000, max_unread=16 * MIB, max_connections=16)
"""The window of a transfer, twice: a stranger who does not keep to it is cut off there."""
_SIZE: Final = re.compile(r"(\d{1,15})([kMGT]?)i?B?", re.IGNORECASE)
_PAUSE: Final = 1.0
"""Seconds between two attempts to reach a peer that was there a moment ago."""


class _Size(click.ParamType[int]):
    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        found = _SIZE.fullmatch(str(value))
        if found is None or not int(found[1]):
            self.fail(f"{value!r} is no size, such as 500M or 2G", param, ctx)
        return int(found[1]) * int(1000 ** " kmgt".index(found[2].lower() or " "))


@click.command("send")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path), metavar="FILE...")
@click.argument("peer_id", type=PeerId())
@click.option("--hidden", is_flag=True, help="Of folders, also what begins with a dot.")
@click.option(
    "--retry",
    default=60.0,
    show_default=True,
    type=click.FloatRange(0),
    help="Seconds to try again for when the connection is cut.",
)
@peer_options
def send(files: tuple[Path, ...], peer_id: str, hidden: bool, retry: float, broker: Broker) -> None:
    """Send files, or folders, to a peer that runs `crosspeer receive`.

    What was cut off goes on where it stopped when the same command is given again.

    \b
    Examples:
      crosspeer send holiday.mp4 5f0c2a1e-8d1b-4c6e-9d55-0f4f6f3e8a77
      crosspeer send photos/ notes.txt bob --host broker.example.com
    """
    try:
        sources = [source for path in files for source in sources_of(path, hidden=hidden, left_out=_tell_left_out)]
    except (BadName, OSError) as error:
        fail(_text_of(error))
    if not sources:
        fail("there is no file to send")
    _check_readable(sources)
    stopped = "Stopped. The same command goes on where this one was."
    run(broker, _send(broker, peer_id, sources, retry), stopped=stopped)


@click.command("receive")
@click.argument("id", required=False, type=PeerId())
@click.option(
    "--output", "-o", default=".", show_default=True, type=click.Path(path_type=Path), help="Folder for the files."
)
@click.option("--once", is_flag=True, help="End when the first sender has sent everything.")
@click.option("--overwrite", is_flag=True, help="Replace files of the same name. Otherwise the new one gets a number.")
@click.option("--max-size", type=_Size(), metavar="SIZE", help="Take no file larger than this, such as 500M or 2G.")
@click.option("--hidden", is_flag=True, help="Take names that begin with a dot: programs run what such files say.")
@peer_options
def receive(id: str | None, output: Path, once: bool, broker: Broker, **options: Any) -> None:
    """Take files from whoever knows the id of this peer: ID, or one that the broker gives.

    \b
    Examples:
      crosspeer receive
      crosspeer receive bob --output inbox --host broker.example.com
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
        if not os.access(output, os.W_OK | os.X_OK):
            raise PermissionError(13, "it cannot be written to", str(output))
        receiver = Receiver(output, **options)
    except OSError as error:
        fail(f"{output}: {error.strerror or error}")
    run(
        broker, _receive(broker, id, receiver, once), stopped="Stopped. What was cut off goes on when it is sent again."
    )


async def _send(broker: Broker, peer_id: str, sources: Iterable[Source], retry: float) -> None:
    watch = shown("to", printable(peer_id))
    async with peer_at(broker, limits=_LIMITS) as peer:
        if peer_id == peer.id:
            raise Failed("this is our own id")
        await _Delivering(peer, peer_id, deque(sources), watch, retry).run()
    if watch.failed:
        raise Failed(f"{watch.failed} of {watch.failed + watch.complete} files did not get through")


class _Delivering:
    """The files that are still to be sent, over one connection after the other."""

    def __init__(self, peer: Peer, to: str, sources: deque[Source], watch: Shown, retry: float) -> None:
        self._peer = peer
        self._to = to
        self._sources = sources
        self._watch = watch
        self._retry = retry
        self._was_there = False

    async def run(self) -> None:
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._retry
        told = ""
        while True:
            left = self._progress()
            try:
                await self._connection()
                return
            except PeerError as error:
                # The first time it is the id that is wrong, or the network: waiting does not help.
                if not self._was_there:
                    raise
                if self._progress() != left:
                    deadline = clock() + self._retry
                if str(error) != told:
                    told = str(error)
                    self._watch.cut(told)
                if clock() + _PAUSE > deadline:
                    raise
                await asyncio.sleep(_PAUSE)

    async def _connection(self) -> None:
        connection = await self._peer.connect(self._to, **OFFER_OPTIONS)
        self._was_there = True
        sender = Sender(connection, self._watch)
        try:
            while self._sources:
                await self._deliver(sender)
            # Whoever has gone by now has all the files.
            with suppress(PeerError):
                await sender.finish()
        except TransferError as error:
            raise Failed(str(error)) from None
        finally:
            connection.close()

    async def _deliver(self, sender: Sender) -> None:
        source = self._sources[0]
        try:
            stored = await sender.send(source)
        except Refused as error:
            self._watch.fails(source.name, str(error))
        else:
            self._watch.ends(source.name, Path(stored))
        self._sources.popleft()

    def _progress(self) -> tuple[int, int]:
        return len(self._sources), self._watch.offset


async def _receive(broker: Broker, id: str | None, receiver: Receiver, once: bool) -> None:
    tasks = Tasks()
    async with peer_at(broker, id, limits=_LIMITS) as peer:
        tell_command(peer, broker, "send FILE {id}")
        most = "" if receiver.max_size is None else f", at most {in_bytes(receiver.max_size)} each"
        say(f"Files go to {printable(str(receiver.store.folder), 4096)}{most}. Ctrl+C ends.")
        done = asyncio.Event()
        accepting = asyncio.ensure_future(_accept(peer, receiver, tasks, done))
        enough = asyncio.ensure_future(done.wait())
        try:
            await asyncio.wait({accepting, enough} if once else {accepting}, return_when=asyncio.FIRST_COMPLETED)
            if not done.is_set():
                raise Failed(f"{broker.url} does not take this peer any more")
        finally:
            accepting.cancel()
            enough.cancel()
            tasks.cancel()
            await tasks.finish()


async def _accept(peer: Peer, receiver: Receiver, tasks: Tasks, done: asyncio.Event) -> None:
    async for connection in peer.incoming():
        tasks.start(_take(receiver, connection, done))


async def _take(receiver: Receiver, connection: DataConnection, done: asyncio.Event) -> None:
    other = printable(connection.peer)
    watch = shown("from", other)
    try:
        if await receiver.serve(connection, watch) and watch.complete and not watch.failed:
            done.set()
    except TransferError as error:
        if not watch.failed:
            say(f"{other}: {error}", err=True)


def _check_readable(sources: Iterable[Source]) -> None:
    for source in sources:
        try:
            with source.path.open("rb"):
                pass
        except OSError as error:
            fail(_text_of(error))


def _tell_left_out(path: Path) -> None:
    say(f"{printable(str(path))} is left out: it is hidden, a link or a device", err=True)


def _text_of(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{printable(str(error.filename))}: {error.strerror}"
    return str(error)
