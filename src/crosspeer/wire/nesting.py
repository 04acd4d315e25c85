"""How deep the brackets of a JSON text stand inside each other, without reading it as JSON (row P4)."""

from __future__ import annotations

import re
from array import array
from itertools import accumulate
from typing import Final

MAX_DEPTH: Final = 64
"""Arrays and objects inside each other. Honest messages stay far below; code that walks them ends at some hundreds."""

_STRING: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
_STEPS: Final = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
"""One up, one down, as signed bytes."""
_OTHERS: Final = bytes(set(range(256)) - set(b"[{]}"))


def nesting(text: bytes) -> int:
    """The depth of a JSON text, or something up to `MAX_DEPTH` for one that has no more brackets than that.

    Linear in the length, whatever the text is. For what is no JSON it means nothing.
    """
    most = text.count(b"[") + text.count(b"{")
    if most <= MAX_DEPTH:
        return most
    steps = array("b", _STRING.sub(b"", text).translate(_STEPS, _OTHERS))
    return max(accumulate(steps), default=0)
