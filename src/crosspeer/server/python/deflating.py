"""The compression of one connection of the Python engine."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from crosspeer.wire.deflate import Compressor, Deflate, Params
from crosspeer.wire.frames import BINARY, COMPRESSED, TEXT, encode_frame

if TYPE_CHECKING:
    from crosspeer.core.outgoing import Outgoing


class Deflating:
    """What was agreed on with one peer, and the context that it may have to itself."""

    __slots__ = ("_level", "_own", "_threshold", "params")

    def __init__(self, params: Params, config: Deflate) -> None:
        self.params = params
        self._level = config.level
        self._threshold = config.threshold
        takeover = not params.server_no_context_takeover
        self._own = Compressor(config.level, params.server_max_window_bits, True) if takeover else None

    def frame_of(self, item: Outgoing) -> bytes | None:
        """The compressed frame of a message, None if it is to go as it is. To be called once, when it is written."""
        wanted = item.size >= self._threshold if item.compress is None else item.compress
        if not wanted:
            return None
        if self._own is not None:
            return _encode(item, self._own.compress(item.payload))
        return self._shared(item)

    def _shared(self, item: Outgoing) -> bytes | None:
        """Made once for all peers with the same window."""
        if item.deflated is None:
            item.deflated = {}
        window = self.params.server_max_window_bits
        if window not in item.deflated:
            payload = _compressor(self._level, window).compress(item.payload)
            # What does not get smaller goes as it is: nothing refers to it.
            item.deflated[window] = _encode(item, payload) if len(payload) < item.size else b""
        return item.deflated[window] or None


@lru_cache(maxsize=64)
def _compressor(level: int, window: int) -> Compressor:
    return Compressor(level, window, takeover=False)


def _encode(item: Outgoing, payload: bytes) -> bytes:
    return encode_frame(COMPRESSED | (TEXT if item.is_text else BINARY), payload)
