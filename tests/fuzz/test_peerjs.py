"""PeerJS messages: what is read of them agrees with Python's own JSON, and what is passed on says the same."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from crosspeer.wire.peerjs import (
    BadMessage,
    error_text,
    expire_text,
    leave_text,
    parse,
    relayed,
)


def reference(text: str) -> dict[str, Any] | None:
    """What it is as JSON of RFC 8259: an object, or None."""

    def refuse(name: str) -> None:
        raise ValueError(name)

    try:
        value = json.loads(text, parse_constant=refuse)
        json.dumps(value, allow_nan=False)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def read(text: str | bytes) -> tuple[dict[str, Any], Any, Any, str | None] | None:
    try:
        return parse(text)
    except BadMessage:
        return None


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
TYPES = st.sampled_from(["OFFER", "ANSWER", "CANDIDATE", "LEAVE", 'OF"FER', ""]) | VALUES
NAMES = st.sampled_from(["type", "payload", "dst", "src", "x", ""])
FRAGMENTS = st.sampled_from(
    [
        '{"type":"OFFER","payload":',
        ',"dst":"bob"}',
        '"src":"carol"',
        '"payload":',
        '"dst":',
        *'"{}[],:1\\- é0',
        "null",
        "\\u0022",
        "\n",
        "\x00",
        "\ufeff",
        "NaN",
        "1e999",
    ]
)


def agrees(text: str) -> None:
    expected, found = reference(text), read(text)
    if found is None:
        # A number that a double has not is refused where it would have to be written anew, and only there.
        assert expected is None
        return
    body, kind, dst, payload = found
    strict = json.loads(text)
    assert body == strict
    assert (kind, dst) == (strict.get("type"), strict.get("dst"))
    assert ("payload" in strict) == (payload is not None)
    if payload is None:
        return
    rebuilt = json.loads(relayed("OFFER", "alice", "bob", payload))
    assert list(rebuilt)[:3] == ["type", "src", "dst"]
    assert rebuilt == {"type": "OFFER" if kind != "OFFER" else kind, "src": "alice", "dst": "bob"} | {
        "payload": strict["payload"]
    }


@given(TYPES, VALUES, st.sampled_from(["bob", "a b", "a-b"]) | VALUES)
def test_messages_in_the_form_of_peerjs(kind: Any, payload: Any, dst: Any) -> None:
    agrees(json.dumps({"type": kind, "payload": payload, "dst": dst}, separators=(",", ":")))
    agrees(json.dumps({"type": kind, "payload": payload, "dst": dst}, separators=(",", ":"), ensure_ascii=False))


@given(st.lists(st.tuples(NAMES, VALUES), max_size=6), st.sampled_from(["", " ", "\n\t"]))
def test_any_object_in_any_order_with_any_key_twice(members: list[tuple[str, Any]], space: str) -> None:
    inside = f",{space}".join(f"{json.dumps(name)}{space}:{space}{json.dumps(value)}" for name, value in members)
    agrees(f"{space}{{{space}{inside}{space}}}{space}")


@given(st.lists(FRAGMENTS, max_size=12).map("".join))
@example('{"type":"OFFER","payload":1},"src":"carol","x":{"dst":"bob"}')
@example('{"type":"OFFER","payload":{},"src":"carol","dst":"bob"}')
@example('{"type":"OFFER","payload":1,"payload":2,"dst":"bob"}')
@example('{"type":"OFFER","payload":1,"dst":"carol","dst":"bob"}')
@example('{"type":"OFFER","payload":1,"type":"LEAVE","dst":"bob"}')
@example('{"type":"OFFER","payload":1,"d\\u0073t":"carol","dst":"bob"}')
@example('{"type":"OFFER","payload":1,"type":"LEAVE","type":"OFFER","dst":"bob"}')
@example('{"type":"OFFER","payload":"","dst":"bob"}')
def test_what_is_put_together_at_random(text: str) -> None:
    agrees(text)


@given(st.binary(max_size=40) | st.text(max_size=40).map(str.encode))
def test_bytes_are_read_as_utf_8(data: bytes) -> None:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        assert read(data) is None
    else:
        assert read(data) == read(text)


@given(st.text(max_size=80))
def test_what_is_told_is_json_whatever_stands_in_it(text: str) -> None:
    assert json.loads(error_text(text)) == {"type": "ERROR", "payload": {"msg": text}}
    assert json.loads(expire_text(text, "a")) == {"type": "EXPIRE", "src": text, "dst": "a"}
    assert json.loads(leave_text(text, "a")) == {"type": "LEAVE", "src": text, "dst": "a"}
