"""From values to the frames of a data channel, and back: one serializer for each connection, named in its offer."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Final, NoReturn

from crosspeer.core.outgoing import plain, to_json
from crosspeer.peerjs.rtc.port import MAX_MESSAGE_SIZE
from crosspeer.wire.binarypack import UnpackError, pack, unpack
from crosspeer.wire.chunks import KEY, SLICE, ChunkError, Reassembler, chunks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from crosspeer.peerjs.client.options import PeerLimits


class _Close:
    """What a serializer gives in place of a value when the other side asks to close."""


CLOSE: Final = _Close()


class InvalidMessage(ValueError):
    """The frame is no message of this serialization. It is left out, and the connection goes on."""


class BrokenStream(InvalidMessage):
    """Nor can any of the frames after it be understood: the connection is closed."""


class TooBig(ValueError):
    """The value does not fit into one message."""


class Pieces:
    """A message that travels in several frames, made one at a time."""

    __slots__ = ("frames", "step", "total")

    def __init__(self, frames: Iterator[bytes], total: int, step: int) -> None:
        self.frames = frames
        self.total = total
        """Bytes of the message."""
        self.step = step
        """Bytes of it in each frame; the last may have fewer."""


class Serializer(ABC):
    """The base of all, and the interface for one's own: `Peer(serializers={"mine": Mine})`.

    Two methods have to be there, `encode` and `decode`; the others tell what few serializers need to know.

    Args:
        limits: what an incoming message may cost.
    """

    ordered: bool = False
    """Needs a channel that keeps the order, whatever the caller of `connect` says."""

    def __init__(self, limits: PeerLimits) -> None:
        self.limits = limits

    @property
    def is_complete(self) -> bool:
        """Whether nothing has arrived in part."""
        return True

    @abstractmethod
    def encode(self, value: Any) -> str | bytes | Pieces:
        """Write a value: as one text or binary frame of at most 256 KiB, or as several.

        Raises:
            TypeError, ValueError: it has no form, which `send` passes on to its caller.
            TooBig: it has one, and that is too large.
        """

    @abstractmethod
    def decode(self, frame: str | bytes) -> Sequence[Any]:
        """Read a frame: the values that are complete with it, often one, perhaps none.

        Raises:
            InvalidMessage: the frame is none of this serialization.
        """

    def channel_is_known(self, *, ordered: bool) -> None:  # noqa: B027
        """The channel is there, and keeps the order, or does not. Called before the first frame."""

    def remote_is_old(self) -> None:  # noqa: B027
        """The other side is PeerJS 1.4 or older. May come after the first `encode`, but before its frame leaves."""

    def leaving(self, frame: str | bytes) -> str | bytes:
        """A last look at a frame that had to wait for the channel to open."""
        return frame


class Binary(Serializer):
    """BinaryPack, cut into slices where a message is larger than one: `binary` and `binary-utf8`."""

    _is_old = False

    def __init__(self, limits: PeerLimits) -> None:
        super().__init__(limits)
        self._transfers = 0
        self._reassembler = Reassembler(limits.max_message_size)

    @property
    def is_complete(self) -> bool:
        return not len(self._reassembler)

    def channel_is_known(self, *, ordered: bool) -> None:
        self._reassembler.ordered = ordered

    def remote_is_old(self) -> None:
        self._is_old = True

    def encode(self, value: Any) -> bytes | Pieces:
        if type(value) is dict and value.get(KEY):
            raise ValueError(f"a dict with the key {KEY} is PeerJS's own and would not arrive")
        packed = pack(value, default=plain, for_old=self._is_old)
        if len(packed) <= SLICE:
            return packed
        self._transfers += 1
        return Pieces(chunks(packed, self._transfers), len(packed), SLICE)

    def decode(self, frame: str | bytes) -> Sequence[Any]:
        try:
            # Browsers that could not send binary wrote each byte as a character.
            value = self._unpack(frame if isinstance(frame, bytes) else frame.encode("latin-1"))
            if type(value) is not dict or not (asked := value.get(KEY)):
                return (value,)
            if asks_to_close(asked):
                return (CLOSE,)
            packed = self._reassembler.add(value)
            return () if packed is None else (self._unpack(packed),)
        except (UnpackError, ChunkError, UnicodeEncodeError) as error:
            raise InvalidMessage(str(error)) from None

    def _unpack(self, data: bytes) -> Any:
        return unpack(data, max_items=self.limits.max_items, from_old=self._is_old)


class Json(Serializer):
    """JSON text: in binary frames as PeerJS 1.5 has it, in text frames for those before it, which know nothing else."""

    _as_text = False

    def remote_is_old(self) -> None:
        self._as_text = True

    def encode(self, value: Any) -> str | bytes:
        text = to_json(value)
        data = text.encode()
        if len(data) > MAX_MESSAGE_SIZE:
            raise TooBig(f"Message too big for JSON channel: {len(data)} bytes, and {MAX_MESSAGE_SIZE} fit")
        return text if self._as_text else data

    def decode(self, frame: str | bytes) -> Sequence[Any]:
        if isinstance(frame, str):
            # Only the old generation writes text.
            self._as_text = True
        try:
            value = _parse(frame if isinstance(frame, str) else frame.decode())
        except (ValueError, RecursionError):
            raise InvalidMessage("this is no JSON") from None
        return (CLOSE,) if type(value) is dict and asks_to_close(value.get(KEY)) else (value,)

    def leaving(self, frame: str | bytes) -> str | bytes:
        return frame.decode() if self._as_text and isinstance(frame, bytes) else frame


class Raw(Serializer):
    """Text and bytes as they are: `raw`, which was called `none` up to 1.4."""

    def encode(self, value: Any) -> str | bytes:
        if isinstance(value, str):
            size = len(value) if value.isascii() else len(value.encode())
        elif isinstance(value, (bytes, bytearray, memoryview)):
            value = bytes(value)
            size = len(value)
        else:
            raise TypeError(f"serialization raw sends str and bytes, not {type(value).__name__}")
        if size > MAX_MESSAGE_SIZE:
            raise TooBig(f"a raw message has {size} bytes, and {MAX_MESSAGE_SIZE} fit")
        frame: str | bytes = value
        return frame

    def decode(self, frame: str | bytes) -> Sequence[Any]:
        return (frame,)


def asks_to_close(control: object) -> bool:
    """Whether what stands under `__peerData` is PeerJS's request to close, sent behind the last message."""
    return isinstance(control, dict) and control.get("type") == "close"


def serializers(own: Mapping[str, Callable[[PeerLimits], Serializer]]) -> dict[str, Callable[[PeerLimits], Serializer]]:
    """All by their names, the user's own first."""
    return {
        "binary": Binary,
        "binary-utf8": Binary,
        "default": Binary,
        "json": Json,
        "raw": Raw,
        "none": Raw,
        "MsgPack": _msgpack,
        **own,
    }


def _msgpack(limits: PeerLimits) -> Serializer:
    from crosspeer.peerjs.client.msgpack import MsgPack

    return MsgPack(limits)


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


_parse: Final = json.JSONDecoder(parse_constant=_refuse).decode
