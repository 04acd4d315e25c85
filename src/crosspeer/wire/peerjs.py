"""The messages between a PeerJS client and its broker: JSON objects, one in a WebSocket frame.

They are the same from `peerjs` 0.3 to 1.5. The payload of a message is the business of its two ends: it passes as the
text that its sender wrote, once it has turned out to be JSON.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, NoReturn

OPEN: Final = "OPEN"
HEARTBEAT: Final = "HEARTBEAT"
OFFER: Final = "OFFER"
ANSWER: Final = "ANSWER"
CANDIDATE: Final = "CANDIDATE"
LEAVE: Final = "LEAVE"
EXPIRE: Final = "EXPIRE"
ID_TAKEN: Final = "ID-TAKEN"
ERROR: Final = "ERROR"

SIGNALS: Final = frozenset({OFFER, ANSWER, CANDIDATE})
"""What makes a connection: relayed, and kept a while for a peer that is not there yet."""
PARTINGS: Final = frozenset({LEAVE, EXPIRE})
"""What ends one: relayed to a peer that is there, else dropped."""

MAX_ID_LENGTH: Final = 64

HEARTBEAT_TEXT: Final = '{"type":"HEARTBEAT"}'
"""A heartbeat as every client writes it."""
OPEN_TEXT: Final = '{"type":"OPEN"}'
ID_TAKEN_TEXT: Final = '{"type":"ID-TAKEN","payload":{"msg":"ID is taken"}}'

NO_PARAMETERS: Final = "No id, token, or key supplied to websocket server"
INVALID_KEY: Final = "Invalid key provided"
INVALID_TOKEN: Final = "Invalid token provided"
INVALID_ID: Final = "Invalid id"
LIMIT_EXCEEDED: Final = "Server has reached its concurrent user limit"

_ID: Final = re.compile(r"[A-Za-z0-9]+(?:[ _-][A-Za-z0-9]+)*")
_HEAD: Final = re.compile(r'\{"type":"([A-Z-]+)","payload":')
_TAIL: Final = re.compile(r',"dst":"([A-Za-z0-9 _-]*)"\}')
_SPACE: Final = " \t\n\r"


class BadMessage(ValueError):
    """A frame that holds no message. The text is meant for its sender."""


Signal = tuple[dict[str, Any], Any, Any, str | None]
"""One message of a client, as far as a broker looks at it: all of it, its type, its dst, the text of its payload."""


def parse(data: str | bytes) -> Signal:
    """Read a client's frame. The text of the payload is None if it has none.

    Raises:
        BadMessage: it is no JSON object, nested too deeply for Python, or has a number that JSON cannot hold.
    """
    try:
        text = data if isinstance(data, str) else data.decode()
        head = _HEAD.match(text)
        if head is not None:
            # The form in which `peerjs` writes: its payload stands between, and need not be written anew.
            start = head.end()
            payload, end = scan(text, start)
            tail = _TAIL.fullmatch(text, end)
            if tail is not None:
                kind, dst = head[1], tail[1]
                return {"type": kind, "payload": payload, "dst": dst}, kind, dst, text[start:end]
        return _parse_any(text.strip(_SPACE))
    except BadMessage:
        raise
    except (ValueError, RecursionError, StopIteration):
        raise BadMessage("not JSON") from None


def relayed(kind: str, src: str, dst: str, payload: str | None) -> str:
    """A message as its receiver gets it: of this sender, and without what else stood in it.

    The type and both ids have to be checked before.
    """
    if payload is None:
        return f'{{"type":"{kind}","src":"{src}","dst":"{dst}"}}'
    return f'{{"type":"{kind}","src":"{src}","dst":"{dst}","payload":{payload}}}'


def is_valid_id(text: str) -> bool:
    """Whether a peer may have this id: the rule of the `peerjs` client, and a length."""
    return len(text) <= MAX_ID_LENGTH and _ID.fullmatch(text) is not None


def error_text(message: str) -> str:
    """What tells a client that its broker refuses something. A browser's client leaves the broker then."""
    return _write({"type": ERROR, "payload": {"msg": message}})


def expire_text(absent: str, to: str) -> str:
    """What tells the sender of an offer that nobody came for it."""
    return _write({"type": EXPIRE, "src": absent, "dst": to})


def leave_text(gone: str, to: str) -> str:
    """What tells the sender of a message that its receiver is gone."""
    return _write({"type": LEAVE, "src": gone, "dst": to})


def _parse_any(text: str) -> Signal:
    body, end = scan(text, 0)
    if end != len(text):
        raise BadMessage("more than one JSON value")
    if not isinstance(body, dict):
        raise BadMessage("not a JSON object")
    return body, body.get("type"), body.get("dst"), _payload(body)


def _payload(body: dict[str, Any]) -> str | None:
    """The payload, written anew: somebody else's client puts its keys in an order of its own."""
    if "payload" not in body:
        return None
    try:
        return _write(body["payload"])
    except (ValueError, RecursionError):
        raise BadMessage("a number is too large") from None


def _refuse_constant(name: str) -> NoReturn:
    raise BadMessage(f"{name} is no JSON")


_decoder: Final[Any] = json.JSONDecoder(parse_constant=_refuse_constant)
scan: Final = _decoder.scan_once
"""Reads one JSON value at a place of a text: the value, and where it ends."""
_write: Final = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode
