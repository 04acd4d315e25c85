"""Close frames: what may be in one, and that what may be sent is read as it was meant."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crosspeer.wire.closing import check_close
from crosspeer.wire.frames import ProtocolError, decode_close, encode_close

EDGES = [0, 999, 1000, 1003, 1004, 1006, 1007, 1014, 1015, 1016, 2999, 3000, 4999, 5000, 65_535]
CODES = st.integers(0, 65_535) | st.sampled_from(EDGES)
REASONS = st.one_of(st.text(max_size=45).map(str.encode), st.binary(max_size=8), st.just(b"x" * 123))


def meaning(payload: bytes) -> tuple[int, str] | int:
    """The rules of RFC 6455 section 7.4, written down once more: what a payload means, or the code of its refusal."""
    if not payload:
        return 1005, ""
    code = int.from_bytes(payload[:2], "big")
    registered = 1000 <= code <= 1014 and code not in (1004, 1005, 1006)
    if len(payload) == 1 or not (registered or 3000 <= code < 5000):
        return 1002
    try:
        return code, payload[2:].decode()
    except UnicodeDecodeError:
        return 1007


def read(payload: bytes) -> tuple[int, str] | int:
    try:
        return decode_close(payload)
    except ProtocolError as error:
        return error.code


@given(st.binary(max_size=125) | st.builds(lambda code, reason: code.to_bytes(2, "big") + reason, CODES, REASONS))
def test_a_payload_means_what_the_rules_say(payload: bytes) -> None:
    assert read(payload) == meaning(payload)


@given(CODES, st.text(max_size=130))
def test_what_may_be_sent_is_read_as_it_was_meant(code: int, reason: str) -> None:
    try:
        check_close(code, reason)
    except ValueError:
        assert len(reason.encode()) > 123 or isinstance(meaning(code.to_bytes(2, "big")), int)
    else:
        frame = encode_close(code, reason)
        assert len(frame) - 2 <= 125
        assert decode_close(frame[2:]) == (code, reason)


@given(st.none() | st.booleans() | st.floats() | st.binary() | st.text() | st.integers(), st.none() | st.text())
def test_a_wrong_argument_is_named_and_nothing_else_breaks(code: Any, reason: Any) -> None:
    wrong = isinstance(code, bool) or not isinstance(code, int) or reason is None
    if wrong:
        with pytest.raises(TypeError, match="close takes an integer and a string"):
            check_close(code, reason)
