"""The RSGI adapter, where granian is not needed. `tests/contract/test_hosted.py` runs it in granian."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from crosspeer import Hooks
from crosspeer.adapters.rsgi import Adapter, _address


class Page:
    """An RSGI application that wants to know when its worker starts and ends."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.calls.append(("init", loop))

    def __rsgi_del__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.calls.append(("del", loop))

    async def __rsgi__(self, scope: Any, protocol: Any) -> None: ...


async def test_the_start_and_the_end_of_a_worker_reach_the_other_application() -> None:
    page, loop = Page(), asyncio.get_running_loop()
    adapter = Adapter(Hooks, http=page)
    adapter.__rsgi_init__(loop)
    adapter.__rsgi_del__(loop)
    assert page.calls == [("init", loop), ("del", loop)]


async def test_the_other_application_may_be_a_plain_function() -> None:
    async def page(scope: Any, protocol: Any) -> None: ...

    adapter = Adapter(Hooks, http=page)
    adapter.__rsgi_init__(asyncio.get_running_loop())
    adapter.__rsgi_del__(asyncio.get_running_loop())


@pytest.mark.parametrize(
    ("text", "address"),
    [("127.0.0.1:80", ("127.0.0.1", 80)), ("[::1]:8000", ("::1", 8000)), ("", None), ("unix:/run/app.sock", None)],
)
def test_an_address_is_read(text: str, address: tuple[str, int] | None) -> None:
    assert _address(text) == address
