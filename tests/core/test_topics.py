"""The topic index against a model, and the rules of names."""

from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crosspeer import Hub, LimitExceeded, Limits, define_hooks
from crosspeer.core.topics import Topics, check_topic
from crosspeer.testing import connect

names = st.sampled_from("abc")
steps = st.lists(st.tuples(st.booleans(), names, names, st.integers(0, 4)), max_size=60)


@given(steps)
def test_the_index_is_a_set_of_subscribers_and_forgets_what_is_empty(steps: list[tuple[bool, str, str, int]]) -> None:
    topics, model = Topics(), defaultdict[tuple[str, str], list[int]](list)
    for add, namespace, topic, who in steps:
        members = model[namespace, topic]
        if add:
            topics.add(namespace, topic, who)  # type: ignore[arg-type]
            if who not in members:
                members.append(who)
        else:
            topics.discard(namespace, topic, who)  # type: ignore[arg-type]
            if who in members:
                members.remove(who)
    for (namespace, topic), members in model.items():
        assert list(topics.of(topic, namespace)) == members
    for topic in "abc":
        everyone = sorted(who for group in topics.everywhere(topic) for who in group)  # type: ignore[type-var]
        assert everyone == sorted(who for (_, name), members in model.items() if name == topic for who in members)
    assert len(topics) == len({topic for (_, topic), members in model.items() if members})


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("", ValueError),
        ("a\nb", ValueError),
        ("a\x00", ValueError),
        ("\x7f", ValueError),
        ("\ud800", ValueError),
        ("x" * 256, LimitExceeded),
        ("ü" * 128, LimitExceeded),
        (b"bytes", TypeError),
        (None, TypeError),
    ],
)
def test_what_is_no_topic(name: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        check_topic(name, 255)


@pytest.mark.parametrize("name", ["x" * 255, "ü" * 127, "rooms/lobby", "__proto__", "__class__", "a b", "*", ".."])
def test_plain_names_are_plain(name: str) -> None:
    check_topic(name, 255)


async def test_a_topic_too_many_is_the_callers_error_and_harms_nobody() -> None:
    errors = []

    def message(peer, message) -> None:  # type: ignore[no-untyped-def]
        try:
            peer.subscribe(message.text())
        except LimitExceeded as error:
            errors.append(str(error))
        peer.send(len(peer.topics))

    hub = Hub(define_hooks(message=message), limits=Limits(max_topics=2))
    async with connect(hub) as client:
        for topic, count in (("a", 1), ("b", 2), ("c", 2), ("a", 2)):
            await client.send(topic)
            assert await client.receive() == str(count)
    assert len(errors) == 1
    assert "max_topics" in errors[0]
