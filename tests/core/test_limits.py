from __future__ import annotations

import dataclasses

import pytest

from crosspeer import Limits


def test_the_defaults_are_the_documented_ones() -> None:
    assert dataclasses.asdict(Limits()) == {
        "max_message_size": 1024 * 1024,
        "max_waiting_messages": 16,
        "max_queue_size": 1024 * 1024,
        "overflow": "close",
        "max_topics": 128,
        "max_topic_length": 255,
        "max_connections": 65_536,
        "max_memory": None,
        "handshake_timeout": 10.0,
        "ping_interval": 20.0,
        "ping_timeout": 10.0,
        "close_timeout": 5.0,
    }


def test_limits_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Limits().max_topics = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_message_size": 0},
        {"max_message_size": -1},
        {"max_message_size": 1.5},
        {"max_topics": True},
        {"max_topics": None},
        {"close_timeout": 0},
        {"close_timeout": "5"},
        {"ping_timeout": None},
        {"ping_timeout": float("nan")},
        {"overflow": "explode"},
    ],
)
def test_a_wrong_limit_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Limits(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["max_connections", "max_memory", "ping_interval"])
def test_some_limits_can_be_switched_off(name: str) -> None:
    assert getattr(Limits(**{name: None}), name) is None  # type: ignore[arg-type]
