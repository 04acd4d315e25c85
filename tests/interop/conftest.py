"""The demo as a stranger runs it: the real command in a process of its own, and a real browser before it."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

import pytest
from playwright.async_api import async_playwright, expect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from playwright.async_api import Browser, ConsoleMessage, Page

ROOT = Path(__file__).parents[2]
CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
CHROMIUM_ARGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-features=WebRtcHideLocalIpsWithMdns",
]
DESKTOP = (1200, 760)
START_TIMEOUT = 20
STOP_TIMEOUT = 20

expect.set_options(timeout=15_000)


class ChatServer:
    """`crosspeer serve examples/chat` on a port that stays the same when it is started again."""

    def __init__(self, log: IO[bytes]) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "crosspeer", "serve", "examples/chat", "--port", str(self.port)]
        self._process = subprocess.Popen(command, cwd=ROOT, stdout=self._log, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + START_TIMEOUT
        while not accepts_connections(self.port):
            assert self._process.poll() is None, f"the server ended at once:\n{self.output()}"
            assert time.monotonic() < deadline, f"the server did not start:\n{self.output()}"
            time.sleep(0.02)

    def stop(self) -> None:
        """End it as a service manager would. A server that does not go by itself fails the test."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            pytest.fail(f"the server did not end on SIGTERM:\n{self.output()}")
        assert process.returncode == 0, f"the server ended with {process.returncode}:\n{self.output()}"

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def output(self) -> str:
        return Path(self._log.name).read_text(errors="replace")


class Join(Protocol):
    """Opens the page as a person with a browser profile of their own, and waits until they are connected."""

    async def __call__(self, name: str, room: str = "lobby", *, size: tuple[int, int] = DESKTOP) -> Page: ...


@pytest.fixture
def chat_server(tmp_path: Path) -> Iterator[ChatServer]:
    with (tmp_path / "server.log").open("wb") as log:
        server = ChatServer(log)
        try:
            server.start()
            yield server
            server.stop()
        finally:
            server.kill()


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """A fresh one, with a profile that is gone with it."""
    # Playwright chooses the folder: in `tmp_path` the names of Chromium's sockets would be too long.
    if not Path(CHROMIUM).exists():
        pytest.skip(f"no Chromium on the PATH and none at {CHROMIUM}: install Debian's package chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGS)
        yield browser
        await browser.close()


@pytest.fixture
async def join(browser: Browser, chat_server: ChatServer) -> AsyncIterator[Join]:
    complaints: list[str] = []

    def note(message: ConsoleMessage) -> None:
        # While the server is away a browser tells every attempt to connect, and no page can prevent it.
        if message.type in ("error", "warning") and not message.text.startswith("WebSocket connection to"):
            complaints.append(message.text)

    async def join(name: str, room: str = "lobby", *, size: tuple[int, int] = DESKTOP) -> Page:
        context = await browser.new_context(viewport={"width": size[0], "height": size[1]})
        page = await context.new_page()
        page.on("console", note)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        await page.goto(f"{chat_server.url}/#{room}")
        await page.get_by_test_id("name-input").fill(name)
        await page.get_by_test_id("join").click()
        await expect(page.get_by_test_id("status")).to_have_attribute("data-state", "connected")
        return page

    yield join
    assert complaints == []


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def accepts_connections(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
