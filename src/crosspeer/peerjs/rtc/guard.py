"""What aiortc would let the other side do, and is stopped here: loops without end, errors that kill a task of its own,
and memory without a bound. Whoever gets this far has been accepted as a peer, and need not be honest.
"""

from __future__ import annotations

import logging
import struct
from typing import Any, Final

logger = logging.getLogger("crosspeer.peerjs")

HEADER: Final = 12
"""Bytes of an SCTP packet before its first chunk (RFC 9260 section 3.1)."""
SACK: Final = 3
PARAMETERS: Final = {1: 16, 2: 16, 4: 0, 5: 0, 6: 0, 9: 0, 130: 0}
"""The chunks that aiortc reads parameters of, and where these begin: INIT, its answer, HEARTBEAT, its answer, ABORT,
ERROR, RE-CONFIG."""
MAX_GAPS: Final = 0x1_0000
"""Numbers that all gap blocks of a SACK may cover: they ascend and do not overlap (section 3.3.4)."""
WINDOW_SLACK: Final = 1024 * 1024
"""Bytes that a side may send beyond the window that it was granted, an equal one, before it is cut off."""
MAX_WAITING: Final = 16_384
"""Chunks that may wait for what was sent before them. A window full of chunks of 64 bytes is as many."""
_LOOK_EVERY: Final = 256


class SctpGuard:
    """Stands before an SCTP transport. An association that is no good any more is ended, and so are its channels.

    Args:
        transport: aiortc's `RTCSctpTransport`.
    """

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._take = transport._handle_data
        self._packets = 0
        transport._handle_data = self.take

    async def take(self, packet: bytes) -> None:
        """Handle a packet that has come out of DTLS."""
        if not is_harmless(packet):
            return
        try:
            await self._take(packet)
        except ConnectionError:
            # DTLS itself has ended.
            raise
        except Exception as error:
            logger.debug("an SCTP packet that aiortc does not understand", exc_info=error)
            await self._transport.stop()
            return
        if self._holds_too_much():
            logger.debug("the other side sends more than it was granted")
            await self._transport.stop()

    def _holds_too_much(self) -> bool:
        transport = self._transport
        if transport._advertised_rwnd < -WINDOW_SLACK:
            return True
        self._packets += 1
        if self._packets % _LOOK_EVERY:
            return False
        waiting = sum(len(stream.reassembly) for stream in transport._inbound_streams.values())
        return max(waiting, len(transport._sack_misordered)) > MAX_WAITING


def is_harmless(packet: bytes) -> bool:
    """Whether aiortc reads an SCTP packet in a time that its size explains."""
    place = HEADER
    while place + 4 <= len(packet):
        kind, length = packet[place], int.from_bytes(packet[place + 2 : place + 4], "big")
        stop = place + length
        if length < 4 or stop > len(packet):
            # It refuses this one itself, and reads no further.
            return True
        if kind == SACK:
            if not _ascends(packet[place + 4 : stop]):
                return False
        elif kind in PARAMETERS and not _advances(packet[place + 4 + PARAMETERS[kind] : stop]):
            return False
        place = stop + -length % 4
    return True


def _advances(parameters: bytes) -> bool:
    """Whether each parameter has a length, so that there is a next one."""
    place = 0
    while place + 4 <= len(parameters):
        length = int.from_bytes(parameters[place + 2 : place + 4], "big")
        if not length:
            return False
        place += length + -length % 4
    return True


def _ascends(body: bytes) -> bool:
    """Whether the gap blocks of a SACK cover no more numbers than there are."""
    count = int.from_bytes(body[8:10], "big")
    if not count or 12 + 4 * count > len(body):
        # None, or so many that it fails to read them.
        return True
    limits = struct.unpack_from(f"!{2 * count}H", body, 12)
    covered: int = sum(last - first + 1 for first, last in zip(limits[::2], limits[1::2], strict=True))
    return covered <= MAX_GAPS
