"""The engine's BinaryPack is a faster copy: on all vectors and whatever is made up it says what the reference says."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crosspeer.wire.binarypack import PackError, UnpackError
from crosspeer.wire.binarypack.choose import before_reference
from crosspeer.wire.binarypack.pack import pack as write
from crosspeer.wire.binarypack.unpack import unpack as read

if TYPE_CHECKING:
    from collections.abc import Callable

engine = pytest.importorskip("crosspeer_engine", reason="the native engine is not built here: it needs cargo")
if not hasattr(engine, "pack"):
    pytest.skip("the native engine that is installed is older than its BinaryPack", allow_module_level=True)

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "binarypack_vectors.json").read_text())
pack, unpack = before_reference(engine.pack, engine.unpack)


def outcome(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """What comes of it: a value, told apart from an equal one of another type, or the text of the error."""
    try:
        return exactly(function(*arguments, **options))
    except (PackError, UnpackError) as error:
        return type(error), str(error)


def exactly(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: exactly(item) for key, item in value.items()}
    if isinstance(value, list):
        return [exactly(item) for item in value]
    return type(value), "nan" if isinstance(value, float) and math.isnan(value) else value


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.sampled_from([sign * 2**power + near for sign in (1, -1) for power in range(66) for near in (-1, 0, 1)])
    | st.floats()
    | st.text()
    | st.text(st.characters(codec=None, categories=["Cs", "Lu"]), max_size=4)
    | st.binary()
    | st.sampled_from(["x" * 15, "x" * 16, b"x" * 15, b"x" * 16])
)
keys = st.text(max_size=20) | st.integers() | st.none()
values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(keys, inner), max_leaves=12
)
some = settings(max_examples=80)
"""Of values that cost more to make up than to write."""


@pytest.mark.parametrize("row", [row for row in VECTORS["encode"] if "py" in row], ids=lambda row: row["name"])
def test_the_vectors_are_written_alike(row: dict[str, Any]) -> None:
    value = eval(row["py"], {"float": float, "bytes": bytes, "range": range, "list": list})
    assert outcome(pack, value) == outcome(write, value)


@pytest.mark.parametrize("row", VECTORS["decode_only"], ids=lambda row: row["name"])
def test_the_vectors_are_read_alike(row: dict[str, Any]) -> None:
    data = bytes.fromhex(row["hex"])
    assert outcome(unpack, data) == outcome(read, data)


@some
@given(values)
def test_any_value_is_written_and_read_alike(value: Any) -> None:
    written = outcome(write, value)
    assert outcome(pack, value) == written
    if written[0] is bytes:
        data = write(value)
        assert outcome(unpack, data) == outcome(read, data)


@pytest.mark.parametrize("length", [255, 256, 65_535, 65_536, 65_537])
def test_long_values_are_written_and_read_alike(length: int) -> None:
    for value in ("x" * length, ["ü" * length], [b"x" * length], [0] * length, {str(n): n for n in range(length)}):
        assert pack(value) == write(value)
        assert outcome(unpack, write(value)) == outcome(read, write(value))


@given(st.binary(max_size=80) | st.binary(max_size=12).map(lambda data: data * 20))
def test_any_bytes_are_read_alike(data: bytes) -> None:
    assert outcome(unpack, data) == outcome(read, data)


@some
@given(values, st.data())
def test_spoiled_messages_are_read_alike(value: Any, data: st.DataObject) -> None:
    try:
        message = bytearray(write(value)[:2000])
    except PackError:
        return
    for _ in range(data.draw(st.integers(0, 3))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(message[: data.draw(st.integers(0, len(message)))])
    assert outcome(unpack, cut) == outcome(read, cut)


@some
@given(values, st.integers(0, 6), st.integers(0, 12))
def test_limits_are_the_same(value: Any, max_depth: int, max_items: int) -> None:
    assert outcome(pack, value, max_depth=max_depth) == outcome(write, value, max_depth=max_depth)
    try:
        data = write(value)
    except PackError:
        return
    limits = {"max_depth": max_depth, "max_items": max_items}
    assert outcome(unpack, data, **limits) == outcome(read, data, **limits)


@pytest.mark.parametrize("depth", [64, 65, 127, 128, 129, 200])
def test_depth_is_counted_alike(depth: int) -> None:
    value: Any = "x"
    for _ in range(depth):
        value = [value]
    for most in (64, 128, 150):
        assert outcome(pack, value, max_depth=most) == outcome(write, value, max_depth=most)
        data = b"\x91" * depth + b"\x01"
        assert outcome(unpack, data, max_depth=most) == outcome(read, data, max_depth=most)


def test_what_is_rare_goes_to_the_reference() -> None:
    """So that `default`, subclasses and the errors are one and the same."""

    class Name(str):
        __slots__ = ()

    for value in ({1: 2}, Name("x"), [bytearray(b"x")], {"a": 2**64}, "\ud800", [object()]):
        assert engine.pack(value, 64) is None
    for data in (b"", b"\xb1", b"\x81\x01\x01", b"\xb1\xff", b"\x91"):
        assert engine.unpack(data, 64, 1000) is NotImplemented
    assert pack([1j], default=lambda value: value.imag) == b"\x91\x01"
