"""BinaryPack against the bytes of the npm package, and against bytes that nobody sane would send."""

from __future__ import annotations

import array
import dataclasses
import datetime
import enum
import hashlib
import json
import math
import struct
import sys
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crosspeer.peerjs import binarypack
from crosspeer.wire.binarypack import MAX_DEPTH, PackError, UnpackError, pack, unpack

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "binarypack_vectors.json").read_text())


def named(rows: list[dict[str, Any]]) -> list[Any]:
    return [pytest.param(row, id=row["name"]) for row in rows]


def of_class(*classes: str) -> list[Any]:
    return named([row for row in VECTORS["encode"] if row["class"] in classes and "py" in row])


def value_of(row: dict[str, Any]) -> Any:
    return eval(row["py"], {"float": float})


def same(left: Any, right: Any) -> bool:
    return left == right or (isinstance(left, float) and math.isnan(left) and math.isnan(right))


class TestWriter:
    @pytest.mark.parametrize("row", of_class("exact"))
    def test_the_bytes_are_those_of_npm(self, row: dict[str, Any]) -> None:
        packed = pack(value_of(row))
        assert len(packed) == row["byte_length"]
        assert hashlib.sha256(packed).hexdigest() == row["sha256"]
        assert unpack(packed) == value_of(row)

    @pytest.mark.parametrize("row", of_class("upstream_bug"))
    def test_what_javascript_writes_or_reads_wrongly_has_a_form_that_it_reads_rightly(
        self, row: dict[str, Any]
    ) -> None:
        packed = pack(value_of(row))
        assert row["recommended_hex"] in (packed.hex(), None)
        assert same(unpack(packed), value_of(row))

    @pytest.mark.parametrize("row", of_class("either"))
    def test_where_two_forms_are_right_it_is_one_of_them(self, row: dict[str, Any]) -> None:
        assert pack(value_of(row)).hex() in (row["hex"], row["also_ok_hex"])

    @pytest.mark.parametrize("row", of_class("upstream_throws"))
    def test_what_javascript_cannot_write_python_can(self, row: dict[str, Any]) -> None:
        assert unpack(pack(value_of(row))) == value_of(row)

    @pytest.mark.parametrize(
        ("text", "arrives"),
        [("un\ud800paired\udfffends", "un�paired�ends"), ("\ud83d\ude03", "😃"), ("\udfff\ud800", "��")],
    )
    def test_surrogates_join_up_or_are_replaced(self, text: str, arrives: str) -> None:
        assert unpack(pack(text)) == arrives

    @pytest.mark.parametrize("zero", [0, 0.0, -0.0, False])
    def test_zero_is_never_a_double(self, zero: Any) -> None:
        assert pack(zero) in (b"\x00", b"\xc2")

    @pytest.mark.parametrize(
        ("value", "written"),
        [
            (-(2**53) - 1, "d3ffdfffffffffffff"),
            (2**53 + 1, "d30020000000000001"),
            (-(2**70), "cbc450000000000000"),
            (1e300, "cb7e37e43c8800759c"),
        ],
    )
    def test_wide_integers_stay_exact(self, value: float, written: str) -> None:
        assert pack(value).hex() == written
        assert unpack(pack(value)) == value

    @pytest.mark.parametrize("value", [2**70 + 1, -(2**70) - 1, 10**400, -(10**400)])
    def test_an_integer_that_no_form_holds_is_refused(self, value: int) -> None:
        with pytest.raises(PackError, match="64 bits"):
            pack(value)

    @pytest.mark.parametrize(
        ("value", "same_as"),
        [
            (bytearray(b"abc"), b"abc"),
            (memoryview(b"abcdef")[2:4], b"cd"),
            (memoryview(b"abcdef")[::2], b"ace"),
            (array.array("i", [1, -1]), struct.pack("=ii", 1, -1)),
            (array.array("d", [1.5]), struct.pack("=d", 1.5)),
            ((1, 2), [1, 2]),
            (enum.IntEnum("Gear", {"FIRST": 1}).FIRST, 1),
            (enum.StrEnum("Color", {"RED": "red"}).RED, "red"),
            (datetime.datetime(2024, 2, 1, 1, 1, tzinfo=datetime.UTC), "2024-02-01T01:01:00+00:00"),
            (datetime.date(2024, 2, 1), "2024-02-01"),
            ({1: "a", "2": "b"}, {"1": "a", "2": "b"}),
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_values_that_stand_for_others(self, value: Any, same_as: Any) -> None:
        assert pack(value) == pack(same_as)
        assert pack([value]) == pack([same_as]), "inside of something too"

    def test_numbers_of_numpy_are_numbers_and_arrays_are_bytes(self) -> None:
        class Scalar:
            """As numpy's: a buffer, no dimension, and `item`."""

            shape = ()

            def item(self) -> float:
                return 1.5

        assert pack({"x": Scalar()}) == pack({"x": 1.5})

    @pytest.mark.parametrize("value", [object(), {1, 2}, 1j, lambda: None, {None: 1}, {True: 1}, {b"k": 1}], ids=str)
    def test_what_has_no_form_is_refused_wherever_it_is(self, value: Any) -> None:
        for place in (value, [value], {"a": value}):
            with pytest.raises(PackError):
                pack(place)

    def test_others_are_asked_of_default(self) -> None:
        @dataclasses.dataclass
        class Point:
            x: int

        assert unpack(pack([Point(1)], default=dataclasses.asdict)) == [{"x": 1}]
        with pytest.raises(PackError, match="deeply"):
            pack(object(), default=lambda value: [value])

    def test_a_value_that_contains_itself_is_refused(self) -> None:
        endless: list[Any] = []
        endless.append(endless)
        with pytest.raises(PackError, match="deeply"):
            pack(endless)

    def test_depth_has_a_bound_that_can_be_reached(self) -> None:
        value: Any = 1
        for _ in range(MAX_DEPTH):
            value = [value]
        assert unpack(pack(value)) == value
        with pytest.raises(PackError):
            pack([value])

    def test_many_different_keys_do_not_fill_the_memory(self) -> None:
        for number in range(5000):
            pack({f"key {number}": number})
        # The function hides the module of the same name.
        assert len(sys.modules["crosspeer.wire.binarypack.pack"]._NEW.keys) <= 1024


STRICTER = {"empty buffer", "truncated array", "truncated map"}
EXACT = {
    "float32 ca 0.0 (upstream decodes to 2^-127)": 0.0,
    "double cb 0.0 (upstream decodes 2^-1023)": 0.0,
    "double cb NaN (upstream -> Infinity)": math.nan,
    "double cb denormal": 5e-324,
    "int64 d3 -1": -1,
    "int64 d3 max 2^63-1": 2**63 - 1,
}
"""Rows where this reader is right and upstream's is not."""


def expected(row: dict[str, Any]) -> Any:
    """The value that a row says upstream reads."""
    if row["name"] in EXACT:
        return EXACT[row["name"]]
    return plain(row["decoded"])


def plain(decoded: dict[str, Any]) -> Any:
    kind, value = decoded["t"], decoded.get("v")
    if kind in ("undefined", "null"):
        return None
    if kind == "number":
        return float(value.replace("Infinity", "inf")) if isinstance(value, str) else value
    if kind == "bytes":
        return bytes.fromhex(decoded["hex"])
    if kind == "array":
        return [plain(item) for item in value]
    if kind == "map":
        return {key: plain(item) for key, item in value}
    return value


class TestReader:
    @pytest.mark.parametrize("row", named([row for row in VECTORS["decode_only"] if row["name"] not in STRICTER]))
    def test_it_reads_what_upstream_reads(self, row: dict[str, Any]) -> None:
        data = bytes.fromhex(row["hex"])
        if "error" in row:
            with pytest.raises(UnpackError):
                unpack(data)
        else:
            assert same(unpack(data), expected(row))

    @pytest.mark.parametrize("row", named([row for row in VECTORS["decode_only"] if row["name"] in STRICTER]))
    def test_what_ends_too_early_is_no_value(self, row: dict[str, Any]) -> None:
        with pytest.raises(UnpackError, match="end in the middle"):
            unpack(bytes.fromhex(row["hex"]))

    @pytest.mark.parametrize("make", [bytes, bytearray, memoryview])
    def test_any_buffer_will_do(self, make: Any) -> None:
        assert unpack(make(pack({"a": b"b"}))) == {"a": b"b"}

    @pytest.mark.parametrize(
        ("hex", "value"),
        [
            ("82c301c202", {"true": 1, "false": 2}),
            ("81cb3ff000000000000001", {"1": 1}),
            ("81cb3ff800000000000001", {"1.5": 1}),
            ("81ff01", {"-1": 1}),
            ("82b16101b16102", {"a": 2}),
        ],
    )
    def test_keys_become_the_text_that_javascript_makes_of_them(self, hex: str, value: Any) -> None:
        assert unpack(bytes.fromhex(hex)) == value

    @pytest.mark.parametrize("hex", ["81900001", "818001", "81a16101"])
    def test_a_key_that_is_a_container_or_binary_is_refused(self, hex: str) -> None:
        with pytest.raises(UnpackError, match="key"):
            unpack(bytes.fromhex(hex))

    def test_every_cut_of_a_message_is_refused(self) -> None:
        data = pack({"a": [1, "zwölf", b"\x00" * 20, 1.5, 300, 70000], "b": {"c": "x" * 20}})
        for end in range(len(data)):
            with pytest.raises(UnpackError):
                unpack(data[:end])

    def test_limits_can_be_chosen(self) -> None:
        assert unpack(pack([[1]]), max_depth=2, max_items=2) == [[1]]
        with pytest.raises(UnpackError, match="deeply"):
            unpack(pack([[1]]), max_depth=1)
        with pytest.raises(UnpackError, match="too many items"):
            unpack(pack([[1]]), max_items=1)
        assert unpack(pack({"a": 1}), max_items=1) == {"a": 1}
        with pytest.raises(UnpackError, match="too many items"):
            unpack(pack({"a": 1, "b": 2}), max_items=1)


class TestOldGeneration:
    """The codec of PeerJS 1.4: it knows no character beyond U+FFFF, counts six bytes for one, and writes four."""

    @pytest.mark.parametrize(
        ("text", "written"),
        [
            ("plain", "b5706c61696e"),
            ("é中", "b5c3a9e4b8ad"),
            ("😃", "b6eda0bdedb883"),
            ("a😃b", "b861eda0bdedb88362"),
        ],
    )
    def test_what_it_is_sent(self, text: str, written: str) -> None:
        assert pack(text, for_old=True).hex() == written
        assert pack({text: [text]}, for_old=True).hex() == f"81{written}91{written}"
        assert unpack(pack({text: [text]}, for_old=True)) == {text: [text]}, "everybody else reads it too"
        assert unpack(pack({text: [text]}, for_old=True), from_old=True) == {text: [text]}

    @pytest.mark.parametrize(
        "text", ["", "plain", "é中", "😃", "a😃b", "😃😃😃😃", "x" * 590 + "😃", "é" * 300 + "😃" * 150]
    )
    def test_what_it_sends(self, text: str) -> None:
        written = old_text(text)
        assert unpack(written, from_old=True) == text
        both = b"\x93" + written + written + b"\x07"
        assert unpack(both, from_old=True) == [text, text, 7]
        assert unpack(b"\x81" + written + b"\x07", from_old=True) == {text: 7}

    @given(st.text(max_size=700))
    def test_any_text(self, text: str) -> None:
        assert unpack(b"\x92" + old_text(text) + b"\x07", from_old=True) == [text, 7]

    @given(st.binary(max_size=100))
    def test_any_bytes(self, data: bytes) -> None:
        try:
            unpack(b"\xb8" + data, from_old=True)
        except UnpackError:
            return


def old_text(text: str) -> bytes:
    """As it writes a text: the length is that of CESU-8 up to 600 code units."""
    data = text.encode()
    units = len(text.encode("utf-16-le")) // 2
    length = len(data) if units > 600 else len(data) + 2 * sum(ord(character) > 0xFFFF for character in text)
    head = bytes([0xB0 + length]) if length < 16 else struct.pack(">BH", 0xD8, length)
    return head + data


HOSTILE = {
    "an array of 4 billion": "ddffffffff",
    "a map of 4 billion": "dfffffffff",
    "a text of 4 GiB": "d9ffffffff61",
    "a binary of 4 GiB": "dbffffffff61",
    "an array that claims all of the rest": "dd000f4240" + "c0" * 100,
    "arrays in arrays": "91" * 100_000,
    "maps in maps": "81b161" * 100_000,
    "arrays that claim the rest, in one another": "dc00ff" * 20_000,
    "a million empty maps": "dd000f4241" + "80" * 1_000_001,
    "empty maps in many arrays": "dc0400" + ("dc0400" + "80" * 1024) * 1024,
    "long text that is no UTF-8": "d9001fffff" + "a0" * 0x1FFFFF,
    "text that is no UTF-8, again and again": "dc1000" + ("d80200" + "85" * 0x200) * 0x1000,
}


class TestHostile:
    @pytest.mark.parametrize("hex", HOSTILE.values(), ids=HOSTILE.keys())
    def test_it_ends_soon_and_keeps_little(self, hex: str) -> None:
        data = bytes.fromhex(hex)
        started = time.process_time()
        with pytest.raises(UnpackError):
            unpack(data)
        assert time.process_time() - started < 5, "processor time, for a machine that is slow"
        tracemalloc.start()
        try:
            with pytest.raises(UnpackError):
                unpack(data, max_items=10_000)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 3 * len(data) + 10_000 * 200

    def test_a_header_reserves_nothing(self) -> None:
        tracemalloc.start()
        try:
            for tag in ("d9", "db", "dd", "df"):
                with pytest.raises(UnpackError):
                    unpack(bytes.fromhex(tag + "7fffffff"))
            assert tracemalloc.get_traced_memory()[1] < 100_000
        finally:
            tracemalloc.stop()


numbers = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False)
scalars = st.none() | st.booleans() | numbers | st.text() | st.binary()
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=50)


@given(values)
def test_what_is_written_is_read(value: Any) -> None:
    assert unpack(pack(value)) == value


@given(st.lists(st.integers(), max_size=5))
def test_integers_are_exact_or_refused(value: list[int]) -> None:
    try:
        packed = pack(value)
    except PackError:
        assert any(abs(number) >= 2**63 for number in value)
    else:
        assert unpack(packed) == value


@given(st.floats())
def test_every_double_is_written_as_it_is(value: float) -> None:
    read = unpack(pack(value))
    assert same(read, value)
    if isinstance(read, float) and not math.isnan(value):
        assert struct.pack(">d", read) == struct.pack(">d", value)


def test_it_is_exported() -> None:
    assert (binarypack.pack, binarypack.unpack) == (pack, unpack)
