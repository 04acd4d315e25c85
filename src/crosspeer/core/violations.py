"""Peers that were closed for what they did: counted, and told in one line of the log each, whoever found it out."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING, Final

from crosspeer.wire.closing import CloseCode

if TYPE_CHECKING:
    from crosspeer.core.hooks import CloseDetails

logger = logging.getLogger("crosspeer")

_CODES: Final = frozenset(
    {
        CloseCode.PROTOCOL_ERROR,
        CloseCode.INVALID_DATA,
        CloseCode.POLICY,
        CloseCode.TOO_BIG,
        CloseCode.TRY_LATER,
    }
)


class Violations:
    """How many peers of a hub were closed, by the code: broken frames, too much, too fast, too slow to read."""

    __slots__ = ("counts",)

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()

    def note(self, details: CloseDetails, address: str | None) -> None:
        """Count an end, if it is one of these. An answered close frame is none: the peer has had its say."""
        if not details.was_clean and details.code in _CODES:
            self.counts[details.code] += 1
            # The reason is ours on most servers; on the others nothing in it can end the line.
            logger.info(
                "closed a peer from %s with %d: %s", address or "somewhere", details.code, ascii(details.reason)
            )
