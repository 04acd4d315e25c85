"""What one node hears of others, under any bytes: an error of its own, or what can be said again."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crosspeer.wire.brokers import BadWord, read_relayed, read_rows, read_word
from crosspeer.wire.envelope import (
    Envelope,
    EnvelopeError,
    Publication,
    decode,
    decode_crossws,
    encode,
    encode_note,
    entry,
    seal,
    unseal,
)
from crosspeer.wire.logged import decode_numbered, encode_numbered, read_stamp, stamp

MOST = 200
KEY, OTHER = b"k" * 16, b"o" * 16
NODE = bytes(range(16))
PUBLICATIONS = st.builds(
    Publication,
    st.none() | st.text(min_size=1, max_size=8),
    st.text(min_size=1, max_size=8),
    st.text(max_size=20) | st.binary(max_size=20),
)


def encoded(publication: Publication) -> bytes:
    data = publication.data
    return entry(publication, data.encode() if isinstance(data, str) else data)


WHOLE = st.one_of(
    st.lists(PUBLICATIONS, max_size=3).map(lambda found: encode(NODE, map(encoded, found))),
    st.builds(
        lambda found, number, spread: encode_numbered(NODE, number, encoded(found), is_spread=spread),
        PUBLICATIONS,
        st.integers(0, 2**64 - 1),
        st.booleans(),
    ),
    st.recursive(st.none() | st.integers() | st.text(max_size=4), lambda inner: st.lists(inner, max_size=3)).map(
        lambda note: encode_note(NODE, note)
    ),
)
LAYERS: list[Callable[[bytes], bytes]] = [
    lambda data: data,
    lambda data: seal(KEY, "a", data),
    lambda data: stamp("0123456789abcdef", 3, 4, data),
    lambda data: stamp("0123456789abcdef", 3, 4, seal(KEY, "a", data)),
]


@st.composite
def spoiled(draw: st.DrawFn) -> bytes:
    """What a node would say, with some bytes cut, changed or put in."""
    data = bytearray(draw(st.sampled_from(LAYERS))(draw(WHOLE)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        match draw(st.integers(0, 2)):
            case 0:
                del data[at : at + draw(st.integers(1, 5))]
            case 1:
                data[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
            case _:
                data[at:at] = draw(st.binary(max_size=5))
    return bytes(data)


def again(envelope: Envelope) -> Envelope:
    if envelope.note is not None:
        return decode(encode_note(envelope.node, envelope.note), MOST)
    return decode(encode(envelope.node, map(encoded, envelope.publications)), MOST)


@given(spoiled() | st.binary(max_size=100))
def test_any_bytes_are_an_envelope_or_an_error(data: bytes) -> None:
    try:
        found = decode(data, MOST)
    except EnvelopeError:
        return
    assert all(len(publication.data) <= MOST for publication in found.publications)
    if "NaN" not in repr(found.note) and "nan" not in repr(found.note) and "inf" not in repr(found.note):
        assert again(found) == found


@given(spoiled() | st.binary(max_size=100))
def test_nothing_is_unsealed_that_the_key_has_not_sealed(data: bytes) -> None:
    try:
        inside = unseal(KEY, "a", data)
    except EnvelopeError:
        pass
    else:
        assert seal(KEY, "a", inside) == data
    with pytest.raises(EnvelopeError):
        unseal(OTHER, "a", seal(KEY, "a", data))
    with pytest.raises(EnvelopeError):
        unseal(KEY, "b", seal(KEY, "a", data))


@given(spoiled() | st.binary(max_size=100))
def test_any_bytes_of_a_log_are_a_place_in_it_or_an_error(data: bytes) -> None:
    try:
        place, rest = read_stamp(data)
    except EnvelopeError:
        rest = data
    else:
        assert stamp(*place, rest) == data
    try:
        found = decode_numbered(rest, MOST)
    except EnvelopeError:
        return
    written = encode_numbered(found.node, found.number, encoded(found.publication), is_spread=found.is_spread)
    assert decode_numbered(written, MOST) == found


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
CROSSWS = st.fixed_dictionaries(
    {},
    optional={
        "id": st.text(max_size=4) | VALUES,
        "msg": VALUES
        | st.fixed_dictionaries(
            {},
            optional={name: st.text(max_size=6) | VALUES for name in ("namespace", "topic", "data")}
            | {"binary": st.booleans() | VALUES},
        ),
    },
).map(lambda value: json.dumps(value).encode())


@given(CROSSWS | st.binary(max_size=60))
def test_any_json_is_a_publication_of_crossws_or_an_error(data: bytes) -> None:
    try:
        _, publication = decode_crossws(data, MOST)
    except EnvelopeError:
        return
    assert publication.topic
    assert len(publication.data) <= MOST


NAMES = st.sampled_from(
    ["here", "ask", "ids", "join", "left", "claim", "yes", "no", "mine", "message", "got", "expired"]
)
FIELDS = st.sampled_from(["alice", "0" * 32, "", "a b", "..", 0, 1, 2**53, -1, True, None, [], [["bob", 1, "0" * 32]]])


@given(st.lists(NAMES | FIELDS | VALUES, max_size=6) | VALUES)
def test_any_value_is_a_word_of_a_broker_or_an_error(word: Any) -> None:
    try:
        name, fields = read_word(word)
    except BadWord:
        return
    assert [name, *fields] == word
    if name == "ids":
        try:
            rows = read_rows(fields[-1])
        except BadWord:
            return
        assert all(isinstance(id, str) and type(at) is int and len(digest) == 32 for id, (at, digest) in rows.items())


TEXTS = st.lists(
    st.sampled_from(
        ['{"type":"OFFER",', '"src":"alice",', '"dst":"bob"', ',"payload":', "}", "1", '"', "[" * 3, "]", "NaN", " "]
    ),
    max_size=10,
).map("".join) | st.text(max_size=30)


@given(TEXTS)
def test_any_text_is_a_relayed_message_or_an_error(text: str) -> None:
    try:
        kind, src, dst = read_relayed(text, MOST)
    except BadWord:
        return
    body = json.loads(text)
    assert (body["type"], body["src"], body["dst"]) == (kind, src, dst)
