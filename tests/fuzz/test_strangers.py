"""What a peer hears of strangers, by its broker, in slices, while files are sent: an error, or within the bounds."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from crosspeer.peerjs.transfer import messages as transfer
from crosspeer.peerjs.transfer.errors import ProtocolError
from crosspeer.peerjs.transfer.names import MAX_PATH, BadName, safe_parts
from crosspeer.wire.binarypack import pack, unpack
from crosspeer.wire.chunks import KEY, ChunkError, Reassembler
from crosspeer.wire.peerjs import BadMessage
from crosspeer.wire.sdp import check_candidate, check_description, max_message_size
from crosspeer.wire.signalling import Description, candidate, description, read

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=6)
    | st.binary(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
LINES = st.sampled_from(
    [
        *(
            "v=0",
            "o=- 1 1 IN IP4 127.0.0.1",
            "s=-",
            "t=0 0",
            "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
            "m=audio 9 x 0",
        ),
        *(
            "a=candidate:1 1 udp 1 192.0.2.1 9 typ host",
            "a=candidate:1 1 udp 1 evil.example 9 typ host",
            "a=candidate:",
        ),
        *(
            "a=max-message-size:262144",
            "a=max-message-size:" + "9" * 30,
            "a=max-message-size:-1",
            "a=ice-ufrag:x",
            "\0",
            "ü",
        ),
    ]
)
SDPS = st.lists(LINES | st.text(max_size=10), max_size=12).map("\r\n".join)
PAYLOADS = st.fixed_dictionaries(
    {},
    optional={
        "sdp": st.fixed_dictionaries({}, optional={"type": st.just("offer"), "sdp": SDPS | VALUES}) | VALUES,
        "candidate": st.fixed_dictionaries({}, optional={"candidate": LINES | VALUES}) | VALUES,
        "connectionId": st.sampled_from(["dc_1", "", "x" * 300]) | VALUES,
        "type": st.sampled_from(["data", "media"]) | VALUES,
        "label": st.text(max_size=5) | VALUES,
        "reliable": st.booleans() | VALUES,
        "serialization": st.sampled_from(["binary", "json"]) | VALUES,
        "browser": st.just("chrome"),
    },
)


def as_text(value: Any) -> str:
    return json.dumps(value, default=lambda data: data.hex())


@given(
    st.sampled_from(["OFFER", "ANSWER", "CANDIDATE", "LEAVE", "ERROR", None, 5]),
    st.sampled_from(["alice", "", None, []]),
    PAYLOADS | VALUES,
)
def test_any_message_of_a_broker(kind: Any, src: Any, payload: Any) -> None:
    try:
        message = read(as_text({"type": kind, "src": src, "payload": payload}))
    except BadMessage:
        assert not isinstance(kind, str)
        return
    for parse in (description, candidate):
        try:
            found = parse(message)
        except BadMessage:
            continue
        if isinstance(found, Description):
            with contextlib.suppress(ValueError):
                check_description(found.sdp)
        else:
            with contextlib.suppress(ValueError):
                check_candidate(found["candidate"])


@given(SDPS | st.text(max_size=200))
def test_any_description(sdp: str) -> None:
    with contextlib.suppress(ValueError):
        check_description(sdp)
        assert "evil.example" not in " ".join(line for line in sdp.splitlines() if line.startswith("a=candidate:"))
    assert 0 <= max_message_size(sdp) < 10**18


SLICES = st.builds(
    lambda number, n, total, data: {KEY: number, "n": n, "total": total, "data": data},
    st.integers(-1, 4) | VALUES,
    st.integers(-1, 4) | VALUES,
    st.integers(-1, 4) | VALUES,
    st.binary(max_size=40) | VALUES,
)


@given(st.lists(SLICES, max_size=30), st.booleans())
def test_any_slices(slices: list[dict[str, Any]], ordered: bool) -> None:
    reassembler = Reassembler(64, ordered=ordered)
    for each in slices:
        try:
            whole = reassembler.add(unpack(pack(each)))
        except ChunkError:
            continue
        assert whole is None or len(whole) <= 64
        assert len(reassembler) <= 64


KINDS = st.sampled_from(["offer", "have", "prefix", "go", "data", "ack", "end", "done", "refuse", "cancel", "bye"])
FIELDS = st.sampled_from(["x", "a/b", "", "x" * 5000, 0, 1.0, 2.5, -1, 2**53, 2**54, True, None, b"", b"x", bytes(32)])
SAID = st.fixed_dictionaries(
    {},
    optional={
        "type": KINDS | VALUES,
        **{name: FIELDS | VALUES for name in ("name", "size", "offset", "sha256", "data", "text")},
    },
)


@given(SAID | VALUES)
def test_any_message_of_a_transfer(value: Any) -> None:
    try:
        message = transfer.read(value)
    except ProtocolError:
        return
    assert transfer.read(transfer.write(message)) == message


PARTS = st.sampled_from(
    ["a", "..", ".", "", "/", "\\", "~", "CON", "C:", "\0", "\n", "\u202e", ".ssh", "x" * 300, " ", "e\u0301", "\ud800"]
)


@given(st.lists(PARTS | st.text(max_size=5), max_size=6).map("/".join), st.booleans(), st.booleans())
def test_any_name_of_a_file(name: str, hidden: bool, windows: bool) -> None:
    try:
        parts = safe_parts(name, hidden=hidden, windows=windows)
    except BadName:
        return
    assert parts
    assert len("/".join(parts).encode()) <= MAX_PATH
    for part in parts:
        assert part not in ("", ".", "..")
        assert not set(part) & set("/\\\0\n\u202e")
        assert hidden or not part.startswith(".")
