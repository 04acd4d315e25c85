"""How a message larger than one frame travels: as numbered slices, each a BinaryPack map of its own.

The keys and the size are the same from PeerJS 0.3.4 to 1.5. A slice says which transfer it belongs to, its place in it
and how many there are, so slices may come in any order: PeerJS's default channel is unordered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeGuard

from crosspeer.wire.binarypack.pack import integer
from crosspeer.wire.binarypack.tags import BINARY, BINARY16, U16

if TYPE_CHECKING:
    from collections.abc import Iterator

SLICE: Final = 16300
"""Bytes of a slice: with its header it stays below the 16 KiB that every browser has always taken in one piece."""
KEY: Final = "__peerData"
"""A map that has this key, and not a false value under it, is no data: it is a slice, or asks for something."""
MAX_TRANSFERS: Final = 64
"""Transfers that one sender may have under way. PeerJS has one; on an unordered channel a few overlap."""
_COST: Final = 256
"""Bytes that a slice counts as beside its own: an object and its place in a dict."""
_REMEMBERED: Final = 256


class ChunkError(ValueError):
    """A slice that cannot be right. Its transfer is given up."""


def chunks(packed: bytes, transfer: int) -> Iterator[bytes]:
    """Cut a packed message into frames, made one at a time as they are asked for.

    Args:
        transfer: the number of this transfer: 1 for the first that a connection sends, then one more each time.
    """
    total = count(len(packed))
    view = memoryview(packed)
    head = b"\x84\xba__peerData" + integer(transfer) + b"\xb1n"
    tail = b"\xb5total" + integer(total)
    for n in range(total):
        piece = view[n * SLICE : (n + 1) * SLICE]
        length = len(piece)
        size = U16(BINARY16, length) if length > 15 else bytes((BINARY + length,))
        yield b"".join((head, integer(n), b"\xb4data", size, piece, tail))


def count(length: int) -> int:
    """Slices that a message of so many bytes makes."""
    return -(-length // SLICE)


class Reassembler:
    """The transfers of one sender that are not complete.

    Args:
        max_size: bytes of one message, and of all that is under way together.
        ordered: the channel keeps the order, so a slice that is not the next one never will be.
    """

    __slots__ = ("_cost", "_ended", "_max_cost", "_max_size", "_transfers", "ordered")

    def __init__(self, max_size: int, *, ordered: bool = False) -> None:
        self.ordered = ordered
        self._max_size = max_size
        self._max_cost = max_size + count(max_size) * _COST
        self._cost = 0
        self._transfers: dict[int, _Transfer] = {}
        self._ended: dict[int, bool] = {}
        """The last transfers that are over, and whether they were given up."""

    def __len__(self) -> int:
        """Transfers under way."""
        return len(self._transfers)

    def add(self, message: dict[str, Any]) -> bytes | None:
        """Take one slice, and return the packed message if that was the last.

        What still comes of a transfer that was given up is ignored.

        Raises:
            ChunkError: it is no slice, does not fit the others, or there would be too much. Nothing of its transfer
                is kept.
        """
        number = message[KEY]
        if not _is_count(number):
            raise ChunkError(f"a map with the key {KEY} is neither a slice nor a request that is known")
        if self._ended.get(number):
            return None
        try:
            return self._add(number, message)
        except ChunkError:
            self._end(number, given_up=True)
            raise

    def _add(self, number: int, message: dict[str, Any]) -> bytes | None:
        n, total, data = message.get("n"), message.get("total"), message.get("data")
        if not isinstance(data, bytes) or not _is_count(total) or not (_is_count(n) or _is_zero(n)):
            raise ChunkError(f"a slice of transfer {number} has no sound header")
        transfer = self._transfer(number, total)
        slices = transfer.slices
        if total != transfer.total or n >= total or n in slices:
            raise ChunkError(f"slice {n} of {total} does not fit transfer {number}, of {transfer.total} slices")
        if self.ordered and n != len(slices):
            raise ChunkError(f"slice {n} of transfer {number} came, and slice {len(slices)} never did")
        slices[n] = data
        transfer.size += len(data)
        self._cost += len(data) + _COST
        if transfer.size > self._max_size or self._cost > self._max_cost:
            raise ChunkError(f"transfer {number} passes the limit of {self._max_size} bytes")
        if len(slices) < total:
            return None
        self._end(number, given_up=False)
        return b"".join(map(slices.__getitem__, range(total)))

    def _transfer(self, number: int, total: int) -> _Transfer:
        if (transfer := self._transfers.get(number)) is not None:
            return transfer
        if number in self._ended:
            raise ChunkError(f"a slice of transfer {number}, which is complete")
        if total > self._max_size:
            raise ChunkError(f"transfer {number} claims {total} slices, more than a message may have bytes")
        if len(self._transfers) >= MAX_TRANSFERS:
            raise ChunkError(f"more than {MAX_TRANSFERS} transfers at a time")
        transfer = self._transfers[number] = _Transfer(total)
        return transfer

    def _end(self, number: int, *, given_up: bool) -> None:
        transfer = self._transfers.pop(number, None)
        if transfer is not None:
            self._cost -= transfer.size + _COST * len(transfer.slices)
        self._ended[number] = given_up
        if len(self._ended) > _REMEMBERED:
            del self._ended[next(iter(self._ended))]


class _Transfer:
    __slots__ = ("size", "slices", "total")

    def __init__(self, total: int) -> None:
        self.total = total
        self.slices: dict[int, bytes] = {}
        self.size = 0


def _is_count(value: object) -> TypeGuard[int]:
    return type(value) is int and value > 0


def _is_zero(value: object) -> TypeGuard[int]:
    return type(value) is int and value == 0
