"""The exceptions that crosspeer raises of its own."""

from __future__ import annotations


class CrosspeerError(Exception):
    """The base of every exception that is crosspeer's own."""


class LimitExceeded(CrosspeerError, ValueError):
    """The caller asked for more than `Limits` allows, a 129th topic for instance. The peer is unharmed."""


class InvalidMessage(CrosspeerError, ValueError):
    """A message is not what it was read as: no JSON, nested too deeply, or of another shape. `__cause__` says more."""


class StreamClosed(CrosspeerError, ConnectionError):
    """An event stream has ended: it was closed, or its client has gone. Whoever produces for it can stop."""


class MissingExtra(CrosspeerError, ModuleNotFoundError):
    """An optional package is not installed; the message names the `pip install` line."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed: pip install 'crosspeer[{extra}]'", name=package)
