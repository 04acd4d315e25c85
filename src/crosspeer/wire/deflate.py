"""permessage-deflate: what is offered, what is agreed on, and the two directions (RFC 7692)."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from crosspeer.wire.closing import CloseCode
from crosspeer.wire.frames import InflatedTooBig, ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable

TAIL: Final = b"\x00\x00\xff\xff"
"""What ends each sync flush: taken off by the sender, put back by the receiver (section 7.2)."""

FAIR_RATIO: Final = 32
"""Bytes that one compressed byte may honestly become: JSON and text stay below, deflate's most is about 1,030."""

_MAX_STREAMS: Final = 64
"""Ends of a stream that a message may have. Each is two bytes there, and a context to make here."""

_TOKEN: Final = re.compile(r"[ \t]*([!#$%&'*+\-.^_`|~0-9A-Za-z]+)[ \t]*")
_QUOTED: Final = re.compile(r'[ \t]*"((?:[^"\\]|\\.)*)"[ \t]*')
_EMPTY: Final = re.compile(r"[ \t,]*")
_FLAGS: Final = ("server_no_context_takeover", "client_no_context_takeover")
_WINDOWS: Final = ("server_max_window_bits", "client_max_window_bits")


@dataclass(frozen=True, slots=True, kw_only=True)
class Deflate:
    """How messages are compressed, where the client offers it (permessage-deflate, RFC 7692).

    Without context takeover, the default, a published message is compressed once for all peers with the same window,
    and a peer that is silent holds no memory for it. With it small messages get smaller, at some 300 KiB a peer. A hub
    that drops messages (`Limits.overflow`) does not take contexts over.

    Raises:
        ValueError: a window, the level or the threshold is out of its range.
    """

    server_no_context_takeover: bool = True
    """Forget each message that was sent."""
    client_no_context_takeover: bool = True
    """Ask the client to do the same."""
    server_max_window_bits: int = 15
    """The largest window to compress with, 9 to 15: 2^n bytes."""
    client_max_window_bits: int = 15
    """The largest window that the client is asked to use, 8 to 15, where it lets itself be asked."""
    level: int = 6
    """1 (fast) to 9 (small)."""
    threshold: int = 1024
    """Bytes from which on a message is compressed, unless `compress=` says otherwise."""

    def __post_init__(self) -> None:
        ranges = {"server_max_window_bits": (9, 15), "client_max_window_bits": (8, 15), "level": (1, 9)}
        for name, (least, most) in {**ranges, "threshold": (0, 1 << 62)}.items():
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
                raise ValueError(f"{name} is a whole number from {least} to {most}, not {value!r}")


@dataclass(frozen=True, slots=True)
class Params:
    """What the two sides have agreed on."""

    server_no_context_takeover: bool
    client_no_context_takeover: bool
    server_max_window_bits: int
    client_max_window_bits: int

    @property
    def header(self) -> str:
        """The value of `sec-websocket-extensions` in the 101."""
        flags = [name for name in _FLAGS if getattr(self, name)]
        windows = [f"{name}={getattr(self, name)}" for name in _WINDOWS if getattr(self, name) < 15]
        return "; ".join(["permessage-deflate", *flags, *windows])


def negotiate(offered: list[str], config: Deflate) -> Params | None:
    """Answer the first offer that can be met. An offer that is wrong in any way is one that was not made (row H13)."""
    for line in offered:
        for offer in _offers(line):
            window = int(offer.get("server_max_window_bits") or 15)
            # zlib has no window of 2^8 for raw deflate.
            if window >= 9:
                asked = offer.get("client_max_window_bits", ...)
                return Params(
                    config.server_no_context_takeover or "server_no_context_takeover" in offer,
                    config.client_no_context_takeover or "client_no_context_takeover" in offer,
                    min(window, config.server_max_window_bits),
                    15 if asked is ... else min(int(asked or 15), config.client_max_window_bits),
                )
    return None


def without_takeover(config: Deflate) -> Deflate:
    """The same, for queues whose messages may be dropped after they were compressed."""
    return replace(config, server_no_context_takeover=True)


Offer = dict[str, str | None]


def _offers(line: str) -> list[Offer]:
    """The offers of one header line that can be understood. A line that breaks the grammar has none."""
    found: list[Offer] = []
    at = _skip(line, 0)
    while at < len(line):
        if (name := _TOKEN.match(line, at)) is None:
            return []
        at = name.end()
        offer: Offer | None = {} if name[1].lower() == "permessage-deflate" else None
        while line[at : at + 1] == ";":
            if (key := _TOKEN.match(line, at + 1)) is None:
                return []
            at, value = key.end(), None
            if line[at : at + 1] == "=":
                given = _QUOTED.match(line, at + 1) or _TOKEN.match(line, at + 1)
                if given is None:
                    return []
                at, value = given.end(), given[1]
            if offer is not None:
                offer = _with(offer, key[1], value)
        if offer is not None:
            found.append(offer)
        if at < len(line) and line[at] != ",":
            return []
        at = _skip(line, at)
    return found


def _skip(line: str, at: int) -> int:
    """Past what separates the elements of a list, which may be empty (RFC 9110 section 5.6.1.2)."""
    match = _EMPTY.match(line, at)
    return at if match is None else match.end()


def _with(offer: Offer, name: str, value: str | None) -> Offer | None:
    """Add a parameter. None: it is unknown, twice there or has a wrong value, which declines the offer."""
    if name in offer:
        return None
    if name in _FLAGS:
        return {**offer, name: None} if value is None else None
    is_window = value in {"8", "9", "10", "11", "12", "13", "14", "15"}
    if name == "server_max_window_bits":
        return {**offer, name: value} if is_window else None
    if name == "client_max_window_bits":
        return {**offer, name: value} if is_window or value is None else None
    return None


class Compressor:
    """The sending direction: of one peer if contexts are taken over, else of all with the same window."""

    __slots__ = ("_bits", "_context", "_level")

    def __init__(self, level: int, bits: int, takeover: bool) -> None:
        self._level = level
        self._bits = bits
        self._context = self._fresh() if takeover else None

    def compress(self, payload: bytes) -> bytes:
        """The compressed payload of one message, without the tail."""
        if not payload:
            # Section 7.2.3.6. A second flush with nothing between would write nothing at all.
            return b"\x00"
        context = self._context or self._fresh()
        return (context.compress(payload) + context.flush(zlib.Z_SYNC_FLUSH))[: -len(TAIL)]

    def _fresh(self) -> zlib._Compress:
        return zlib.compressobj(self._level, zlib.DEFLATED, -self._bits)


class Inflater:
    """The receiving direction of one peer, with a bound that holds while it inflates (rows W1 and W2).

    Args:
        takeover: a message may refer to the ones before it.
        most: bytes that a message may become.
        allow: asked for each message that becomes more than honest data would, with the bytes beyond that.
    """

    __slots__ = ("_allow", "_context", "_inflated", "_most", "_streams", "_takeover", "_wire")

    def __init__(self, takeover: bool, most: int, allow: Callable[[int], bool]) -> None:
        self._takeover = takeover
        self._most = most
        self._allow = allow
        self._context: zlib._Decompress | None = None
        self._wire = self._inflated = self._streams = 0

    def inflate(self, piece: bytes, *, last: bool) -> bytes:
        """Inflate the next piece of a message.

        Raises:
            ProtocolError: it is no deflate (1007), becomes too big (1009), or too much at that ratio (1008).
        """
        self._wire += len(piece)
        try:
            out = self._inflate(piece + TAIL if last else piece)
        except zlib.error:
            raise ProtocolError(CloseCode.INVALID_DATA, "a message that cannot be inflated") from None
        if last:
            excess = self._inflated - FAIR_RATIO * self._wire
            self._wire = self._inflated = self._streams = 0
            if not self._takeover:
                self._context = None
            if excess > 0 and not self._allow(excess):
                raise ProtocolError(CloseCode.POLICY, "too much to inflate")
        return out

    def _inflate(self, piece: bytes) -> bytes:
        out = b""
        while True:
            if self._context is None:
                self._context = zlib.decompressobj(-15)
            # One byte over the bound tells the message that is too big from the one that just fits.
            out += self._context.decompress(piece, self._most + 1 - self._inflated - len(out))
            if self._inflated + len(out) > self._most:
                raise InflatedTooBig(out[: self._most - self._inflated])
            piece = b""
            if self._context.eof:
                # A block that calls itself the last one does not end the message (section 7.2.3.4).
                piece, self._context = self._context.unused_data, None
                self._streams += 1
                if self._streams > _MAX_STREAMS:
                    raise zlib.error
            if not piece:
                self._inflated += len(out)
                return out
