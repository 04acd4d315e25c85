"""How plain HTTP is read: by h11, behind a look of our own at each head."""

from __future__ import annotations

from typing import Final

import h11

from crosspeer.wire.handshake import Refusal
from crosspeer.wire.head import MAX_HEAD, HeadReader

_UNSOUND: Final = Refusal(400, [], b"this is no sound HTTP request")
_TOO_LARGE: Final = Refusal(431, [], b"the headers are too large")


class Requests(h11.Connection):
    """The requests of one connection. h11 alone takes forms that RFC 9112 leaves to the server's taste."""

    def __init__(self) -> None:
        super().__init__(h11.SERVER, MAX_HEAD)
        self._head = HeadReader()
        self.refusal = _UNSOUND
        """The answer to what cannot be read, once `next_event` has raised."""

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        if self.their_state is h11.IDLE:
            # A copy, but never of much more than a head.
            refusal = self._head.look_at(self.trailing_data[0])
            if refusal is not None:
                self.refusal = refusal
                raise h11.RemoteProtocolError(refusal.body.decode())
        try:
            event = super().next_event()
        except h11.RemoteProtocolError as error:
            if error.error_status_hint == _TOO_LARGE.status:
                # A trailer, or what stands behind the size of a chunk.
                self.refusal = _TOO_LARGE
            raise
        if isinstance(event, h11.Request):
            self._head = HeadReader()
        return event
