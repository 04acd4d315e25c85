"""BinaryPack: how PeerJS writes values on its data channels. MessagePack's cousin, with strings and binary of its own.

The bytes are those of the npm package `peerjs-js-binarypack` 2.1, but where its writer or its reader is wrong: this
writer chooses a form that JavaScript reads exactly, and this reader takes the bytes at their word.
"""

from __future__ import annotations

from crosspeer.wire.binarypack.choose import pack, unpack
from crosspeer.wire.binarypack.pack import PackError
from crosspeer.wire.binarypack.tags import MAX_DEPTH, MAX_ITEMS
from crosspeer.wire.binarypack.unpack import UnpackError

__all__ = ["MAX_DEPTH", "MAX_ITEMS", "PackError", "UnpackError", "pack", "unpack"]
