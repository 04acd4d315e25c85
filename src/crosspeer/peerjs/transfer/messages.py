"""What both sides say to each other while files are sent: small dicts, read into what is known of them and no more.

```
sender     offer ............ prefix .......... data data data ... end ............ bye
receiver          have, or go         go               ack  ack ...    done, or refuse
```
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

from crosspeer.peerjs.transfer.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

VERSION: Final = 1
CHUNK: Final = 256 * 1024
"""Bytes of a file in one message that we send."""
MAX_CHUNK: Final = 1024 * 1024
"""And in one that we take."""
WINDOW: Final = 8 * 1024 * 1024
"""Bytes that may be on their way unacknowledged. WebRTC cannot hold a sender up: what the receiver has not written yet
waits in its memory. This fills a line of 500 Mbit/s over 130 ms."""
MAX_SIZE: Final = 2**53
"""Where the whole numbers of JavaScript end."""
MAX_TEXT: Final = 4096


@dataclass(frozen=True, slots=True)
class Offer:
    """The next file: its name, with slashes between folders, and its bytes."""

    name: str
    size: int


@dataclass(frozen=True, slots=True)
class Have:
    """The receiver has so many bytes under this name. What is the SHA-256 of the sender's first so many?"""

    offset: int


@dataclass(frozen=True, slots=True)
class Prefix:
    """That it is."""

    sha256: bytes


@dataclass(frozen=True, slots=True)
class Go:
    """Send from here on."""

    offset: int


@dataclass(frozen=True, slots=True)
class Data:
    """Bytes of the file, and where they belong."""

    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Ack:
    """Everything before this is written."""

    offset: int


@dataclass(frozen=True, slots=True)
class End:
    """That was all of it, and this is the SHA-256 of the whole file."""

    sha256: bytes


@dataclass(frozen=True, slots=True)
class Done:
    """The file is there, under this name."""

    name: str


@dataclass(frozen=True, slots=True)
class Refuse:
    """The receiver does not take the file, or no more of it. Also the answer to `Cancel`."""

    text: str


@dataclass(frozen=True, slots=True)
class Cancel:
    """The sender has no more of the file."""

    text: str


@dataclass(frozen=True, slots=True)
class Bye:
    """There are no more files."""


Message = Offer | Have | Prefix | Go | Data | Ack | End | Done | Refuse | Cancel | Bye


def write(message: Message) -> dict[str, Any]:
    """The message as it is sent."""
    kind = type(message)
    return {"type": kind.__name__.lower(), **{name: getattr(message, name) for name in _FIELDS[kind]}}


def read(value: object) -> Message:
    """The message that a value is. Keys that nobody knows are left out.

    Raises:
        ProtocolError: it is none.
    """
    if not isinstance(value, dict):
        raise ProtocolError(f"a {type(value).__name__} in place of a message")
    kind = value.get("type")
    made = _KINDS.get(kind) if isinstance(kind, str) else None
    if made is None:
        raise ProtocolError("a message of an unknown type")
    return made(**{name: _read_field(value, name, made) for name in _FIELDS[made]})


def check_greeting(metadata: object) -> None:
    """Look at the metadata of a connection that offers files.

    Raises:
        ProtocolError: it is of another version, or for something else.
    """
    version = metadata.get("transfer") if isinstance(metadata, dict) else None
    if version != VERSION:
        raise ProtocolError(f"files are taken here, by version {VERSION} of the transfer of crosspeer")


def _read_field(value: Mapping[object, object], name: str, made: type) -> Any:
    found = value.get(name)
    if isinstance(found, float) and found.is_integer():
        # How JavaScript writes a number that does not fit into 32 bits.
        found = int(found)
    if not _IS_SOUND[name](found):
        raise ProtocolError(f"{made.__name__.lower()} with an unsound {name}")
    return found


def _is_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= MAX_TEXT


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_SIZE


def _is_digest(value: object) -> bool:
    return isinstance(value, bytes) and len(value) == 32


def _is_data(value: object) -> bool:
    return isinstance(value, bytes) and 0 < len(value) <= MAX_CHUNK


_IS_SOUND: Final[dict[str, Callable[[object], bool]]] = {
    "name": _is_text,
    "text": _is_text,
    "size": _is_count,
    "offset": _is_count,
    "sha256": _is_digest,
    "data": _is_data,
}
_ALL: Final[tuple[type[Message], ...]] = (Offer, Have, Prefix, Go, Data, Ack, End, Done, Refuse, Cancel, Bye)
_KINDS: Final = {kind.__name__.lower(): kind for kind in _ALL}
_FIELDS: Final = {kind: tuple(field.name for field in fields(kind)) for kind in _ALL}
