"""What hubs say to each other, and what they must not believe (row P12)."""

from __future__ import annotations

import contextlib
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import crosspeer
from crosspeer.wire.envelope import (
    EnvelopeError,
    Publication,
    decode,
    decode_crossws,
    encode,
    encode_crossws,
    encode_note,
    entry,
    seal,
    unseal,
)

NODE = bytes(range(16))
HEAD = b"xp\x01\x01" + NODE
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
PUBLICATIONS = st.builds(
    Publication,
    st.one_of(st.none(), TEXT.filter(bool)),
    TEXT.filter(bool),
    st.one_of(TEXT, st.binary(max_size=300)),
)


def encoded(publication: Publication) -> bytes:
    data = publication.data
    return entry(publication, data.encode() if isinstance(data, str) else data)


@given(st.lists(PUBLICATIONS, max_size=5))
def test_publications_come_back_as_they_were(publications: list[Publication]) -> None:
    envelope = decode(encode(NODE, map(encoded, publications)), 1000)
    assert (envelope.node, envelope.publications) == (NODE, publications)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | TEXT, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner)
    )
)
def test_notes_come_back_as_they_were(note: object) -> None:
    assert decode(encode_note(NODE, note), 1000).note == note


@given(PUBLICATIONS)
def test_crossws_envelopes_come_back_as_they_were(publication: Publication) -> None:
    assert decode_crossws(encode_crossws("a-node", publication), 1000) == ("a-node", publication)


@given(st.binary(max_size=200), st.binary(max_size=60))
def test_no_bytes_are_more_than_an_error(garbage: bytes, behind: bytes) -> None:
    for data in (garbage, HEAD + behind, b"xp\x01\x02" + NODE + behind):
        for read in (lambda data=data: decode(data, 1000), lambda data=data: decode_crossws(data, 1000)):
            with contextlib.suppress(EnvelopeError):
                read()


@given(st.lists(PUBLICATIONS, min_size=1, max_size=3), st.data())
def test_what_is_cut_off_is_refused_or_a_beginning(publications: list[Publication], data: st.DataObject) -> None:
    whole = encode(NODE, map(encoded, publications))
    cut = data.draw(st.integers(0, len(whole) - 1))
    try:
        part = decode(whole[:cut], 1000).publications
    except EnvelopeError:
        return
    assert part == publications[: len(part)]


HOSTILE = [
    ("empty", b""),
    ("a pickle", pickle.dumps({"topic": "chat"})),
    ("another version", b"xp\x02\x01" + NODE),
    ("an unknown kind", b"xp\x01\x07" + NODE),
    ("another protocol", b"{}" + HEAD),
    ("lies about its length", HEAD + b"\x01\x00\x01\x00\x01\xff\xff\xff\xff/t"),
    ("a topic without a name", HEAD + b"\x01\x00\x01\x00\x00\x00\x00\x00\x01/x"),
    ("a namespace that is none", HEAD + b"\x01\x00\x00\x00\x01\x00\x00\x00\x01tx"),
    ("a namespace and everywhere", HEAD + b"\x03\x00\x01\x00\x01\x00\x00\x00\x01/tx"),
    ("unknown flags", HEAD + b"\x80\x00\x01\x00\x01\x00\x00\x00\x01/tx"),
    ("text that is none", HEAD + b"\x01\x00\x01\x00\x01\x00\x00\x00\x01/t\xff"),
    ("a topic that is no text", HEAD + b"\x01\x00\x01\x00\x01\x00\x00\x00\x01/\xffx"),
    ("too big", HEAD + b"\x00\x00\x01\x00\x01\x00\x00\x03\xe9/t" + bytes(1001)),
    ("a deep note", b"xp\x01\x02" + NODE + b"[" * 200_000),
    ("a long note", b"xp\x01\x02" + NODE + b'"' + b"x" * 300_000 + b'"'),
]


@pytest.mark.parametrize("data", [row[1] for row in HOSTILE], ids=[row[0] for row in HOSTILE])
def test_hostile_envelopes(data: bytes) -> None:
    with pytest.raises(EnvelopeError):
        decode(data, 1000)


KEY = b"a key of the fleet"
NOTE = encode_note(NODE, {"do": "leave"})


@given(st.binary(max_size=200))
def test_a_sealed_envelope_is_opened_by_who_has_the_key(envelope: bytes) -> None:
    assert unseal(KEY, "crosspeer:all", seal(KEY, "crosspeer:all", envelope)) == envelope


SEALED = seal(KEY, "crosspeer:all", NOTE)
FORGED = [
    ("nothing", b""),
    ("not sealed", NOTE),
    ("another key", seal(b"a key of others.", "crosspeer:all", NOTE)),
    ("another channel", seal(KEY, "crosspeer:0123", NOTE)),
    ("another prefix", seal(KEY, "other:all", NOTE)),
    ("no tag", SEALED[:3] + NOTE),
    ("a tag of zeros", SEALED[:3] + bytes(32) + NOTE),
    ("half a tag", SEALED[:19]),
    ("only a tag", SEALED[:35]),
    ("cut off", SEALED[:-1]),
    ("longer", SEALED + b" "),
    ("another version", b"xs\x02" + SEALED[3:]),
    ("changed at the end", SEALED[:-1] + b"]"),
    ("sealed twice", seal(KEY, "crosspeer:all", SEALED)[:35] + NOTE),
]


@pytest.mark.parametrize("data", [row[1] for row in FORGED], ids=[row[0] for row in FORGED])
def test_forged_envelopes(data: bytes) -> None:
    with pytest.raises(EnvelopeError):
        unseal(KEY, "crosspeer:all", data)


def test_a_sealed_envelope_is_none_for_a_fleet_without_a_key() -> None:
    with pytest.raises(EnvelopeError):
        decode(SEALED, 1000)


CROSSWS = [
    b"null",
    b"[]",
    b'{"id":"a"}',
    b'{"id":1,"msg":{"namespace":"","topic":"t","data":"x"}}',
    b'{"id":"a","msg":{"namespace":null,"topic":"t","data":"x"}}',
    b'{"id":"a","msg":{"namespace":"","topic":"","data":"x"}}',
    b'{"id":"a","msg":{"namespace":"","topic":"t","data":["x"]}}',
    b'{"id":"a","msg":{"namespace":"","topic":"t","binary":true,"data":"no base64!"}}',
    b'{"id":"a","msg":{"namespace":"","topic":"\\ud800","data":"x"}}',
    b'{"id":"a","msg":{"namespace":"","topic":"t","data":"\\ud800"}}',
    b'{"id":"a","msg":{"namespace":"","topic":"t","data":"' + b"x" * 1001 + b'"}}',
    b"[" * 100_000,
]


@pytest.mark.parametrize("data", CROSSWS, ids=lambda data: repr(data[:60]))
def test_hostile_envelopes_of_crossws(data: bytes) -> None:
    with pytest.raises(EnvelopeError):
        decode_crossws(data, 1000)


def test_names_that_are_too_long_are_refused_by_the_sender() -> None:
    with pytest.raises(ValueError, match="too long"):
        entry(Publication("/", "t" * 1025, ""), b"")
    with pytest.raises(ValueError, match="too long"):
        entry(Publication("/" * 4097, "t", ""), b"")


def test_nothing_in_the_package_unpickles() -> None:
    for path in Path(crosspeer.__file__).parent.rglob("*.py"):
        assert not re.search(r"^\s*(import|from) (pickle|marshal|shelve|dill)\b", path.read_text(), re.MULTILINE), path


def test_the_envelope_needs_no_client_library() -> None:
    code = "import sys, crosspeer.sync; print([n for n in ('redis', 'nats', 'asyncpg') if n in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
