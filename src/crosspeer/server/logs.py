"""How the command line logs."""

from __future__ import annotations

import logging
from typing import Final

LEVELS: Final = ("critical", "error", "warning", "info", "debug")


def configure_logging(level: str) -> None:
    """Send all records to standard error, one line each (a traceback has more)."""
    logging.basicConfig(
        level=level.upper(), format="%(asctime)s %(levelname)-8s %(message)s", datefmt="%H:%M:%S", force=True
    )
    if level != "debug":
        # Its start-up and its connections are told by crosspeer already.
        logging.getLogger("uvicorn").setLevel(logging.WARNING)
