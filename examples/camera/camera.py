"""A camera in a web page: the page, the broker and the peer that streams in one program.

    python examples/camera/camera.py --port 3000

Each page opens a data connection to the peer "camera", and is called back. Without a camera it is a test pattern.
"""

import argparse
import asyncio
import signal
from pathlib import Path
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from crosspeer import Server
from crosspeer.peerjs import DataConnection, MediaError, MediaStream, Peer, PeerError, PeerServer

PUBLIC = Path(__file__).parent / "public"


class Camera:
    """Sends one stream to all pages that ask for it."""

    def __init__(self, peer: Peer, name: str, stream: MediaStream) -> None:
        self.peer = peer
        self.name = name
        self.stream = stream
        self.pages: set[DataConnection] = set()

    async def show(self, page: DataConnection) -> None:
        """Call a page that has come, until it goes."""
        self.pages.add(page)
        self.tell()
        # The page has nothing to send, and PeerJS cannot call without: so it is we who call.
        call = self.peer.call(page.peer, self.stream, metadata={"name": self.name})
        page.on("close", call.close)
        try:
            await call
            await call.wait_closed()
        except PeerError as error:
            print(f"A page could not be called: {error}", flush=True)
        finally:
            self.pages.discard(page)
            page.close()
            self.tell()

    def tell(self) -> None:
        """Tell all pages how many there are."""
        for page in self.pages:
            page.send({"viewers": len(self.pages)})


def source(arguments: argparse.Namespace) -> tuple[str, MediaStream]:
    """What was asked for, with a name for people."""
    if arguments.file is not None:
        return Path(arguments.file).name, MediaStream.from_file(arguments.file, loop=True)
    if not arguments.pattern:
        try:
            return arguments.device or "Camera", MediaStream.from_camera(arguments.device)
        except MediaError as error:
            if arguments.device is not None:
                raise
            print(f"There is a test pattern instead: {error}", flush=True)
    return "Test pattern", MediaStream.test_pattern(640, 360)


async def run(arguments: argparse.Namespace) -> None:
    name, stream = source(arguments)
    routes = [Mount("/broker", PeerServer().asgi), Mount("/", StaticFiles(directory=PUBLIC, html=True))]
    async with Server(Starlette(routes=routes), host=arguments.host, port=arguments.port) as server:
        where = urlsplit(server.url)
        broker = {"host": where.hostname, "port": where.port, "path": "/broker", "secure": False}
        # No STUN: page and camera are in one network. For a way through the internet, name servers here and in app.js.
        async with Peer("camera", **broker, config={"iceServers": []}, backoff=True) as peer:
            camera = Camera(peer, name, stream)
            peer.on("connection", lambda page: page.on("open", lambda: camera.show(page)))
            print(f"The camera is on {server.url}", flush=True)
            await asyncio.Event().wait()


async def until_stopped(arguments: argparse.Namespace) -> None:
    running = asyncio.ensure_future(run(arguments))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    await asyncio.wait({running})
    if not running.cancelled():
        running.result()


def main() -> None:
    parser = argparse.ArgumentParser(description="A camera in a web page.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 for all")
    parser.add_argument("--port", default=3000, type=int, help="port; 0 takes a free one")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--device", help="the camera, such as /dev/video1, or the URL of a network camera")
    what.add_argument("--file", help="a film, over and over")
    what.add_argument("--pattern", action="store_true", help="the test pattern, even if there is a camera")
    arguments = parser.parse_args()
    try:
        asyncio.run(until_stopped(arguments))
    except (OSError, MediaError, PeerError) as error:
        raise SystemExit(f"camera: {error}") from None


if __name__ == "__main__":
    main()
