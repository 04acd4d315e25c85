"""Server-Sent Events, written and read (HTML Standard, section 9.2). No field that is written can become another."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

MEDIA_TYPE: Final = "text/event-stream"

CACHE_HEADERS: Final = {
    "cache-control": "private, no-cache, no-store, no-transform, must-revalidate, max-age=0",
    "x-accel-buffering": "no",
}
"""What nobody on the way may keep, change or hold back."""

_NEWLINE: Final = re.compile(r"\r\n|\r|\n")
_LINE_END: Final = re.compile(rb"\r\n|\r|\n")
_NOT_IN_A_LINE: Final = re.compile(r"[\r\n\x00]")
_DIGITS: Final = re.compile(r"[0-9]{1,15}\Z")
_BOM: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Event:
    """One event. What is None is not written; what was read is never None but for `retry`."""

    data: Any = None
    """Its text. On its way out it may be anything that has a JSON form."""
    event: str | None = None
    """Its type: a browser calls the listeners of that name. Without one it is "message"."""
    id: str | None = None
    """What the client says as `Last-Event-ID` when it comes back. An empty one takes back those before."""
    retry: int | None = None
    """Milliseconds that the client is to wait before it comes back."""


def encode_event(
    data: str | None, *, event: str | None = None, id: str | None = None, retry: int | None = None
) -> bytes:
    """Write one event. Lines of its data end with LF at the other side, however they ended here.

    Raises:
        TypeError: `retry` is no integer.
        ValueError: the type or the id has a line end or NUL, `retry` is negative, or a text has lone surrogates.
    """
    lines = [f"{name}: {_line(name, value)}" for name, value in (("id", id), ("event", event)) if value is not None]
    if retry is not None:
        lines.append(f"retry: {_milliseconds(retry)}")
    if data is not None:
        # Always with a space: the first one is not part of the data, whatever stands behind it.
        lines += [f"data: {line}" for line in _NEWLINE.split(data)]
    return ("\n".join(lines) + "\n\n").encode()


def encode_comment(text: str = "") -> bytes:
    """Write a comment, which no listener sees. An empty one keeps a connection alive.

    Raises:
        ValueError: the text has lone surrogates.
    """
    return ("\n".join(f": {line}" if line else ":" for line in _NEWLINE.split(text)) + "\n\n").encode()


class EventReader:
    """Reads a stream as a browser does: `feed` it bytes, get the events that are complete.

    Args:
        most: bytes of one event; a longer one is refused.
    """

    def __init__(self, most: int) -> None:
        self.last_id = ""
        """What a client that comes back says as `Last-Event-ID`."""
        self.retry: int | None = None
        """Milliseconds that the server wants it to wait before, None if it did not say."""
        self._most = most
        self._rest = b""
        self._is_first = True
        self._after_cr = False
        self._data: list[str] = []
        self._size = 0
        self._type = ""
        self._id = ""

    def feed(self, data: bytes) -> list[Event]:
        """Take what has come, and return the events that it completes.

        Raises:
            ValueError: an event is too long.
        """
        if self._after_cr and data:
            data = data.removeprefix(b"\n")
            self._after_cr = False
        if not data:
            return []
        self._after_cr = data.endswith(b"\r")
        *lines, self._rest = _LINE_END.split(self._rest + data)
        found = [event for line in lines if (event := self._take(line)) is not None]
        if self._size + len(self._rest) > self._most:
            raise ValueError("the event is too long")
        return found

    def _take(self, line: bytes) -> Event | None:
        if self._is_first:
            self._is_first = False
            line = line.removeprefix(_BOM)
        if not line:
            return self._dispatch()
        self._size += len(line)
        if self._size > self._most:
            raise ValueError("the event is too long")
        name, _, value = line.decode(errors="replace").partition(":")
        self._field(name, value.removeprefix(" "))
        return None

    def _field(self, name: str, value: str) -> None:
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._type = value
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and _DIGITS.match(value):
            self.retry = int(value)

    def _dispatch(self) -> Event | None:
        data, kind = self._data, self._type
        self._data, self._type, self._size = [], "", 0
        self.last_id = self._id
        return Event("\n".join(data), kind or "message", self.last_id) if data else None


def _line(name: str, value: str) -> str:
    if _NOT_IN_A_LINE.search(value):
        raise ValueError(f"the {name} of an event is one line: {value!r}")
    return value


def _milliseconds(retry: int) -> int:
    if type(retry) is not int:
        raise TypeError(f"retry is an integer of milliseconds, not {type(retry).__name__}")
    if retry < 0:
        raise ValueError(f"retry is not negative: {retry}")
    return retry
