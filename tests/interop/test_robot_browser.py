"""The robot of `examples/robot` as a stranger runs it: the real program, and a real browser that drives it."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from playwright.async_api import expect

from crosspeer.peerjs import Peer
from peers import DEADLINE, LOCAL, NPM

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Browser, Page, Route

    from crosspeer.peerjs import DataConnection

ROOT = Path(__file__).parents[2]
PEERJS = NPM / "peerjs" / "dist" / "peerjs.min.js"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not NPM.exists(), reason="the npm package peerjs is not installed here: it needs npm"),
]


@asynccontextmanager
async def running(port: int = 0) -> AsyncIterator[str]:
    """The robot, and where it is."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-u", "examples/robot/robot.py", "--port", str(port), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(DEADLINE):
            line = (await process.stdout.readline()).decode()
        found = re.fullmatch(r"The robot is on (http://127\.0\.0\.1:\d+)\n", line)
        assert found is not None, line
        yield found[1]
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(DEADLINE):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.fixture
async def robot() -> AsyncIterator[str]:
    async with running() as url:
        yield url


@asynccontextmanager
async def page_of(browser: Browser, url: str | None = None) -> AsyncIterator[Page]:
    """The page, with the script that it has from a CDN out of the npm package."""
    complaints: list[str] = []
    page = await (await browser.new_context(viewport={"width": 1280, "height": 800})).new_page()
    page.on("pageerror", lambda error: complaints.append(str(error)))

    async def script(route: Route) -> None:
        await route.fulfill(path=PEERJS, headers={"access-control-allow-origin": "*"}, content_type="text/javascript")

    await page.route("https://unpkg.com/peerjs@1.5.5/dist/peerjs.min.js", script)
    if url is not None:
        await page.goto(url)
    yield page
    await page.close()
    assert complaints == []


@asynccontextmanager
async def looking_on(url: str) -> AsyncIterator[DataConnection]:
    """A peer that sees the robot."""
    where = urlsplit(url)
    options = {"host": where.hostname, "port": where.port, "path": "/broker", "config": LOCAL}
    async with Peer(None, **options) as peer, peer.connect("robot", reliable=True) as connection:
        yield connection


async def seen(connection: DataConnection, **wanted: Any) -> dict[str, Any]:
    """Wait for a state of the robot that has these values; a function looks at one."""
    async with asyncio.timeout(DEADLINE):
        async for state in connection:
            if state["type"] == "state" and all(
                value(state[key]) if callable(value) else state[key] == value for key, value in wanted.items()
            ):
                return dict(state)
    raise AssertionError("the robot has left")


async def test_a_page_drives_the_robot(browser: Browser, robot: str) -> None:
    async with page_of(browser, robot) as page, looking_on(robot) as connection:
        await expect(page.get_by_test_id("status")).to_have_text("You are driving")
        await expect(page.get_by_test_id("delay")).to_have_text(re.compile(r"\d+"))
        start = await seen(connection, driving=False, contact=True)
        assert (start["left"], start["right"]) == (0, 0)
        # Both at once: a circle, for which there is room however long it takes.
        await page.keyboard.down("w")
        await page.keyboard.down("d")
        await seen(connection, left=lambda speed: speed > 1.5, right=lambda speed: 0.4 < speed < 0.5)
        await seen(connection, heading=lambda heading: heading > 1, x=lambda x: x > start["x"] + 0.2)
        await expect(page.get_by_test_id("speed")).to_have_text(re.compile(r"1\.0\d"))
        await page.keyboard.up("w")
        await page.keyboard.up("d")
        await seen(connection, left=0, right=0, contact=True)
        button = await page.get_by_label("Backwards").bounding_box()
        assert button is not None
        await page.mouse.move(button["x"] + 20, button["y"] + 20)
        await page.mouse.down()
        await seen(connection, left=lambda speed: speed < -1)
        await page.mouse.up()
        await seen(connection, left=0)


async def test_a_robot_that_loses_contact_stops(robot: str) -> None:
    async with looking_on(robot) as driver, looking_on(robot) as other:
        await driver.send({"type": "drive", "left": 1, "right": 0.2})
        await seen(driver, driving=True, contact=True, left=lambda speed: speed > 1)
        await seen(other, contact=False, left=0, right=0, driving=False)
        for nonsense in ("drive", None, [1], {"type": 1}, {"type": "drive"}, {"type": "drive", "left": "1"}):
            await driver.send(nonsense)
        await driver.send({"type": "drive", "left": float("nan"), "right": float("inf")})
        await seen(driver, contact=True, left=0, right=lambda speed: speed > 1)


async def test_one_page_drives_at_a_time(browser: Browser, robot: str) -> None:
    async def drive(connection: DataConnection) -> None:
        while True:
            await connection.send({"type": "drive", "left": 0.5, "right": 0.5})
            await asyncio.sleep(0.1)

    async with looking_on(robot) as first, looking_on(robot) as watcher:
        driving = asyncio.ensure_future(drive(first))
        async with page_of(browser, robot) as page:
            await expect(page.get_by_test_id("status")).to_have_text("Somebody else is driving")
            driving.cancel()
            # The driver is still there: the page has to want it.
            await page.keyboard.down("ArrowLeft")
            await expect(page.get_by_test_id("status")).to_have_text("You are driving")
            await seen(watcher, contact=True, left=lambda speed: speed < -0.3, right=lambda speed: speed > 0.3)
            await page.close()
            await seen(watcher, contact=False, left=0, right=0)


async def test_a_page_comes_back(browser: Browser) -> None:
    async with page_of(browser) as page:
        async with running() as url:
            await page.goto(url)
            await expect(page.get_by_test_id("status")).to_have_text("You are driving")
        await expect(page.get_by_test_id("status")).to_have_text("Connecting")
        async with running(urlsplit(url).port or 0):
            await expect(page.get_by_test_id("status")).to_have_text("You are driving")
