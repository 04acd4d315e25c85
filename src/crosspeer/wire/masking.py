"""The mask of a client's frames (RFC 6455 section 5.3): in C where `websockets` brings it, else in Python."""

from __future__ import annotations


def unmask_slowly(payload: bytes | bytearray, key: bytes | bytearray) -> bytes:
    """Apply a masking key of four bytes, as one long integer: the fastest that Python has by itself."""
    size = len(payload)
    if not any(key):
        return bytes(payload)
    pad = bytes(key) * (size // 4 + 1)
    return (int.from_bytes(payload, "big") ^ int.from_bytes(pad[:size], "big")).to_bytes(size, "big")


try:
    from websockets.speedups import apply_mask as unmask
except ImportError:  # there is no wheel of it for this platform
    unmask = unmask_slowly  # type: ignore[assignment]

__all__ = ["unmask", "unmask_slowly"]
