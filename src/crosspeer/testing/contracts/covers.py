"""Which members of the public classes a contract test shows to work: docs/compatibility.md is made of that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Test = TypeVar("Test", bound="Callable[..., Any]")


def covers(*members: str) -> Callable[[Test], Test]:
    """Say that a contract test calls these members and asserts what they promise: `@covers("Peer.send")`."""

    def mark(test: Test) -> Test:
        test.__dict__["covers"] = frozenset(members)
        return test

    return mark


def covered_by(test: Any) -> frozenset[str]:
    """The members that a test covers, none if it does not say."""
    members: frozenset[str] = getattr(test, "covers", frozenset())
    return members
