"""WebSocket frames of a server: bytes in, messages out, and back (RFC 6455 sections 5 and 8.1)."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING, Final

from crosspeer.wire.closing import CloseCode, may_be_received
from crosspeer.wire.masking import unmask

if TYPE_CHECKING:
    from crosspeer.wire.deflate import Inflater

CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

COMPRESSED: Final = 0x40
"""The first reserved bit, where compression was agreed on (RFC 7692 section 6)."""

MAX_CONTROL_PAYLOAD: Final = 125
FREE_FRAGMENTS: Final = 4096
BYTES_PER_FRAGMENT: Final = 32
"""Fragments of a message that are free, and the bytes that pay for each further one: without them a message of empty
fragments never ends and never reaches a limit (row W4)."""

_WHOLE: Final = (0x80 | TEXT, 0x80 | BINARY)
_SHORT: Final = range(0x80, 0x80 + 126)
_SHORT_HEADS: Final = [[bytes((0x80 | opcode, size)) for size in range(126)] for opcode in range(COMPRESSED | 0x10)]
_NO_KEY: Final = bytes(4)
_Validator: Final = codecs.getincrementaldecoder("utf-8")
_KNOWN: Final = frozenset({CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG})


class ProtocolError(Exception):
    """The other side broke the protocol; the connection is to be closed with this code."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class InflatedTooBig(ProtocolError):
    """A compressed message becomes too big; `begun` is what its last piece has become up to the limit."""

    def __init__(self, begun: bytes) -> None:
        super().__init__(CloseCode.TOO_BIG, "message too big")
        self.begun = begun


Event = tuple[int, str | bytes]
"""The opcode and the payload of a complete message or control frame. The payload of a `TEXT` is `str`."""


def encode_frame(opcode: int, payload: bytes) -> bytes:
    """Write one unmasked frame; the opcode may have the `COMPRESSED` bit."""
    size = len(payload)
    if size < 126:
        return _SHORT_HEADS[opcode][size] + payload
    if size < 65_536:
        return bytes((0x80 | opcode, 126)) + size.to_bytes(2, "big") + payload
    return bytes((0x80 | opcode, 127)) + size.to_bytes(8, "big") + payload


def encode_close(code: int, reason: str) -> bytes:
    """Write a close frame; 1005 stands for one without a code."""
    payload = b"" if code == CloseCode.NO_STATUS else code.to_bytes(2, "big") + reason.encode()
    return encode_frame(CLOSE, payload)


def decode_close(payload: bytes) -> tuple[int, str]:
    """Read a close frame: its code (1005 if it has none) and its reason.

    Raises:
        ProtocolError: one byte, a code that must not be sent, or a reason that is no UTF-8.
    """
    if not payload:
        return CloseCode.NO_STATUS, ""
    code = int.from_bytes(payload[:2], "big")
    if len(payload) == 1 or not may_be_received(code):
        raise ProtocolError(CloseCode.PROTOCOL_ERROR, "invalid close frame")
    return code, _text(payload[2:])


class FrameReader:
    """The incoming half of a connection: `feed` it bytes, then take events until there are none.

    It can be left after any event and taken up later, which is how a slow hook holds its peer up. What it keeps is
    bounded by the message limit and by what the caller feeds at once; a length that is only claimed costs nothing.
    """

    __slots__ = (
        "_compressed",
        "_count",
        "_data",
        "_fragments",
        "_inflater",
        "_most",
        "_need",
        "_offset",
        "_opcode",
        "_reserved",
        "_validator",
        "_wire",
    )

    def __init__(self, max_message_size: int, inflater: Inflater | None = None) -> None:
        self._most = max_message_size
        self._inflater = inflater
        self._reserved = 0x70 if inflater is None else 0x30
        self._compressed = False
        self._wire = 0
        """Payload bytes of the compressed message that is being collected."""
        self._data: bytes | bytearray = b""
        self._offset = 0
        self._need = 2
        """Bytes behind the offset without which another look is useless: bytes one at a time stay cheap."""
        self._opcode = 0
        """Of the message whose fragments are being collected, 0 between messages."""
        self._fragments = bytearray()
        self._count = 0
        self._validator: codecs.IncrementalDecoder | None = None

    def feed(self, data: bytes) -> None:
        """Take more bytes of the connection."""
        if self._offset == len(self._data):
            self._data = data
        elif isinstance(self._data, bytearray):
            del self._data[: self._offset]
            self._data += data
        else:
            self._data = bytearray(memoryview(self._data)[self._offset :]) + data
        self._offset = 0

    def next(self) -> Event | None:
        """The next event, None when more bytes are needed.

        Raises:
            ProtocolError: the connection is to be closed; nothing behind it may be read.
        """
        data, start = self._data, self._offset
        available = len(data) - start
        while available >= self._need:
            first, second = data[start], data[start + 1]
            if first in _WHOLE and second in _SHORT and not self._opcode and second & 0x7F <= self._most:
                # A short message in one frame: most of what there is, so it goes without a call.
                end = start + 6 + (second & 0x7F)
                if end > len(data):
                    self._need = end - start
                    break
                self._offset = end
                self._need = 2
                body = data[start + 6 : end]
                key = data[start + 2 : start + 6]
                size = second & 0x7F
                if key != _NO_KEY:
                    pad = (key * 32)[:size]
                    body = (int.from_bytes(body, "big") ^ int.from_bytes(pad, "big")).to_bytes(size, "big")
                return (TEXT, _text(body)) if first == 0x81 else (BINARY, bytes(body))
            size = second & 0x7F
            head = 6
            if size > 125:
                head = 8 if size == 126 else 14
                if available < head:
                    self._need = head
                    break
                size = self._long_size(data, start, size)
            self._check(first, second, size)
            end = head + size
            if available < end:
                self._need = end
                break
            payload = unmask(data[start + head : start + end], data[start + head - 4 : start + head])
            start += end
            available -= end
            self._offset = start
            self._need = 2
            event = self._event(first, payload)
            if event is not None:
                return event
        return None

    def take(self, first: int, payload: bytes) -> Event | None:
        """Go on with a frame that another parser has read and unmasked: its first byte, and its payload.

        Raises:
            ProtocolError: as `next`.
        """
        self._check(first, 0x80, len(payload))
        return self._event(first, payload)

    def _long_size(self, data: bytes | bytearray, start: int, kind: int) -> int:
        size = int.from_bytes(data[start + 2 : start + (4 if kind == 126 else 10)], "big")
        if size < (126 if kind == 126 else 65_536) or size >> 63:
            raise ProtocolError(CloseCode.PROTOCOL_ERROR, "invalid length")
        return size

    def _check(self, first: int, second: int, size: int) -> None:
        """All that can be said of a frame before its payload is there."""
        opcode = first & 0xF
        if first & self._reserved or opcode not in _KNOWN or (first & COMPRESSED and opcode not in (TEXT, BINARY)):
            raise ProtocolError(CloseCode.PROTOCOL_ERROR, "reserved bits or opcode")
        if not second & 0x80:
            raise ProtocolError(CloseCode.PROTOCOL_ERROR, "a client's frames are masked")
        if opcode > BINARY:
            if size > MAX_CONTROL_PAYLOAD or not first & 0x80:
                raise ProtocolError(CloseCode.PROTOCOL_ERROR, "long or fragmented control frame")
        elif (opcode == CONTINUATION) is not bool(self._opcode):
            raise ProtocolError(CloseCode.PROTOCOL_ERROR, "fragments out of order")
        else:
            self._check_size(self._compressed if opcode == CONTINUATION else bool(first & COMPRESSED), size)

    def _check_size(self, compressed: bool, size: int) -> None:
        wire = self._wire if compressed else len(self._fragments)
        if too_many_fragments(self._count + 1, wire):
            raise ProtocolError(CloseCode.POLICY, "too many small fragments")
        # Bytes that do not compress get longer by a few in 16 KiB; a sender that flushes often adds some more.
        if wire + size > (self._most + self._most // 8 + 1024 if compressed else self._most):
            raise ProtocolError(CloseCode.TOO_BIG, "message too big")

    def _event(self, first: int, payload: bytes) -> Event | None:
        opcode = first & 0xF
        if opcode > BINARY:
            return (opcode, payload)
        if opcode:
            self._compressed = bool(first & COMPRESSED)
        if self._compressed and self._inflater is not None:
            self._wire += len(payload)
            payload = self._inflated(opcode or self._opcode, payload, self._inflater, bool(first & 0x80))
        if first & 0x80 and opcode:
            self._compressed, self._wire = False, 0
            return _message(opcode, payload)
        if opcode:
            self._opcode = opcode
        self._fragments += payload
        self._count += 1
        if self._opcode == TEXT:
            self._validate(payload)
        if not first & 0x80:
            return None
        opcode, whole = self._opcode, bytes(self._fragments)
        self._opcode = self._count = self._wire = 0
        self._compressed = False
        self._fragments = bytearray()
        self._validator = None
        return _message(opcode, whole)

    def _inflated(self, opcode: int, payload: bytes, inflater: Inflater, last: bool) -> bytes:
        try:
            return inflater.inflate(payload, last=last)
        except InflatedTooBig as error:
            # Two things may be wrong: the first wrong byte decides.
            if opcode == TEXT:
                self._validate(error.begun)
            raise

    def _validate(self, fragment: bytes) -> None:
        """Fail in the fragment that breaks a text, not at the end of the message."""
        if self._validator is None:
            self._validator = _Validator()
        try:
            self._validator.decode(fragment)
        except UnicodeDecodeError:
            raise ProtocolError(CloseCode.INVALID_DATA, "invalid UTF-8") from None


def too_many_fragments(fragments: int, size: int) -> bool:
    """Whether a message has more fragments than the bytes before the last of them pay for."""
    return fragments > FREE_FRAGMENTS + size // BYTES_PER_FRAGMENT


def _message(opcode: int, payload: bytes) -> Event:
    return opcode, _text(payload) if opcode == TEXT else payload


def _text(payload: bytes | bytearray) -> str:
    try:
        return payload.decode()
    except UnicodeDecodeError:
        raise ProtocolError(CloseCode.INVALID_DATA, "invalid UTF-8") from None
