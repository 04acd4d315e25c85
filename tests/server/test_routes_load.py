"""From a folder to its routes: what is loaded, what is skipped, what is wrong."""

from __future__ import annotations

import logging
import os
import pickle
import sys
from pathlib import Path

import pytest

from crosspeer import Hooks
from crosspeer.server.routes import Routes

GET = "def get():\n    return 'it'\n"
CHAT = "from crosspeer import Hooks\nclass websocket(Hooks): pass\n"


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "routes").mkdir()
    return tmp_path / "routes"


def test_routes_are_listed_in_the_order_of_their_files(folder: Path) -> None:
    write(folder, {"users/[id].delete.py": "def delete(request): ...", "index.py": GET, "chat.py": CHAT})
    listed = [(route.pattern, route.method, route.file) for route in Routes(folder)]
    assert listed == [
        ("/chat", None, "routes/chat.py"),
        ("/", None, "routes/index.py"),
        ("/users/:id", "DELETE", "routes/users/[id].delete.py"),
    ]


def test_other_files_are_no_routes(folder: Path) -> None:
    write(
        folder,
        {
            "a.py": GET,
            "__init__.py": "raise RuntimeError",
            "sub/__init__.py": "raise RuntimeError",
            "__pycache__/b.py": "raise RuntimeError",
            ".hidden.py": "raise RuntimeError",
            ".git/c.py": "raise RuntimeError",
            "d.txt": "",
            "e.pyc": "",
            "f.PY": "raise RuntimeError",
        },
    )
    (folder / "g.py").mkdir()
    routes = Routes(folder)
    assert [route.file for route in routes] == ["routes/a.py"]
    assert routes.errors == []


@pytest.mark.parametrize(
    ("name", "text", "line", "message"),
    [
        ("x.py", "\n\nprint(x)\n", 3, "NameError: name 'x' is not defined"),
        ("x.py", "def get(:\n", 1, "SyntaxError: invalid syntax"),
        ("x.py", "def f():\n    1 / 0\n\nf()\n", 2, "ZeroDivisionError: division by zero"),
        ("x.py", "import sys\nsys.exit(3)\n", 2, "SystemExit: 3"),
        ("x.py", "import json\njson.loads('{')\n", 2, "JSONDecodeError: Expecting property name"),
        ("x.py", "raise ValueError('two\\nlines')\n", 1, "ValueError: two lines"),
        ("x.py", "from . import y\n", 1, "ImportError: attempted relative import"),
        ("x.py", "def get(): ...\nimport nowhere_to_be_found\n", 2, "ModuleNotFoundError: No module named"),
        ("x.py", "A = 1\n", None, "exports neither websocket nor an HTTP function"),
        ("x.get.py", "def post(request): ...\n", None, "exports neither websocket nor get nor handler"),
        ("x.py", "websocket = 42\n", None, "websocket: 42 is no hooks"),
        ("x.py", "websocket = {'opened': print}\n", None, "websocket: there is no hook 'opened'"),
        (
            "x.py",
            "from crosspeer import Hooks\nclass websocket(Hooks):\n    def __init__(self): 1 / 0\n",
            3,
            "ZeroDivisionError",
        ),
        ("x.post.py", CHAT, None, "websocket is out of reach"),
        ("x.py", "get = 42\n", None, "get must be a function, not int"),
        ("x.py", "class get: ...\n", None, "get must be a function, not a class"),
        ("x.py", "def handler(request, other): ...\n", None, "handler(request, other) cannot be called"),
        ("x.py", "def put(*, request): ...\n", None, "put(*, request) cannot be called"),
        ("[[x]].py", GET, None, "the brackets in '[[x]]' do not fit"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_clear_line(
    folder: Path, caplog: pytest.LogCaptureFixture, name: str, text: str, line: int | None, message: str
) -> None:
    write(folder, {name: text, "fine.py": GET})
    routes = Routes(folder)
    (error,) = routes.errors
    assert (error.file, error.line) == (f"routes/{name}", line)
    assert error.message.startswith(message)
    place = f"routes/{name}" if line is None else f"routes/{name}:{line}"
    records = [record for record in caplog.records if record.name == "crosspeer"]
    assert [(record.levelno, record.getMessage()) for record in records] == [
        (logging.ERROR, f"{place}: {error.message}")
    ]
    assert "\n" not in error.message
    assert [route.error for route in routes if route.file == "routes/fine.py"] == [None]


def test_a_failed_import_leaves_no_module_behind(folder: Path) -> None:
    write(folder, {"x.py": "1 / 0\n"})
    before = set(sys.modules)
    Routes(folder)
    assert set(sys.modules) == before


def test_a_keyboard_interrupt_is_not_kept_from_its_sender(folder: Path) -> None:
    write(folder, {"x.py": "raise KeyboardInterrupt\n"})
    with pytest.raises(KeyboardInterrupt):
        Routes(folder)


@pytest.mark.parametrize(
    ("first", "second", "route"),
    [
        ("a.py", "a/index.py", "/a"),
        ("[id].py", "[name].py", "/:name"),
        ("(one)/a.get.py", "(two)/a.get.py", "/a"),
        ("[...a].py", "[...b].py", "/**:b"),
    ],
)
def test_the_first_of_two_files_for_one_route_wins(folder: Path, first: str, second: str, route: str) -> None:
    write(folder, {second: "raise RuntimeError('imported')", first: GET})
    routes = Routes(folder)
    assert [route.file for route in routes] == [f"routes/{first}"]
    assert [str(error) for error in routes.errors] == [
        f"routes/{second}: not served, routes/{first} gives the same route {route}"
    ]


def test_the_same_path_with_other_methods_is_no_conflict(folder: Path) -> None:
    write(folder, {"a.get.py": GET, "a.post.py": "def post(request): ...", "a.py": CHAT})
    assert Routes(folder).errors == []


def test_modules_are_on_their_own_and_can_be_found(folder: Path) -> None:
    text = "import dataclasses\n@dataclasses.dataclass\nclass Point:\n    x: int\ndef get():\n    return Point(1)\n"
    write(folder, {"a-b.py": text, "a_b.py": text})
    path_before = list(sys.path)
    points = [route.functions["GET"].call() for routes in (Routes(folder), Routes(folder)) for route in routes]
    assert len({type(point) for point in points}) == 4
    assert [pickle.loads(pickle.dumps(point)) for point in points] == points
    assert sys.path == path_before


def test_connections_share_one_instance_of_the_hooks(folder: Path) -> None:
    write(folder, {"a.py": CHAT, "b.py": "websocket = {'open': print}"})
    assert all(isinstance(route.websocket, Hooks) for route in Routes(folder))


def test_links_out_of_the_folder_are_skipped(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    elsewhere = write(folder.parent / "routes-elsewhere", {"a.py": "raise RuntimeError('imported')"})
    write(folder, {"real/b.py": GET})
    os.symlink(elsewhere / "a.py", folder / "file.py")
    os.symlink(elsewhere, folder / "folder")
    os.symlink(folder / "real", folder / "inside")
    os.symlink(folder / "nowhere.py", folder / "dangling.py")
    routes = Routes(folder)
    assert [route.file for route in routes] == ["routes/inside/b.py", "routes/real/b.py"]
    assert routes.errors == []
    warned = sorted(record.getMessage() for record in caplog.records if record.levelno == logging.WARNING)
    reason = "is skipped: it is a link out of the routes folder"
    assert warned == [f"{folder / 'file.py'} {reason}", f"{folder / 'folder'} {reason}"]


def test_links_in_a_circle_end(folder: Path) -> None:
    write(folder, {"a/x.py": GET, "b/y.py": GET})
    os.symlink(folder, folder / "a" / "up")
    os.symlink(folder / "b", folder / "a" / "b")
    os.symlink(folder / "a", folder / "b" / "a")
    assert [route.pattern for route in Routes(folder)] == ["/a/b/y", "/a/x", "/b/a/x", "/b/y"]


def test_the_folder_itself_may_be_a_link(folder: Path) -> None:
    write(folder, {"a.py": GET})
    os.symlink(folder, folder.parent / "link")
    assert [route.file for route in Routes(folder.parent / "link")] == ["link/a.py"]


def test_a_relative_folder_goes_by_its_real_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder, {"a.py": GET})
    monkeypatch.chdir(folder)
    for name in (".", "../routes/"):
        assert [route.file for route in Routes(name)] == ["routes/a.py"]


def test_a_wrong_folder_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    write(folder, {"file": ""})
    with pytest.raises(FileNotFoundError, match=r"^there is no routes folder 'nowhere'$"):
        Routes("nowhere")
    with pytest.raises(NotADirectoryError, match=r"^'file' is a file, not a routes folder$"):
        Routes("file")
    with pytest.raises(FileNotFoundError, match=r"^there is no public folder 'nowhere'$"):
        Routes(folder, public="nowhere")


@pytest.mark.parametrize("public", ["", "routes", "link"])
def test_a_public_folder_that_holds_the_routes_is_refused(folder: Path, public: str) -> None:
    os.symlink(folder.parent, folder.parent / "link")
    with pytest.raises(ValueError, match="holds the routes"):
        Routes(folder, public=folder.parent / public)
