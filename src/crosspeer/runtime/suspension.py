"""Notice whether an await had to wait: that is what backpressure looks like from inside a coroutine."""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator


@types.coroutine
def noticing(awaitable: Awaitable[Any], suspended: Callable[[], None]) -> Generator[Any, Any, Any]:
    """Await something, and call `suspended` if it does not complete at once (PEP 380's delegation, spelled out)."""
    steps = awaitable.__await__()
    try:
        waited_for = next(steps)
    except StopIteration as done:
        return done.value
    suspended()
    while True:
        try:
            try:
                sent = yield waited_for
            except BaseException as error:
                if not hasattr(steps, "throw"):
                    raise
                waited_for = steps.throw(error)
            else:
                waited_for = next(steps) if sent is None else steps.send(sent)
        except StopIteration as done:
            return done.value
