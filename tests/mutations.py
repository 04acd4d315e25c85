"""Session descriptions that nobody wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random


def mutate(sdp: str, chance: random.Random) -> str:
    """Drop, double, swap, cut or spoil some lines."""
    lines = sdp.split("\r\n")
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(lines))
        match chance.randrange(5):
            case 0:
                del lines[at]
            case 1:
                lines.insert(at, lines[chance.randrange(len(lines))])
            case 2:
                lines[at] = lines[at][: chance.randint(0, len(lines[at]))]
            case 3:
                lines[at] = lines[at].replace("a=", "a=" + "x" * chance.randint(1, 200), 1)
            case _:
                spoiled = list(lines[at] or " ")
                spoiled[chance.randrange(len(spoiled))] = chance.choice("\x00:0 9\uffff-")
                lines[at] = "".join(spoiled)
        if not lines:
            return ""
    return "\r\n".join(lines)
