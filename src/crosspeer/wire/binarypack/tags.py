"""The first byte of every value, and the heads that the writer needs often. All numbers are big-endian."""

from __future__ import annotations

from struct import Struct
from typing import Final

MAX_DEPTH: Final = 64
"""Arrays and maps inside of one another, in both directions. One more is refused before Python's stack is in danger."""
MAX_ITEMS: Final = 1_000_000
"""Items of all arrays and pairs of all maps of one message. An empty map is one byte on the wire, and a hundred times
that here."""

MAP, ARRAY, BINARY, TEXT = 0x80, 0x90, 0xA0, 0xB0
"""The short forms: a length below 16 stands in the low half of the byte."""
NONE, UNDEFINED, FALSE, TRUE = 0xC0, 0xC1, 0xC2, 0xC3
FLOAT32, FLOAT64 = 0xCA, 0xCB
UINT8, UINT16, UINT32, UINT64 = 0xCC, 0xCD, 0xCE, 0xCF
INT8, INT16, INT32, INT64 = 0xD0, 0xD1, 0xD2, 0xD3
TEXT16, TEXT32, BINARY16, BINARY32 = 0xD8, 0xD9, 0xDA, 0xDB
ARRAY16, ARRAY32, MAP16, MAP32 = 0xDC, 0xDD, 0xDE, 0xDF
NEGATIVE = 0xE0

U8: Final = Struct(">BB").pack
U16: Final = Struct(">BH").pack
U32: Final = Struct(">BI").pack
U64: Final = Struct(">BQ").pack
I8: Final = Struct(">Bb").pack
I16: Final = Struct(">Bh").pack
I32: Final = Struct(">Bi").pack
I64: Final = Struct(">Bq").pack
F64: Final = Struct(">Bd").pack
"""Each writes a tag and its number."""

SMALL: Final = [bytes([value]) for value in range(0x80)] + [bytes([value]) for value in range(NEGATIVE, 0x100)]
"""The integers from -32 to 127, each at its own index: Python counts negative ones from the end."""
TEXT_HEADS: Final = [bytes([TEXT + length]) for length in range(16)]
