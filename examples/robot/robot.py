"""A robot that is driven from a web page: the page, the broker and the robot in one program.

    python examples/robot/robot.py --port 3000

The page reaches the robot by the broker, which is on the same port, and then talks to it directly.
"""

import argparse
import asyncio
import signal
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from simulation import RADIUS, RANGE, TOP_SPEED, TRACK, Body
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from crosspeer import Server
from crosspeer.peerjs import DataConnection, Peer, PeerError, PeerServer

STEP = 0.02
"""Seconds between two steps of the robot. Every other one is told to the pages."""
PATIENCE = 0.5
"""Seconds without a word from the driver after which the robot stops, and obeys another page."""
MAX_WAITING = 64 * 1024
"""Bytes that wait for a slow page. More news would only come later still: it is left out."""
PUBLIC = Path(__file__).parent / "public"


class Robot:
    """Obeys one page, and shows itself to all."""

    def __init__(self) -> None:
        self.body = Body()
        self.pages: list[DataConnection] = []
        self.driver: DataConnection | None = None
        self.heard_at = -PATIENCE
        """When the driver said something."""
        self.echo: Any = None

    def welcome(self, page: DataConnection) -> None:
        self.pages.append(page)
        page.on("data", lambda message: self.heard(page, message))
        page.on("close", lambda: self.left(page))
        room = self.body.room
        page.send(
            {
                "type": "hello",
                "room": {
                    "width": room.width,
                    "height": room.height,
                    "furniture": [asdict(box) for box in room.furniture],
                },
                "robot": {"radius": RADIUS, "track": TRACK, "range": RANGE, "topSpeed": TOP_SPEED},
            }
        )

    def heard(self, page: DataConnection, message: Any) -> None:
        """A page wants something. Anything may come: what is not understood is left out."""
        match message:
            case {"type": "drive", "left": int() | float() as left, "right": int() | float() as right}:
                if not self.gives_wheel(page, wanted=left != 0 or right != 0):
                    return
                self.driver = page
                self.body.drive(left, right)
                self.heard_at = now()
                self.echo = message.get("at")

    def gives_wheel(self, page: DataConnection, *, wanted: bool) -> bool:
        """Whether a page may drive: whoever does, anybody if nobody does, and who wants to if the driver is silent."""
        return page is self.driver or self.driver is None or (wanted and not self.in_contact)

    def left(self, page: DataConnection) -> None:
        self.pages.remove(page)
        if page is self.driver:
            self.driver = None
            self.heard_at = -PATIENCE

    async def live(self) -> None:
        """Move, and tell all pages, until cancelled."""
        due = now()
        for count in range(1 << 62):
            if not self.in_contact:
                self.body.drive(0, 0)
            self.body.step(STEP)
            if count % 2 == 0:
                self.tell()
            due = max(due + STEP, now())
            await asyncio.sleep(due - now())

    @property
    def in_contact(self) -> bool:
        return now() - self.heard_at < PATIENCE

    def tell(self) -> None:
        body = self.body
        state = {
            "type": "state",
            "x": round(body.x, 3),
            "y": round(body.y, 3),
            "heading": round(body.heading, 4),
            "speed": round(body.speed, 3),
            "left": round(body.left, 3),
            "right": round(body.right, 3),
            "bumped": body.bumped,
            "contact": self.in_contact,
            "ranges": body.ranges(),
        }
        for page in tuple(self.pages):
            if page.open and page.buffered_amount < MAX_WAITING:
                is_driver = page is self.driver
                page.send({**state, "driving": is_driver, "echo": self.echo if is_driver else None})


def now() -> float:
    return asyncio.get_running_loop().time()


async def run(host: str, port: int) -> None:
    routes = [Mount("/broker", PeerServer().asgi), Mount("/", StaticFiles(directory=PUBLIC, html=True))]
    async with Server(Starlette(routes=routes), host=host, port=port) as server:
        where = urlsplit(server.url)
        broker = {"host": where.hostname, "port": where.port, "path": "/broker", "secure": False}
        # No STUN: page and robot are in one network. For a way through the internet, name servers here and in app.js.
        async with Peer("robot", **broker, config={"iceServers": []}, backoff=True) as peer:
            robot = Robot()
            peer.on("connection", lambda page: page.on("open", lambda: robot.welcome(page)))
            print(f"The robot is on {server.url}", flush=True)
            await robot.live()


async def until_stopped(host: str, port: int) -> None:
    running = asyncio.ensure_future(run(host, port))
    with suppress(NotImplementedError):  # Windows has Ctrl+C alone.
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    await asyncio.wait({running})
    if not running.cancelled():
        running.result()


def main() -> None:
    parser = argparse.ArgumentParser(description="A robot that is driven from a web page.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 for all")
    parser.add_argument("--port", default=3000, type=int, help="port; 0 takes a free one")
    arguments = parser.parse_args()
    try:
        asyncio.run(until_stopped(arguments.host, arguments.port))
    except (OSError, PeerError) as error:
        raise SystemExit(f"robot: {error}") from None


if __name__ == "__main__":
    main()
