"""Calls between our peer and the npm package `peerjs` in real Chromium: canvas to numpy, test pattern to canvas."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
from playwright.async_api import Error as PlaywrightError
from starlette.applications import Starlette
from starlette.responses import FileResponse, HTMLResponse
from starlette.routing import Route

from crosspeer import Hub, Server
from crosspeer.peerjs import MediaStream, Peer, PeerError
from crosspeer.peerjs.media.sources import BARS
from footage import has_colour, hears, is_near, sees, tone
from peers import DEADLINE, LOCAL, NPM, Heard, own_broker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Browser, Page

    from crosspeer.peerjs import MediaConnection

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not NPM.exists(), reason="the npm package peerjs is not installed here: it needs npm"),
]

PAIRS = [("wrtc", "1.5"), ("aiortc", "1.5"), ("wrtc", "1.4")]
SCRIPTS = {"1.5": NPM / "peerjs" / "dist", "1.4": NPM / "peerjs-1.4" / "dist"}
PAGE = """<!doctype html><meta charset=utf-8><script src=/dist/peerjs.min.js></script>"""
START = """
([id, options]) => {
    const canvas = document.createElement("canvas");
    canvas.width = 160;
    canvas.height = 120;
    const context = canvas.getContext("2d");
    // A canvas gives a frame when something is drawn.
    setInterval(() => { context.fillStyle = "rgb(0, 128, 255)"; context.fillRect(0, 0, 160, 120); }, 50);
    const audio = new AudioContext();
    const oscillator = audio.createOscillator();
    oscillator.frequency.value = 440;
    const sink = audio.createMediaStreamDestination();
    oscillator.connect(sink);
    oscillator.start();
    window.mine = new MediaStream([...canvas.captureStream().getTracks(), ...sink.stream.getTracks()]);
    window.events = [];
    window.take = (call) => {
        window.current = call;
        for (const name of ["stream", "close", "error"]) call.on(name, () => events.push(name));
        call.on("stream", (stream) => {
            window.theirs = stream;
            window.video = window.video || document.body.appendChild(document.createElement("video"));
            video.muted = video.autoplay = true;
            video.srcObject = stream;
        });
    };
    window.peer = new Peer(id, options);
    peer.on("call", (call) => {
        take(call);
        const { ring, silent } = call.metadata || {};
        if (!ring) call.answer(silent ? undefined : mine);
    });
    peer.on("error", (error) => events.push(`peer ${error.type}`));
    return new Promise((resolve) => peer.on("open", resolve));
}
"""
PIXELS = """
(count) => {
    if (!window.video || !video.videoWidth) return null;
    const canvas = document.createElement("canvas");
    canvas.width = video.videoWidth;
    canvas.height = video.videoHeight;
    const context = canvas.getContext("2d");
    context.drawImage(video, 0, 0);
    return Array.from({ length: count }, (_, n) =>
        Array.from(context.getImageData((2 * n + 1) * canvas.width / (2 * count), canvas.height / 3, 1, 1).data));
}
"""
"""The colours of the bars."""
LOUDEST = """
async () => {
    const audio = new AudioContext();
    const analyser = audio.createAnalyser();
    analyser.fftSize = 4096;
    audio.createMediaStreamSource(new MediaStream(theirs.getAudioTracks())).connect(analyser);
    const levels = new Float32Array(analyser.frequencyBinCount);
    for (;;) {
        await new Promise((resolve) => setTimeout(resolve, 50));
        analyser.getFloatFrequencyData(levels);
        const loudest = levels.indexOf(Math.max(...levels));
        if (levels[loudest] > -50) return loudest * audio.sampleRate / analyser.fftSize;
    }
}
"""


class Tab:
    """A page with a peer of JavaScript, and a peer of Python."""

    def __init__(self, page: Page, peer: Peer) -> None:
        self.page = page
        self.peer = peer

    async def calls(self, **metadata: Any) -> MediaConnection:
        """The page calls Python; not answered yet."""
        incoming = self.peer.incoming_calls()
        await self.page.evaluate("(metadata) => take(peer.call('python', mine, { metadata }))", metadata)
        async with asyncio.timeout(DEADLINE):
            call = await anext(incoming)
        await incoming.aclose()
        return call

    async def shows_the_pattern(self) -> None:
        seen: Any = None
        for _ in range(int(DEADLINE * 10)):
            seen = await self.page.evaluate(PIXELS, len(BARS))
            if seen and all(is_near(colour[:3], bar) for colour, bar in zip(seen, BARS, strict=True)):
                return
            await self.page.wait_for_timeout(100)
        raise AssertionError(f"the page shows {seen}")

    async def hears(self, event: str) -> None:
        await self.page.wait_for_function("(event) => events.includes(event)", arg=event, timeout=DEADLINE * 1000)


@asynccontextmanager
async def tab(browser: Browser, *, engine: str, version: str = "1.5") -> AsyncIterator[Tab]:
    complaints: list[str] = []
    async with own_broker() as where, pages(version) as url, Peer("python", engine=engine, **where) as peer:
        page = await (await browser.new_context()).new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        await page.goto(url)
        options = {"host": peer.options.host, "port": peer.options.port, "config": LOCAL}
        await page.evaluate(START, ["page", options])
        yield Tab(page, peer)
        await page.close()
    if version == "1.4":
        # It expects no channel in a call, and has none of its own.
        complaints = [text for text in complaints if "initialize" not in text]
    assert complaints == []


@asynccontextmanager
async def pages(version: str) -> AsyncIterator[str]:
    async def page(request: Any) -> HTMLResponse:
        return HTMLResponse(PAGE)

    async def dist(request: Any) -> FileResponse:
        return FileResponse(SCRIPTS[version] / request.path_params["name"])

    app = Starlette(routes=[Route("/", page), Route("/dist/{name}", dist)])
    async with Server(Hub(), http=app, port=0, shutdown_timeout=1) as server:
        yield server.url


def ours() -> MediaStream:
    return MediaStream.combine(
        MediaStream.test_pattern(320, 240, fps=15), MediaStream.from_samples(tone(1000, channels=2))
    )


@pytest.mark.parametrize(("engine", "version"), PAIRS)
async def test_the_page_calls(browser: Browser, engine: str, version: str) -> None:
    async with tab(browser, engine=engine, version=version) as page:
        call = await page.calls(room=7)
        assert call.metadata == {"room": 7}
        assert call.peer == "page"
        async with asyncio.timeout(DEADLINE):
            await call.answer(ours())
        stream = await call.stream()
        assert (stream.has_video, stream.has_audio) == (True, True)
        await asyncio.gather(sees(stream, has_colour(0, 128, 255)), hears(stream, 440), page.shows_the_pattern())
        assert await page.page.evaluate(LOUDEST) == pytest.approx(1000, abs=25)
        # The page hangs up.
        heard = Heard(call, "close", "error")
        await page.page.evaluate("() => current.close()")
        assert await heard.wait_for("close") is None
        assert heard.names == ["close"]


@pytest.mark.parametrize(("engine", "version"), PAIRS)
async def test_python_calls(browser: Browser, engine: str, version: str) -> None:
    async with tab(browser, engine=engine, version=version) as page:
        async with asyncio.timeout(DEADLINE):
            call = await page.peer.call("page", ours())
            stream = await call.stream()
        await asyncio.gather(sees(stream, has_colour(0, 128, 255)), hears(stream, 440), page.shows_the_pattern())
        # Python hangs up.
        await call.close()
        if version == "1.5":
            await page.hears("close")
        # And the page, in a second call.
        async with asyncio.timeout(DEADLINE):
            call = await page.peer.call("page", MediaStream.test_pattern(320, 240), metadata={"silent": True})
        assert call.remote_stream is None
        await page.shows_the_pattern()
        heard = Heard(call, "close", "error")
        await page.page.evaluate("() => current.close()")
        await heard.wait_for("close")
        assert heard.names == ["close"]


@pytest.mark.parametrize("engine", ["wrtc", "aiortc"])
async def test_answering_without_a_stream_and_a_page_that_goes_away(browser: Browser, engine: str) -> None:
    async with tab(browser, engine=engine) as page:
        call = await page.calls()
        async with asyncio.timeout(DEADLINE):
            await call.answer()
        await sees(await call.stream(), has_colour(0, 128, 255))
        await call.close()
        await page.hears("close")

        call = await page.calls()
        async with asyncio.timeout(DEADLINE):
            await call.answer(ours())
        await sees(await call.stream(), has_colour(0, 128, 255))
        heard = Heard(call, "close", "error")
        await page.page.reload()
        await heard.wait_for("close")


@pytest.mark.slow
@pytest.mark.timeout(90)
@pytest.mark.parametrize("engine", ["wrtc", "aiortc"])
async def test_a_page_that_crashes(browser: Browser, engine: str) -> None:
    """Nobody tells it: the network has to be silent for a while."""
    async with tab(browser, engine=engine) as page:
        call = await page.calls()
        async with asyncio.timeout(DEADLINE):
            await call.answer(ours())
        await sees(await call.stream(), has_colour(0, 128, 255))
        with suppress(PlaywrightError):
            await page.page.goto("chrome://crash")
        async with asyncio.timeout(60):
            await call.wait_closed()
        assert page.peer.connections == {}
        assert (await call.stream()).ended


async def test_refused_and_given_up(browser: Browser) -> None:
    """PeerJS has no word for either; what we say instead breaks nothing."""
    async with tab(browser, engine="wrtc") as page:
        await (await page.calls()).close()
        await page.hears("peer peer-unavailable")
        ringing = page.peer.call("page", MediaStream.test_pattern(), metadata={"ring": True})
        await page.page.wait_for_function("() => current.metadata.ring", timeout=DEADLINE * 1000)
        await ringing.close()
        with pytest.raises(PeerError):
            await ringing
        await page.page.evaluate("() => current.answer(mine)")
        # The page is as good as before.
        async with asyncio.timeout(DEADLINE):
            await page.peer.call("page", MediaStream.test_pattern(320, 240, fps=15))
        await page.shows_the_pattern()
