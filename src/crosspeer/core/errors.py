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


def error_of(raised: BaseException) -> Exception | None:
    """What a hook has raised, as an exception for its `error` hook; None for what is not a hook's to raise.

    A panic of a library in Rust is no `Exception` (it is PyO3's `PanicException`, of which each library has its own),
    and it is one peer's matter all the same. `KeyboardInterrupt` and a cancellation are none.
    """
    if isinstance(raised, Exception):
        return raised
    if type(raised).__name__ != "PanicException":
        return None
    error = RuntimeError(f"panic: {raised}")
    error.__cause__ = raised
    return error
