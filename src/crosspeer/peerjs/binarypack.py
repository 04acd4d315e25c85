"""BinaryPack, PeerJS's form of values: `binarypack.pack(value)` and `binarypack.unpack(data)`."""

from __future__ import annotations

from crosspeer.wire.binarypack import MAX_DEPTH, MAX_ITEMS, PackError, UnpackError, pack, unpack

__all__ = ["MAX_DEPTH", "MAX_ITEMS", "PackError", "UnpackError", "pack", "unpack"]
