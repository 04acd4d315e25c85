"""The history checker finds each kind of violation, and nothing where all is well."""

from __future__ import annotations

import pytest

from faults.checker import Came, Checker, Entry, Heard, Kind, Log, Moved, Published, Stream, Told, check

ADA = Stream("ada", 1)
AGAIN = Stream("ada", 2)
BOB = Stream("bob", 1)


def said(stream: Stream, count: int = 10, topic: str = "live", **options: object) -> Published:
    values: dict[str, object] = {"begun": 100.0, "attempted": count, "confirmed": count}
    return Published(topic, stream, **(values | options))  # type: ignore[arg-type]


def heard(stream: Stream, *numbers: int) -> list[Entry]:
    return [Heard(stream, number) for number in numbers]


def placed(stream: Stream, *pairs: tuple[int, int], epoch: str = "e") -> list[Entry]:
    """Messages by number and offset."""
    return [Heard(stream, number, epoch, offset) for number, offset in pairs]


def kinds(published: list[Published], *logs: Log, with_history: tuple[str, ...] = ()) -> list[Kind]:
    return [violation.kind for violation in check(published, logs, with_history)]


def live(*entries: Entry, left: bool = False) -> Log:
    return Log("cem", "live", [Came(0.0), *entries], left)


def kept(subscriber: str, *entries: Entry, left: bool = False) -> Log:
    return Log(subscriber, "kept", [Came(0.0), *entries], left)


# Topics without history.


def test_all_is_well() -> None:
    published = [said(ADA), said(BOB, 3)]
    assert kinds(published, live(*heard(ADA, 0, 1, 2, 3), *heard(BOB, 0, 1, 2), *heard(ADA, *range(4, 10)))) == []


def test_streams_are_ordered_each_for_itself() -> None:
    """What was published on the old node may come after what was published on the new one."""
    published = [said(ADA, 3), said(AGAIN, 3)]
    assert kinds(published, live(*heard(ADA, 0), *heard(AGAIN, 0, 1), *heard(ADA, 1, 2), *heard(AGAIN, 2))) == []


@pytest.mark.parametrize(
    ("kind", "entries"),
    [
        ("double", heard(ADA, *range(10), 9)),
        ("double", heard(ADA, 0, 1, 2, 1, *range(3, 10))),
        ("disorder", heard(ADA, 0, 1, 2, 4, 3, *range(5, 10))),
        ("untold gap", heard(ADA, 0, 1, *range(3, 10))),
        ("untold gap", heard(ADA, *range(2, 10))),
        ("invented", [*heard(ADA, *range(10)), *heard(ADA, 10)]),
        ("invented", [*heard(ADA, *range(10)), *heard(BOB, 0)]),
        ("loss", heard(ADA, *range(9))),
        ("loss", []),
    ],
)
def test_each_kind_is_found(kind: Kind, entries: list[Entry]) -> None:
    assert kind in kinds([said(ADA)], live(*entries))


def test_a_double_is_one_on_the_same_connection() -> None:
    assert "double" in kinds([said(ADA)], live(*heard(ADA, *range(10)), Told(200.0), *heard(ADA, 9)))
    assert kinds([said(ADA)], live(*heard(ADA, *range(10)), Came(200.0), *heard(ADA, 8, 9))) == []
    again = [*placed(ADA, (0, 1), (1, 2), (2, 3)), Came(200.0), *placed(ADA, (2, 3))]
    assert "double" in kinds([said(ADA, 3, "kept")], kept("cem", *again), with_history=HISTORY)


def test_a_gap_behind_a_telling_or_a_new_connection_is_told() -> None:
    for between in (Told(200.0), Came(200.0)):
        assert kinds([said(ADA)], live(*heard(ADA, 0, 1), between, *heard(ADA, *range(5, 10)))) == []
        assert kinds([said(ADA)], live(*heard(ADA, 0, 1), between)) == []


def test_a_telling_covers_one_gap_only() -> None:
    entries = [*heard(ADA, 0, 1), Told(200.0), *heard(ADA, 4), *heard(ADA, *range(6, 10))]
    assert kinds([said(ADA)], live(*entries)) == ["untold gap"]


def test_the_end_of_a_broken_stream_is_in_doubt_and_its_middle_is_not() -> None:
    broken = [said(ADA, broken=True, confirmed=8)]
    assert kinds(broken, live(*heard(ADA, *range(6)))) == []
    assert kinds(broken, live(*heard(ADA, 0, 1, *range(4, 8)))) == ["untold gap"]


def test_what_was_not_confirmed_may_be_missing_at_the_end() -> None:
    assert kinds([said(ADA, confirmed=7)], live(*heard(ADA, *range(7)))) == []
    assert kinds([said(ADA, confirmed=8)], live(*heard(ADA, *range(7)))) == ["loss"]


def test_who_comes_late_hears_what_is_said_from_then_on() -> None:
    late = Log("cem", "live", [Came(99.5), *heard(ADA, *range(3, 10))])
    assert kinds([said(ADA)], late) == []
    assert kinds([said(ADA)], Log("cem", "live", [Came(99.5)])) == [], "it may not have held before all was said"


def test_a_publisher_does_not_hear_itself() -> None:
    assert kinds([said(ADA)], Log("ada", "live", [Came(0.0)])) == []


def test_who_has_left_misses_nothing() -> None:
    assert kinds([said(ADA)], live(*heard(ADA, 0), left=True)) == []


# Topics with history.

HISTORY = ("kept",)


def test_one_log_for_all_whoever_comes_back_where() -> None:
    published = [said(ADA, 3, "kept"), said(BOB, 2, "kept")]
    first = [*placed(ADA, (0, 1)), *placed(BOB, (0, 2))]
    rest = [*placed(ADA, (1, 3), (2, 4)), *placed(BOB, (1, 5))]
    logs = [
        kept("cem", *first, *rest),
        kept("dora", *first, Came(200.0, whole=True), *rest),
        Log("eve", "kept", [Came(99.5), *rest]),
    ]
    assert kinds(published, *logs, with_history=HISTORY) == []


@pytest.mark.parametrize(
    ("kind", "entries"),
    [
        ("untold gap", placed(ADA, (0, 1), (2, 3))),
        ("untold gap", [*placed(ADA, (0, 1)), Came(200.0, whole=True), *placed(ADA, (2, 3))]),
        ("untold gap", [*placed(ADA, (0, 1)), Moved(200.0, True, "e", 2), *placed(ADA, (2, 3))]),
        ("untold gap", [*placed(ADA, (0, 1)), Moved(200.0, False, "e", 1), *placed(ADA, (2, 3))]),
        ("untold gap", [Came(1.0, False, "e", 1), *placed(ADA, (2, 3))]),
        ("untold gap", [*placed(ADA, (0, 1)), *placed(ADA, (1, 2), (2, 3), epoch="f")]),
        ("disorder", placed(ADA, (1, 2), (0, 1), (2, 3))),
        ("disorder", [*placed(ADA, (1, 1), (0, 2)), *placed(ADA, (2, 3))]),
        ("disorder", [*placed(ADA, (0, 1), (1, 2)), Moved(200.0, True, "e", 3), *placed(ADA, (2, 3))]),
        ("double", [*placed(ADA, (0, 1), (1, 2)), Came(200.0, whole=True), *placed(ADA, (1, 2), (2, 3))]),
        ("double", [*placed(ADA, (0, 1), (1, 2), (2, 3)), *placed(ADA, (2, 4))]),
        ("invented", placed(ADA, (0, 1), (1, 2), (2, 3), (3, 4))),
        ("loss", placed(ADA, (0, 1), (1, 2))),
        ("loss", [*placed(ADA, (0, 1)), Came(200.0, whole=True)]),
        ("loss", []),
    ],
)
def test_each_kind_is_found_by_positions(kind: Kind, entries: list[Entry]) -> None:
    well = kept("cem", *placed(ADA, (0, 1), (1, 2), (2, 3)))
    assert kind in kinds([said(ADA, 3, "kept")], well, kept("dora", *entries), with_history=HISTORY)


def test_a_gap_that_is_told_is_none() -> None:
    well = kept("cem", *placed(ADA, (0, 1), (1, 2), (2, 3)))
    tellings: list[Entry] = [Told(200.0), Came(200.0), Came(200.0, False, "e", 2), Moved(200.0, False, "e", 2)]
    for between in tellings:
        gap = kept("dora", *placed(ADA, (0, 1)), between, *placed(ADA, (2, 3)))
        assert kinds([said(ADA, 3, "kept")], well, gap, with_history=HISTORY) == []
    new = kept("dora", *placed(ADA, (0, 1)), Moved(200.0, False, "e", 3))
    assert kinds([said(ADA, 3, "kept")], well, new, with_history=HISTORY) == []


def test_a_node_that_is_apart_has_an_epoch_of_its_own_and_comes_back() -> None:
    """Its own messages early, then those of the others: all of them once, and from then on as everybody has them."""
    published = [said(ADA, 4, "kept"), said(BOB, 2, "kept")]
    alone = [*placed(ADA, (0, 1)), *placed(ADA, (1, 1), (2, 2), epoch="f"), *placed(BOB, (0, 3), (1, 4), epoch="f")]
    back = [Moved(200.0, True, "e", 5), *placed(ADA, (3, 6))]
    others = [*placed(ADA, (0, 1)), *placed(BOB, (0, 2), (1, 3)), *placed(ADA, (1, 4), (2, 5), (3, 6))]
    assert kinds(published, kept("cem", *alone, *back), kept("dora", *others), with_history=HISTORY) == []
    missed = [entry for entry in alone if entry != Heard(BOB, 0, "f", 3)]
    found = kinds(published, kept("cem", *missed, *back), kept("dora", *others), with_history=HISTORY)
    assert found.count("untold gap") == 2, "by the stream, and by the position"


def test_a_log_that_was_lost_and_begun_anew_has_another_epoch() -> None:
    anew: list[Entry] = [*placed(ADA, (0, 1)), Told(200.0), *placed(ADA, (1, 1), (2, 2), epoch="f")]
    assert kinds([said(ADA, 3, "kept")], kept("cem", *anew), kept("dora", *anew), with_history=HISTORY) == []
    stays = kept("dora", *placed(ADA, (0, 1)))
    found = kinds([said(ADA, 3, "kept")], kept("cem", *anew), kept("eve", *anew), stays, with_history=HISTORY)
    assert set(found) == {"loss"}


def test_offsets_with_holes_may_jump_over_what_nobody_has_heard() -> None:
    published = [said(ADA, 3, "kept")]
    well = kept("cem", *placed(ADA, (0, 2), (1, 3), (2, 9)))
    assert check(published, [well], HISTORY, has_holes=True) == []
    assert "untold gap" in kinds(published, well, with_history=HISTORY)
    late = Log("dora", "kept", [Came(99.5), *placed(ADA, (0, 2)), Moved(200.0, False, "e", 2), *placed(ADA, (2, 9))])
    (violation,) = check(published, [well, late], HISTORY, has_holes=True)
    assert str(violation) == "untold gap: dora in kept: e:9 came after 2, and others heard 3"


def test_two_nodes_that_number_for_themselves_are_found() -> None:
    logs = [kept("cem", *placed(ADA, (0, 1), (1, 2))), kept("dora", *placed(ADA, (1, 1)))]
    assert "disorder" in kinds([said(ADA, 2, "kept")], *logs, with_history=HISTORY)


def test_what_was_confirmed_is_due_even_if_its_publisher_was_lost() -> None:
    logs = [kept("cem", *placed(ADA, (0, 1), (1, 2)))]
    broken = said(ADA, 4, "kept", broken=True, confirmed=3)
    assert kinds([broken], *logs, with_history=HISTORY) == ["loss"]
    assert kinds([said(ADA, 4, "kept", broken=True, confirmed=2)], *logs, with_history=HISTORY) == []


def test_deliveries_and_tellings_are_counted() -> None:
    checker = Checker([said(ADA, 3)])
    checker.add(live(*heard(ADA, 0, 1), Told(200.0), *heard(ADA, 2)))
    assert (checker.deliveries, checker.tellings) == (3, 1)
    assert checker.violations() == []


def test_a_violation_says_what_and_where() -> None:
    (violation,) = check([said(ADA)], [live(*heard(ADA, *range(10), 9))])
    assert str(violation) == "double: cem in live: ada/1 number 9 came twice"
