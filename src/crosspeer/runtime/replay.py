"""`Replay`: the latest events of a source, for clients that come back and want to miss nothing."""

from __future__ import annotations

import asyncio
import re
import secrets
from typing import TYPE_CHECKING, Any, Final

from crosspeer.core.outgoing import to_json
from crosspeer.core.window import Window
from crosspeer.wire.sse import Event, encode_event

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

RESET: Final = "reset"
"""The type of the event by which `follow` says that a client has missed something."""

_ID: Final = re.compile(r"([0-9a-z]{1,16})\.(0|[1-9][0-9]{0,15})\Z", re.ASCII)


class Replay:
    """Numbers events and keeps the latest, so that a stream can be taken up where it was lost.

    ```python
    prices = Replay()


    async def get(request):
        return EventStream(prices.follow(request.headers.get("last-event-id")))


    prices.add({"gold": 2310})
    ```

    Args:
        max_events: how many are kept.
        max_size: bytes of them.
    """

    def __init__(self, *, max_events: int = 1000, max_size: int = 1024 * 1024) -> None:
        # The numbers of one process mean nothing to the next.
        self._epoch = secrets.token_hex(4)
        self._window: Window[Event] = Window(max_events, max_size)
        self._news = asyncio.Event()

    def add(self, data: Any, *, event: str | None = None) -> Event:
        """Give an event its id, keep it, and wake who follows.

        Raises:
            TypeError, ValueError: a field cannot be written (see `crosspeer.wire.sse.encode_event`).
        """
        text = data if isinstance(data, str) else to_json(data)
        made = Event(text, event, f"{self._epoch}.{self._window.last + 1}")
        self._window.add(made, len(encode_event(text, event=event)))
        self._news.set()
        self._news = asyncio.Event()
        return made

    def since(self, last_event_id: str | None) -> list[Event] | None:
        """The events behind the one of an id; None if there is no id, none of ours, or if some of them are gone."""
        number = self._number(last_event_id)
        missed = None if number is None else self._window.since(number)
        return None if missed is None else [event for _, event in missed]

    async def follow(self, last_event_id: str | None = None) -> AsyncGenerator[list[Event], None]:
        """Yield the events behind the one of an id, without one those from now on, as they come.

        Who cannot be told all that it missed gets an event of the type "reset" instead, and goes on from there: because
        of its id, or because it reads more slowly than events come.
        """
        number = self._number(last_event_id)
        if number is None:
            number = self._window.last
            if last_event_id is not None:
                yield [self._reset()]
        while True:
            missed = self._window.since(number)
            number = self._window.last
            if missed is None:
                yield [self._reset()]
            elif missed:
                yield [event for _, event in missed]
            else:
                await self._news.wait()

    def _number(self, id: str | None) -> int | None:
        found = None if id is None else _ID.match(id)
        return int(found[2]) if found is not None and found[1] == self._epoch else None

    def _reset(self) -> Event:
        return Event("", RESET, f"{self._epoch}.{self._window.last}")
