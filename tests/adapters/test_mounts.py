"""What frameworks make of the scope of a mount, and how it is put right."""

from __future__ import annotations

from typing import Any

import pytest

from crosspeer.adapters.mounts import restored


@pytest.mark.parametrize(
    ("scope", "path", "root_path"),
    [
        ({"path": "/ws/lobby", "root_path": "/ws"}, "/ws/lobby", "/ws"),
        ({"path": "/ws/lobby", "root_path": "/ws/"}, "/ws/lobby", "/ws"),
        ({"path": "/lobby"}, "/lobby", None),
        # Litestar
        ({"path": "/lobby/", "raw_path": b"/ws/lobby"}, "/ws/lobby", "/ws"),
        ({"path": "/lobby/", "raw_path": b"/ws/lobby/"}, "/ws/lobby/", "/ws"),
        ({"path": "/", "raw_path": b"/ws"}, "/ws", "/ws"),
        ({"path": "/", "raw_path": b"/ws/"}, "/ws/", "/ws"),
        ({"path": "/café/", "raw_path": b"/ws/caf%C3%A9"}, "/ws/café", "/ws"),
        ({"path": "/lobby/", "raw_path": b"/api/ws/lobby", "root_path": "/api"}, "/api/ws/lobby", "/api/ws"),
        ({"path": "/a/b/", "raw_path": b"/ws/a//b", "root_path": ""}, "/ws/a//b", ""),
        ({"path": "/ws/lobby", "raw_path": b"/ws/lobby"}, "/ws/lobby", ""),
        ({"path": "/lobby/"}, "/lobby/", None),
    ],
)
def test_the_path_is_whole(scope: dict[str, Any], path: str, root_path: str | None) -> None:
    if scope["path"] != "/lobby" and not scope.get("root_path", "").startswith("/ws"):
        scope |= {"litestar_app": object()}
    before = dict(scope)
    found = restored(scope)
    assert (found["path"], found.get("root_path")) == (path, root_path)
    assert scope == before, "the framework's own scope is left alone"


def test_parameters_of_channels_are_where_they_are_looked_for() -> None:
    scope = {"path": "/ws/7", "url_route": {"args": (), "kwargs": {"room": "7"}}}
    assert restored(scope)["path_params"] == {"room": "7"}
    assert restored({**scope, "path_params": {"other": "8"}})["path_params"] == {"other": "8"}
