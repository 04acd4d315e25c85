"""The column of crossws 0.4.17, which crosspeer's hooks and peers are modelled on. Read from its sources, not run here.

A member that is missing does in crossws what it does here. The adapter is that for Node, if a note does not say more.
"""

from __future__ import annotations

from typing import Final

from compatibility.effects import NO, PARTLY

_ONLY_SOME: Final = "Only on Node, Bun and uWebSockets.js."
_NOT_AWAITED: Final = "Async hooks of one peer overlap, and `open` is not waited for before the first message."
_NO_LIMIT: Final = "There is no such limit."

CROSSWS: Final[dict[str, tuple[str, str]]] = {
    "Hooks.open": (PARTLY, _NOT_AWAITED),
    "Hooks.message": (PARTLY, _NOT_AWAITED),
    "Hooks.close": (PARTLY, _NOT_AWAITED),
    "Hooks.error": (
        PARTLY,
        "It is called for errors of the transport; what a hook raises ends the process by default.",
    ),
    "Hooks.drain": (PARTLY, _ONLY_SOME),
    "Hooks.ping": (PARTLY, _ONLY_SOME),
    "Hooks.pong": (PARTLY, _ONLY_SOME),
    "Peer.ping": (PARTLY, _ONLY_SOME),
    "Upgrade.headers": (PARTLY, "Not on Deno and Bunny."),
    "Upgrade.protocol": (PARTLY, "Whether the client offered it is not checked."),
    "Peer.request": (PARTLY, "It has `url` and `headers`, and is not the object that `upgrade` saw."),
    "Peer.remote_address": (PARTLY, "Not on Cloudflare and over SSE."),
    "Peer.websocket.protocol": (PARTLY, "It is the client's whole offer where nothing was negotiated."),
    "Peer.websocket.extensions": (PARTLY, "It is the client's offer where nothing was negotiated."),
    "Peer.buffered_amount": (PARTLY, "It is 0 on Cloudflare and over SSE."),
    "Peer.websocket.buffered_amount": (PARTLY, "It is 0 on Cloudflare and over SSE."),
    "Peer.dropped": (NO, _NO_LIMIT),
    "Peer.send": (PARTLY, "A list goes out as raw bytes; maps and instances of classes raise."),
    "Peer.publish": (PARTLY, "On Bun and uWebSockets.js it leaves the namespace."),
    "Hub.publish": (PARTLY, "On Bun and uWebSockets.js it leaves the namespace."),
    "Peer.terminate": (PARTLY, "It closes politely on Cloudflare, Bunny and over SSE."),
    "Peer.wait_for_drain": (PARTLY, "It looks every 100 ms."),
    "Message.data": (PARTLY, "It is a `Buffer` on Node, for text too."),
    "Message.is_text": (NO, "There is no such member."),
    "Message.json": (PARTLY, "It has no types."),
    "CloseDetails.code": (PARTLY, "Not on Deno and over SSE."),
    "CloseDetails.reason": (PARTLY, "Not on Deno and over SSE, and wrong on uWebSockets.js."),
    "CloseDetails.was_clean": (PARTLY, "Only on Cloudflare's Durable Objects."),
    "Hub.resolve": (PARTLY, "A path without hooks becomes an open connection that nobody answers."),
    "Hub.peers": (PARTLY, "Namespaces without peers are kept for ever."),
    "Hub.close": (PARTLY, "It does not wait for the answers, nor refuse who comes meanwhile."),
    "Hub.origins": (NO, "Any web page may connect."),
    "Hub.heartbeat": (PARTLY, "It is by pings alone, and not on Cloudflare and over SSE."),
    "Limits.handshake_timeout": (NO, _NO_LIMIT),
    "Limits.max_connections": (NO, _NO_LIMIT),
    "Limits.max_message_size": (PARTLY, "It is an option of the library under it."),
    "Limits.max_queue_size": (NO, _NO_LIMIT),
    "Limits.max_waiting_messages": (NO, _NO_LIMIT),
    "Limits.overflow": (NO, _NO_LIMIT),
}
