"""What may be sent, and what it becomes. The contract suite sends the common forms over every server."""

from __future__ import annotations

from typing import Any

import msgspec
import pydantic
import pytest

from crosspeer.core.outgoing import Outgoing, outgoing


class Struct(msgspec.Struct):
    a: int
    b: str | None = None


class Model(pydantic.BaseModel):
    when: str
    deep: list[int] = []


@pytest.mark.parametrize(
    ("value", "wire"),
    [
        (Struct(1), '{"a":1,"b":null}'),
        (Model(when="now"), '{"when":"now","deep":[]}'),
        ({"list": [Struct(1), Model(when="x")]}, '{"list":[{"a":1,"b":null},{"when":"x","deep":[]}]}'),
        (-0.5, "-0.5"),
        (10**30, "1" + "0" * 30),
    ],
)
def test_models_are_json(value: Any, wire: str) -> None:
    assert outgoing(value).data == wire


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (object(), TypeError),
        ({1, 2}, TypeError),
        ({"x": b"bytes"}, TypeError),
        (float("nan"), ValueError),
        ([float("inf")], ValueError),
        ("\ud800", ValueError),
    ],
)
def test_what_has_no_form_is_refused_in_the_caller(value: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        outgoing(value)


@pytest.mark.parametrize(("data", "size"), [("", 0), ("abc", 3), ("ü", 2), ("🎉", 4), (b"abc", 3)])
def test_sizes_are_bytes(data: str | bytes, size: int) -> None:
    item = Outgoing(data)
    assert item.size == size == len(item.payload)
    assert item.payload is item.payload, "encoded once"


def test_a_buffer_is_copied() -> None:
    buffer = bytearray(b"before")
    item = outgoing(buffer)
    buffer[:] = b"after!"
    assert item.data == b"before"
