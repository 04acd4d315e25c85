"""A node of a fleet, with the backend that SYNC names, if any: who publishes, and who listens."""

from __future__ import annotations

import logging
import os

from crosspeer import Hooks, Hub, Message, Peer, Request, serve


class Room(Hooks):
    """Listens."""

    def open(self, peer: Peer) -> None:
        peer.subscribe("room")
        peer.send("ready")


class Fan(Room):
    """Publishes to all others what it is sent."""

    def message(self, peer: Peer, message: Message) -> None:
        peer.publish("room", message.text())


class Burst(Hooks):
    """Publishes as many texts at once as it is told."""

    def open(self, peer: Peer) -> None:
        peer.send("ready")

    def message(self, peer: Peer, message: Message) -> None:
        for number in range(int(message.text())):
            hub.publish("room", f"publication {number:04}", namespace="/")


PATHS = {"/room": Room(), "/fan": Fan(), "/burst": Burst()}


def resolve(request: Request) -> Hooks | None:
    return PATHS.get(request.scope["path"])


hub = Hub(resolve=resolve, namespace=lambda request: "/", sync=os.environ.get("SYNC") or None)

if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    serve(hub, port=int(os.environ["PORT"]))
