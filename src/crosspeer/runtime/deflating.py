"""The compression of one connection whose frames are ours."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from crosspeer.runtime.budget import EXCESS_BURST, EXCESS_RATE, Budget
from crosspeer.wire.deflate import Compressor, Deflate, Inflater, Params, negotiate, without_takeover
from crosspeer.wire.frames import BINARY, COMPRESSED, TEXT, encode_frame

if TYPE_CHECKING:
    from collections.abc import Callable

    from crosspeer.core.hub import Hub
    from crosspeer.core.outgoing import Outgoing
    from crosspeer.wire.handshake import Headers


def agree(hub: Hub, request: Headers, compress: bool | None) -> Deflating | None:
    """The compression of a new connection, if it is wanted here and offered there.

    Args:
        compress: what `upgrade` has said.
    """
    config = wanted(hub, compress)
    offered = [value.decode("latin-1") for name, value in request if name == b"sec-websocket-extensions"]
    if config is None or not offered:
        return None
    if hub.limits.overflow != "close":
        config = without_takeover(config)
    params = negotiate(offered, config)
    return None if params is None else Deflating(params, config)


def wanted(hub: Hub, compress: bool | None) -> Deflate | None:
    """How to compress for a peer that can, None if it is not wanted: the hub's word, and then that of `upgrade`."""
    if compress is False:
        return None
    return hub.compression or (Deflate() if compress else None)


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

    def inflater(self, most: int, clock: Callable[[], float]) -> Inflater:
        """The other direction.

        Args:
            most: bytes that a message may become.
            clock: seconds since any fixed moment.
        """
        budget = Budget(EXCESS_RATE, EXCESS_BURST)
        takeover = not self.params.client_no_context_takeover
        return Inflater(takeover, most, lambda excess: budget.allows(clock(), excess))

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
