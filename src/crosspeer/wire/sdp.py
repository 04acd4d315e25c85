"""What is looked at in a session description before a WebRTC engine sees it: its size, and where it points to.

Engines parse descriptions of strangers on the event loop. Browsers send one to three media sections and some ten
candidates, so the bounds are far from what is real, and near to what costs nothing.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Final

MAX_SIZE: Final = 64 * 1024
MAX_SECTIONS: Final = 32
MAX_LINES: Final = 2000
MAX_TRACKS: Final = 8
"""Of sound and pictures, in one call: an engine may keep a thread for each."""
MAX_CANDIDATES: Final = 200
"""Of one description, and of all that come after it."""
MAX_CANDIDATE_SIZE: Final = 1024
DEFAULT_MESSAGE_SIZE: Final = 65536
"""RFC 8841 section 6.1: the largest message of a side that names no size."""

_MESSAGE_SIZE: Final = re.compile(r"^a=max-message-size:(\d{1,18})\s*$", re.MULTILINE)
_TRACK: Final = re.compile(r"^m=(audio|video) ", re.MULTILINE)
_CANDIDATE: Final = "a=candidate:"


def check_description(sdp: str) -> None:
    """Look whether a description of a stranger may be handed to an engine.

    Raises:
        ValueError: it is too large, or a candidate of it is none that `check_candidate` lets through.
    """
    if len(sdp) > MAX_SIZE:
        raise ValueError(f"the SDP has more than {MAX_SIZE} characters")
    lines = sdp.splitlines()
    sections = sum(line.startswith("m=") for line in lines)
    if not sections or not lines[0].startswith("v="):
        raise ValueError("this is no SDP")
    if len(lines) > MAX_LINES or sections > MAX_SECTIONS:
        raise ValueError("the SDP has too many lines or sections")
    candidates = [line[2:] for line in lines if line.startswith(_CANDIDATE)]
    if len(candidates) > MAX_CANDIDATES:
        raise ValueError(f"the SDP has more than {MAX_CANDIDATES} candidates")
    for candidate in candidates:
        check_candidate(candidate)


def check_tracks(sdp: str, kind: str) -> None:
    """Look whether a description is one of a connection of this kind, which is `data` or `media`.

    Raises:
        ValueError: it has sound or pictures for who wants data, or none for who wants them, or far too many.
    """
    count = len(tracks(sdp))
    if kind == "data" and count:
        raise ValueError("the SDP of a data connection has audio or video")
    if kind == "media" and not count:
        raise ValueError("the SDP of a call has no audio and no video")
    if count > MAX_TRACKS:
        raise ValueError(f"the SDP has more than {MAX_TRACKS} tracks")


def tracks(sdp: str) -> list[str]:
    """What a description has places for: `audio` or `video`, once for each track."""
    return _TRACK.findall(sdp)


def check_candidate(candidate: str) -> None:
    """Look whether a candidate names an address, or the `.local` name by which browsers hide one.

    Any other name would make us ask a DNS server of the stranger's choice.

    Raises:
        ValueError: it does not.
    """
    words = candidate.split(None, 8) if len(candidate) <= MAX_CANDIDATE_SIZE and candidate.isascii() else []
    if len(words) < 8 or not words[5].isdecimal() or int(words[5]) > 0xFFFF:
        raise ValueError("this is no ICE candidate")
    address = words[4]
    if address.lower().endswith(".local"):
        return
    try:
        ip_address(address)
    except ValueError:
        raise ValueError("an ICE candidate names a host instead of an address") from None


def max_message_size(sdp: str) -> int:
    """Bytes of the largest message that the author of a description takes; 0 means any."""
    found = _MESSAGE_SIZE.search(sdp)
    return DEFAULT_MESSAGE_SIZE if found is None else int(found[1])
