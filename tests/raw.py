"""A client that says exactly the bytes it is told to: for everything that a well-behaved library would not send."""

from __future__ import annotations

import asyncio
import base64
import os
import struct
from typing import Any, Self

TIMEOUT = 5.0

FIN, TEXT, BINARY, CLOSE, PING, PONG = 0x80, 0x1, 0x2, 0x8, 0x9, 0xA


def frame(
    first: int, payload: bytes = b"", *, masked: bool = True, length: int | None = None, key: bytes | None = None
) -> bytes:
    """One frame from its first byte (FIN, RSV, opcode) and payload; `length` lies about the payload's size."""
    size = len(payload) if length is None else length
    mask_bit = 0x80 if masked else 0
    if size < 126:
        head = bytes((first, mask_bit | size))
    elif size < 65_536:
        head = struct.pack("!BBH", first, mask_bit | 126, size)
    else:
        head = struct.pack("!BBQ", first, mask_bit | 127, size)
    if not masked:
        return head + payload
    key = os.urandom(4) if key is None else key
    return head + key + bytes(byte ^ key[index % 4] for index, byte in enumerate(payload))


def handshake(path: str = "/", *, drop: tuple[str, ...] = (), lines: tuple[str, ...] = (), **headers: str) -> bytes:
    """A handshake; headers are named with underscores, replaced by value, dropped by name. `lines` are added."""
    named = {
        "Host": "127.0.0.1",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
    }
    named |= {name.replace("_", "-"): value for name, value in headers.items()}
    kept = [f"{name}: {value}" for name, value in named.items() if name not in drop]
    return "\r\n".join([f"GET {path} HTTP/1.1", *kept, *lines, "\r\n"]).encode("latin-1")


class Raw:
    """A TCP connection to a server under test."""

    def __init__(self, url: str) -> None:
        self._host, port = url.removeprefix("http://").split(":")
        self._port = int(port)

    async def __aenter__(self) -> Self:
        self.reader, self.writer = await asyncio.open_connection(self._host, self._port)
        return self

    async def __aexit__(self, *_: Any) -> None:
        self.writer.transport.abort()

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def head(self) -> tuple[int, dict[str, str]]:
        """The status and the headers (in lower case) of an answer."""
        async with asyncio.timeout(TIMEOUT):
            text = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = text.strip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return int(first.split()[1]), headers

    async def upgrade(self, path: str = "/") -> Self:
        """Open a WebSocket."""
        self.send(handshake(path))
        status, _ = await self.head()
        assert status == 101
        return self

    async def frame(self) -> tuple[int, bytes]:
        """The opcode and the payload of the next frame."""
        async with asyncio.timeout(TIMEOUT):
            first, second = await self.reader.readexactly(2)
            size = second & 0x7F
            if size >= 126:
                size = int.from_bytes(await self.reader.readexactly(2 if size == 126 else 8), "big")
            return first & 0xF, await self.reader.readexactly(size)

    async def close_code(self) -> tuple[int, str]:
        """Skip to the close frame, and read its code and reason."""
        while True:
            opcode, payload = await self.frame()
            if opcode == CLOSE:
                return int.from_bytes(payload[:2], "big"), payload[2:].decode()

    async def ended(self) -> bytes:
        """Whatever still comes until the server has closed the connection."""
        async with asyncio.timeout(TIMEOUT):
            try:
                return await self.reader.read()
            except ConnectionResetError:
                return b""
