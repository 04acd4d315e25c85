"""picows: a listener for each connection, and a room by hand, for it has none."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import uvloop
from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

if TYPE_CHECKING:
    from collections.abc import Callable

room: set[WSTransport] = set()


class Member(WSListener):
    """What all three have in common."""

    def on_ws_connected(self, transport: WSTransport) -> None:
        room.add(transport)
        transport.send(WSMsgType.TEXT, b"ready")

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.TEXT:
            self.on_text(transport, frame.get_payload_as_bytes())  # the cheapest way: without a look at the UTF-8
        elif frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code() or WSCloseCode.OK)
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        room.discard(transport)

    on_text: Callable[[WSTransport, bytes], None]
    """What each path does with a text."""


class Chat(Member):
    def on_text(self, transport: WSTransport, text: bytes) -> None:
        for member in room:
            member.send(WSMsgType.TEXT, text)


class Echo(Member):
    def on_text(self, transport: WSTransport, text: bytes) -> None:
        transport.send(WSMsgType.TEXT, text)


class Fan(Member):
    def on_text(self, transport: WSTransport, text: bytes) -> None:
        for member in room:
            if member is not transport:
                member.send(WSMsgType.TEXT, text)


PATHS = {b"/chat": Chat, b"/echo": Echo, b"/fan": Fan}


def accept(request: WSUpgradeRequest) -> WSListener | None:
    listener = PATHS.get(bytes(request.path))
    return listener() if listener else None


async def main() -> None:
    server = await ws_create_server(accept, "127.0.0.1", int(os.environ["PORT"]), backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
