"""What a peer says of itself: PeerJS's debug levels, over Python's logging."""

from __future__ import annotations

import logging
from typing import Final

logger: Final = logging.getLogger("crosspeer.peerjs")


class Log:
    """Passes on what the level of a peer lets through: 0 nothing, 1 errors, 2 warnings too, 3 everything."""

    __slots__ = ("level",)

    def __init__(self, level: int) -> None:
        self.level = level

    def error(self, text: str, *arguments: object) -> None:
        if self.level >= 1:
            logger.error(text, *arguments)

    def warning(self, text: str, *arguments: object) -> None:
        if self.level >= 2:
            logger.warning(text, *arguments)

    def info(self, text: str, *arguments: object) -> None:
        if self.level >= 3:
            logger.info(text, *arguments)
