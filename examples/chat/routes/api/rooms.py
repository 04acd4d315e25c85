"""`GET /api/rooms`: which rooms there are, and how many people are in each."""

from typing import Any

from crosspeer import Request

PREFIX = "/rooms/"


def get(request: Request) -> list[dict[str, Any]]:
    """The fullest room first. A plain HTTP request sees the same hub as the peers do."""
    rooms = []
    for namespace, peers in request.hub.peers.items():
        if namespace.startswith(PREFIX):
            people = {peer.context["person"]["id"] for peer in peers}
            rooms.append({"name": namespace.removeprefix(PREFIX), "people": len(people)})
    return sorted(rooms, key=lambda room: (-room["people"], room["name"]))
