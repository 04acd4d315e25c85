"""What the application sends, turned into text or bytes once, however many peers receive it."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import Any, Final

Sendable = Any
"""str, bytes-like, None, or whatever has a JSON form."""


class Outgoing:
    """One message on its way out: shared by every peer that it goes to, so never changed."""

    __slots__ = ("_payload", "compress", "data", "deflated", "event", "frame")

    def __init__(self, data: str | bytes, compress: bool | None = None) -> None:
        self.data: Final = data
        """Text or binary, which is also the kind of frame that it becomes."""
        self.compress: Final = compress
        """The sender's wish about permessage-deflate: None leaves it to the connection."""
        # Text that has no UTF-8 form is refused here, in its sender's call.
        self._payload: bytes | None = None if isinstance(data, bytes) or data.isascii() else data.encode()
        self.frame: bytes | None = None
        """The encoded frame, kept here by an engine that writes frames itself."""
        self.deflated: dict[int, bytes] | None = None
        """The compressed frames by their window, kept in the same way."""
        self.event: bytes | None = None
        """The server-sent event but for its id, for peers that come by `EventSource`."""

    @property
    def size(self) -> int:
        """Bytes of the payload."""
        return len(self.data if self._payload is None else self._payload)

    @property
    def is_text(self) -> bool:
        return isinstance(self.data, str)

    @property
    def payload(self) -> bytes:
        """The bytes of the payload, encoded once."""
        if self._payload is None:
            self._payload = self.data.encode() if isinstance(self.data, str) else self.data
        return self._payload


def outgoing(data: Sendable, compress: bool | None = None) -> Outgoing:
    """Convert what a caller sends: str is text, bytes-like is binary, None is empty text, the rest is JSON text.

    Lists are JSON here; crossws writes their numbers as raw bytes.

    Raises:
        TypeError: no JSON form is known.
        ValueError: the text has lone surrogates, or a number is not finite.
    """
    if isinstance(data, str):
        return Outgoing(data, compress)
    if isinstance(data, bytes):
        return Outgoing(bytes(data), compress)
    if isinstance(data, (bytearray, memoryview)):
        # The queue outlives the call, and the caller may write into its buffer again.
        return Outgoing(bytes(data), compress)
    if data is None:
        return Outgoing("", compress)
    return Outgoing(to_json(data), compress)


def to_json(value: object) -> str:
    """Write compact JSON, with dataclasses, msgspec structs and pydantic models as objects."""
    return _encode(value)


_encode = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=lambda value: plain(value)
).encode


def plain(value: object) -> object:
    """Make what every codec knows of a dataclass, a msgspec struct or a pydantic model.

    Raises:
        TypeError: it is none of them.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    # Neither library is imported for this: a value of theirs means that it is already there.
    if (pydantic := sys.modules.get("pydantic")) is not None and isinstance(value, pydantic.BaseModel):
        return value.model_dump(mode="json", by_alias=True)
    if (msgspec := sys.modules.get("msgspec")) is not None and isinstance(value, msgspec.Struct):
        return msgspec.to_builtins(value)
    raise TypeError(
        f"{type(value).__name__} cannot be sent: only str, bytes-like, None and what JSON holds "
        "(dataclasses, msgspec structs and pydantic models too)"
    )
