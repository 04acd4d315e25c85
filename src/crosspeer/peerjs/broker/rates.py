"""How often something may happen: for one client, and for an id or an address. Time comes in as an argument."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address
from typing import Final

MAX_BUCKETS: Final = 10_000
"""Ids or addresses that are remembered; the one that was quiet for longest is forgotten first."""


class Bucket:
    """A token bucket that what is refused does not cost."""

    __slots__ = ("_at", "_left", "_most", "_rate")

    def __init__(self, rate: float, most: float, now: float) -> None:
        self._rate = rate
        self._most = most
        self._left = most
        self._at = now

    def take(self, now: float) -> bool:
        """Take one out. False: there is none."""
        left = self._left + (now - self._at) * self._rate
        self._at = now
        if left > self._most:
            left = self._most
        if left < 1:
            self._left = left
            return False
        self._left = left - 1
        return True

    def has_one(self, now: float) -> bool:
        return self._left + (now - self._at) * self._rate >= 1


class Buckets:
    """A bucket for each key, of those that were used last."""

    def __init__(self, rate: float, most: float) -> None:
        self._rate = rate
        self._most = most
        self._buckets: dict[str, Bucket] = {}

    def take(self, key: str, now: float) -> bool:
        """Take one out of the key's bucket. False: there is none."""
        bucket = self._buckets.pop(key, None)
        if bucket is None:
            bucket = Bucket(self._rate, self._most, now)
            if len(self._buckets) >= MAX_BUCKETS:
                del self._buckets[next(iter(self._buckets))]
        self._buckets[key] = bucket
        return bucket.take(now)

    def has_one(self, key: str, now: float) -> bool:
        bucket = self._buckets.get(key)
        return bucket is None or bucket.has_one(now)

    def __len__(self) -> int:
        return len(self._buckets)


def address_key(address: str | None) -> str:
    """What counts as one address: an IPv4 address, or a network of 64 bits, which is what one customer gets of IPv6."""
    if address is None:
        return ""
    if ":" not in address:
        return address
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    return str(parsed.ipv4_mapped or parsed.exploded[:19])
