"""Words of brokers: what is not exactly right is refused, whatever it is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from crosspeer.wire.brokers import MAX_NUMBER, ROWS, SHAPES, BadWord, read_relayed, read_rows, read_word
from crosspeer.wire.peerjs import relayed

DIGEST = "0123456789abcdef" * 2
WORDS: list[list[Any]] = [
    ["here", 7],
    ["ask"],
    ["ids", 7, 0, 1, [["alice", 1, DIGEST]]],
    ["join", 7, "alice", 1, DIGEST],
    ["left", 8, "alice"],
    ["claim", 1, "alice", 1, DIGEST],
    ["yes", 1, 0],
    ["no", 1, "taken"],
    ["mine", "alice", 1, DIGEST],
    ["message", 1, "{}"],
    ["got", 1],
    ["none", 1],
    ["lost", 1],
    ["expired", "ghost", "alice"],
]
json_values = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.text(),
    lambda inner: some.lists(inner) | some.dictionaries(some.text(), inner),
    max_leaves=8,
)


@pytest.mark.parametrize("word", WORDS, ids=lambda word: word[0])
def test_every_word_is_read_and_every_change_of_it_is_not(word: list[Any]) -> None:
    assert read_word(word) == (word[0], word[1:])
    wrong: list[list[Any]] = [[*word, 1], word[:-1], [*word[:-1], None], [word[0].upper(), *word[1:]]]
    for at, field in enumerate(word[1:], 1):
        for other in {int: (-1, MAX_NUMBER, True, 1.0, "1"), str: (1, None, ["a"]), list: ("", {}, 1)}[type(field)]:
            wrong.append([*word[:at], other, *word[at + 1 :]])
    for changed in wrong:
        with pytest.raises(BadWord):
            read_word(changed)


def test_every_shape_has_a_word_here() -> None:
    assert {word[0] for word in WORDS} == set(SHAPES)


WRONG: list[list[Any]] = [
    ["join", 1, "a--b", 1, DIGEST],
    ["mine", "", 1, DIGEST],
    ["claim", 1, "x" * 65, 1, DIGEST],
    ["left", 1, "a\n"],
    ["join", 1, "a", 1, "Z" * 32],
    ["mine", "a", 1, DIGEST + "0"],
]


@pytest.mark.parametrize("word", WRONG, ids=range(len(WRONG)))
def test_ids_and_digests_are_looked_at(word: list[Any]) -> None:
    with pytest.raises(BadWord):
        read_word(word)


@given(json_values | some.lists(json_values) | some.tuples(some.sampled_from(list(SHAPES)), json_values).map(list))
def test_no_json_value_does_more_than_be_refused(word: Any) -> None:
    try:
        name, fields = read_word(word)
    except BadWord:
        return
    assert [name, *fields] == word


def test_rows_are_bounded_and_looked_at_one_by_one() -> None:
    assert read_rows([["a", 1, DIGEST], ["b", 2, DIGEST]]) == {"a": (1, DIGEST), "b": (2, DIGEST)}
    for rows in (
        [["a", 1, DIGEST]] * (ROWS + 1),
        [["a", 1]],
        ["a"],
        [None],
        [["a b ", 1, DIGEST]],
        [["a", "1", DIGEST]],
    ):
        with pytest.raises(BadWord):
            read_rows(rows)


@pytest.mark.parametrize("payload", [None, '{"n":[1,2.5,null]}', '"ünï 🎉"', "1"])
@pytest.mark.parametrize("kind", ["OFFER", "ANSWER", "CANDIDATE", "LEAVE", "EXPIRE"])
def test_a_message_is_read_as_it_was_written(kind: str, payload: str | None) -> None:
    assert read_relayed(relayed(kind, "alice", "bob", payload), 1000) == (kind, "alice", "bob")


FORGED = [
    "",
    "null",
    "[]",
    "{",
    '{"type":"OFFER","src":"alice","dst":"bob"} x',
    '{"type":"OFFER","src":"alice"}',
    '{"type":"OFFER","src":"alice","dst":"bob","more":1}',
    '{"type":"OPEN","src":"alice","dst":"bob"}',
    '{"type":"ID-TAKEN","src":"alice","dst":"bob"}',
    '{"type":["OFFER"],"src":"alice","dst":"bob"}',
    '{"type":"OFFER","src":1,"dst":"bob"}',
    '{"type":"OFFER","src":"alice","dst":{"a":1}}',
    '{"type":"OFFER","src":"a--b","dst":"bob"}',
    '{"type":"OFFER","src":"alice","dst":"bob","payload":NaN}',
    '{"type":"OFFER","src":"alice","dst":"bob","payload":"' + "x" * 1000 + '"}',
    '{"type":"OFFER","src":"alice","dst":"bob","payload":"' + "ü" * 480 + '"}',
    '{"type":"OFFER","src":"alice","dst":"bob","payload":' + "[" * 900 + "}",
    '{"type":"OFFER","src":"alice","dst":"bob","payload":"\ud800"}',
]


@pytest.mark.parametrize("text", FORGED, ids=range(len(FORGED)))
def test_a_message_that_no_broker_writes_is_refused(text: str) -> None:
    with pytest.raises(BadWord):
        read_relayed(text, 1000)


@given(some.text() | json_values.map(json.dumps))
def test_no_text_does_more_than_be_refused(text: str) -> None:
    with pytest.raises(BadWord):
        read_relayed(text, 1000)
