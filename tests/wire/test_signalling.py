"""What clients say to each other through their broker, as PeerJS 1.5 and as PeerJS 1.4 say it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crosspeer.wire.peerjs import BadMessage
from crosspeer.wire.signalling import (
    Description,
    answer_text,
    candidate,
    candidate_text,
    connection_id,
    description,
    hang_up_text,
    is_hang_up,
    offer_text,
    read,
    refusal_text,
)

CANDIDATE = {"candidate": "candidate:1 …", "sdpMid": "0", "sdpMLineIndex": 0, "usernameFragment": "abcd"}


def from_broker(text: str, src: str = "alice") -> str:
    """A message as its receiver gets it."""
    return json.dumps({"src": src, **json.loads(text)})


def test_an_offer_has_the_keys_of_peerjs_in_their_order() -> None:
    extra = {"label": "chat", "reliable": True, "serialization": "binary"}
    text = offer_text("bob", "data", "dc_1", "v=0", metadata={"a": 1}, extra=extra)
    assert text == (
        '{"type":"OFFER","payload":{"sdp":{"sdp":"v=0","type":"offer"},"type":"data","connectionId":"dc_1",'
        '"metadata":{"a":1},"label":"chat","reliable":true,"serialization":"binary"},"dst":"bob"}'
    )
    assert "metadata" not in offer_text("bob", "data", "dc_1", "v=0")


def test_the_end_of_a_call_that_never_began() -> None:
    """In messages that mean something harmless to PeerJS."""
    message = read(from_broker(hang_up_text("bob", "mc_1")))
    assert message.type == "CANDIDATE"
    assert (is_hang_up(message), connection_id(message)) == (True, "mc_1")
    assert candidate(message)["candidate"] == ""
    assert not is_hang_up(read(from_broker(candidate_text("bob", "media", "mc_1", CANDIDATE))))
    message = read(from_broker(refusal_text("alice", "mc_1"), "bob"))
    assert (message.type, message.src, connection_id(message)) == ("EXPIRE", "bob", "mc_1")


def test_what_is_written_is_read() -> None:
    extra = {"label": "chat", "reliable": True, "serialization": "json"}
    offer = read(from_broker(offer_text("bob", "data", "dc_1", "v=0", metadata=[1], extra=extra)))
    assert (offer.type, offer.src) == ("OFFER", "alice")
    assert description(offer) == Description("data", "dc_1", "v=0", [1], "chat", True, "json", False)
    answer = read(from_broker(answer_text("alice", "data", "dc_1", "v=1")))
    assert description(answer) == Description("data", "dc_1", "v=1")
    found = read(from_broker(candidate_text("bob", "data", "dc_1", CANDIDATE)))
    assert (connection_id(found), candidate(found)) == ("dc_1", CANDIDATE)


def test_an_old_client_is_known_by_its_browser() -> None:
    payload = {"sdp": {"type": "offer", "sdp": "v=0"}, "type": "data", "connectionId": "dc_1", "browser": "chrome"}
    assert description(read(json.dumps({"type": "OFFER", "src": "a", "payload": payload}))).is_old


def test_what_is_missing_has_a_default() -> None:
    payload = {"sdp": {"sdp": "v=0"}, "connectionId": "dc_1"}
    assert description(read(json.dumps({"type": "OFFER", "src": "a", "payload": payload}))) == Description(
        "", "dc_1", "v=0"
    )


@pytest.mark.parametrize("frame", ["", "{", "null", "5", '"x"', "[]", "{}", '{"type":5}', "[" * 100_000, b"\xff"])
def test_frames_without_a_message(frame: Any) -> None:
    with pytest.raises(BadMessage):
        read(frame)


@pytest.mark.parametrize(
    "payload",
    [
        None,
        5,
        {},
        {"sdp": "v=0", "connectionId": "dc_1"},
        {"sdp": {"sdp": 5}, "connectionId": "dc_1"},
        {"sdp": {"sdp": "v=0"}},
        {"sdp": {"sdp": "v=0"}, "connectionId": ""},
        {"sdp": {"sdp": "v=0"}, "connectionId": 5},
        {"sdp": {"sdp": "v=0"}, "connectionId": "x" * 257},
        {"sdp": {"sdp": "v=0"}, "connectionId": "dc_1", "label": {}},
        {"sdp": {"sdp": "v=0"}, "connectionId": "dc_1", "serialization": 1},
        {"sdp": {"sdp": "v=0"}, "connectionId": "dc_1", "type": []},
    ],
    ids=str,
)
def test_offers_that_make_no_sense(payload: Any) -> None:
    with pytest.raises(BadMessage, match="OFFER"):
        description(read(json.dumps({"type": "OFFER", "src": "a", "payload": payload})))


@pytest.mark.parametrize("payload", [{}, {"candidate": None}, {"candidate": "x"}, {"candidate": {"candidate": 1}}])
def test_candidates_that_make_no_sense(payload: Any) -> None:
    with pytest.raises(BadMessage, match="CANDIDATE"):
        candidate(read(json.dumps({"type": "CANDIDATE", "src": "a", "payload": payload})))


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["sdp", "type", "connectionId", "candidate", "label", "payload", "src"]), inner
        )
    ),
    max_leaves=10,
)


@given(anything)
def test_any_json_at_all(body: Any) -> None:
    try:
        message = read(json.dumps(body))
        description(message)
        candidate(message)
    except BadMessage:
        return
