"""An incoming message and its views."""

from __future__ import annotations

import importlib
import io
import json
import uuid
from abc import ABCMeta
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, overload

from crosspeer.core.errors import InvalidMessage, MissingExtra
from crosspeer.wire.nesting import MAX_DEPTH, is_too_deep

if TYPE_CHECKING:
    from crosspeer.core.peer import Peer

T = TypeVar("T")


class Message(metaclass=ABCMeta):  # noqa: B024 - for `register`
    """One complete message of a peer. Its views are made when they are asked for (crossws `Message`)."""

    __slots__ = ("_id", "data", "peer")

    def __init__(self, peer: Peer, data: str | bytes) -> None:
        self.peer = peer
        """Who sent it."""
        self.data = data
        """`str` of a text frame, `bytes` of a binary one."""
        self._id: str | None = None

    @property
    def id(self) -> str:
        """A random UUID (version 4) of this message, made on first use."""
        if self._id is None:
            self._id = str(uuid.uuid4())
        return self._id

    @property
    def is_text(self) -> bool:
        """Whether it came in a text frame."""
        return isinstance(self.data, str)

    def text(self) -> str:
        """The message as text; bytes are read as UTF-8, with U+FFFD in place of what is invalid."""
        return self.data if isinstance(self.data, str) else self.data.decode(errors="replace")

    def bytes(self) -> bytes:
        """The message as bytes; text as UTF-8 (crossws `uint8Array`)."""
        return self.data.encode() if isinstance(self.data, str) else self.data

    def memoryview(self) -> memoryview:
        """A view of the bytes without a copy (crossws `arrayBuffer`)."""
        return memoryview(self.bytes())

    def file(self) -> io.BytesIO:
        """The bytes as a file that is open for reading (crossws `blob`)."""
        return io.BytesIO(self.bytes())

    @overload
    def json(self, type: None = None) -> Any: ...
    @overload
    def json(self, type: type[T]) -> T: ...
    def json(self, type: type[T] | None = None) -> Any:
        """Parse the message as JSON and, when a type is given, as a valid value of that type.

        Pydantic models are validated by pydantic, every other type by msgspec (or by pydantic if only that is
        installed). NaN and Infinity are no JSON (RFC 8259).

        Raises:
            InvalidMessage: no JSON, nested deeper than 64 brackets, or not of the type; it is a ValueError.
            MissingExtra: a type was given and neither msgspec nor pydantic is installed.
        """
        try:
            data = self.bytes()
            if is_too_deep(data):
                raise InvalidMessage(f"JSON with more than {MAX_DEPTH} brackets inside each other")
            return json.loads(self.data, parse_constant=_refuse_constant) if type is None else _typed(data, type)
        except InvalidMessage:
            raise
        except (ValueError, RecursionError) as error:
            raise InvalidMessage(str(error)) from error

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        kind = "text" if self.is_text else "binary"
        return f"<Message {kind} of {len(self.data)} from {self.peer}>"


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _typed(data: bytes, wanted: Any) -> Any:
    if hasattr(wanted, "model_validate_json"):
        return wanted.model_validate_json(data)
    try:
        return importlib.import_module("msgspec").json.decode(data, type=wanted)
    except ImportError:
        pass
    try:
        return importlib.import_module("pydantic").TypeAdapter(wanted).validate_json(data)
    except ImportError:
        raise MissingExtra("msgspec", "msgspec") from None
