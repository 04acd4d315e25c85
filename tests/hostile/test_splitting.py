"""Row H12: hooks that hand on what a client has given them. No answer of theirs makes two headers of one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from starlette.exceptions import HTTPException

from crosspeer import Hooks, Request, Response, Upgrade
from crosspeer.testing import HandshakeRefused, sockets
from hostile.stage import ENGINES, needed, stage
from raw import Raw, handshake

SPLIT = "a\r\nSet-Cookie: x=1"
ANSWERS: dict[str, Callable[[], Any]] = {
    "a value": lambda: {"headers": {"x-a": SPLIT}},
    "a value with LF alone": lambda: {"headers": {"x-a": "a\nSet-Cookie: x=1"}},
    "a value with CR alone": lambda: Upgrade(headers=[("x-a", "a\rSet-Cookie: x=1")]),
    "a value with NUL": lambda: Upgrade(headers={"x-a": "a\0"}),
    "a name": lambda: {"headers": {"x-a: b\r\nSet-Cookie": "x=1"}},
    "an empty name": lambda: {"headers": {"": "x=1"}},
    "a header of the server": lambda: {"headers": {"Sec-WebSocket-Accept": "x"}},
    "letters that HTTP cannot send": lambda: {"headers": {"x-a": "\u20ac"}},
    "a refusal's value": lambda: Response("no", 403, {"x-a": SPLIT}),
    "a refusal's name": lambda: Response("no", 403, {"x-a: b\r\nSet-Cookie": "x=1"}),
    "a redirect": lambda: Response(status_code=307, headers={"location": f"/{SPLIT}"}),
    "an exception's value": lambda: raised(HTTPException(403, "no", {"x-a": SPLIT})),
    "an exception's letters": lambda: raised(HTTPException(403, "no", {"x-a": "\u20ac"})),
    "a status that switches": lambda: Response(status_code=101),
    "a status that there is not": lambda: Response(status_code=1000),
}


def raised(error: Exception) -> None:
    raise error


class Splitting(Hooks):
    def __init__(self, answer: Callable[[], Any], is_async: bool) -> None:
        if is_async:

            async def upgrade(request: Request) -> Any:
                await asyncio.sleep(0)
                return answer()

            self.upgrade = upgrade  # type: ignore[method-assign, assignment]
        else:
            self.upgrade = lambda request: answer()  # type: ignore[method-assign, assignment]


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return needed(request.param)


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
async def test_no_answer_of_a_hook_makes_two_headers(engine: str, is_async: bool, subtests: pytest.Subtests) -> None:
    routes = {f"/{number}": Splitting(answer, is_async) for number, answer in enumerate(ANSWERS.values())}
    async with stage(engine, routes=routes) as scene:
        for path, name in zip(routes, ANSWERS, strict=True):
            with subtests.test(msg=name):
                async with Raw(scene.url) as client:
                    client.send(handshake(path))
                    status, headers = await client.head()
                    assert status == 500
                    assert "set-cookie" not in headers
                    assert "x-a" not in headers
                    assert b"x=1" not in await client.ended()
                await scene.undisturbed()
                assert scene.log.lines == [f"the handshake for {path!r} failed"]
                scene.log.lines.clear()


async def test_a_refusal_that_can_be_sent_is_sent(engine: str) -> None:
    refusal = Response("no", 403, {"x-a": "b\xfc\tc"})
    async with stage(engine, routes={"/refused": Splitting(lambda: refusal, False)}) as scene:
        with pytest.raises(HandshakeRefused) as refused:
            await sockets.connect(scene.url.replace("http", "ws") + "/refused")
        assert (refused.value.status, refused.value.headers["x-a"]) == (403, "b\xfc\tc")
        scene.logged()
