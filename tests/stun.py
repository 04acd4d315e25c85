"""As much of STUN and TURN over UDP as it takes to ask for an allocation (RFC 8489, RFC 8656)."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import socket
import struct
from typing import Any, Final, Self

COOKIE: Final = 0x2112A442
BINDING, ALLOCATE, CREATE_PERMISSION = 0x0001, 0x0003, 0x0008
SUCCESS, ERROR = 0x0100, 0x0110
USERNAME, MESSAGE_INTEGRITY, ERROR_CODE, REALM, NONCE = 0x0006, 0x0008, 0x0009, 0x0014, 0x0015
XOR_PEER_ADDRESS, XOR_RELAYED_ADDRESS, REQUESTED_TRANSPORT = 0x0012, 0x0016, 0x0019
UDP: Final = 17
TIMEOUT: Final = 10.0
RETRY: Final = 0.5

Attributes = dict[int, bytes]


def packed(attributes: list[tuple[int, bytes]]) -> bytes:
    return b"".join(struct.pack("!HH", kind, len(value)) + value + bytes(-len(value) % 4) for kind, value in attributes)


def message(kind: int, attributes: list[tuple[int, bytes]], key: bytes | None = None) -> bytes:
    """A request, signed if there is a key."""
    body, transaction = packed(attributes), os.urandom(12)
    if key is not None:
        head = struct.pack("!HHI12s", kind, len(body) + 24, COOKIE, transaction)
        body += packed([(MESSAGE_INTEGRITY, hmac.digest(key, head + body, hashlib.sha1))])
    return struct.pack("!HHI12s", kind, len(body), COOKIE, transaction) + body


def parsed(data: bytes) -> tuple[int, Attributes]:
    kind, length = struct.unpack("!HH", data[:4])
    attributes, at = {}, 20
    while at < 20 + length:
        name, size = struct.unpack("!HH", data[at : at + 4])
        attributes[name] = data[at + 4 : at + 4 + size]
        at += 4 + size + (-size % 4)
    return kind, attributes


def xored(address: str, port: int) -> bytes:
    number = struct.unpack("!I", socket.inet_aton(address))[0] ^ COOKIE
    return struct.pack("!BBHI", 0, 1, port ^ (COOKIE >> 16), number)


def unxored(value: bytes) -> tuple[str, int]:
    _, _, port, number = struct.unpack("!BBHI", value)
    return socket.inet_ntoa(struct.pack("!I", number ^ COOKIE)), port ^ (COOKIE >> 16)


class Allocation:
    """A client of a TURN server, on a socket of its own."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._realm = self._nonce = b""
        self._signature: list[tuple[int, bytes]] = []
        self._key: bytes | None = None
        self.relayed = ("", 0)

    async def __aenter__(self) -> Self:
        self._socket.connect(self._address)
        return self

    async def __aexit__(self, *_: Any) -> None:
        self._socket.close()

    async def allocate(self, credentials: dict[str, Any] | None) -> str | int:
        """Ask for an allocation: `allocated`, or the error code."""
        self._sign(credentials)
        wanted = [(REQUESTED_TRANSPORT, struct.pack("!B3x", UDP))]
        answer = await self._ask(ALLOCATE, wanted)
        if isinstance(answer, int):
            return answer
        self.relayed = unxored(answer[XOR_RELAYED_ADDRESS])
        return "allocated"

    async def permit(self, peer: str) -> str | int:
        """Ask to reach a peer: `permitted`, or the error code."""
        answer = await self._ask(CREATE_PERMISSION, [(XOR_PEER_ADDRESS, xored(peer, 9))])
        return answer if isinstance(answer, int) else "permitted"

    def _sign(self, credentials: dict[str, Any] | None) -> None:
        if credentials is None:
            self._signature, self._key = [], None
            return
        name, password = str(credentials["username"]), str(credentials["credential"])
        self._signature = [(USERNAME, name.encode()), (REALM, self._realm), (NONCE, self._nonce)]
        self._key = hashlib.md5(b":".join((name.encode(), self._realm, password.encode()))).digest()

    async def _ask(self, kind: int, attributes: list[tuple[int, bytes]]) -> Attributes | int:
        request = message(kind, attributes + self._signature, self._key)
        async with asyncio.timeout(TIMEOUT):
            answer, found = parsed(await exchange(self._socket, request))
        if answer == kind | SUCCESS:
            return found
        assert answer == kind | ERROR
        self._realm, self._nonce = found.get(REALM, self._realm), found.get(NONCE, self._nonce)
        return found[ERROR_CODE][2] * 100 + found[ERROR_CODE][3]


async def exchange(connected: socket.socket, request: bytes) -> bytes:
    """Send a request, again and again as UDP wants it, until its answer comes."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            connected.send(request)
            async with asyncio.timeout(RETRY):
                while True:
                    answer = await loop.sock_recv(connected, 4096)
                    if answer[8:20] == request[8:20]:
                        return answer
        except ConnectionRefusedError:
            await asyncio.sleep(0.05)
        except TimeoutError:
            pass


async def is_silent(host: str, port: int) -> bool:
    """Whether no STUN server answers there, yet."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.setblocking(False)
        probe.connect((host, port))
        try:
            async with asyncio.timeout(RETRY):
                await exchange(probe, message(BINDING, []))
        except TimeoutError:
            return True
    return False
