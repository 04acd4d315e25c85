"""Pictures and sound: where they come from, and where they go. numpy and PyAV are needed for all of it."""

from __future__ import annotations

from crosspeer.core.errors import MissingExtra

try:
    import av  # noqa: F401
    import numpy  # noqa: F401
except ModuleNotFoundError as error:
    if error.name not in ("av", "numpy"):
        raise
    raise MissingExtra(error.name, "media") from None
