"""Row H8: nothing that a request may say takes time out of proportion to its length."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from crosspeer import Request
from crosspeer.core.hosts import LOOPBACK
from crosspeer.core.origins import origin_check
from crosspeer.core.redact import redact
from crosspeer.wire.handshake import check_handshake
from crosspeer.wire.head import HeadReader

SIZE = 20_000
WORK: dict[str, tuple[Callable[[str], object], Callable[[int], str]]] = {
    "spaces in a protocol": (
        lambda text: asked({"sec-websocket-protocol": text}).offered_protocols,
        lambda size: "b" + " " * size + "x",
    ),
    "commas in a protocol": (
        lambda text: asked({"sec-websocket-protocol": text}).offered_protocols,
        lambda size: "," * size,
    ),
    "parts of a connection": (
        lambda text: check_handshake("GET", "1.1", asked({"connection": text}).scope["headers"]),
        lambda size: "a ," * size,
    ),
    "dots of an origin": (
        lambda text: origin_check("https://good.example")(asked({"origin": text})),
        lambda size: "https://" + "." * size,
    ),
    "dots of a host": (LOOPBACK.include, lambda size: "." * size + ":"),
    "colons of a host": (LOOPBACK.include, lambda size: "[" + ":" * size),
    "question marks": (redact, lambda size: "?" * size),
    "names without values": (redact, lambda size: "?a" * size),
    "secrets": (redact, lambda size: "&token=?token=" * size),
    "spaces of a header": (
        lambda text: HeadReader().look_at(text.encode()),
        lambda size: "GET / HTTP/1.1\r\nX:" + " " * 8000 + "\r\n" + "Y: \t\r\n" * size,
    ),
}


def asked(headers: dict[str, str]) -> Request:
    pairs = [(name.encode(), value.encode()) for name, value in {"host": "localhost", **headers}.items()]
    return Request({"type": "websocket", "path": "/", "query_string": b"", "headers": pairs})


@pytest.mark.parametrize(("work", "text"), WORK.values(), ids=WORK)
def test_eight_times_the_input_is_eight_times_the_work(
    work: Callable[[str], object], text: Callable[[int], str]
) -> None:
    def cost(size: int) -> float:
        given, times = text(size), []
        for _ in range(5):
            started = time.process_time()
            for _ in range(5):
                work(given)
            times.append(time.process_time() - started)
        return min(times)

    # Eight for what is linear, sixty-four for what is quadratic; a millisecond for what takes none.
    assert cost(8 * SIZE) < 24 * cost(SIZE) + 0.001
