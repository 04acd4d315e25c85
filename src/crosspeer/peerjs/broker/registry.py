"""Who is registered, under which id."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from crosspeer.core.session import ReadyState
from crosspeer.peerjs.broker.rates import Bucket

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crosspeer.core.peer import Peer
    from crosspeer.peerjs.broker.limits import BrokerLimits


def is_open(peer: Peer) -> bool:
    """Whether a connection is open and not about to end."""
    return peer._session.state == ReadyState.OPEN


class Client:
    """A registered id. Its connection may change, when the same client comes again with the same token."""

    __slots__ = (
        "address",
        "contacts",
        "id",
        "is_registered",
        "others",
        "peer",
        "refusals",
        "relays",
        "strangers",
        "token",
    )

    def __init__(self, id: str, token: str, address: str, peer: Peer) -> None:
        self.id = id
        self.token = token
        """What the client came with, and has to come with again."""
        self.address = address
        """Where it comes from; of an IPv6 address the network."""
        self.peer = peer
        """Its connection."""
        self.is_registered = True
        """False once it has left, whether or not its connection has ended."""
        self.refusals = 0
        """Messages of this connection that were answered with ERROR."""
        self.contacts: dict[str, float] | None = None
        """With whom it has exchanged something, and when; the latest last. None: it has been quiet."""
        self.relays: Bucket | None = None
        self.strangers: Bucket | None = None
        self.others: Bucket | None = None

    def send(self, message: Any) -> None:
        """Send it a message: a JSON object, or text that is one."""
        self.peer.send(message)

    @property
    def is_reachable(self) -> bool:
        """Whether its connection is open and not about to end."""
        return is_open(self.peer)

    def met(self, other: str, now: float, since: float) -> None:
        """Note an exchange, and forget those before `since`."""
        contacts = self.contacts
        if contacts is None:
            self.contacts = {other: now}
            return
        before = contacts.get(other)
        if before is not None:
            if now - before < 1.0:
                # A call is many messages at once: one note is enough.
                return
            del contacts[other]
        contacts[other] = now
        # Two at a time is enough: the number of old ones only falls.
        for _ in range(2):
            oldest = next(iter(contacts))
            if contacts[oldest] >= since:
                return
            del contacts[oldest]

    def knows(self, other: str, since: float) -> bool:
        """Whether there was an exchange since then."""
        return self.contacts is not None and self.contacts.get(other, since) > since

    def may_relay(self, limits: BrokerLimits, now: float) -> bool:
        if self.relays is None:
            self.relays = Bucket(limits.relay_rate, limits.relay_burst, now)
        return self.relays.take(now)

    def may_meet(self, limits: BrokerLimits, now: float) -> bool:
        if self.strangers is None:
            self.strangers = Bucket(limits.strangers_per_minute / 60, limits.strangers_burst, now)
        return self.strangers.take(now)

    def may_say_more(self, limits: BrokerLimits, now: float) -> bool:
        if self.others is None:
            self.others = Bucket(limits.other_rate, limits.other_burst, now)
        return self.others.take(now)

    def __repr__(self) -> str:
        return f"<Client {self.id!r}>"


class Registry:
    """All registered clients, in the order of their registration."""

    def __init__(self) -> None:
        self._clients: dict[str, Client] = {}
        self._of_address: Counter[str] = Counter()
        self.get = self._clients.get
        """The client of an id, None if nobody has it."""

    def add(self, client: Client) -> None:
        self._clients[client.id] = client
        self._of_address[client.address] += 1

    def remove(self, client: Client) -> bool:
        """Take a client out. False: it was not in any more."""
        if not client.is_registered:
            return False
        client.is_registered = False
        del self._clients[client.id]
        self._of_address[client.address] -= 1
        if not self._of_address[client.address]:
            del self._of_address[client.address]
        return True

    def at_address(self, address: str) -> int:
        """How many clients come from an address."""
        return self._of_address[address]

    def __contains__(self, id: object) -> bool:
        return id in self._clients

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._clients))

    def __len__(self) -> int:
        return len(self._clients)
