"""websockets: its asyncio server and its broadcast()."""

from __future__ import annotations

import asyncio
import os

import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve

room: set[ServerConnection] = set()


async def handle(connection: ServerConnection) -> None:
    room.add(connection)
    try:
        await connection.send("ready")
        match connection.request and connection.request.path:
            case "/chat":
                async for text in connection:
                    broadcast(room, text)
            case "/echo":
                async for text in connection:
                    await connection.send(text)
            case "/fan":
                async for text in connection:
                    broadcast((member for member in room if member is not connection), text)
    finally:
        room.discard(connection)


async def main() -> None:
    port = int(os.environ["PORT"])
    async with serve(handle, "127.0.0.1", port, compression=None, backlog=4096):
        await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    uvloop.run(main())
