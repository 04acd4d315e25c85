"""The sending end: one file after the other, from wherever the receiver wants to go on."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Any, Final

from crosspeer.peerjs.transfer.errors import Refused, TransferError
from crosspeer.peerjs.transfer.messages import (
    CHUNK,
    VERSION,
    WINDOW,
    Bye,
    Cancel,
    Data,
    Done,
    End,
    Go,
    Have,
    Offer,
    Prefix,
    Refuse,
)
from crosspeer.peerjs.transfer.names import printable
from crosspeer.peerjs.transfer.order import Outgoing, State
from crosspeer.peerjs.transfer.source import Opened
from crosspeer.peerjs.transfer.talk import PATIENCE, Talk
from crosspeer.peerjs.transfer.threads import hash_of, in_thread
from crosspeer.peerjs.transfer.watch import Watch

if TYPE_CHECKING:
    from crosspeer.peerjs.transfer.messages import Message
    from crosspeer.peerjs.transfer.source import Source
    from crosspeer.peerjs.transfer.talk import Connection

OFFER_OPTIONS: Final[dict[str, Any]] = {
    "label": "crosspeer-transfer",
    "serialization": "binary",
    "reliable": True,
    "metadata": {"transfer": VERSION},
}
"""What `peer.connect` needs to know for a connection that files are sent on."""
ANSWER: Final = 30.0
"""Seconds until the other side has to say what it thinks of a first file. A peer that is no receiver never does."""


class Sender:
    """Sends files over a connection that was made with `OFFER_OPTIONS`."""

    def __init__(self, connection: Connection, watch: Watch | None = None) -> None:
        self._talk = Talk(connection)
        self._watch = watch or Watch()
        self._is_answered = False

    async def send(self, source: Source) -> str:
        """Send a file, or what is missing of it.

        Returns:
            the name that the other side has given it.

        Raises:
            Refused: this file is not taken, or has changed meanwhile, or cannot be read. The next one may be sent.
            TransferError: the other side fell silent or makes no sense. Nor will it take another file.
            PeerError: the connection has ended. On the next one the file goes on where it was.
        """
        try:
            opened = await in_thread(Opened, source)
        except OSError as error:
            raise Refused(f"{source.name} cannot be read: {error.strerror or error}") from None
        try:
            return await _Delivery(self._talk, source, opened, self._watch).run(self._first_patience())
        finally:
            opened.close()

    async def finish(self) -> None:
        """Say that these were all, and close the connection."""
        await self._talk.say(Bye())
        await self._talk.connection.close(flush=True)

    def _first_patience(self) -> float:
        patience = PATIENCE if self._is_answered else ANSWER
        self._is_answered = True
        return patience


class _Delivery:
    """One file on its way."""

    def __init__(self, talk: Talk, source: Source, opened: Opened, watch: Watch) -> None:
        self._talk = talk
        self._source = source
        self._opened = opened
        self._watch = watch
        self._order = Outgoing(opened.size)
        self._moved = asyncio.Event()
        self._trouble: Refused | None = None
        """Why we gave up."""

    async def run(self, patience: float) -> str:
        await self._talk.say(Offer(self._source.name, self._opened.size))
        try:
            await self._agree(patience)
        except (OSError, EOFError):
            await self._give_up(self._opened.changed())
            return await self._listen()
        self._watch.begins(self._source.name, self._opened.size, self._order.offset)
        return await self._both(self._pump(), self._listen())

    async def _agree(self, patience: float) -> None:
        """Find out where to begin: the receiver may have some of it from an earlier time."""
        hashed, size = hashlib.sha256(), 0
        while isinstance(message := await self._hear(patience), Have):
            size = message.offset
            hashed = await hash_of(self._opened.file, size)
            await self._talk.say(Prefix(hashed.digest()))
        assert isinstance(message, Go)
        self._opened.start(message.offset, hashed if message.offset else hashlib.sha256())

    async def _both(self, pump: Any, listen: Any) -> str:
        """Send and listen, until both are through or either fails."""
        sending, listening = asyncio.ensure_future(pump), asyncio.ensure_future(listen)
        try:
            await asyncio.wait({sending, listening}, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            sending.cancel()
            listening.cancel()
            await asyncio.wait({sending, listening})
        # What the other side says explains why sending failed, if both did.
        for task in (listening, sending):
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error
        name: str = listening.result()
        return name

    async def _pump(self) -> None:
        """Send the file, or give it up: then the answer ends this."""
        try:
            while self._order.sent < self._opened.size:
                while self._order.unacknowledged >= WINDOW:
                    self._moved.clear()
                    await self._moved.wait()
                data = await in_thread(self._opened.read, CHUNK)
                offset = self._order.sent
                self._order.sent += len(data)
                await self._talk.say(Data(offset, data))
            digest = await in_thread(self._opened.finish)
        except Refused as error:
            await self._give_up(error)
        except OSError as error:
            await self._give_up(Refused(f"{self._source.name} cannot be read: {error.strerror or error}"))
        else:
            self._order.ended()
            await self._talk.say(End(digest))

    async def _listen(self) -> str:
        while not isinstance(message := await self._hear(PATIENCE), Done):
            self._moved.set()
            self._watch.moved(self._order.offset)
        return printable(message.name)

    async def _hear(self, patience: float) -> Message:
        try:
            message = await self._talk.hear(patience)
        except TransferError as error:
            hint = "; does it run `crosspeer receive`?" if self._order.state is State.OFFERED else ""
            raise TransferError(f"{printable(self._talk.connection.peer)}: {error}{hint}") from None
        self._order.hear(message)
        if isinstance(message, Refuse):
            raise self._trouble or Refused(f"{printable(self._talk.connection.peer)} says: {printable(message.text)}")
        return message

    async def _give_up(self, error: Refused) -> None:
        self._trouble = error
        self._order.cancelled()
        await self._talk.say(Cancel(str(error)))
