"""The serialization `MsgPack` of PeerJS 1.5: standard MessagePack, as one stream without borders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from crosspeer.core.errors import MissingExtra
from crosspeer.core.outgoing import plain
from crosspeer.peerjs.client.serializers import CLOSE, BrokenStream, Pieces, Serializer, asks_to_close
from crosspeer.wire.chunks import KEY

try:
    import msgpack  # type: ignore[import-untyped]
except ModuleNotFoundError as error:
    if error.name != "msgpack":
        raise
    raise MissingExtra("msgpack", "msgpack") from None

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence, Sized

    from crosspeer.peerjs.client.options import PeerLimits

PIECE: Final = 32 * 1024
SAFE: Final = 2**53 - 1
"""The largest integer that JavaScript counts to; above it PeerJS writes doubles, and so do we."""


class MsgPack(Serializer):
    """MessagePack. Datetimes travel as timestamps."""

    ordered = True

    def __init__(self, limits: PeerLimits) -> None:
        super().__init__(limits)
        self._packer = msgpack.Packer(default=_default, datetime=True)
        self._unpacker = msgpack.Unpacker(
            max_buffer_size=limits.max_message_size,
            max_array_len=limits.max_items,
            max_map_len=limits.max_items,
            object_hook=self._count,
            list_hook=self._count,
            strict_map_key=False,
            timestamp=3,
        )
        self._bytes = 0
        """Bytes that came since a message was complete."""
        self._items = 0
        """Items of its arrays and maps so far."""

    def encode(self, value: Any) -> bytes | Pieces:
        if value is None:
            raise ValueError("None cannot be sent with MsgPack: a browser would read nothing after it")
        if type(value) is dict and asks_to_close(value.get(KEY)):
            raise ValueError(f"a dict with the key {KEY} is PeerJS's own and would not arrive")
        try:
            packed: bytes = self._packer.pack(value)
        except (TypeError, ValueError, OverflowError):
            self._packer.reset()
            raise
        if len(packed) <= PIECE:
            return packed
        return Pieces(_pieces(packed), len(packed), PIECE)

    def decode(self, frame: str | bytes) -> Sequence[Any]:
        if isinstance(frame, str):
            raise BrokenStream("text on a MsgPack connection")
        self._bytes += len(frame)
        if self._bytes > self.limits.max_message_size + len(frame):
            raise BrokenStream(f"a message passes the limit of {self.limits.max_message_size} bytes")
        values = []
        try:
            self._unpacker.feed(frame)
            for value in self._unpacker:
                self._bytes = self._items = 0
                closing = type(value) is dict and asks_to_close(value.get(KEY))
                values.append(CLOSE if closing else value)
        except (msgpack.UnpackException, ValueError, TypeError) as error:
            raise BrokenStream(f"this is no MessagePack: {error}") from None
        return values

    def _count(self, value: Sized) -> Sized:
        self._items += len(value) + 1
        if self._items > self.limits.max_items:
            raise ValueError("too many items in one message")
        return value


def _pieces(packed: bytes) -> Iterator[bytes]:
    for start in range(0, len(packed), PIECE):
        yield packed[start : start + PIECE]


def _default(value: Any) -> Any:
    if isinstance(value, int):
        return float(value)
    return plain(value)
