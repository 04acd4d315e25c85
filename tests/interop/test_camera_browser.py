"""The camera of `examples/camera` as a stranger runs it: the real program, and real browsers that watch."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

from crosspeer.peerjs.media.sources import BARS
from footage import film, is_near
from peers import DEADLINE, NPM

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Browser, Page, Route

ROOT = Path(__file__).parents[2]
PEERJS = NPM / "peerjs" / "dist" / "peerjs.min.js"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not NPM.exists(), reason="the npm package peerjs is not installed here: it needs npm"),
]

COLOURS = """
(count) => {
    const video = document.querySelector("video");
    const canvas = document.createElement("canvas");
    canvas.width = video.videoWidth;
    canvas.height = video.videoHeight;
    const context = canvas.getContext("2d");
    context.drawImage(video, 0, 0);
    return Array.from({ length: count }, (_, n) =>
        Array.from(context.getImageData((2 * n + 1) * canvas.width / (2 * count), canvas.height / 3, 1, 1).data));
}
"""


@asynccontextmanager
async def camera(*arguments: str) -> AsyncIterator[str]:
    """Where it is."""
    command = [sys.executable, "-u", "examples/camera/camera.py", "--port", "0", *arguments]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=pipe, stderr=pipe)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(DEADLINE):
            line = (await process.stdout.readline()).decode()
        found = re.fullmatch(r"The camera is on (http://127\.0\.0\.1:\d+)\n", line)
        assert found is not None, line
        yield found[1]
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(DEADLINE):
            _, complaints = await process.communicate()
        assert (process.returncode, complaints) == (0, b"")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@asynccontextmanager
async def page_of(browser: Browser, url: str) -> AsyncIterator[Page]:
    """The page, with the script that it has from a CDN out of the npm package."""
    complaints: list[str] = []
    page = await (await browser.new_context(viewport={"width": 1200, "height": 860})).new_page()
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: message.type == "error" and complaints.append(message.text))

    async def script(route: Route) -> None:
        await route.fulfill(path=PEERJS, headers={"access-control-allow-origin": "*"}, content_type="text/javascript")

    await page.route("https://unpkg.com/peerjs@1.5.5/dist/peerjs.min.js", script)
    await page.goto(url)
    yield page
    # As somebody leaves; closing a page is more like a crash.
    await page.goto("about:blank")
    await page.close()
    assert complaints == []


async def shows_the_pattern(page: Page) -> None:
    await expect(page.get_by_test_id("status")).to_have_attribute("data-state", "live")
    for _ in range(100):
        seen = await page.evaluate(COLOURS, len(BARS))
        if all(is_near(colour[:3], bar) for colour, bar in zip(seen, BARS, strict=True)):
            return
        await page.wait_for_timeout(100)
    raise AssertionError(f"the page shows {seen}")


async def test_the_pattern_in_two_pages(browser: Browser) -> None:
    async with camera("--pattern") as url, page_of(browser, url) as first:
        await shows_the_pattern(first)
        await expect(first.get_by_test_id("name")).to_have_text("Test pattern")
        await expect(first.get_by_test_id("size")).to_have_text(re.compile(r"\d+ × \d+"))
        await expect(first.get_by_test_id("rate")).to_have_text(re.compile(r"[1-9]\d*"))
        await expect(first.get_by_test_id("sound")).to_be_hidden()
        async with page_of(browser, url) as second:
            await shows_the_pattern(second)
            for page in (first, second):
                await expect(page.get_by_test_id("viewers")).to_have_text("2")
            async with second.expect_download() as download:
                await second.get_by_test_id("snapshot").click()
            assert Path(await (await download.value).path()).read_bytes().startswith(b"\x89PNG")
        await expect(first.get_by_test_id("viewers")).to_have_text("1")


async def test_a_film_with_sound(browser: Browser, tmp_path: Path) -> None:
    path = await film(tmp_path / "film.mp4", size=(320, 180))
    async with camera("--file", str(path)) as url, page_of(browser, url) as page:
        await shows_the_pattern(page)
        await expect(page.get_by_test_id("name")).to_have_text("film.mp4")
        await page.get_by_test_id("sound").click()
        await expect(page.get_by_test_id("sound")).to_have_text("Sound off")


async def test_a_film_that_is_none() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "examples/camera/camera.py",
        "--file",
        "README.md.mp4",
        cwd=ROOT,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(DEADLINE):
        _, complaint = await process.communicate()
    assert process.returncode == 1
    assert complaint == b"camera: README.md.mp4 cannot be opened as media: No such file or directory\n"
