from __future__ import annotations

import asyncio

import pytest

from crosspeer.runtime.suspension import noticing


async def immediate() -> str:
    return "done"


async def waiting(event: asyncio.Event) -> str:
    await event.wait()
    await asyncio.sleep(0)
    return "done"


async def test_what_completes_at_once_is_not_noticed() -> None:
    noticed: list[bool] = []
    assert await noticing(immediate(), lambda: noticed.append(True)) == "done"
    assert noticed == []


async def test_waiting_is_noticed_once() -> None:
    noticed: list[bool] = []
    event = asyncio.Event()
    task = asyncio.ensure_future(asyncio.wait_for(noticing(waiting(event), lambda: noticed.append(True)), 5))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert noticed == [True]
    event.set()
    assert await task == "done"
    assert noticed == [True]


async def test_exceptions_pass() -> None:
    async def fail() -> None:
        await asyncio.sleep(0)
        raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        await noticing(fail(), lambda: None)


async def test_a_cancellation_reaches_the_inside() -> None:
    cleaned: list[bool] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.append(True)

    async def outer() -> None:
        await noticing(work(), lambda: None)

    task = asyncio.create_task(outer())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cleaned == [True]
