"""What is looked at in a description before an engine sees it (row R3 of the hostile inputs)."""

from __future__ import annotations

import time

import pytest

from crosspeer.wire.sdp import (
    MAX_CANDIDATES,
    MAX_SIZE,
    check_candidate,
    check_description,
    check_tracks,
    max_message_size,
    tracks,
)

SDP = "\r\n".join(
    [
        "v=0",
        "o=- 1 2 IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
        "c=IN IP4 0.0.0.0",
        "a=candidate:1 1 udp 2113937151 192.0.2.7 50000 typ host generation 0",
        "a=max-message-size:262144",
        "",
    ]
)
CANDIDATE = "candidate:1 1 udp 2113937151 {} 50000 typ host generation 0 ufrag abcd"


def test_an_ordinary_description_passes() -> None:
    check_description(SDP)


@pytest.mark.parametrize(
    ("sdp", "match"),
    [
        ("", "no SDP"),
        ("hello", "no SDP"),
        ("\x00" * 100, "no SDP"),
        (SDP + "a=x:" + "y" * 1024 * 1024, f"more than {MAX_SIZE}"),
        (SDP + "m=audio 9\r\n" * 5000, "lines or sections"),
        (SDP + "m=audio 9\r\n" * 40, "lines or sections"),
        (SDP + "a=x\r\n" * 10_000, "lines or sections"),
        (SDP + "a=candidate:1 1 udp 1 192.0.2.7 5 typ host\r\n" * (MAX_CANDIDATES + 1), "candidates"),
        (SDP + "a=candidate:1 1 udp 1 evil.example.org 5 typ host\r\n", "names a host"),
        (SDP + "a=candidate:nonsense\r\n", "no ICE candidate"),
    ],
    ids=lambda value: value[:12] if len(value) > 60 else None,
)
def test_bombs_are_refused_at_once(sdp: str, match: str) -> None:
    started = time.process_time()
    with pytest.raises(ValueError, match=match):
        check_description(sdp)
    assert time.process_time() - started < 0.5


@pytest.mark.parametrize(
    "address", ["192.0.2.7", "fd00::1", "2001:db8::1", "5c1f6b0a-3e9c-4d0e-9f5b-6f0a5f1b2c3d.local"]
)
def test_addresses_and_hidden_ones_pass(address: str) -> None:
    check_candidate(CANDIDATE.format(address))


@pytest.mark.parametrize(
    "candidate",
    [
        "",
        "candidate:",
        "x" * 5000,
        CANDIDATE.format("localhost"),
        CANDIDATE.format("evil.example"),
        CANDIDATE.format("evil.local.example"),
        CANDIDATE.format("192.0.2.7").replace("50000", "99999"),
        CANDIDATE.format("192.0.2.7").replace("50000", "-1"),
        CANDIDATE.format("192.0.2.7").replace("50000", "٣"),
        CANDIDATE.format("192.0.2.999"),
    ],
)
def test_other_candidates_do_not(candidate: str) -> None:
    with pytest.raises(ValueError, match="ICE candidate"):
        check_candidate(candidate)


def test_data_and_media_are_told_apart() -> None:
    call = SDP + "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=m=audio \r\n"
    assert tracks(SDP) == []
    assert tracks(call) == ["audio", "video"]
    check_tracks(SDP, "data")
    check_tracks(call, "media")
    for sdp, kind, reason in (
        (call, "data", "the SDP of a data connection has audio or video"),
        (SDP, "media", "the SDP of a call has no audio and no video"),
        (call * 5, "media", "more than 8 tracks"),
    ):
        with pytest.raises(ValueError, match=reason):
            check_tracks(sdp, kind)


def test_the_largest_message_is_read() -> None:
    assert max_message_size(SDP) == 262144
    assert max_message_size("v=0\r\n") == 65536
    assert max_message_size("a=max-message-size:0\r\n") == 0
