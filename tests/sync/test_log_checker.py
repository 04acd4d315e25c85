"""A fleet whose backplane loses, doubles, fails and is cut off at random: what was heard is held against the log.

A failing seed is run again by its number: `pytest tests/sync/test_log_checker.py -k seed3`.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

import pytest

from crosspeer import History, Hub, Position
from crosspeer.sync import Relay, journal, link
from crosspeer.sync.memory import MemoryBackend, _buses
from crosspeer.testing import connect
from fleet import relay_of, until
from sync.test_logs import Room

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crosspeer.sync.port import Append, Ask, Page, Receive
    from crosspeer.testing.client import Client

NODES: Final = 3
CLIENTS: Final = 6
MESSAGES: Final = 240
HISTORY: Final = {"chat/*": History(size=10_000, bytes=1 << 30, seconds=3600, tagged=True)}


class Faulty(MemoryBackend):
    """A memory backend on a bad day."""

    def __init__(self, name: str, chance: random.Random) -> None:
        super().__init__(name)
        self._chance = chance
        self.is_bad = True
        self.is_away = False
        self._cut = asyncio.Event()

    def cut(self) -> None:
        self._cut.set()

    def _happens(self, probability: float) -> bool:
        return self.is_bad and self._chance.random() < probability

    def take(self, channel: str, data: bytes) -> None:
        for _ in range(2 if self._happens(0.02) else 0 if self._happens(0.05) else 1):
            super().take(channel, data)

    async def open(self, receive: Receive) -> None:
        if self.is_away:
            raise ConnectionError("away")
        self._cut = asyncio.Event()
        await super().open(receive)

    async def listen(self) -> None:
        await self._cut.wait()
        raise ConnectionError("cut")

    async def append(self, batch: Sequence[Append]) -> None:
        for new in batch:
            if self._happens(0.02):
                raise ConnectionError("before")
            await super().append([new])
            if self._happens(0.02):
                raise ConnectionError("and nobody knows whether it arrived")
            await asyncio.sleep(0)

    async def read(self, asks: Sequence[Ask]) -> list[Page | None]:
        await asyncio.sleep(0)
        pages = await super().read(asks)
        await asyncio.sleep(0.001 if self._happens(0.3) else 0)
        if self._happens(0.03):
            raise ConnectionError("the answer is lost")
        return pages


class Subscriber:
    """Someone who comes and goes, to whatever node, and brings its position along."""

    def __init__(self, hubs: list[Hub], chance: random.Random) -> None:
        self._hubs = hubs
        self._chance = chance
        self._position = ""
        self.segments: list[list[str]] = [[]]
        """What was heard, cut where it was told that something may be missing."""
        self.places: list[list[Position]] = [[]]
        self.is_over = False
        self.is_there = asyncio.Event()

    async def live(self) -> None:
        while not self.is_over:
            async with connect(self._chance.choice(self._hubs), f"/?since={self._position}") as client:
                await self._hear(client, self._chance.randint(1, 60))

    async def settle(self, last: set[str]) -> None:
        """Come once more, and stay until these have been heard."""
        async with connect(self._chance.choice(self._hubs), f"/?since={self._position}") as client:
            while not last <= {text for segment in self.segments for text in segment}:
                await self._hear(client, 1)

    async def _hear(self, client: Client, count: int) -> None:
        for _ in range(count):
            try:
                found = json.loads(await client.receive(timeout=0.2))
            except TimeoutError:
                return
            if isinstance(found, list):
                _, recovered, self._position, _ = found
                self.is_there.set()
                self._moved(recovered)
            elif "data" in found:
                self.segments[-1].append(found["data"])
                self._stand(found["position"])
            else:
                self._moved(found["recovered"])
                self._stand(found["position"])

    def _moved(self, recovered: bool) -> None:
        if not recovered:
            self.segments.append([])
            self.places.append([])

    def _stand(self, position: str) -> None:
        self._position = position
        place = Position.parse(position)
        assert place is not None
        self.places[-1].append(place)


def check(subscriber: Subscriber, log: list[str], epoch: str) -> None:
    """Nothing twice, nothing foreign, nothing missing that nobody told of, and in order."""
    index = {text: at for at, text in enumerate(log)}
    for segment, places in zip(subscriber.segments, subscriber.places, strict=True):
        twice = {text for text in segment if segment.count(text) > 1}
        assert not twice, [(text, place) for text, place in zip(segment, places, strict=False)]
        assert set(segment) <= set(log), "alien"
        for name in "012":
            heard = [text for text in segment if text.startswith(name)]
            published = [text for text in log if text.startswith(name)]
            start = published.index(heard[0]) if heard else 0
            assert heard == published[start : start + len(heard)], "lost or in another order, and nobody told"
        offsets: dict[str, list[int]] = defaultdict(list)
        for place in places:
            offsets[place.epoch].append(place.offset)
        for found in offsets.values():
            assert found == sorted(found), "the order of positions"
        if segment and set(offsets) == {epoch}:
            start = index[segment[0]]
            assert segment == log[start : start + len(segment)], "lost or not in the order of the log"


@pytest.mark.parametrize("seed", range(4), ids="seed{}".format)
async def test_every_loss_is_filled_or_told(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "CHECK_EVERY", 0.05)
    monkeypatch.setattr(journal, "PATIENCE", 0.1)
    monkeypatch.setattr(link, "SHORTEST_PAUSE", 0.005)
    monkeypatch.setattr(link, "LONGEST_PAUSE", 0.02)
    chance = random.Random(seed)
    name = f"checker-{seed}"
    backends = [Faulty(name, random.Random(f"{seed} {node}")) for node in range(NODES)]
    hubs = [Hub(Room(), history=HISTORY, sync=Relay(backend)) for backend in backends]
    # As long as somebody is connected, what the bus has stays.
    keeper = MemoryBackend(name)
    await keeper.open(lambda channel, data: None)
    for hub in hubs:
        assert hub.sync is not None
        await hub.sync.start()
    subscribers = [Subscriber(hubs, random.Random(f"{seed} {number}")) for number in range(CLIENTS)]
    try:
        async with asyncio.TaskGroup() as group:
            living = [group.create_task(subscriber.live()) for subscriber in subscribers]
            for number in range(MESSAGES):
                node = chance.randrange(NODES)
                hubs[node].publish("chat/1", f"{node} {number}", namespace="/")
                if chance.random() < 0.03:
                    backend = chance.choice(backends)
                    backend.is_away = chance.random() < 0.5
                    backend.cut()
                if chance.random() < 0.1:
                    for backend in backends:
                        backend.is_away = False
                await asyncio.sleep(chance.choice([0, 0, 0.001, 0.005]))
            for subscriber in subscribers:
                subscriber.is_over = True
            await asyncio.wait(living)
        for backend in backends:
            backend.is_bad = backend.is_away = False
        await until(lambda: all(relay_of(hub).is_up and not waiting(hub) for hub in hubs))
        last = {f"{node} {MESSAGES + node}" for node in range(NODES)}
        async with asyncio.timeout(15), asyncio.TaskGroup() as group:
            for subscriber in subscribers:
                subscriber.is_there.clear()
                group.create_task(subscriber.settle(last))
                await subscriber.is_there.wait()
            for text in sorted(last):
                hubs[int(text[0])].publish("chat/1", text, namespace="/")
        page = stored(name, hubs[0])
        log = [text_of(data) for _, data in page.entries]
        assert len(log) == MESSAGES + NODES, "each is in the log, once"
        for subscriber in subscribers:
            check(subscriber, log, page.epoch)
        assert (
            sum(len(segment) for subscriber in subscribers for segment in subscriber.segments) > CLIENTS * MESSAGES / 2
        )
    finally:
        for hub in hubs:
            await hub.close()
        await keeper.close()


def waiting(hub: Hub) -> Any:
    known = relay_of(hub)._journal
    assert known is not None
    return known._backlog


def stored(name: str, hub: Hub) -> Any:
    """The whole log, as the bus has it."""
    return _buses[name].logs._logs[relay_of(hub)._channel("/", "chat/1")].read(0)


def text_of(data: bytes) -> str:
    return data.rpartition(b"chat/1")[2].decode()
