"""Where a client says that it stands, in the request by which it comes: nothing of it is to be believed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, urlencode

from crosspeer.core.history import Position
from crosspeer.wire.streamed import BEHIND_ID

if TYPE_CHECKING:
    from collections.abc import Mapping

    from crosspeer.core.request import Request

PARAMETER: Final = "crosspeer-positions"
"""Of the URL, for clients that cannot choose their headers: the browser module."""
MAX_POSITIONS: Final = 128
MAX_SIZE: Final = 8 * 1024
"""Characters. Who says more says nothing."""


def positions_of(request: Request) -> dict[str, Position]:
    """Topic to position. Empty: the client says nothing that makes sense (row P9)."""
    said = [request.query_params.get(PARAMETER, ""), request.headers.get("last-event-id", "").partition(BEHIND_ID)[2]]
    found: dict[str, Position] = {}
    for text in said:
        if text:
            found |= read(text)
    return found


def read(text: str) -> dict[str, Position]:
    """Read the text form: `topic=position&...`, with the topics quoted as in a URL."""
    if len(text) > MAX_SIZE:
        return {}
    try:
        pairs = parse_qsl(text, max_num_fields=MAX_POSITIONS, strict_parsing=True)
    except ValueError:
        return {}
    parsed = ((topic, Position.parse(position)) for topic, position in pairs)
    return {topic: position for topic, position in parsed if position is not None}


def write(positions: Mapping[str, Position]) -> str:
    """The text form; empty if it would be too long to be read again."""
    text = urlencode(positions)
    return text if len(positions) <= MAX_POSITIONS and len(text) <= MAX_SIZE else ""
