"""Which message may come when, and with which numbers: both ends of a transfer without its files and its network."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

from crosspeer.peerjs.transfer.errors import ProtocolError
from crosspeer.peerjs.transfer.messages import Ack, Bye, Cancel, Data, Done, End, Go, Have, Offer, Prefix, Refuse

if TYPE_CHECKING:
    from crosspeer.peerjs.transfer.messages import Message

MAX_QUESTIONS: Final = 4
"""Prefixes that a sender reads for one file."""


class State(Enum):
    """Where a transfer is; the value ends a sentence."""

    IDLE = "between two files"
    OFFERED = "after an offer"
    ASKED = "after a question for the beginning"
    MOVING = "amid a file"
    ENDED = "after the end of a file"
    CANCELLED = "after a file was cancelled"


_FROM_SENDER: Final[dict[State, tuple[type[Message], ...]]] = {
    State.IDLE: (Offer, Bye),
    State.OFFERED: (Cancel,),
    State.ASKED: (Prefix, Cancel),
    State.MOVING: (Data, End, Cancel),
    State.ENDED: (),
    State.CANCELLED: (),
}
_FROM_RECEIVER: Final[dict[State, tuple[type[Message], ...]]] = {
    State.IDLE: (),
    State.OFFERED: (Have, Go, Refuse),
    State.ASKED: (Have, Go, Refuse),
    State.MOVING: (Ack, Refuse),
    State.ENDED: (Ack, Done, Refuse),
    # What was on its way.
    State.CANCELLED: (Ack, Refuse),
}


class _Order:
    _ALLOWED: dict[State, tuple[type[Message], ...]]

    def __init__(self) -> None:
        self.state = State.IDLE
        self.size = 0
        self.offset = 0
        """Bytes that are through."""

    def _check(self, message: Message) -> None:
        if not isinstance(message, self._ALLOWED[self.state]):
            raise ProtocolError(f"{type(message).__name__.lower()} {self.state.value}")


class Incoming(_Order):
    """What a receiver hears, one message after the other.

    The receiver says `asked`, `started` and `ended` when it answers.
    """

    _ALLOWED = _FROM_SENDER

    def hear(self, message: Message) -> None:
        """Take the next message.

        Raises:
            ProtocolError: it may not come now, or its numbers are wrong.
        """
        self._check(message)
        if isinstance(message, Offer):
            self.state, self.size, self.offset = State.OFFERED, message.size, 0
        elif isinstance(message, Data):
            self._data(message)
        elif isinstance(message, End):
            if self.offset != self.size:
                raise ProtocolError(f"end after {self.offset} of {self.size} bytes")
            self.state = State.ENDED
        elif isinstance(message, Cancel):
            self.state = State.CANCELLED

    def asked(self) -> None:
        """`Have` was said."""
        self.state = State.ASKED

    def started(self, offset: int) -> None:
        """`Go` was said."""
        self.state, self.offset = State.MOVING, offset

    def ended(self) -> None:
        """`Done` or `Refuse` was said."""
        self.state = State.IDLE

    def _data(self, message: Data) -> None:
        if message.offset != self.offset:
            raise ProtocolError(f"data for byte {message.offset}, when {self.offset} was next")
        if message.offset + len(message.data) > self.size:
            raise ProtocolError(f"more than the {self.size} bytes that were offered")
        self.offset += len(message.data)


class Outgoing(_Order):
    """What a sender hears, and how much it has sent."""

    _ALLOWED = _FROM_RECEIVER

    def __init__(self, size: int) -> None:
        super().__init__()
        self.state = State.OFFERED
        self.size = size
        self.sent = 0
        self._asked = 0
        self._questions = 0

    @property
    def unacknowledged(self) -> int:
        return self.sent - self.offset

    def hear(self, message: Message) -> None:
        """Take the next message.

        Raises:
            ProtocolError: it may not come now, or its numbers are wrong.
        """
        self._check(message)
        if isinstance(message, Have):
            self._have(message.offset)
        elif isinstance(message, Go):
            self._go(message.offset)
        elif isinstance(message, Ack):
            self._ack(message.offset)
        elif isinstance(message, Done) and self.offset != self.size:
            raise ProtocolError(f"done after {self.offset} of {self.size} bytes")

    def ended(self) -> None:
        """`End` was said."""
        self.state = State.ENDED

    def cancelled(self) -> None:
        """`Cancel` was said."""
        self.state = State.CANCELLED

    def _have(self, offset: int) -> None:
        self._questions += 1
        if not 0 < offset <= self.size or self._questions > MAX_QUESTIONS:
            raise ProtocolError(f"a question for the first {offset} of {self.size} bytes")
        self._asked, self.state = offset, State.ASKED

    def _go(self, offset: int) -> None:
        if offset not in (0, self._asked):
            raise ProtocolError(f"go on from byte {offset}, which was not asked for")
        self.offset = self.sent = offset
        self.state = State.MOVING

    def _ack(self, offset: int) -> None:
        if not self.offset < offset <= self.sent:
            raise ProtocolError(f"an acknowledgement of {offset} bytes, when {self.sent} were sent")
        self.offset = offset
