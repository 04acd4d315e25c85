"""MessagePack as PeerJS 1.5 writes and reads it."""

from __future__ import annotations

import datetime
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from crosspeer.core.errors import MissingExtra
from crosspeer.peerjs import Peer, PeerLimits
from crosspeer.peerjs.client.msgpack import PIECE, MsgPack
from crosspeer.peerjs.client.serializers import CLOSE, BrokenStream, Pieces
from peers import LOCAL

ROWS = json.loads((Path(__file__).parents[2] / "vectors" / "msgpack_vectors.json").read_text())["encode"]
VALUES: dict[str, Any] = {
    "null": None,
    "undefined": None,
    "true": True,
    "0": 0,
    "-1": -1,
    "127": 127,
    "128": 128,
    "65536": 65536,
    "0xffffffff": 0xFFFFFFFF,
    "2**32": 2**32,
    "Number.MAX_SAFE_INTEGER": 2**53 - 1,
    "-33": -33,
    "-2147483648": -(2**31),
    "-2147483649": -(2**31) - 1,
    "-Number.MAX_SAFE_INTEGER": -(2**53) + 1,
    "1.5": 1.5,
    "0.1": 0.1,
    '""': "",
    '"hello"': "hello",
    '"a".repeat(31)': "a" * 31,
    '"a".repeat(32)': "a" * 32,
    '"a".repeat(256)': "a" * 256,
    '"caf\\u00e9"': "café",
    "[]": [],
    '[1,"a",null]': [1, "a", None],
    "({})": {},
    "({a:undefined})": {"a": None},
    "({a:1,b:[true]})": {"a": 1, "b": [True]},
    "new Uint8Array([1,2,3])": b"\x01\x02\x03",
    "new Date(Date.UTC(2024,1,1,1,1,1,1))": datetime.datetime(2024, 2, 1, 1, 1, 1, 1000, datetime.UTC),
    "new Date(Date.UTC(2024,1,1,1,1,1,0))": datetime.datetime(2024, 2, 1, 1, 1, 1, 0, datetime.UTC),
    "new Date(Date.UTC(1,1,1,1,1,1,1))": datetime.datetime(1901, 2, 1, 1, 1, 1, 1000, datetime.UTC),
}
READ_ONLY = {"2**53": 2**53, "2**63": 2**63, "-0": 0, "Infinity": float("inf")}
"""Python's form of these is another one, which JavaScript reads as the same number."""


def row_of(expression: str) -> dict[str, Any]:
    return next(row for row in ROWS if row["js_expr"] == expression)


@pytest.fixture
def codec() -> MsgPack:
    return MsgPack(PeerLimits())


@pytest.mark.parametrize("expression", [name for name, value in VALUES.items() if value is not None])
def test_the_bytes_are_those_of_npm(codec: MsgPack, expression: str) -> None:
    row, value = row_of(expression), VALUES[expression]
    assert codec.encode(value).hex() == row["hex"]  # type: ignore[union-attr]
    assert codec.decode(bytes.fromhex(row["hex"])) == [value]


@pytest.mark.parametrize("expression", [*READ_ONLY, "null"])
def test_it_reads_what_npm_writes(codec: MsgPack, expression: str) -> None:
    assert codec.decode(bytes.fromhex(row_of(expression)["hex"])) == [{**READ_ONLY, **VALUES}[expression]]


def test_a_wide_integer_becomes_a_double(codec: MsgPack) -> None:
    assert codec.decode(codec.encode(2**70)) == [float(2**70)]  # type: ignore[arg-type]


def test_borders_of_frames_mean_nothing(codec: MsgPack) -> None:
    values = [1, "zwölf", {"a": [b"x" * 100, None]}, [1.5] * 50]
    stream = b"".join(codec.encode(value) for value in values)  # type: ignore[misc]
    assert codec.decode(stream) == values
    one_by_one = [value for at in range(len(stream)) for value in codec.decode(stream[at : at + 1])]
    assert one_by_one == values


def test_large_values_travel_in_pieces(codec: MsgPack) -> None:
    encoded = codec.encode(b"x" * 100_000)
    assert isinstance(encoded, Pieces)
    frames = list(encoded.frames)
    assert [len(frame) for frame in frames] == [PIECE, PIECE, PIECE, encoded.total - 3 * PIECE]
    assert [value for frame in frames for value in codec.decode(frame)] == [b"x" * 100_000]


def test_a_value_without_a_form_leaves_nothing_behind(codec: MsgPack) -> None:
    with pytest.raises(TypeError):
        codec.encode(["begun", object()])
    assert codec.encode(1) == b"\x01"


def test_a_request_to_close(codec: MsgPack) -> None:
    assert codec.decode(bytes.fromhex(row_of('({__peerData:{type:"close"}})')["hex"])) == [CLOSE]


@pytest.mark.parametrize(
    "frames",
    [
        [b"\xc1"],
        [b"\x81\x90\x01"],
        [b"\xdd\x00\x10\x00\x00"],
        [b"\xdc\x04\x00" + (b"\xdc\x04\x00" + b"\x80" * 1024) * 1024],
        [b"\x92" * 1000 + b"\xc1"],
        [b"\xc6\x7f\xff\xff\xff"] + [b"x" * 65536] * 70,
        [b"\xdc\xff\xff"] + [b"\xc5\xff\xff" + b"x" * 0xFFFF] * 70,
    ],
    ids=["reserved", "key", "length", "items", "depth", "binary", "stream"],
)
def test_bytes_that_nobody_sane_would_send(frames: list[bytes]) -> None:
    codec = MsgPack(PeerLimits(max_message_size=4 * 1024 * 1024, max_items=100_000))
    with pytest.raises(BrokenStream):
        feed(codec, frames)


def feed(codec: MsgPack, frames: list[bytes]) -> None:
    for frame in frames:
        codec.decode(frame)


async def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "msgpack", None)
    monkeypatch.delitem(sys.modules, "crosspeer.peerjs.client.msgpack")
    peer = Peer("alice", host="127.0.0.1", port=1, config=LOCAL)
    with pytest.raises(MissingExtra, match=r"pip install 'crosspeer\[msgpack\]'"):
        peer.connect("bob", serialization="MsgPack")
    await peer.destroy()
