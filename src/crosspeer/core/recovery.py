"""What becomes of a peer that comes back to a topic with history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

    from crosspeer.core.history import Position


class Outcome(NamedTuple):
    """How it went."""

    recovered: bool
    position: Position
    replayed: int


class Recovery:
    """What became of a subscription to a topic with history. Await it, and it is known.

    On a hub without other nodes it is known from the beginning.

    Args:
        outcome: how it went, None if that is yet to be found out.
        known: waits until it is found out, and `settle` was called.
    """

    __slots__ = ("_known", "_outcome")

    def __init__(self, outcome: Outcome | None, known: Callable[[], Awaitable[Any]] | None = None) -> None:
        self._outcome = outcome
        self._known = known

    @property
    def recovered(self) -> bool:
        """Everything since the position was replayed. False: something is missing, so nothing was; or nobody asked."""
        return self._found.recovered

    @property
    def position(self) -> Position:
        """Where the peer stood when it had its replay, and before what it got next."""
        return self._found.position

    @property
    def replayed(self) -> int:
        """Messages."""
        return self._found.replayed

    def settle(self, outcome: Outcome) -> None:
        """Say how it went."""
        self._outcome = outcome

    def __await__(self) -> Generator[Any, Any, Recovery]:
        if self._outcome is None and self._known is not None:
            yield from self._known().__await__()
        return self

    @property
    def _found(self) -> Outcome:
        if self._outcome is None:
            raise RuntimeError("the log is on its way: recovery = await peer.subscribe(...)")
        return self._outcome

    def __repr__(self) -> str:
        return f"<Recovery {'not known yet' if self._outcome is None else self._outcome}>"
