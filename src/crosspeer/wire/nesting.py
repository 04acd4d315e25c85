"""Whether the brackets of a JSON text stand too deep inside each other, without reading it as JSON (row P4)."""

from __future__ import annotations

from array import array
from itertools import accumulate
from typing import Final

MAX_DEPTH: Final = 64
"""Arrays and objects inside each other. Honest messages stay far below; code that walks them ends at some hundreds."""

_BLOCK: Final = 64 * 1024
"""Bytes that are looked at together: what that takes in memory is a small part of what reading the JSON takes."""
_STEPS: Final = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
"""One up, one down, as signed bytes."""
_OTHERS: Final = bytes(set(range(256)) - set(b"[{]}"))


def is_too_deep(text: bytes) -> bool:
    """Whether a JSON text has more than `MAX_DEPTH` brackets inside each other. For what is no JSON it means nothing.

    Linear in the length, a fraction of what reading it takes, and at once for most: those with few brackets.
    """
    if text.count(b"[") + text.count(b"{") <= MAX_DEPTH:
        return False
    # Without escapes every quote begins or ends a string.
    text = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    depth, in_string = 0, False
    for at in range(0, len(text), _BLOCK):
        parts = text[at : at + _BLOCK].split(b'"')
        steps = array("b", b"".join(parts[in_string::2]).translate(_STEPS, _OTHERS))
        if max(accumulate(steps, initial=depth)) > MAX_DEPTH:
            return True
        depth += sum(steps)
        in_string ^= len(parts) % 2 == 0
    return False
