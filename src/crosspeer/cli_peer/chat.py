"""`crosspeer chat`: lines to another peer, and its messages back."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import click

from crosspeer.cli_peer.lines import lines
from crosspeer.cli_peer.options import Broker, PeerId, peer_options
from crosspeer.cli_peer.running import Failed, peer_at, run, say, tell_command
from crosspeer.peerjs import PeerError
from crosspeer.peerjs.transfer.names import printable
from crosspeer.runtime.tasks import Tasks

if TYPE_CHECKING:
    from crosspeer.peerjs import DataConnection, Peer

MAX_SHOWN: Final = 4096
"""Characters of a message that are shown."""


@click.command("chat")
@click.argument("peer_id", required=False, type=PeerId())
@click.option("--id", type=PeerId(), metavar="ID", help="Our own id; without one the broker gives it.")
@peer_options
def chat(peer_id: str | None, id: str | None, broker: Broker) -> None:
    """Talk with another peer, line by line, or wait for others without PEER_ID.

    The other side may be a web page: lines go as strings. What it sends is shown with its control characters escaped.
    The end of the input, Ctrl+D on a terminal, ends the chat.

    \b
    Examples:
      crosspeer chat --id alice
      crosspeer chat alice
    """
    run(broker, _chat(broker, peer_id, id))


async def _chat(broker: Broker, peer_id: str | None, id: str | None) -> None:
    async with peer_at(broker, id) as peer:
        if peer_id is None:
            tell_command(peer, broker, "chat {id}")
            await _wait_for_others(peer)
        elif peer_id == peer.id:
            raise Failed("this is our own id")
        else:
            await _call(await peer.connect(peer_id, reliable=True))


async def _call(connection: DataConnection) -> None:
    """Talk with one peer, until either side has had enough."""
    room = _Room()
    listening = asyncio.ensure_future(room.listen(connection))
    speaking = asyncio.ensure_future(room.speak())
    try:
        await asyncio.wait({listening, speaking}, return_when=asyncio.FIRST_COMPLETED)
        await connection.close(flush=True)
        await listening
    finally:
        speaking.cancel()
        listening.cancel()


async def _wait_for_others(peer: Peer) -> None:
    """Talk with whoever comes, until the end of our own lines."""
    room, tasks = _Room(), Tasks()

    async def accept() -> None:
        async for connection in peer.incoming():
            tasks.start(_guest(room, connection))

    accepting = asyncio.ensure_future(accept())
    speaking = asyncio.ensure_future(room.speak())
    try:
        await asyncio.wait({accepting, speaking}, return_when=asyncio.FIRST_COMPLETED)
        await room.close()
    finally:
        accepting.cancel()
        speaking.cancel()
        tasks.cancel()
        await tasks.finish()


async def _guest(room: _Room, connection: DataConnection) -> None:
    try:
        await room.listen(connection)
    except PeerError as error:
        say(f"* {printable(str(error))}", err=True)


class _Room:
    """Our lines go to everybody who is here, and theirs are shown."""

    def __init__(self) -> None:
        self._here: set[DataConnection] = set()
        self._somebody = asyncio.Event()

    async def listen(self, connection: DataConnection) -> None:
        """Show what one peer says, until it leaves.

        Raises:
            PeerError: the connection has failed.
        """
        name = printable(connection.peer)
        say(f"* {name} is here")
        self._here.add(connection)
        self._somebody.set()
        try:
            async for message in connection:
                say(f"{name}: {_shown(message)}")
        finally:
            self._here.discard(connection)
        say(f"* {name} has left")

    async def speak(self) -> None:
        """Send our lines. What is typed before there is somebody is for the first who comes."""
        await self._somebody.wait()
        async for line in lines():
            for connection in tuple(self._here):
                with suppress(PeerError):
                    await connection.send(line)

    async def close(self) -> None:
        """Leave everybody, when they have all that was said."""
        for closing in [connection.close(flush=True) for connection in self._here]:
            await closing


def _shown(message: Any) -> str:
    return printable(message if isinstance(message, str) else repr(message), MAX_SHOWN)
