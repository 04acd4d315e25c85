"""Row P19: no secret is compared with `==`, which takes the longer the more of its beginning is right."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import crosspeer
from crosspeer.peerjs import PeerServer, Turn

SECRET = re.compile(r"(^|_)(tokens?|secrets?|passwords?|credentials?|signatures?|macs?|hmacs?|digests?|keys?|sent)$")
HASH = "a hash of a token: how much of it is right helps nobody to a token"
ALLOWED = {
    # file, what is compared: why it is no secret
    ("peerjs/broker/claims.py", "digest"): HASH,
    ("peerjs/broker/directory.py", "digest"): HASH,
    ("peerjs/broker/fleet.py", "digest"): HASH,
    ("peerjs/client/sending.py", "sent"): "a number of bytes",
    ("peerjs/client/session.py", "INVALID_KEY"): "a type of message",
    ("peerjs/client/switchboard.py", "key"): "which connection a candidate is for",
    ("runtime/sse/gate.py", "_TOKEN"): "the name of a header",
    ("testing/events.py", "TOKEN"): "the name of an event",
    ("wire/frames.py", "key"): "the mask of a frame",
    ("wire/frames.py", "_NO_KEY"): "the mask of a frame",
    ("wire/handshake.py", "token"): "a word of HTTP's grammar",
}


def comparisons(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Lines that ask whether two values are the same, and the name of each value."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and any(isinstance(op, (ast.Eq, ast.NotEq)) for op in node.ops):
            for side in (node.left, *node.comparators):
                name = side.id if isinstance(side, ast.Name) else side.attr if isinstance(side, ast.Attribute) else ""
                if name:
                    yield node.lineno, name


def test_secrets_are_compared_in_constant_time_alone() -> None:
    root = Path(crosspeer.__file__).parent
    found = []
    for path in sorted(root.rglob("*.py")):
        file = str(path.relative_to(root))
        for line, name in comparisons(ast.parse(path.read_text())):
            if SECRET.search(name.lower()) and (file, name) not in ALLOWED:
                found.append(f"{file}:{line} compares {name}")
    assert found == [], "use hmac.compare_digest, or say in ALLOWED why it is no secret"


@pytest.mark.parametrize(
    ("source", "is_found"),
    [
        ("sent == self._token", True),
        ("a.secret != b", True),
        ("api_key == key", True),
        ("hmac.compare_digest(token, sent)", False),
        ("token is None", False),
        ("monkey == 1", False),
    ],
)
def test_what_the_search_finds(source: str, is_found: bool) -> None:
    assert any(SECRET.search(name) for _, name in comparisons(ast.parse(source))) is is_found


def test_the_secret_of_a_turn_server_is_never_printed() -> None:
    """Row R6."""
    turn = Turn("the-secret", "turn:turn.example.com")
    broker = PeerServer(turn=turn)
    for text in (repr(turn), str(turn), f"{turn!r}", repr(broker), str(vars(broker)), repr(turn.credentials("alice"))):
        assert "the-secret" not in text
