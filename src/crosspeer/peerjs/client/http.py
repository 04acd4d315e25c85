"""The two questions that a client asks its broker over HTTP: for an id, and for the list of peers."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

import h11

from crosspeer.peerjs.client.errors import PeerError

TIMEOUT: Final = 10.0
MOST: Final = 8 * 1024 * 1024
"""Bytes of an answer. A list of 200,000 ids fits."""


async def get(url: str) -> tuple[int, bytes]:
    """GET a URL: the status and the body.

    Raises:
        PeerError: server-error: nobody answers in time, or what comes is no sound answer.
    """
    try:
        async with asyncio.timeout(TIMEOUT):
            return await _get(url)
    except (OSError, TimeoutError, h11.RemoteProtocolError) as error:
        raise PeerError("server-error", f"Could not reach the server: {str(error) or 'no answer in time'}") from error


async def _get(url: str) -> tuple[int, bytes]:
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, ssl=True if secure else None)
    try:
        protocol = h11.Connection(h11.CLIENT)
        headers = [("host", parts.netloc), ("connection", "close"), ("accept", "*/*")]
        asking = protocol.send(h11.Request(method="GET", target=f"{parts.path}?{parts.query}", headers=headers))
        writer.write(asking or b"")
        protocol.send(h11.EndOfMessage())
        return await _answer(protocol, reader)
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def _answer(protocol: h11.Connection, reader: asyncio.StreamReader) -> tuple[int, bytes]:
    status, body = 0, bytearray()
    while True:
        event = protocol.next_event()
        if event is h11.NEED_DATA:
            protocol.receive_data(await reader.read(65536))
        elif isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > MOST:
                raise h11.RemoteProtocolError(f"the answer has more than {MOST} bytes")
        elif not isinstance(event, h11.InformationalResponse):
            return status, bytes(body)
