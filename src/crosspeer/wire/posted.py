"""Messages in the body of a POST. Each says its kind and its length: nothing on the way can merge or split them.

A message is its kind (`t` for text, `b` for binary, `c` for a close frame's payload), the number of its bytes, a colon
and the bytes: `t5:hellob3:...`.
"""

from __future__ import annotations

import re
from typing import Final

from crosspeer.wire.closing import CloseCode
from crosspeer.wire.frames import MAX_CONTROL_PAYLOAD, ProtocolError, decode_close

MEDIA_TYPE: Final = "application/x-crosspeer-messages"

_HEAD: Final = re.compile(rb"([tbc])(0|[1-9][0-9]{0,15}):")
_MAX_HEAD: Final = 18

Posted = str | bytes | tuple[int, str]
"""A text, a binary message, or the code and the reason of a close."""


def encode_posted(message: Posted) -> bytes:
    """Write one message. A close with 1005 has no code."""
    if isinstance(message, str):
        kind, payload = "t", message.encode()
    elif isinstance(message, bytes):
        kind, payload = "b", message
    else:
        code, reason = message
        kind, payload = "c", b"" if code == CloseCode.NO_STATUS else code.to_bytes(2, "big") + reason.encode()
    return f"{kind}{len(payload)}:".encode() + payload


def as_text(payload: bytes) -> str:
    """Read the bytes of a text.

    Raises:
        ProtocolError: they are no UTF-8.
    """
    try:
        return payload.decode()
    except UnicodeDecodeError:
        raise ProtocolError(CloseCode.INVALID_DATA, "invalid UTF-8") from None


class PostedReader:
    """Reads a body: `feed` it bytes, then take messages until there are none.

    A length that is only claimed costs nothing.

    Args:
        most: bytes of one message.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._data = bytearray()
        self._need = 0
        """Bytes without which another look is useless: bytes one at a time stay cheap."""

    @property
    def is_between(self) -> bool:
        """Whether all that came was complete messages."""
        return not self._data

    def feed(self, data: bytes) -> None:
        self._data += data

    def next(self) -> Posted | None:
        """The next message, None while it is not complete.

        Raises:
            ProtocolError: what came is no message, or a message is too big.
        """
        if not self._data or len(self._data) < self._need:
            return None
        head = _HEAD.match(self._data)
        if head is None:
            if len(self._data) >= _MAX_HEAD or not _may_become_a_head(bytes(self._data)):
                raise ProtocolError(CloseCode.PROTOCOL_ERROR, "this is no posted message")
            return None
        size, start = int(head[2]), head.end()
        if size > (MAX_CONTROL_PAYLOAD if head[1] == b"c" else self._most):
            raise ProtocolError(CloseCode.TOO_BIG, "message too big")
        if len(self._data) < start + size:
            self._need = start + size
            return None
        kind, payload = head[1], bytes(self._data[start : start + size])
        del self._data[: start + size]
        self._need = 0
        if kind == b"c":
            return decode_close(payload)
        return payload if kind == b"b" else as_text(payload)


def _may_become_a_head(data: bytes) -> bool:
    digits = data[1:]
    return data[:1] in (b"t", b"b", b"c") and (not digits or digits == b"0" or (digits.isdigit() and digits[0] != 0x30))
