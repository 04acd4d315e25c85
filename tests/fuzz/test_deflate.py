"""permessage-deflate in Python: offers of any form, and inflating that stops at its bound."""

from __future__ import annotations

import zlib

from hypothesis import given
from hypothesis import strategies as st

from crosspeer.wire.closing import CloseCode
from crosspeer.wire.deflate import Compressor, Deflate, Inflater, negotiate
from crosspeer.wire.frames import ProtocolError
from streams import MOST, cuts, deflated, pieces

PARTS = st.sampled_from(
    [
        *("permessage-deflate", "x-other", ",", ";", "=", " ", '"', "\\", "12", "08", "7", "\0", "ü"),
        *("server_no_context_takeover", "client_no_context_takeover"),
        *("server_max_window_bits", "client_max_window_bits", "=10", '="9"'),
    ]
)
LINES = st.one_of(
    st.lists(PARTS, max_size=12).map("".join),
    st.lists(PARTS, max_size=6).map(lambda parts: "permessage-deflate; " + "; ".join(parts)),
    st.text(max_size=40),
)
CONFIGS = st.builds(
    Deflate,
    server_no_context_takeover=st.booleans(),
    client_no_context_takeover=st.booleans(),
    server_max_window_bits=st.integers(9, 15),
    client_max_window_bits=st.integers(8, 15),
)


@given(st.lists(LINES, max_size=3), CONFIGS)
def test_an_answer_is_an_offer_that_leads_to_itself(lines: list[str], config: Deflate) -> None:
    params = negotiate(lines, config)
    if params is not None:
        assert 9 <= params.server_max_window_bits <= config.server_max_window_bits
        assert 8 <= params.client_max_window_bits <= 15
        assert negotiate([params.header], config) == params
        assert "permessage-deflate" in "".join(lines).lower()


@given(
    st.lists(st.binary(max_size=200) | st.integers(0, MOST).map(bytes), min_size=1, max_size=3),
    st.integers(9, 15),
    st.booleans(),
    cuts(4, 300),
)
def test_what_is_compressed_is_inflated(messages: list[bytes], bits: int, takeover: bool, places: list[int]) -> None:
    compressor, inflater = Compressor(6, bits, takeover), Inflater(takeover, MOST, lambda excess: True)
    for message in messages:
        *parts, last = pieces(compressor.compress(message), places)
        out = b"".join([inflater.inflate(part, last=False) for part in parts])
        assert out + inflater.inflate(last, last=True) == message


def inflated(parts: list[bytes], most: int) -> bytes | int:
    """The message, or the code of its refusal."""
    inflater = Inflater(False, most, lambda excess: True)
    out = b""
    try:
        for index, part in enumerate(parts):
            out += inflater.inflate(part, last=index == len(parts) - 1)
            assert len(out) <= most
    except ProtocolError as error:
        return error.code
    return out


@given(st.binary(max_size=60) | st.binary(max_size=300).map(deflated), st.integers(1, MOST), cuts(4, 60))
def test_any_bytes_are_inflated_up_to_the_bound(data: bytes, most: int, places: list[int]) -> None:
    assert inflated(pieces(data, places), most) == inflated([data], most)


@given(st.integers(0, 3), st.integers(0, 20_000))
def test_a_bomb_ends_at_the_bound(streams: int, size: int) -> None:
    bomb = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = (bomb.compress(bytes(size)) + bomb.flush()) * streams
    assert inflated([data], MOST) == (bytes(size * streams) if size * streams <= MOST else CloseCode.TOO_BIG)
