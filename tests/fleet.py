"""Nodes of a fleet in one process, for the tests of backends."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from crosspeer import Hub
from crosspeer.sync import Relay, open_backend
from crosspeer.testing.contracts.harness import Recorder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from backplanes import Broker
    from crosspeer import History, Message, Peer
    from crosspeer.core.outgoing import Outgoing
    from crosspeer.core.presence import Attendee

WITHIN = 20.0


class Chat(Recorder):
    """Subscribes to the topics that the path names, and publishes what comes to the first of them."""

    def open(self, peer: Peer) -> None:
        for topic in peer.request.query_params.getlist("topic"):
            peer.subscribe(topic)
        super().open(peer)

    def message(self, peer: Peer, message: Message) -> None:
        peer.publish(peer.request.query_params["topic"], message.data)


def node(broker: Broker, **options: Any) -> Hub:
    return Hub(Chat(), sync=Relay(open_backend(broker.url), **options))


@asynccontextmanager
async def nodes(broker: Broker, count: int, **options: Any) -> AsyncIterator[list[Hub]]:
    hubs = [node(broker, **options) for _ in range(count)]
    try:
        for hub in hubs:
            assert hub.sync is not None
            await hub.sync.start()
            assert relay_of(hub).is_up
        yield hubs
    finally:
        for hub in hubs:
            await hub.close()


@asynccontextmanager
async def nodes_with(
    broker: Broker, count: int, hooks: Callable[[], Any], history: Mapping[str, History], **options: Any
) -> AsyncIterator[list[Hub]]:
    """Nodes whose topics have history."""
    hubs = [Hub(hooks(), history=history, sync=Relay(open_backend(broker.url), **options)) for _ in range(count)]
    try:
        for hub in hubs:
            assert hub.sync is not None
            await hub.sync.start()
            assert relay_of(hub).is_up
        yield hubs
    finally:
        for hub in hubs:
            await hub.close()


def relay_of(hub: Hub) -> Relay:
    assert isinstance(hub.sync, Relay)
    return hub.sync


async def until(true: Any) -> None:
    async with asyncio.timeout(WITHIN):
        while not true():
            await asyncio.sleep(0.01)


async def settled(*hubs: Hub) -> None:
    """Wait until what each node wants to receive is subscribed to at the backplane."""
    for hub in hubs:
        link = relay_of(hub)._link
        assert link is not None
        await until(lambda link=link: link._idle.is_set() and link._held == set(link._wanted))


class LonelySync:
    """A sync without other hubs: what is relayed is only remembered."""

    is_up = True
    peers_elsewhere = 0
    journal = None

    def __init__(self) -> None:
        self.relayed: list[tuple[str | None, str, str | bytes]] = []
        self.interests: list[tuple[str, str, bool]] = []

    def bind(self, hub: Hub) -> None:
        self.hub = hub

    def relay(self, namespace: str | None, topic: str, item: Outgoing) -> None:
        self.relayed.append((namespace, topic, item.data))

    def interest(self, namespace: str, topic: str, begun: bool) -> None:
        self.interests.append((namespace, topic, begun))

    def attend(self, namespace: str, topic: str, attendee: Attendee, present: bool) -> None:
        """There is nobody to tell."""

    def disconnect(self, target: str | Mapping[str, Any], code: int, reason: str) -> None:
        """There is nobody to tell."""

    def send_to(self, peer_id: str, item: Outgoing) -> None:
        """There is nobody to tell."""

    async def start(self) -> None:
        """There is nothing to connect to."""

    async def close(self) -> None:
        """Nor to disconnect from."""
