"""Writes the inputs that the fuzz targets begin with: `python seeds.py FOLDER`, a folder for each target in it.

An input is the fields of the target's `Case` in their order, integers little endian, and then the bytes as they are.
"""

from __future__ import annotations

import struct
import sys
import zlib
from pathlib import Path

CUTS = bytes((1, 7, 0, 40))
GET = b"GET /chat?room=1 HTTP/1.1\r\n"
HOST = b"Host: example.com\r\n"
UPGRADE = (
    HOST + b"Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)
OFFER = b"permessage-deflate; client_max_window_bits"
FULL = (
    b"permessage-deflate; server_no_context_takeover; client_no_context_takeover; "
    b'server_max_window_bits=10; client_max_window_bits="12", x-webkit-deflate-frame, permessage-deflate'
)
TEXTS = ["hi", "", "κόσμε 😀", "x" * 200, '{"type":"chat","text":"grün"}' * 20]
BAD_TEXTS = [b"\xce\xba\xed\xa0\x80", b"\xc0\xaf", b"abc\xf0\x9f", b"\xf4\x90\x80\x80", b"\xff"]
HELLO = b"\xf2\x48\xcd\xc9\xc9\x07\x00"


def handshakes() -> list[bytes]:
    heads = [
        GET + UPGRADE,
        GET + UPGRADE + b"Origin: https://example.com\r\nSec-WebSocket-Protocol: chat, superchat\r\n",
        GET + UPGRADE + b"Sec-WebSocket-Extensions: " + FULL + b"\r\n",
        GET + UPGRADE + b"Content-Length: 0\r\n",
        GET + UPGRADE.replace(b": 13", b": 8"),
        GET + UPGRADE.replace(b"keep-alive, Upgrade", b"close"),
        GET + UPGRADE.replace(b"example.com", b"a\r\nHost: b"),
        GET + HOST,
        b"POST / HTTP/1.1\r\n" + UPGRADE + b"Transfer-Encoding: chunked\r\n",
        b"GET / HTTP/1.0\r\n" + UPGRADE,
        GET + HOST + b"A: b\r\n" * 99,
        GET + HOST + b"A: b\r\n" * 100,
        # Lines of 8192 bytes and one more, heads of 32,768 bytes and one more.
        *(b"GET /" + b"x" * size + b" HTTP/1.1\r\n" + HOST for size in (8178, 8179)),
        *(GET + b"A: " + b"x" * size + b"\r\n" for size in (8189, 8190)),
        *(GET + b"A: %s\r\n" % (b"x" * 8000) * 4 + b"A: %s\r\n" % (b"x" * size) for size in (714, 715)),
    ]
    frames = b"\x81\x82\x00\x00\x00\x00hi"
    return [CUTS + head + b"\r\n" + frames for head in heads] + [CUTS + b"\x16\x03\x01\x02\x00", CUTS + GET + b"A: b\n"]


def frames() -> list[bytes]:
    plain, deflate, takeover = 2, 6, 14
    rows: list[tuple[int, list[tuple[int, bytes]]]] = [
        (plain, [(0x81, text.encode()[:199]) for text in TEXTS]),
        (plain, [(0x82, bytes(range(199)))]),
        *((plain, [(0x81, text)]) for text in BAD_TEXTS),
        (plain, [(0x01, b"\xce"), (0x89, b"ping"), (0x00, b""), (0x8A, b""), (0x80, b"\xba"), (0x82, b"next")]),
        (plain, [(0x01, b"a"), (0x81, b"b")]),
        (plain, [(0x80, b"a")]),
        (plain, [(0x88, b"\x03\xe8bye"), (0x81, b"late")]),
        (plain, [(0x88, b"\x03\xed")]),
        (plain, [(0x02, b"x" * 199), (0x00, b"x" * 199), (0x80, b"x" * 199)]),
        (deflate, [(0xC1, HELLO), (0x41, HELLO[:3]), (0x89, b"p"), (0x80, HELLO[3:])]),
        (deflate, [(0xC2, deflated(b"\x00" * 20_000)), (0xC1, b"\x07")]),
        (takeover, [(0xC1, HELLO), (0xC1, b"\xf2\x00\x11\x00\x00"), (0xC1, b"\x00")]),
    ]
    seeds = []
    for options, parts in rows:
        data = b"".join(bytes((first, len(payload))) + payload for first, payload in parts)
        seeds += [struct.pack("<BH", options | client, 1000) + CUTS + data for client in (0, 1)]
    # Not framed by the target: the bytes are the wire.
    wires = [
        b"\x81\x82\x37\xfa\x21\x3d\x5f\x93",
        b"\x82\xfe\x00\x7e\x00\x00\x00\x00" + b"x" * 126,
        b"\x82\xff\x00\x00\x00\x00\x00\x01\x00\x00" + bytes(4) + b"x",
        b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff",
        b"\x89\xfe\x00\x7e",
        b"\xa1",
    ]
    return seeds + [struct.pack("<BH", 0, 1000) + CUTS + wire for wire in wires]


def deflated(data: bytes, bits: int = 15) -> bytes:
    """A message's payload: raw deflate without the tail of its flush."""
    context = zlib.compressobj(9, zlib.DEFLATED, -bits)
    return (context.compress(data) + context.flush(zlib.Z_SYNC_FLUSH))[:-4]


def messages() -> list[bytes]:
    def seed(mode: int, options: int, data: bytes, second: int = 0) -> bytes:
        return struct.pack("<BBH", mode, options, 1000) + CUTS + bytes((second,)) + data

    headers, inflate, there_and_back = 0, 1, 2
    bits = [b"permessage-deflate; server_max_window_bits=%d" % number for number in (7, 8, 9, 15, 16)]
    quoted = [OFFER + b'="a,;\\"b"', b"permessage-deflate; a=b", b"permessage-deflate;", b"foo;bar=1," + OFFER]
    seeds = [seed(headers, options, line) for options in (0, 0xFF) for line in [OFFER, FULL, *bits, *quoted]]
    for options in (0, 1):
        seeds += [seed(inflate, options, deflated(text.encode())) for text in TEXTS]
        seeds.append(seed(inflate, options, HELLO + b"\xf2\x00\x11\x00\x00", len(HELLO)))
        seeds.append(seed(inflate, options, deflated(b"\x00" * 1000) + deflated(b"\x00" * 1001), 10))
        seeds += [seed(there_and_back + 3 * options, options, text.encode(), 5) for text in TEXTS]
    seeds += [seed(inflate, 0, data) for data in (b"\x03\x00" * 50, b"\x07", b"\x00\x05\x00\xfa\xffhello\x00")]
    return seeds


def texts() -> list[bytes]:
    return [CUTS + text for text in [*(text.encode() for text in TEXTS), *BAD_TEXTS]]


def closes() -> list[bytes]:
    codes = (0, 999, 1000, 1004, 1005, 1006, 1014, 1015, 2999, 3000, 4999, 5000)
    payloads = [code.to_bytes(2, "big") + b"bye" for code in codes]
    return [CUTS + payload for payload in [b"", b"\x03", *payloads, b"\x03\xe8\xff", b"\x03\xe8" + b"x" * 124]]


def packed() -> list[bytes]:
    texts = [bytes((0xB0 + len(text),)) + text for text in (b"", b"hi", "grün".encode())]
    heads = [
        b"\x93\x00\x7f\xe0",
        b"\x82\xb1a\x01\xb1b\xc0",
        b"\xdc\x00\x10" + bytes(16),
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
    ]
    numbers = [bytes((tag,)) + b"\x80" + bytes(7) for tag in range(0xCA, 0xD4)]
    return [*texts, *heads, *numbers, b"\xa3abc", b"\xda\x00\x10" + bytes(16), b"\xd8\x00\x02\xc3\xbc", b"\xc2\xc3\xc1"]


TARGETS = {
    "handshake": handshakes,
    "frames": frames,
    "deflate": messages,
    "utf8": texts,
    "close": closes,
    "binarypack": packed,
}


def main(folder: Path) -> None:
    for name, make in TARGETS.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number, seed in enumerate(make()):
            (folder / name / f"{number:03}").write_bytes(seed)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
