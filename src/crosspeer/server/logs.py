"""How the command line logs, and what of a request a log may say."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from crosspeer.core.redact import redact

if TYPE_CHECKING:
    LoggerAdapter = logging.LoggerAdapter[logging.Logger]
else:
    LoggerAdapter = logging.LoggerAdapter

LEVELS: Final = ("critical", "error", "warning", "info", "debug")


def configure_logging(level: str) -> None:
    """Send all records to standard error, one line each (a traceback has more)."""
    logging.basicConfig(
        level=level.upper(), format="%(asctime)s %(levelname)-8s %(message)s", datefmt="%H:%M:%S", force=True
    )
    if level != "debug":
        # Its start-up and its connections are told by crosspeer already.
        logging.getLogger("uvicorn").setLevel(logging.WARNING)


class Redacting(LoggerAdapter):
    """A logger that hides the secrets in the URLs which it is given as arguments (row H17)."""

    @property
    def level(self) -> int:
        """uvicorn reads it of its loggers."""
        return self.logger.level

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        if self.isEnabledFor(level):
            super().log(level, msg, *(redact(arg) if isinstance(arg, str) else arg for arg in args), **kwargs)


ACCESS_LOG: Final = Redacting(logging.getLogger("uvicorn.access"))
UVICORN_LOG: Final = Redacting(logging.getLogger("uvicorn.error"))
