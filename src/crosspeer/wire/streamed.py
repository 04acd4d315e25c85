"""A peer's connection as server-sent events: its beginning, its messages and its end."""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import Any, Final

from crosspeer.wire.closing import CloseCode
from crosspeer.wire.sse import Event, encode_event

TOKEN: Final = "crossws-id"
"""The event that brings the secret for the way back. crossws has the public id of the peer in it."""
START: Final = "start"
"""The event that says whether the client goes on where it was, and what it may rely on."""
TEXT: Final = "text"
"""A text whose line ends an event would change, as JSON. All other texts are of the type "message"."""
BINARY: Final = "binary"
"""Bytes, as base64."""
CLOSE: Final = "close"

CLOSED_ID: Final = "closed"
"""What a browser says as `Last-Event-ID` when it comes back though it is not to."""

BEHIND_ID: Final = ";"
"""What divides the id of an event and where its client stands in topics with history."""

_DATA_URI: Final = "data:application/octet-stream;base64,"
_POSITION: Final = re.compile(r"([A-Za-z0-9_-]{22})\.(0|[1-9][0-9]{0,15})\Z", re.ASCII)
_MAY_RETURN: Final = frozenset(
    {
        CloseCode.GOING_AWAY,
        CloseCode.NO_STATUS,
        CloseCode.ABNORMAL,
        CloseCode.INTERNAL_ERROR,
        CloseCode.SERVICE_RESTART,
        CloseCode.TRY_LATER,
        1014,
    }
)


def may_return(code: int) -> bool:
    """Whether a client that was closed with this code is to come back: a fault or a restart, and not a decision."""
    return code in _MAY_RETURN or 3000 <= code < 3500 or 4000 <= code < 4500


def position(key: str, number: int) -> str:
    """The id of an event: whose stream it is of, which nobody guesses, and its number."""
    return f"{key}.{number}"


def read_position(id: str) -> tuple[str, int] | None:
    """The key and the number of an event's id; None if it is none of ours."""
    found = _POSITION.match(id.partition(BEHIND_ID)[0])
    return None if found is None else (found[1], int(found[2]))


def encode_start(token: str, id: str | None, *, resumed: bool, resume: float, keep_alive: float, retry: float) -> bytes:
    """Write what every stream begins with. Times are seconds; with an `id` the client is there from now on."""
    facts = {"resumed": resumed, "resume": resume, "keepAlive": keep_alive}
    first = encode_event(token, event=TOKEN, id=id, retry=round(retry * 1000))
    return first + encode_event(json.dumps(facts), event=START)


def encode_message(data: str | bytes, *, crossws: bool = False) -> bytes:
    """Write a message. In the form of crossws a text loses its CRs, and bytes are a text."""
    if isinstance(data, bytes):
        encoded = base64.b64encode(data).decode()
        return encode_event(_DATA_URI + encoded) if crossws else encode_event(encoded, event=BINARY)
    if "\r" in data and not crossws:
        return encode_event(json.dumps(data), event=TEXT)
    return encode_event(data)


def encode_close(code: int, reason: str, retry: float, standing: str = "") -> bytes:
    """Write the end of a connection: a browser comes back after `retry` seconds, as a new peer, or stays away.

    Args:
        standing: what it is to bring then as its last id.
    """
    id = standing if may_return(code) else CLOSED_ID
    data = json.dumps({"code": int(code), "reason": reason})
    return encode_event(data, event=CLOSE, id=id, retry=round(retry * 1000))


def decode(event: Event) -> str | bytes | tuple[int, str] | None:
    """What an event is to a client: a message, the code and the reason of a close, or nothing that it has to know.

    Raises:
        ValueError: it is not what its type says.
    """
    if event.event == "message":
        return str(event.data)
    if event.event == TEXT:
        return str(_checked(json.loads(event.data), str))
    if event.event == BINARY:
        try:
            return base64.b64decode(event.data, validate=True)
        except binascii.Error as error:
            raise ValueError(f"this is no base64: {error}") from None
    if event.event == CLOSE:
        facts = _checked(json.loads(event.data), dict)
        return _checked(facts.get("code"), int), _checked(facts.get("reason"), str)
    return None


def _checked(value: Any, wanted: type) -> Any:
    if not isinstance(value, wanted):
        raise ValueError(f"{wanted.__name__} expected, not {value!r}")
    return value
