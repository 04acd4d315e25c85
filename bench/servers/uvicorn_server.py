"""uvicorn: a plain ASGI application with a room by hand."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import uvicorn

Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]

room: set[Send] = set()


async def application(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    if scope["type"] != "websocket":
        raise RuntimeError("only WebSockets are served here")
    await receive()
    await send({"type": "websocket.accept"})
    room.add(send)
    try:
        await send({"type": "websocket.send", "text": "ready"})
        while (event := await receive())["type"] == "websocket.receive":
            await answer(scope["path"], send, {"type": "websocket.send", "text": event["text"]})
    finally:
        room.discard(send)


async def answer(path: str, sender: Send, event: Event) -> None:
    match path:
        case "/chat":
            for send in list(room):
                await send(event)
        case "/echo":
            await sender(event)
        case "/fan":
            for send in list(room):
                if send is not sender:
                    await send(event)


if __name__ == "__main__":
    uvicorn.run(
        application,
        host="127.0.0.1",
        port=int(os.environ["PORT"]),
        loop="uvloop",
        lifespan="off",
        log_level="warning",
        access_log=False,
        ws_per_message_deflate=False,
        backlog=4096,
    )
