"""Who has which id elsewhere: right in the end, whatever the backplane loses, doubles or delivers late."""

from __future__ import annotations

import random

import pytest

from crosspeer.peerjs import BrokerLimits
from crosspeer.peerjs.broker.directory import MAX_NODES, Directory, Entry, wins
from crosspeer.peerjs.broker.flights import Flights
from crosspeer.peerjs.broker.log import Log, digest_of
from crosspeer.peerjs.broker.room import Room

A, B, C = b"a" * 16, b"b" * 16, b"c" * 16


def entry(stamp: int, token: str = "t") -> Entry:
    return Entry(stamp, digest_of("id", token))


@pytest.mark.parametrize("seed", range(30))
def test_logs_of_two_nodes_arrive_somehow_and_are_right_in_the_end(seed: int) -> None:
    dice = random.Random(seed)
    directory = Directory()
    logs = {node: Log(lambda: 0.0) for node in (A, B)}
    under_way: list[tuple[bytes, int, str, Entry | None]] = []
    for node in logs:
        assert directory.meet(node)
    for _ in range(200):
        node = dice.choice((A, B))
        log = logs[node]
        id = f"id{dice.randrange(20)}"
        if id in log.entries:
            log.leave(id)
            under_way.append((node, log.number, id, None))
        else:
            made = Entry(log.stamp(), digest_of(id, dice.choice("xy")))
            log.join(id, made)
            under_way.append((node, log.number, id, made))
        while under_way and dice.random() < 0.6:
            at = 0 if dice.random() < 0.8 else dice.randrange(len(under_way))
            node, number, id, joined = under_way[at] if dice.random() < 0.1 else under_way.pop(at)
            if dice.random() < 0.05:
                continue
            if joined is None:
                directory.left(node, number, id)
            else:
                directory.joined(node, number, id, joined)
    for node, log in logs.items():
        directory.has_no_answer(node)
        if directory.has_to_ask(node, log.number):
            assert not directory.has_to_ask(node, log.number), "once is enough"
            rows = list(log.entries.items())
            half = len(rows) // 2
            assert directory.replace(node, log.number, 0, 2, dict(rows[:half])) == []
            directory.replace(node, log.number, 1, 2, dict(rows[half:]))
        assert not directory.is_behind(node)
    expected = logs[A].entries.keys() | logs[B].entries.keys()
    assert {id for id, _ in directory} == expected
    for id in expected:
        found = directory.find(id)
        holders = [(node, log.entries[id]) for node, log in logs.items() if id in log.entries]
        assert found in holders
        assert found is not None
        assert all(other == found or wins(found[1], found[0], other[1], other[0]) for other in holders)
    directory.drop(A)
    assert {id for id, _ in directory} == logs[B].entries.keys()
    directory.drop(B)
    assert (len(directory), directory._size, directory.nodes) == (0, 0, set())


def test_who_wins_is_the_same_on_both_sides() -> None:
    for one, other, expected in (
        (entry(1), entry(2, "other"), True),
        (entry(2), entry(1, "other"), False),
        (entry(1), entry(2), False),
        (entry(2), entry(1), True),
        (entry(1), entry(1, "other"), True),
        (entry(1), entry(1), False),
    ):
        assert wins(one, A, other, B) is expected
        assert wins(other, B, one, A) is not expected


def test_parts_of_another_number_or_out_of_order_are_no_answer() -> None:
    directory = Directory()
    directory.meet(A)
    assert directory.has_to_ask(A, 5)
    assert directory.replace(A, 5, 1, 2, {"x": entry(1)}) == []
    assert directory.replace(A, 5, 0, 2, {"x": entry(1)}) == []
    assert directory.replace(A, 6, 1, 2, {"y": entry(1)}) == []
    assert directory.replace(A, 5, 3, 2, {"y": entry(1)}) == []
    assert directory.is_behind(A)
    assert directory.replace(A, 5, 1, 2, {"y": entry(2)}) == ["x", "y"]
    assert not directory.is_behind(A)
    assert directory.replace(A, 4, 0, 1, {}) == [], "from before"
    assert len(directory) == 2


def test_what_others_make_it_remember_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crosspeer.peerjs.broker.directory.MAX_IDS", 10)
    directory = Directory()
    for number in range(MAX_NODES + 10):
        directory.meet(number.to_bytes(16, "big"))
    assert len(directory.nodes) == MAX_NODES
    node = (0).to_bytes(16, "big")
    for number in range(20):
        directory.joined(node, number + 1, f"id{number}", entry(number))
    assert len(directory) == 10
    assert directory.replace(node, 30, 0, 1, {f"id{number}": entry(number) for number in range(20)}) == []
    assert not directory.joined(b"nobody that is known", 1, "a", entry(1))
    assert not directory.has_to_ask(b"nobody that is known", 9)


def test_stamps_only_grow_whatever_the_clock_does() -> None:
    times = iter([10.0, 5.0, 5.0, 20.0])
    log = Log(lambda: next(times))
    ten, twenty = 10_000_000, 20_000_000
    assert [log.stamp(), log.stamp(), log.stamp(after=twenty), log.stamp()] == [ten, ten + 1, twenty + 1, twenty + 2]


def test_flights_end_once_and_only_where_they_went() -> None:
    room = Room(BrokerLimits())
    flights = Flights(room, 5.0)

    def start(src: str, dst: str, now: float) -> int:
        message = room.take(src, "OFFER", "x" * 100)
        assert message is not None
        return flights.start(A, entry(1), dst, message, now)

    first, second, third = start("s", "d", 0.0), start("s", "e", 1.0), start("s", "d", 4.0)
    assert flights.end(B, first) is None, "another node's word for it"
    assert flights.end(A, second) is not None
    assert flights.end(A, second) is None
    assert (flights.due(), flights.expire(4.9)) == (5.0, [])
    assert flights.expire(5.0) == [("d", "s")], "with what followed it between the two"
    assert flights.end(A, third) is None
    assert (flights.due(), len(flights), room.messages, room.size) == (None, 0, 0, 0)
