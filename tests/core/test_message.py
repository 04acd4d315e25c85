from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

import msgspec
import pydantic
import pytest

from crosspeer import Message, MissingExtra
from crosspeer.core import message as module


@dataclass
class Point:
    x: int
    y: int = 0


class Struct(msgspec.Struct):
    x: int


class Model(pydantic.BaseModel):
    x: int


def message(data: str | bytes) -> Message:
    return Message(None, data)  # type: ignore[arg-type]


def test_the_views_of_text() -> None:
    text = message("grün")
    assert text.is_text
    assert text.data == text.text() == str(text) == "grün"
    assert text.bytes() == "grün".encode()
    assert bytes(text.memoryview()) == "grün".encode()
    assert text.file().read() == "grün".encode()


def test_the_views_of_bytes() -> None:
    binary = message(b"\xffab")
    assert not binary.is_text
    assert binary.data == binary.bytes() == b"\xffab"
    assert binary.memoryview().obj is binary.data, "no copy"
    assert binary.text() == "\ufffdab"


def test_the_id_is_a_random_uuid() -> None:
    one, two = message("a"), message("a")
    assert uuid.UUID(one.id).version == 4
    assert one.id == one.id != two.id


def test_json() -> None:
    assert message('{"a":[1,null]}').json() == {"a": [1, None]}
    assert message(b'{"a":1}').json() == {"a": 1}


@pytest.mark.parametrize(
    "text", ["", "{", "NaN", "-Infinity", "[1,]", "{'a':1}", "[" * 100_000, '{"a":' * 100_000, "9" * 5000]
)
def test_what_is_no_json_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - each parser has its own words
        message(text).json()


@pytest.mark.parametrize(("wanted", "value"), [(Point, Point(1)), (Struct, Struct(1)), (Model, Model(x=1))])
def test_typed_json(wanted: Any, value: Any) -> None:
    assert message('{"x":1}').json(wanted) == value
    with pytest.raises(ValueError, match="x"):
        message('{"x":"one"}').json(wanted)


def test_typed_json_of_builtin_types() -> None:
    assert message("[1,2]").json(list[int]) == [1, 2]


def test_typed_json_without_msgspec_is_pydantics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "importlib", Without("msgspec"))
    assert message('{"x":1}').json(Point) == Point(1)


def test_typed_json_without_either_names_the_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "importlib", Without("msgspec", "pydantic"))
    with pytest.raises(MissingExtra, match=r"pip install 'crosspeer\[msgspec\]'"):
        message('{"x":1}').json(Point)


class Without:
    """An importlib on a machine where some packages are missing."""

    def __init__(self, *missing: str) -> None:
        self.missing = missing

    def import_module(self, name: str) -> Any:
        if name in self.missing:
            raise ModuleNotFoundError(name)
        return __import__(name)
