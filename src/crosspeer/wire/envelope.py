"""What hubs of a fleet say to each other: publications in batches, and notes about themselves.

Whatever comes from a backplane is untrusted: `decode` raises for all that is not exactly right, and nothing is ever
made of it but strings, bytes and JSON values.

    envelope  = "xp" version kind node(16) body
    body      = *publication                    of kind DATA
              | JSON                            of kind NOTE
    publication = flags namespace_length(2) topic_length(2) data_length(4) namespace topic data

Numbers are big-endian. A publication for all namespaces has the flag `EVERYWHERE` and no namespace.

A fleet with a key takes sealed envelopes only, and each for the channel that it was sealed for:

    sealed    = "xs" version tag(32) envelope    where tag = HMAC-SHA-256(key, channel NUL envelope)
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

MAGIC: Final = b"xp"
VERSION: Final = 1
DATA: Final = 1
NOTE: Final = 2

TEXT: Final = 0x01
EVERYWHERE: Final = 0x02

MAX_NAMESPACE: Final = 4096
MAX_TOPIC: Final = 1024
MAX_NOTE: Final = 256 * 1024
MIN_KEY: Final = 16
"""Bytes of a key: what is shorter may be guessed."""

_SEAL: Final = b"xs" + bytes((VERSION,))
_TAG: Final = 32

_HEAD: Final = struct.Struct("!2sBB16s")
_ENTRY: Final = struct.Struct("!BHHI")


class EnvelopeError(ValueError):
    """These bytes are no envelope of ours. What they hold is not to be trusted in any part."""


class Publication(NamedTuple):
    """A message for the subscribers of a topic, in one namespace or (None) in all."""

    namespace: str | None
    topic: str
    data: str | bytes


@dataclass(frozen=True, slots=True)
class Envelope:
    """What one hub said."""

    node: bytes
    """The sender's id, 16 bytes."""
    publications: list[Publication]
    note: Any = None
    """A JSON value, of an envelope of that kind."""


class Address:
    """Where publications go: a topic, in one namespace or (None) in all, encoded once for all of them.

    Raises:
        ValueError: the namespace or the topic is too long.
    """

    __slots__ = ("_flags", "_names", "_namespace", "_topic")

    def __init__(self, namespace: str | None, topic: str) -> None:
        first, second = b"" if namespace is None else namespace.encode(), topic.encode()
        self._namespace, self._topic = len(first), len(second)
        if self._namespace > MAX_NAMESPACE or self._topic > MAX_TOPIC:
            raise ValueError("the namespace or the topic is too long for other hubs")
        self._flags = EVERYWHERE if namespace is None else 0
        self._names = first + second

    def entry(self, payload: bytes, *, is_text: bool) -> bytes:
        """One publication, encoded."""
        flags = self._flags | TEXT if is_text else self._flags
        return _ENTRY.pack(flags, self._namespace, self._topic, len(payload)) + self._names + payload


def entry(publication: Publication, payload: bytes) -> bytes:
    """One publication, encoded; the payload is its data as bytes.

    Raises:
        ValueError: the namespace or the topic is too long.
    """
    address = Address(publication.namespace, publication.topic)
    return address.entry(payload, is_text=isinstance(publication.data, str))


def encode(node: bytes, entries: Iterable[bytes]) -> bytes:
    """An envelope of publications."""
    return _HEAD.pack(MAGIC, VERSION, DATA, node) + b"".join(entries)


def encode_note(node: bytes, note: Any) -> bytes:
    """An envelope of a note: a JSON value."""
    return _HEAD.pack(MAGIC, VERSION, NOTE, node) + json.dumps(note, separators=(",", ":"), allow_nan=False).encode()


def seal(key: bytes, channel: str, envelope: bytes) -> bytes:
    """An envelope that who has the key can know to be from one who has it, and meant for this channel."""
    return _SEAL + _tag(key, channel, envelope) + envelope


def unseal(key: bytes, channel: str, data: bytes) -> bytes:
    """The envelope in a sealed one.

    Raises:
        EnvelopeError: it is not sealed, with another key, or for another channel.
    """
    tag, envelope = data[len(_SEAL) : len(_SEAL) + _TAG], data[len(_SEAL) + _TAG :]
    if not data.startswith(_SEAL) or not hmac.compare_digest(tag, _tag(key, channel, envelope)):
        raise EnvelopeError("not sealed with the key of this fleet")
    return envelope


def _tag(key: bytes, channel: str, envelope: bytes) -> bytes:
    return hmac.digest(key, channel.encode() + b"\0" + envelope, "sha256")


def decode(data: bytes, max_message_size: int) -> Envelope:
    """Read an envelope.

    Raises:
        EnvelopeError: it is none, of another version, cut off, or a message in it is too big.
    """
    if len(data) < _HEAD.size:
        raise EnvelopeError("too short")
    magic, version, kind, node = _HEAD.unpack_from(data)
    if magic != MAGIC or version != VERSION:
        raise EnvelopeError("of another kind or version")
    if kind == DATA:
        return Envelope(node, list(_publications(data, max_message_size)))
    if kind == NOTE:
        return Envelope(node, [], _json(data[_HEAD.size :]))
    raise EnvelopeError("of an unknown kind")


def _publications(data: bytes, most: int) -> Iterable[Publication]:
    at = _HEAD.size
    while at < len(data):
        if len(data) - at < _ENTRY.size:
            raise EnvelopeError("cut off")
        flags, *sizes = _ENTRY.unpack_from(data, at)
        at += _ENTRY.size
        if flags & ~(TEXT | EVERYWHERE):
            raise EnvelopeError("unknown flags")
        if sizes[0] > MAX_NAMESPACE or not 0 < sizes[1] <= MAX_TOPIC or sizes[2] > most:
            raise EnvelopeError("too big")
        if len(data) - at < sum(sizes):
            raise EnvelopeError("cut off")
        parts = []
        for size in sizes:
            parts.append(data[at : at + size])
            at += size
        if bool(parts[0]) is bool(flags & EVERYWHERE):
            raise EnvelopeError("a namespace that contradicts the flags")
        try:
            namespace = None if flags & EVERYWHERE else parts[0].decode()
            payload = parts[2].decode() if flags & TEXT else parts[2]
            yield Publication(namespace, parts[1].decode(), payload)
        except UnicodeDecodeError:
            raise EnvelopeError("text that is none") from None


def _json(data: bytes) -> Any:
    if len(data) > MAX_NOTE:
        raise EnvelopeError("too big")
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise EnvelopeError("a note that is no JSON") from None


def encode_crossws(node: str, publication: Publication) -> bytes:
    """The envelope of crossws's drivers: one publication as JSON; an empty namespace means all of them."""
    is_binary = isinstance(publication.data, bytes)
    data = base64.b64encode(publication.data).decode() if isinstance(publication.data, bytes) else publication.data
    message = {"namespace": publication.namespace or "", "topic": publication.topic, "binary": is_binary, "data": data}
    return json.dumps({"id": node, "msg": message}, separators=(",", ":"), ensure_ascii=False).encode()


def decode_crossws(data: bytes, max_message_size: int) -> tuple[str, Publication]:
    """The sender's id and the publication of such an envelope.

    Raises:
        EnvelopeError: it is none, or the message is too big.
    """
    if len(data) > 2 * max_message_size + MAX_NOTE:
        raise EnvelopeError("too big")
    envelope = _json_of_any_size(data)
    message = envelope.get("msg") if isinstance(envelope, dict) else None
    if not isinstance(message, dict):
        raise EnvelopeError("no envelope of crossws")
    node, namespace, topic, text = (
        envelope.get("id"),
        message.get("namespace"),
        message.get("topic"),
        message.get("data"),
    )
    if not (isinstance(node, str) and isinstance(namespace, str) and isinstance(topic, str) and isinstance(text, str)):
        raise EnvelopeError("no envelope of crossws")
    if not topic or len(topic) > MAX_TOPIC or len(namespace) > MAX_NAMESPACE:
        raise EnvelopeError("too big")
    try:
        payload = base64.b64decode(text, validate=True) if message.get("binary") is True else text
        size = len(payload if isinstance(payload, bytes) else payload.encode())
        for name in (namespace, topic):
            name.encode()
    except (binascii.Error, ValueError):
        raise EnvelopeError("data that is none") from None
    if size > max_message_size:
        raise EnvelopeError("too big")
    return node, Publication(namespace or None, topic, payload)


def _json_of_any_size(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise EnvelopeError("no JSON") from None
