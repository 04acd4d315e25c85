"""A chat room. `/rooms/lobby` is one room and `/rooms/books` another: what is said in one is not heard in the other.

The path of a peer is its namespace, and `publish` and `peers` stay inside it. So there is no list of rooms or members
to keep: who is here is asked of the library, and only what was said has to be remembered.
"""

import re
from collections import deque
from datetime import UTC, datetime
from typing import Any, TypedDict
from uuid import UUID, uuid4, uuid5

from starlette.responses import PlainTextResponse

from crosspeer import CloseDetails, Hooks, Message, Peer, Request, Response, Upgrade

TOPIC = "room"
ROOM_NAME = re.compile(r"[A-Za-z0-9_-]{1,40}")
MAX_NAME = 32
MAX_TEXT = 2000
MAX_HISTORY = 50


class Person(TypedDict):
    """Someone in a room, as the others see them. Two tabs of one page may be one person."""

    id: str
    name: str


class Room(Hooks):
    """All rooms: each peer talks to those of its own path."""

    def __init__(self) -> None:
        self.history: dict[str, deque[dict[str, Any]]] = {}

    def upgrade(self, request: Request) -> Upgrade | Response:
        if not ROOM_NAME.fullmatch(request.path_params["room"]):
            return PlainTextResponse("A room's name has 1 to 40 letters, digits, '-' or '_'.", 400)
        key = as_uuid(request.query_params.get("id", str(uuid4())))
        if key is None:
            return PlainTextResponse("The id of a client is a UUID.", 400)
        # The key stays between page and server: others see a derived id, and cannot come in under it.
        person_id = str(uuid5(key, "person"))
        name = clean_name(request.query_params.get("name", "")) or f"Guest-{person_id[:4]}"
        return Upgrade(context={"person": Person(id=person_id, name=name)})

    def open(self, peer: Peer) -> None:
        person = person_of(peer)
        was_here = person in [person_of(other) for other in peer.peers if other is not peer]
        peer.subscribe(TOPIC)
        said = list(self.history.get(peer.namespace, ()))
        peer.send({"type": "welcome", **person, "people": people_around(peer), "messages": said})
        if not was_here:
            peer.publish(TOPIC, {"type": "joined", **person})

    def message(self, peer: Peer, message: Message) -> None:
        try:
            content = message.json()
        except ValueError:
            content = None
        match content:
            case {"type": "say", "text": str(text)}:
                self.say(peer, text, as_uuid(content.get("id")) or UUID(message.id))
            case {"type": "typing"}:
                peer.publish(TOPIC, {"type": "typing", "from": person_of(peer)})
            case _:
                peer.send({"type": "error", "text": "Send JSON of the type 'say' or 'typing'."})

    def close(self, peer: Peer, details: CloseDetails) -> None:
        person = person_of(peer)
        if person["id"] not in [other["id"] for other in people_around(peer)]:
            peer.publish(TOPIC, {"type": "left", **person})
        if not peer.peers:
            self.history.pop(peer.namespace, None)

    def say(self, peer: Peer, text: str, message_id: UUID) -> None:
        """Tell everyone, the sender too: the echo is its receipt."""
        text = text.encode(errors="replace").decode().strip()
        if not 1 <= len(text) <= MAX_TEXT:
            reason = f"A message has 1 to {MAX_TEXT} characters."
            peer.send({"type": "error", "id": str(message_id), "text": reason})
            return
        history = self.history.setdefault(peer.namespace, deque(maxlen=MAX_HISTORY))
        if any(said["id"] == str(message_id) for said in history):
            return  # The page lost its connection before the echo, and said it again to be sure.
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        said = {"type": "said", "id": str(message_id), "from": person_of(peer), "text": text, "at": now}
        history.append(said)
        peer.publish(TOPIC, said)
        peer.send(said)


def person_of(peer: Peer) -> Person:
    person: Person = peer.context["person"]
    return person


def people_around(peer: Peer) -> list[Person]:
    """Who is in the peer's room, each person once."""
    return list({person["id"]: person for person in map(person_of, peer.peers)}.values())


def as_uuid(value: object) -> UUID | None:
    """Read a UUID in its usual form, and only in that."""
    try:
        uuid = UUID(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return uuid if uuid and str(uuid) == value else None


def clean_name(name: str) -> str:
    """Collapse white space, drop what cannot be seen, and cut what is too long."""
    visible = "".join(c for c in name if c.isprintable() or c.isspace())
    return " ".join(visible.split())[:MAX_NAME].strip()


websocket = Room()
