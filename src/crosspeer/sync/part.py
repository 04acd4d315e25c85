"""The port of what has a conversation of its own with the other nodes, beside a hub's publications."""

from __future__ import annotations

from typing import Any, Protocol


class Part(Protocol):
    """A part of an application that runs on every node of a fleet, as the broker of PeerJS does (`Relay.add`).

    Its words are JSON values. Those to all arrive in order, and so do those to one node; of the two, in no order to
    each other. Each may be lost.
    """

    def changed(self, up: bool) -> None:
        """The other nodes can be reached, or not any more."""
        ...

    def announce(self) -> None:
        """Say what others have to know who have just come: called every few seconds, and when somebody comes."""
        ...

    def gone(self, node: bytes) -> None:
        """A node has left, or was silent for too long."""
        ...

    def heard(self, node: bytes, words: Any) -> None:
        """Take what the same part of another node says. It is untrusted.

        Raises:
            ValueError: it means nothing. It is counted as refused.
        """
        ...
