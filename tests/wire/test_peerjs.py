"""Ids and payloads of PeerJS messages. What is read of made-up messages stands in `tests/fuzz/test_peerjs.py`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crosspeer.wire.peerjs import is_valid_id, parse


@given(st.from_regex(r"[A-Za-z0-9]+([ _-][A-Za-z0-9]+)*", fullmatch=True))
def test_ids_of_the_client_s_own_rule_are_valid_up_to_their_length(id: str) -> None:
    assert is_valid_id(id) == (len(id) <= 64)


@pytest.mark.parametrize("id", ["", " ", "-", "a-", "_a", "a--b", "a- b", "a.b", "é", "a\n", "\na", "a" * 65, "１"])
def test_other_ids_are_not(id: str) -> None:
    assert not is_valid_id(id)


def test_a_long_id_is_no_trap_for_the_pattern() -> None:
    assert not is_valid_id("a " * 100_000)


def test_a_payload_passes_as_it_was_written() -> None:
    text = '{"type":"OFFER","payload":{"a":1.50,"b":1e400,"c":"\\u00e9","d":-0.0,"e" : 12345678901234567890},"dst":"b"}'
    assert parse(text)[3] == text[26:-11]
