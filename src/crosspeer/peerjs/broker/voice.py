"""How a broker speaks to the others of its fleet: what it says in a turn of the loop leaves together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from crosspeer.peerjs.broker.clock import soon

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crosspeer.sync import Relay

WORD: Final = 256
"""Bytes of a word without its texts, generously."""
ROW: Final = 160
"""Bytes of an id with its stamp and digest."""


class Voice:
    """Says words to one node or to all. Nothing is said while they cannot be reached: all of it would be outdated."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._words: dict[bytes | None, list[list[Any]]] = {}

    @property
    def is_heard(self) -> bool:
        """Whether the others can be reached."""
        return self._relay.is_up

    def say(self, *word: Any, to: bytes | None = None) -> None:
        if not self._relay.is_up:
            return
        if not self._words:
            soon(self._flush)
        self._words.setdefault(to, []).append(list(word))

    def carries(self, text: str) -> bool:
        """Whether a text is not too big for the way to the others."""
        return _weight(text) + 2 * WORD <= self._relay.max_note

    def _flush(self) -> None:
        words, self._words = self._words, {}
        for to, said in words.items():
            for batch in _batches(said, self._relay.max_note - WORD):
                self._relay.tell(batch, to)


def _batches(words: list[list[Any]], most: int) -> Iterator[list[list[Any]]]:
    batch: list[list[Any]] = []
    size = 0
    for word in words:
        weight = WORD + sum(map(_weight, word))
        if batch and size + weight > most:
            yield batch
            batch, size = [], 0
        batch.append(word)
        size += weight
    yield batch


def _weight(field: Any) -> int:
    """Bytes that it takes as JSON, at most."""
    if isinstance(field, str):
        # What is not ASCII becomes six letters or twelve: three for each of its bytes.
        return 2 * len(field) if field.isascii() else 3 * len(field.encode())
    return ROW * len(field) if isinstance(field, list) else 0
