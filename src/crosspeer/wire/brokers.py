"""What the PeerJS brokers of one fleet say to each other: words, which are short JSON lists with a name in front.

    ["here", log]                            the sender is one of us, and its log has this number
    ["ask"]                                  tell me all your ids
    ["ids", log, part, parts, rows]          the sender's ids as of this number, each row [id, stamp, digest]
    ["join", log, id, stamp, digest]         the entry of this number in the sender's log: it has an id now
    ["left", log, id]                        the same: it has it no more
    ["claim", number, id, stamp, digest]     a client asks the sender for this id
    ["yes", number, stamp]                   the answer: take it; the stamp is that of who has just given it up, or 0
    ["no", number, why]                      the answer: "taken", "too often", or "later" for one and the same client
    ["mine", id, stamp, digest]              the sender has this id, although you seem to have it too
    ["message", number, text]                a message for a client of yours; number 0 wants no answer
    ["got", number] ["none", number] ["lost", number]     it has it; there is no such client; it is just going
    ["expired", absent, id]                  tell your client that nobody came for what it sent

Whatever another node says is untrusted: `read_word` and `read_relayed` raise for all that is not exactly right.
"""

from __future__ import annotations

import re
from typing import Any, Final

from crosspeer.wire.peerjs import PARTINGS, SIGNALS, BadMessage, is_valid_id, scan

SHAPES: Final[dict[str, tuple[type, ...]]] = {
    "here": (int,),
    "ask": (),
    "ids": (int, int, int, list),
    "join": (int, str, int, str),
    "left": (int, str),
    "claim": (int, str, int, str),
    "yes": (int, int),
    "no": (int, str),
    "mine": (str, int, str),
    "message": (int, str),
    "got": (int,),
    "none": (int,),
    "lost": (int,),
    "expired": (str, str),
}
ROWS: Final = 500
"""Rows of one `ids`: some 70 KB."""
MAX_NUMBER: Final = 2**53
"""Where numbers end that are the same in every language."""

_ID_FIELDS: Final = {"join": 1, "left": 1, "claim": 1, "mine": 0}
_DIGEST: Final = re.compile(r"[0-9a-f]{32}")
_KEYS: Final = ({"type", "src", "dst"}, {"type", "src", "dst", "payload"})


class BadWord(ValueError):
    """Another node said something that no broker says."""


def read_word(word: Any) -> tuple[str, list[Any]]:
    """The name of a word and its fields, which are of the right types, and within bounds.

    Raises:
        BadWord: it is none.
    """
    name = word[0] if isinstance(word, list) and word and isinstance(word[0], str) else ""
    shape = SHAPES.get(name)
    # Not isinstance: True is no number.
    if shape is None or tuple(map(type, word[1:])) != shape:
        raise BadWord("a word that means nothing")
    fields = word[1:]
    if any(type(field) is int and not 0 <= field < MAX_NUMBER for field in fields):
        raise BadWord("a number out of its range")
    at = _ID_FIELDS.get(name)
    if at is not None and not is_valid_id(fields[at]):
        raise BadWord("an id that nobody can have")
    if name in ("join", "claim", "mine") and not _DIGEST.fullmatch(fields[-1]):
        raise BadWord("a digest that is none")
    return name, fields


def read_rows(rows: list[Any]) -> dict[str, tuple[int, str]]:
    """The rows of `ids`: stamp and digest by id.

    Raises:
        BadWord: one of them is wrong, or there are too many.
    """
    if len(rows) > ROWS:
        raise BadWord("too many ids at once")
    read: dict[str, tuple[int, str]] = {}
    for row in rows:
        if not isinstance(row, list):
            raise BadWord("a row that is none")
        _, (id, stamp, digest) = read_word(["mine", *row])
        read[id] = (stamp, digest)
    return read


def read_relayed(text: str, most: int) -> tuple[str, str, str]:
    """Type, sender and receiver of a message as its receiver is to get it (`wire.peerjs.relayed`).

    Args:
        most: its size at most, in bytes.

    Raises:
        BadWord: it is no such message.
    """
    try:
        if len(text) > most or len(text.encode()) > most:
            raise BadWord("a message that is too big")
        body, end = scan(text, 0)
    except (BadMessage, ValueError, RecursionError, StopIteration) as error:
        raise error if isinstance(error, BadWord) else BadWord("a message that is none") from None
    if end != len(text) or not isinstance(body, dict) or body.keys() not in _KEYS:
        raise BadWord("a message that is none")
    kind, src, dst = body["type"], body["src"], body["dst"]
    if not isinstance(kind, str) or (kind not in SIGNALS and kind not in PARTINGS):
        raise BadWord("a message of another type")
    if not (isinstance(src, str) and isinstance(dst, str) and is_valid_id(src) and is_valid_id(dst)):
        raise BadWord("a message of nobody, or for nobody")
    return kind, src, dst
