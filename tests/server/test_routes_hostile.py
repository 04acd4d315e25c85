"""Paths that try to leave the folders: 404, and no file outside of them is opened (hostile inputs, H14)."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crosspeer.server.routes import Routes

CATCH_ALL = "def get(request): return request.path_params['path']\n"

_watching: list[list[str]] = []


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and _watching and isinstance(arguments[0], (str, bytes)):
        _watching[-1].append(os.fsdecode(arguments[0]))


sys.addaudithook(_watch)


@pytest.fixture
def opened() -> Iterator[list[str]]:
    """Every path that is opened, as Python's own audit sees it."""
    _watching.append([])
    yield _watching[-1]
    _watching.pop()


@pytest.fixture
def site(tmp_path: Path) -> Path:
    files = {
        "secret": "secret",
        "index.html": "secret",
        "site-backup/secret": "secret",
        "site/secret": "secret",
        "site/routes/a.py": "def get(): return 'a'\n",
        "site/public/index.html": "index",
        "site/public/real.txt": "real",
        "site/public/.env": "secret",
        "site/public/.git/config": "secret",
        "site/public/docs/.htaccess": "secret",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    public = tmp_path / "site/public"
    os.symlink(tmp_path / "secret", public / "link")
    os.symlink("../../secret", public / "relative-link")
    os.symlink(tmp_path, public / "folder-link")
    os.symlink(public / "circle", public / "circle")
    os.symlink(public / "real.txt", public / "inner-link")
    return tmp_path / "site"


async def ask(routes: Routes, raw_path: bytes) -> tuple[int, bytes]:
    """Ask by hand: a client library would tidy the path up."""
    status, body = 0, b""

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        nonlocal status, body
        status = message.get("status", status)
        body += message.get("body", b"")

    await routes(
        {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "method": "GET",
            "scheme": "http",
            "path": raw_path.decode(errors="replace"),
            "raw_path": raw_path,
            "query_string": b"",
            "headers": [(b"host", b"testserver")],
        },
        receive,
        send,
    )
    return status, body


NEVER = [
    b"/..",
    b"/../secret",
    b"/a/../../secret",
    b"/%2e%2e/secret",
    b"/%2E./secret",
    b"/%2e/a",
    b"/a/%2e%2e/%2e%2e/secret",
    b"/..%5c",
    b"/..%5csecret",
    b"/..\\secret",
    b"/docs%5c..%5c..%5csecret",
    b"/..%2fsecret",
    b"/%2e%2e%2fsecret",
    b"/docs%2f..%2f..%2fsecret",
    b"/\0",
    b"/%00",
    b"/real.txt%00",
    b"/real.txt%00.html",
    b"//",
    b"//secret",
    b"//real.txt",
    b"/docs//real.txt",
    b"//etc/passwd",
    b"/%2fetc/passwd",
    b"/%2fetc%2fpasswd",
    b"/docs/%2fetc%2fpasswd",
    b"/%c0%ae%c0%ae/secret",
    b"/%ff%fe",
    b"secret",
    b"../secret",
    b"file:///etc/passwd",
]
NOT_IN_PUBLIC = [
    b"/%252e%252e/",
    b"/%252e%252e/secret",
    b"/%252e%252e%252fsecret",
    b"/..%255csecret",
    "/a/\u2024\u2024/".encode(),
    "/\u2024\u2024/secret".encode(),
    "/\uff0e\uff0e/secret".encode(),
    b"/..;/secret",
    b"/.../secret",
    b"/link",
    b"/relative-link",
    b"/folder-link",
    b"/folder-link/",
    b"/folder-link/secret",
    b"/folder-link/index.html",
    b"/circle",
    b"/.env",
    b"/.git/config",
    b"/%2eenv",
    b"/docs/.htaccess",
    b"/real.txt/secret",
    b"/docs%2freal.txt",
    b"/C:/secret",
    b"/C:%2fsecret",
    b"/~/secret",
    b"/$HOME",
    b"/" + b"x/" * 3000,
    b"/" + b"x" * 3000,
]


def touched(opened: list[str], site: Path) -> list[str]:
    """What was opened of the files that matter: those around the site and the system's own, not Python's."""
    top = site.parent.resolve()
    return [path for path in opened if Path(path).resolve().is_relative_to(top) or path.startswith("/etc/pass")]


@pytest.mark.parametrize("path", NEVER + NOT_IN_PUBLIC, ids=lambda path: repr(path[:40]))
async def test_no_path_leaves_the_public_folder(site: Path, opened: list[str], path: bytes) -> None:
    routes = Routes(site / "routes")
    opened.clear()
    status, body = await ask(routes, path)
    assert (status, body) == (404, b"Not Found")
    assert touched(opened, site) == []


@pytest.mark.parametrize("path", [b"/" + above.lstrip(b"/") for above in NEVER[:-3]], ids=repr)
@pytest.mark.parametrize("prefix", [b"", b"/files"])
async def test_no_path_is_handed_to_a_catch_all_that_could_leave_its_folder(
    site: Path, prefix: bytes, path: bytes
) -> None:
    (site / "routes/[...path].py").write_text(CATCH_ALL)
    (site / "routes/files").mkdir()
    (site / "routes/files/[...path].py").write_text(CATCH_ALL)
    status, body = await ask(Routes(site / "routes", public=False), prefix + path)
    if status == 200:  # without its slashes in front it may be a harmless name
        assert Path("/folder", body.decode()).resolve().is_relative_to("/folder")
        assert b".." not in body.split(b"/")
    else:
        assert status == 404


@pytest.mark.parametrize(
    ("path", "name"), [(b"/real.txt", "real.txt"), (b"/inner-link", "real.txt"), (b"/", "index.html")]
)
async def test_what_is_in_the_folder_is_opened_and_seen(site: Path, opened: list[str], path: bytes, name: str) -> None:
    routes = Routes(site / "routes")
    opened.clear()
    status, _ = await ask(routes, path)
    assert status == 200
    assert touched(opened, site) == [str(site / "public" / name)]
