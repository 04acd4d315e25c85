"""The way back: what is in a POST of a peer, message by message, in order, and each only once."""

from __future__ import annotations

import asyncio
import codecs
import re
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import TYPE_CHECKING, Final

from starlette.responses import PlainTextResponse, Response

from crosspeer.runtime.exchange import ClientLeft
from crosspeer.wire.closing import CloseCode
from crosspeer.wire.frames import ProtocolError
from crosspeer.wire.posted import MEDIA_TYPE, PostedReader, as_text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from crosspeer.core.hub import Hub
    from crosspeer.core.request import Request
    from crosspeer.runtime.exchange import Exchange
    from crosspeer.runtime.sse.connection import EventConnection

NUMBER_HEADER: Final = "x-crosspeer-number"
"""The number of the first message of a POST, from 1: a client that had no answer posts it again under the same."""

_utf8: Final = codecs.getincrementaldecoder("utf-8")
_LENGTH: Final = re.compile(r"[0-9]{1,15}\Z", re.ASCII)
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,15}\Z", re.ASCII)
_BINARY: Final = ("", "application/octet-stream")
"""Media types of a body that is no text."""

_TAKEN: Final = Response(status_code=204)
_BAD: Final = PlainTextResponse("Bad Request", 400)
_GAP: Final = PlainTextResponse("Conflict: messages before these are missing", 409)
_ENDLESS: Final = PlainTextResponse(
    "Length Required: say where the message ends, or post messages with their lengths", 411
)
_TOO_BIG: Final = PlainTextResponse("Content Too Large", 413)


async def take_post(connection: EventConnection, request: Request, exchange: Exchange, hub: Hub) -> Response:
    """Hand the messages of a POST to their peer. What they break of the protocol closes it, as a frame would."""
    inbox = _Inbox(connection, request, hub)
    try:
        return await inbox.take(exchange.body())
    except ProtocolError as error:
        connection.fail(error.code, error.reason)
        return _TOO_BIG if error.code == CloseCode.TOO_BIG else _BAD
    except TimeoutError:
        return PlainTextResponse("Request Timeout", 408)
    except ClientLeft:
        # Whole messages that it sent have arrived.
        return _BAD


class _Inbox:
    """One POST."""

    def __init__(self, connection: EventConnection, request: Request, hub: Hub) -> None:
        self._connection = connection
        self._most = hub.limits.max_message_size
        self._timeout = hub.limits.handshake_timeout
        self._crossws = hub.sse is not None and hub.sse.crossws
        headers = request.headers
        self._kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        self._length = headers.get("content-length")
        self._number = headers.get(NUMBER_HEADER)

    async def take(self, body: AsyncIterator[bytes]) -> Response:
        if self._kind == MEDIA_TYPE:
            return await self._take_messages(body)
        if self._length is not None:
            if not _LENGTH.match(self._length):
                return _BAD
            async with self._connection.posting:
                await self._connection.post(await self._whole(body))
            return _TAKEN
        if self._crossws:
            await self._take_pieces(body)
            return _TAKEN
        return _ENDLESS

    async def _whole(self, body: AsyncIterator[bytes]) -> str | bytes:
        """The body is one message."""
        if int(self._length or 0) > self._most:
            raise ProtocolError(CloseCode.TOO_BIG, "message too big")
        data = bytearray()
        async for piece in self._in_time(body):
            data += piece
        if self._crossws:
            return data.decode(errors="replace")
        return bytes(data) if self._kind in _BINARY else as_text(bytes(data))

    async def _take_messages(self, body: AsyncIterator[bytes]) -> Response:
        """The body says where its messages begin and end. It may go on as long as its client likes."""
        if self._number is None:
            number = 0
        elif _NUMBER.match(self._number):
            number = int(self._number)
        else:
            return _BAD
        if self._length is None:
            return await self._take_numbered(body, number, self._connection.posting)
        async with self._connection.posting:
            return await self._take_numbered(self._in_time(body), number, nullcontext())

    async def _take_numbered(
        self, body: AsyncIterator[bytes], number: int, turn: AbstractAsyncContextManager[None]
    ) -> Response:
        """Take message by message, each in its turn."""
        connection = self._connection
        if number > connection.posted + 1:
            return _GAP
        reader = PostedReader(self._most)
        async for piece in body:
            reader.feed(piece)
            while (message := reader.next()) is not None:
                async with turn:
                    if not number or number > connection.posted:
                        await connection.post(message)
                        connection.posted = max(number, connection.posted)
                number += bool(number)
        return _TAKEN if reader.is_between else _BAD

    async def _take_pieces(self, body: AsyncIterator[bytes]) -> None:
        """As crossws reads it: each piece is a message, as text."""
        decoder = _utf8("replace")
        async for piece in body:
            if len(piece) > self._most:
                raise ProtocolError(CloseCode.TOO_BIG, "message too big")
            if text := decoder.decode(piece):
                await self._connection.post(text)

    async def _in_time(self, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """A body that says how long it is comes without long pauses."""
        while True:
            try:
                async with asyncio.timeout(self._timeout):
                    piece = await anext(body)
            except StopAsyncIteration:
                return
            yield piece
