"""The hooks that all the applications mount."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from crosspeer import CloseDetails, Hooks, Message, Peer, Request, Response


def say(*words: str) -> None:
    """Tell the test what happened: it reads what the process prints."""
    sys.stdout.write(" ".join(words) + "\n")
    sys.stdout.flush()


class Chat(Hooks):
    """Publishes what it is told, and tells what it sees.

    Args:
        user_of: finds who is logged in, with the framework's session.
        greeting_of: finds what the lifespan left.
    """

    def __init__(
        self, user_of: Callable[[Request], str | None], greeting_of: Callable[[Request], Any] = lambda _: None
    ) -> None:
        self._user_of = user_of
        self._greeting_of = greeting_of

    def upgrade(self, request: Request) -> Response | None:
        say("upgrade", request.url.path)
        if "raise" in request.query_params:
            raise RuntimeError("the secret is 42")
        user = self._user_of(request)
        if user is None:
            return Response("log in first", 401, {"www-authenticate": "Form"})
        request.context["user"] = user
        return None

    def open(self, peer: Peer) -> None:
        peer.subscribe("chat")

    def message(self, peer: Peer, message: Message) -> None:
        request = peer.request
        if message.text() == "raise":
            raise RuntimeError("the secret is 42")
        if message.text() == "tell":
            peer.send(
                {
                    "path": request.scope["path"],
                    "root_path": request.scope["root_path"],
                    "url": str(request.url),
                    "namespace": peer.namespace,
                    "parameters": request.path_params,
                    "user": peer.context["user"],
                    "cookies": sorted(request.cookies),
                    "greeting": self._greeting_of(request),
                }
            )
        else:
            peer.publish("chat", message.text())

    def close(self, peer: Peer, details: CloseDetails) -> None:
        say("close", peer.namespace)
