"""The receiving end: whatever the other side says, only whole and checked files get their names."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Final

from crosspeer.peerjs.client.errors import PeerError
from crosspeer.peerjs.transfer.claims import Claims
from crosspeer.peerjs.transfer.errors import ProtocolError, Refused, TransferError
from crosspeer.peerjs.transfer.messages import (
    Ack,
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
    check_greeting,
)
from crosspeer.peerjs.transfer.names import BadName, printable, safe_parts
from crosspeer.peerjs.transfer.order import Incoming
from crosspeer.peerjs.transfer.store import Store
from crosspeer.peerjs.transfer.talk import Talk
from crosspeer.peerjs.transfer.threads import hash_of, in_thread
from crosspeer.peerjs.transfer.watch import Watch

if TYPE_CHECKING:
    from io import FileIO
    from pathlib import Path

    from crosspeer.peerjs.transfer.messages import Message
    from crosspeer.peerjs.transfer.store import Partial
    from crosspeer.peerjs.transfer.talk import Connection

IDLE: Final = 60.0
"""Seconds that a sender may take between two files."""


class Receiver:
    """Takes files into a folder, from one connection after the other or from many at once.

    Args:
        folder: it has to be there.
        overwrite: a file that comes takes the place of one of its name. Otherwise it gets a new name.
        max_size: bytes of one file.
        hidden: take names that begin with a dot.

    Raises:
        OSError: the folder is not there.
    """

    def __init__(
        self, folder: Path, *, overwrite: bool = False, max_size: int | None = None, hidden: bool = False
    ) -> None:
        self.store: Final = Store(folder, overwrite=overwrite)
        self.max_size: Final = max_size
        self.hidden: Final = hidden
        self.claims: Final = Claims()

    async def serve(self, connection: Connection, watch: Watch | None = None) -> bool:
        """Take the files of one connection, until its end; it is closed then.

        Returns:
            whether the sender said that these were all.

        Raises:
            TransferError: the other side made no sense, fell silent, or a file could not be written.
        """
        talk = Talk(connection)
        flush = True
        try:
            check_greeting(connection.metadata)
            return await _Intake(self, talk, watch or Watch()).run()
        except PeerError:
            return False
        except TransferError as error:
            with suppress(PeerError):
                await talk.say(Refuse(str(error)))
            raise
        except asyncio.CancelledError:
            flush = False
            raise
        finally:
            await connection.close(flush=flush)


class _Intake:
    """The files of one connection."""

    def __init__(self, receiver: Receiver, talk: Talk, watch: Watch) -> None:
        self._receiver = receiver
        self._store = receiver.store
        self._talk = talk
        self._watch = watch
        self._order = Incoming()

    async def run(self) -> bool:
        while True:
            message = await self._hear(IDLE)
            if isinstance(message, Bye):
                return True
            assert isinstance(message, Offer)
            await self._offered(message)

    async def _offered(self, offer: Offer) -> None:
        """Take a file. A refusal is told, and the next one may come."""
        try:
            stored = await self._file(offer)
        except Refused as error:
            self._watch.fails(printable(offer.name), str(error))
            await self._talk.say(Refuse(str(error)))
        except OSError as error:
            text = f"{printable(offer.name)} cannot be written: {error.strerror or error}"
            self._watch.fails(printable(offer.name), text)
            raise TransferError(text) from error
        except (TransferError, PeerError) as error:
            self._watch.fails(printable(offer.name), str(error))
            raise
        except _Cancelled as error:
            self._watch.fails(printable(offer.name), f"the other side gave up: {printable(str(error))}")
            await self._talk.say(Refuse("it was cancelled"))
        else:
            self._watch.ends(offer.name, stored)
            await self._talk.say(Done(stored.relative_to(self._store.folder).as_posix()))
        self._order.ended()

    async def _file(self, offer: Offer) -> Path:
        parts = self._checked(offer)
        path = await in_thread(self._store.place, parts)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._receiver.claims.hold(path, self._talk))
            if await self._is_there(path, offer):
                return path
            partial = await in_thread(self._store.partial, path)
            stack.callback(partial.leave)
            hashed = await self._beginning(partial, offer)
            await self._rest(partial, hashed)
            return await in_thread(self._store.keep, partial, path)

    def _checked(self, offer: Offer) -> tuple[str, ...]:
        most = self._receiver.max_size
        name = printable(offer.name)
        if most is not None and offer.size > most:
            raise Refused(f"{name} is not taken: it has {offer.size} bytes, and {most} are allowed")
        try:
            return safe_parts(offer.name, hidden=self._receiver.hidden)
        except BadName as error:
            raise Refused(f"{name} is not taken: {error}") from None

    async def _is_there(self, path: Path, offer: Offer) -> bool:
        """Whether a file of this name is what the sender has: then there is nothing to send."""
        twin = await in_thread(self._store.twin, path, offer.size)
        if twin is None:
            return False
        try:
            hashed = await self._agree(twin, offer.size)
        finally:
            twin.close()
        if hashed is None:
            return False
        self._watch.begins(offer.name, offer.size, offer.size)
        await self._go(offer.size)
        await self._ended(hashed)
        return True

    async def _beginning(self, partial: Partial, offer: Offer) -> hashlib._Hash:
        """Have the sender go on where an earlier attempt stopped, if its file begins with what came then."""
        hashed = None
        if 0 < partial.size <= offer.size:
            hashed = await self._agree(partial.file, partial.size)
        offset = 0 if hashed is None else partial.size
        if not await in_thread(self._store.has_room, offer.size - partial.size):
            raise Refused(f"{offer.name} is not taken: there is no room for its {offer.size} bytes")
        await in_thread(partial.cut, offset)
        self._watch.begins(offer.name, offer.size, offset)
        await self._go(offset)
        return hashlib.sha256() if hashed is None else hashed

    async def _agree(self, file: FileIO, size: int) -> hashlib._Hash | None:
        """Ask whether the sender's file begins as this one does; what it has is not told before."""
        self._order.asked()
        await self._talk.say(Have(size))
        # Both read at the same time.
        hashed = await hash_of(file, size)
        prefix = await self._hear()
        assert isinstance(prefix, Prefix)
        return hashed if hashed.digest() == prefix.sha256 else None

    async def _go(self, offset: int) -> None:
        self._order.started(offset)
        await self._talk.say(Go(offset))

    async def _rest(self, partial: Partial, hashed: hashlib._Hash) -> None:
        """Write what comes, and look at the checksum in the end."""
        while isinstance(message := await self._hear(), Data):
            await in_thread(_write, partial, hashed, message.data)
            self._watch.moved(self._order.offset)
            await self._talk.say(Ack(self._order.offset))
        assert isinstance(message, End)
        if message.sha256 != hashed.digest():
            await in_thread(partial.remove)
            raise Refused("the checksum of what came is not the one of the file")

    async def _ended(self, hashed: hashlib._Hash) -> None:
        end = await self._hear()
        if not isinstance(end, End) or end.sha256 != hashed.digest():
            raise ProtocolError("another end than the one of the file that is there already")

    async def _hear(self, patience: float | None = None) -> Message:
        message = await (self._talk.hear() if patience is None else self._talk.hear(patience))
        self._order.hear(message)
        if isinstance(message, Cancel):
            raise _Cancelled(message.text)
        return message


class _Cancelled(Exception):
    """The sender has no more of the file."""


def _write(partial: Partial, hashed: hashlib._Hash, data: bytes) -> None:
    partial.write(data)
    hashed.update(data)
