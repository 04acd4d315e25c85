"""Strategies for what a client may send after its handshake: frames that keep the rules, and frames that do not."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Sequence

from hypothesis import strategies as st

from raw import BINARY, CLOSE, FIN, PING, PONG, TEXT, frame

CONT, RSV1 = 0x0, 0x40
MOST = 1000
"""The message limit that these streams go up to, and a little beyond."""

KEYS = st.sampled_from([b"\x00\x00\x00\x00", b"\x37\xfa\x21\x3d", b"\xff\x00\xff\x00"])
TEXTS = st.one_of(
    st.text(max_size=40),
    st.integers(0, 70).map(lambda count: "κ😀" * count),
    st.sampled_from([124, 125, 126, 127, MOST - 1, MOST]).map(lambda size: "x" * size),
)
BYTES = st.one_of(st.binary(max_size=60), st.sampled_from([126, MOST]).map(bytes))
CODES = st.sampled_from([1000, 1001, 1011, 1014, 3000, 4999])

Event = tuple[int, str | bytes]
Sound = tuple[bytes, list[Event]]
"""Bytes, and the events that they are."""


def deflated(data: bytes) -> bytes:
    """A message's payload without context takeover, without the tail of its flush."""
    context = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (context.compress(data) + context.flush(zlib.Z_SYNC_FLUSH))[:-4]


@st.composite
def controls(draw: st.DrawFn) -> Sound:
    """A ping or a pong."""
    opcode, payload = draw(st.sampled_from([PING, PONG])), draw(st.binary(max_size=10) | st.just(b"p" * 125))
    return frame(FIN | opcode, payload, key=draw(KEYS)), [(opcode, payload)]


@st.composite
def messages(draw: st.DrawFn, *, compression: bool = False) -> Sound:
    """A message in one frame or in fragments, which may have control frames between them."""
    data: str | bytes = draw(TEXTS | BYTES)
    opcode, payload = (TEXT, data.encode()) if isinstance(data, str) else (BINARY, data)
    if compression and draw(st.booleans()):
        # Compressed by the letter: an end of a stream within a message is allowed too.
        opcode, payload = opcode | RSV1, draw(st.sampled_from([b"", b"\x03\x00"])) + deflated(payload)
    parts = pieces(payload, draw(cuts(3, len(payload))))
    frames, events = [], list[Event]()
    for index, part in enumerate(parts):
        first = (0 if index else opcode) | (FIN if index == len(parts) - 1 else 0)
        frames.append(frame(first, part, key=draw(KEYS)))
        if index < len(parts) - 1 and draw(st.booleans()):
            between, told = draw(controls())
            frames.append(between)
            events += told
    return b"".join(frames), [*events, (opcode & 0xF, data)]


@st.composite
def closes(draw: st.DrawFn) -> bytes:
    """A close frame, sound or not."""
    code = draw(CODES | st.sampled_from([0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65_535]))
    reason = draw(st.text(max_size=20).map(str.encode) | st.binary(max_size=4) | st.just(b"x" * 124))
    payload = draw(st.sampled_from([b"", b"\x03", code.to_bytes(2, "big") + reason]))
    return frame(FIN | CLOSE, payload, key=draw(KEYS))


def wide(opcode: int, size: int, width: int) -> bytes:
    """A frame whose length is written in 2 or 8 bytes, whether it needs them or not."""
    return bytes((FIN | opcode, 0x80 | (126 if width == 2 else 127))) + size.to_bytes(width, "big") + bytes(4 + size)


FAULTS = [
    *(frame(opcode, b"x", key=bytes(4)) for opcode in (PING, PONG, CLOSE, 0x3, FIN | 0xB)),
    *(frame(FIN | opcode, bytes(126), key=bytes(4)) for opcode in (PING, PONG, CLOSE)),
    *(frame(FIN | bits | TEXT, b"x", key=bytes(4)) for bits in (0x10, 0x20, RSV1)),
    *(frame(FIN | RSV1 | opcode, key=bytes(4)) for opcode in (CONT, PING, CLOSE)),
    *(frame(first, b"x", masked=False) for first in (FIN | TEXT, TEXT, FIN | PING)),
    *(wide(BINARY, size, width) for size, width in ((0, 2), (125, 2), (126, 2), (126, 8), (MOST, 8), (65_535, 8))),
    *(frame(FIN | BINARY, length=length, key=bytes(4)) for length in (MOST + 1, 2**62, 2**63 - 1, 2**63, 2**64 - 1)),
    # Too big: in one frame, by the last fragment, by the word of a fragment's header.
    *(frame(FIN | opcode, b"x" * (MOST + 1), key=bytes(4)) for opcode in (TEXT, BINARY)),
    *(
        frame(TEXT, b"x" * part, key=bytes(4)) + frame(FIN, b"x" * (MOST + 1 - part), key=bytes(4))
        for part in (1, MOST)
    ),
    *(frame(BINARY, bytes(MOST), key=bytes(4)) + frame(FIN, length=size, key=bytes(4)) for size in (1, 2**40)),
    # Out of order.
    frame(CONT, b"x", key=bytes(4)),
    frame(FIN | CONT, key=bytes(4)),
    *(frame(TEXT, b"x", key=bytes(4)) + frame(first, b"x", key=bytes(4)) for first in (TEXT, FIN | TEXT, FIN | BINARY)),
    # No UTF-8: at once, over fragments, cut at the end of a message, and with a ping in between.
    *(
        frame(FIN | TEXT, text, key=bytes(4))
        for text in (b"\xff", b"a\xed\xa0\x80", b"\xc0\xaf", b"\xf4\x90", b"abc\xf0\x9f")
    ),
    *(frame(TEXT, b"\xce", key=bytes(4)) + frame(FIN, rest, key=bytes(4)) for rest in (b"", b"x", b"\xba\xce")),
    frame(TEXT, b"\xf0\x9f", key=bytes(4)) + frame(FIN | PING, b"p", key=bytes(4)) + frame(CONT, b"a", key=bytes(4)),
    # Compressed: no deflate, a lie in a stored block, too big, cut text, a reference to a message before.
    *(
        frame(FIN | RSV1 | TEXT, data, key=bytes(4))
        for data in (b"\x07", b"\x00\x05\x00\xfa\xfehello", deflated(b"\xce"))
    ),
    *(frame(FIN | RSV1 | BINARY, deflated(bytes(size)), key=bytes(4)) for size in (MOST, MOST + 1, 50_000)),
    frame(FIN | RSV1 | TEXT, b"\xf2\x00\x11\x00\x00", key=bytes(4)),
    frame(FIN | RSV1 | BINARY, bytes(3000), key=bytes(4)),
]
"""One of each way to break a rule, and some that are just inside."""


@st.composite
def faults(draw: st.DrawFn) -> bytes:
    """A frame that breaks a rule, or one of any bits, length and mask."""
    if draw(st.booleans()):
        return draw(st.sampled_from(FAULTS))
    first = draw(st.integers(0, 255))
    length = draw(st.none() | st.sampled_from([0, 125, 126, MOST, 65_535, 65_536, 2**63]))
    return frame(first, draw(BYTES), masked=draw(st.booleans()), length=length, key=draw(KEYS))


def sound(*, compression: bool = False, most: int = 6) -> st.SearchStrategy[Sound]:
    """Messages and control frames that keep the rules."""
    many = st.lists(messages(compression=compression) | controls(), max_size=most)
    return many.map(lambda parts: (b"".join(data for data, _ in parts), [event for _, told in parts for event in told]))


@st.composite
def streams(draw: st.DrawFn, *, compression: bool = False) -> bytes:
    """Anything that begins like frames: sound ones, a fault or an end among them, and then perhaps changed bytes."""
    before, _ = draw(sound(compression=compression, most=3))
    middle = draw(faults() | closes() | st.just(b""))
    after, _ = draw(sound(compression=compression, most=2))
    data = bytearray(before + middle + after)
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 3]))):
        if data:
            at = draw(st.integers(0, len(data) - 1))
            data[at : at + draw(st.integers(0, 2))] = draw(st.binary(max_size=2))
    return bytes(data)


def cuts(most: int, length: int = 4000) -> st.SearchStrategy[list[int]]:
    """Places where bytes are cut."""
    return st.lists(st.integers(0, length), max_size=most)


def pieces(data: bytes, places: Sequence[int]) -> list[bytes]:
    """The bytes in pieces, some of which may be empty."""
    bounds = [0, *sorted(min(place, len(data)) for place in places), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(bounds)]
