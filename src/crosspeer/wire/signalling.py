"""What two PeerJS clients say to each other through their broker, to make one connection.

`wire.peerjs` has the envelope, which the broker reads too; here are the payloads of OFFER, ANSWER and CANDIDATE, which
are the business of the clients. Both generations are read: up to 1.4 a client names its browser, from 1.5 on it does
not.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from crosspeer.wire.peerjs import ANSWER, CANDIDATE, EXPIRE, OFFER, BadMessage

INVALID_KEY: Final = "INVALID-KEY"
"""No broker of today sends it; clients still understand it."""
HANG_UP: Final = "hangUp"
"""A key of our own."""
MAX_CONNECTION_ID: Final = 256
MAX_LABEL: Final = 1024


@dataclass(frozen=True, slots=True)
class Message:
    """A frame of the broker."""

    type: str
    src: str
    """Whom it is about, or from. Empty for what the broker says of itself."""
    payload: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Description:
    """The payload of an OFFER or an ANSWER."""

    kind: str
    """data or media."""
    connection_id: str
    sdp: str
    metadata: Any = None
    label: str = ""
    reliable: bool = False
    serialization: str = ""
    is_old: bool = False
    """The sender is PeerJS 1.4 or older."""


def read(frame: str | bytes) -> Message:
    """Read a frame of the broker.

    Raises:
        BadMessage: it holds no message.
    """
    try:
        body = json.loads(frame)
    except (ValueError, RecursionError):
        raise BadMessage("not JSON") from None
    if not isinstance(body, dict):
        raise BadMessage("not a JSON object")
    kind, src, payload = body.get("type"), body.get("src"), body.get("payload")
    if not isinstance(kind, str):
        raise BadMessage("a message without a type")
    return Message(kind, src if isinstance(src, str) else "", payload if isinstance(payload, dict) else {})


def connection_id(message: Message) -> str:
    """The connection that a payload belongs to.

    Raises:
        BadMessage: it names none.
    """
    found = message.payload.get("connectionId")
    if not isinstance(found, str) or not 0 < len(found) <= MAX_CONNECTION_ID:
        raise BadMessage(f"{_article(message.type)} without a connectionId")
    return found


def description(message: Message) -> Description:
    """Read the payload of an OFFER or an ANSWER.

    Raises:
        BadMessage: something is missing, or is not what it has to be.
    """
    payload = message.payload
    sdp = payload.get("sdp")
    text = sdp.get("sdp") if isinstance(sdp, dict) else None
    if not isinstance(text, str):
        raise BadMessage(f"{_article(message.type)} without an SDP")
    return Description(
        kind=_text(message, "type"),
        connection_id=connection_id(message),
        sdp=text,
        metadata=payload.get("metadata"),
        label=_text(message, "label")[:MAX_LABEL],
        reliable=payload.get("reliable") is True,
        serialization=_text(message, "serialization"),
        is_old="browser" in payload,
    )


def candidate(message: Message) -> dict[str, Any]:
    """The candidate of a CANDIDATE, in the form of `RTCIceCandidateInit`.

    Raises:
        BadMessage: there is none.
    """
    found = message.payload.get("candidate")
    if not isinstance(found, dict) or not isinstance(found.get("candidate"), str):
        raise BadMessage("a CANDIDATE without a candidate")
    return found


def offer_text(
    dst: str, kind: str, connection_id: str, sdp: str, *, metadata: Any = None, extra: dict[str, Any] | None = None
) -> str:
    """Write an OFFER. `extra` is what only one kind of connection has: for data its label, reliable, serialization."""
    payload = {"sdp": {"sdp": sdp, "type": "offer"}, "type": kind, "connectionId": connection_id}
    if metadata is not None:
        payload["metadata"] = metadata
    return _write(OFFER, dst, payload | (extra or {}))


def answer_text(dst: str, kind: str, connection_id: str, sdp: str) -> str:
    """Write an ANSWER."""
    payload = {"sdp": {"sdp": sdp, "type": "answer"}, "type": kind, "connectionId": connection_id}
    return _write(ANSWER, dst, payload)


def candidate_text(dst: str, kind: str, connection_id: str, candidate: dict[str, Any]) -> str:
    """Write a CANDIDATE."""
    return _write(CANDIDATE, dst, {"candidate": candidate, "type": kind, "connectionId": connection_id})


def refusal_text(dst: str, connection_id: str) -> str:
    """Write what tells a caller that the call is not taken.

    PeerJS has nothing for it. It takes this for the broker's word that nobody came for its offer: a peer-unavailable.
    """
    return _write(EXPIRE, dst, {"connectionId": connection_id})


def hang_up_text(dst: str, connection_id: str) -> str:
    """Write what tells the other side of a call that it is over before they have reached each other.

    PeerJS has nothing for it. To PeerJS this is the end of the candidates of a call, which it keeps until it answers.
    """
    candidate = {"candidate": "", "sdpMid": "0", "sdpMLineIndex": 0}
    payload = {"candidate": candidate, "type": "media", "connectionId": connection_id, HANG_UP: True}
    return _write(CANDIDATE, dst, payload)


def is_hang_up(message: Message) -> bool:
    """Whether a CANDIDATE is one of `hang_up_text`."""
    return message.payload.get(HANG_UP) is True


def _write(kind: str, dst: str, payload: dict[str, Any]) -> str:
    return _encode({"type": kind, "payload": payload, "dst": dst})


_encode: Final = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode


def _text(message: Message, key: str) -> str:
    found = message.payload.get(key, "")
    if not isinstance(found, str):
        raise BadMessage(f"{_article(message.type)} whose {key} is no text")
    return found


def _article(kind: str) -> str:
    return f"an {kind}" if kind in (OFFER, ANSWER) else f"a {kind}"
