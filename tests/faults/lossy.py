"""A UDP relay between two ends of a WebRTC link, which loses datagrams: the twin of `faults.proxy`."""

from __future__ import annotations

import asyncio
import random
import re
from typing import Any, Final, cast

CANDIDATE: Final = re.compile(r"candidate:(\S+) 1 udp (\d+) (\d+\.\d+\.\d+\.\d+) (\d+) typ host", re.IGNORECASE)
"""A way to a UDP socket of this machine over IPv4."""


class Leg(asyncio.DatagramProtocol):
    """What one end takes for the other."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self.other: Leg | None = None
        self.transport: asyncio.DatagramTransport | None = None
        self.end: tuple[str, int] | None = None
        """The address of the end that talks to this leg."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # asyncio's own is none by its class, before Python 3.12.
        self.transport = cast("asyncio.DatagramTransport", transport)

    @property
    def address(self) -> tuple[str, int]:
        assert self.transport is not None
        address: tuple[str, int] = self.transport.get_extra_info("sockname")
        return address

    def datagram_received(self, data: bytes, source: Any) -> None:
        other = self.other
        assert other is not None
        # Other sockets of the same end are not relayed: answers to them would come from nowhere.
        if tuple(source[:2]) == self.end and other.end is not None and self._relay.passes():
            assert other.transport is not None
            other.transport.sendto(data, other.end)


class Relay:
    """Both legs. Datagrams are lost by a pattern that follows from the seed."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self.loss = 0.0
        """The share that is lost."""
        self.passed = self.dropped = 0
        self.here, self.there = Leg(self), Leg(self)
        self.here.other, self.there.other = self.there, self.here

    def passes(self) -> bool:
        is_lost = self._chance.random() < self.loss
        self.dropped += is_lost
        self.passed += not is_lost
        return not is_lost

    async def way(self, leg: Leg, text: str) -> str | None:
        """A candidate of the end at this leg as the other end is to know it; None: it is not to know it.

        Of all ways the first one is taken, and leads through the relay.
        """
        found = CANDIDATE.search(text)
        if found is None or leg.end is not None:
            return None
        leg.end = (found[3], int(found[4]))
        other = leg.other
        assert other is not None
        loop = asyncio.get_running_loop()
        for each in (leg, other):
            if each.transport is None:
                await loop.create_datagram_endpoint(lambda each=each: each, local_addr=(found[3], 0))
        host, port = other.address
        return f"{text[: found.start(3)]}{host} {port}{text[found.end(4) :]}"

    async def description(self, leg: Leg, sdp: str) -> str:
        """A description of the end at this leg, with its candidates as above."""
        lines = []
        for line in sdp.splitlines():
            if not line.startswith("a=candidate:"):
                lines.append(line)
            elif (way := await self.way(leg, line)) is not None:
                lines.append(way)
        return "\r\n".join([*lines, ""])

    def close(self) -> None:
        for leg in (self.here, self.there):
            if leg.transport is not None:
                leg.transport.close()
