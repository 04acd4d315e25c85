"""What a backend says where its client is not installed."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from crosspeer.core.errors import MissingExtra

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def extra(name: str, package: str | None = None) -> Iterator[None]:
    """Import a client in here.

    Raises:
        MissingExtra: it is not there; the extra of this name installs it.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        module = (package or name).replace("-", "_")
        if error.name is None or error.name.partition(".")[0] != module:
            raise
        raise MissingExtra(package or name, name) from None
