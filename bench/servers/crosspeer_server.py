"""crosspeer: hooks behind `serve`, on the engine that CROSSPEER_ENGINE or --engine names."""

from __future__ import annotations

import argparse
import logging
import os
from typing import TYPE_CHECKING

from crosspeer import Hooks, Hub, serve

if TYPE_CHECKING:
    from crosspeer import Message, Peer, Request


class Member(Hooks):
    """What all three have in common."""

    def open(self, peer: Peer) -> None:
        peer.subscribe("room")
        peer.send("ready")


class Chat(Member):
    def message(self, peer: Peer, message: Message) -> None:
        text = message.text()
        peer.send(text)
        peer.publish("room", text)


class Echo(Member):
    def message(self, peer: Peer, message: Message) -> None:
        peer.send(message.text())


class Fan(Member):
    def message(self, peer: Peer, message: Message) -> None:
        peer.publish("room", message.text())


class Topics(Hooks):
    """Topics by their numbers, `to` left out. A text is the name of the topic that it is for."""

    def open(self, peer: Peer) -> None:
        asked = peer.request.query_params
        for number in range(int(asked["from"]), int(asked["to"])):
            peer.subscribe(str(number))
        peer.send("ready")

    def message(self, peer: Peer, message: Message) -> None:
        text = message.text()
        peer.publish(text, text)


PATHS = {"/chat": Chat(), "/echo": Echo(), "/fan": Fan(), "/topics": Topics()}


def resolve(request: Request) -> Hooks | None:
    return PATHS.get(request.scope["path"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", help="auto, or one by its name")
    arguments = parser.parse_args()
    if arguments.engine:
        os.environ["CROSSPEER_ENGINE"] = arguments.engine
    logging.basicConfig(level=logging.WARNING)  # as quiet as the others
    serve(Hub(resolve=resolve), port=int(os.environ["PORT"]))
