"""Which route answers a path."""

from __future__ import annotations

from typing import Any

import pytest

from crosspeer.server.routes.load import Function, Route
from crosspeer.server.routes.path import path_segments
from crosspeer.server.routes.pattern import parse_name
from crosspeer.server.routes.table import Table


def table(*files: str) -> Table:
    """Routes of these names, each with a function for what its name allows."""
    routes = []
    for file in files:
        paths, method = parse_name(file)
        routes.append(Route(paths, method, file, {method or "*": Function(lambda: None)}))
    return Table(routes)


def http(raw_path: str | bytes | None, *, path: str = "/", root_path: str = "") -> dict[str, Any]:
    raw = raw_path.encode() if isinstance(raw_path, str) else raw_path
    return {"type": "http", "path": path, "raw_path": raw, "root_path": root_path}


def choose(files: list[str], path: str, method: str = "GET") -> tuple[str, dict[str, str]] | None:
    segments = path_segments(http(path))
    match = None if segments is None else table(*files).choose(segments, method)
    found = None if match is None else match.endpoint.function(method)
    return None if match is None or found is None else (found[0].file, match.parameters(found[0]))


@pytest.mark.parametrize(
    ("files", "path", "file", "params"),
    [
        # The more specific first, decided a segment at a time.
        (["[id].py", "me.py"], "/me", "me.py", {}),
        (["[id].py", "me.py"], "/you", "[id].py", {"id": "you"}),
        (["[id].py", "pre-[id].py", "[...].py"], "/pre-1", "pre-[id].py", {"id": "1"}),
        (["[id].py", "pre-[id].py", "[...].py"], "/1", "[id].py", {"id": "1"}),
        (["[id].py", "pre-[id].py", "[...].py"], "/1/2", "[...].py", {"_": "1/2"}),
        (["[a]-[b].py", "pre-[id].py"], "/pre-1", "pre-[id].py", {"id": "1"}),
        (["pre-[id].py", "[a]-[b].py"], "/pro-1", "[a]-[b].py", {"a": "pro", "b": "1"}),
        (["[y]/b.py", "a/[x].py"], "/a/b", "a/[x].py", {"x": "b"}),
        (["[...all].py", "[...].py"], "/x", "[...all].py", {"all": "x"}),
        (["[id].py", "b/[...].py"], "/b", "b/[...].py", {"_": ""}),
        (["b.py", "b/[...].py"], "/b", "b.py", {}),
        # Back again from a branch that ends nowhere.
        (["a/x/c.py", "[y]/b.py"], "/a/b", "[y]/b.py", {"y": "a"}),
        (["a/[x]/c.py", "[...rest].py"], "/a/b/d", "[...rest].py", {"rest": "a/b/d"}),
        (["a/b/c.py", "a/[x]/d.py", "[y]/b/e.py"], "/a/b/e", "[y]/b/e.py", {"y": "a"}),
        (["pre-[a]/x.py", "[b]/y.py"], "/pre-1/y", "[b]/y.py", {"b": "pre-1"}),
        # Catch-alls.
        (["a/[...slug].py"], "/a/b", "a/[...slug].py", {"slug": "b"}),
        (["a/[...slug].py"], "/a/b/c", "a/[...slug].py", {"slug": "b/c"}),
        (["a/[...slug].py"], "/a", None, None),
        (["a/[...slug].py"], "/a/", None, None),
        (["b/[...].py"], "/b", "b/[...].py", {"_": ""}),
        (["b/[...].py"], "/b/", "b/[...].py", {"_": ""}),
        (["b/[...].py"], "/b/c/d", "b/[...].py", {"_": "c/d"}),
        (["b/[...].py"], "/bc", None, None),
        (["[...].py"], "/", "[...].py", {"_": ""}),
        (["[id]/[...rest].py"], "/1/2/3", "[id]/[...rest].py", {"id": "1", "rest": "2/3"}),
        # Slashes and case.
        (["index.py"], "/", "index.py", {}),
        (["a.py"], "/a/", "a.py", {}),
        (["a/[x].py"], "/a/b/", "a/[x].py", {"x": "b"}),
        (["a/[x].py"], "/a/", None, None),
        (["Hello.py"], "/hello", None, None),
        (["a.py"], "/a/b", None, None),
        ([], "/", None, None),
        # Encoded text.
        (["[x].py"], "/a%2Fb", "[x].py", {"x": "a/b"}),
        (["a/b.py"], "/a%2Fb", None, None),
        (["[...x].py"], "/a%2Fb/c%20d", "[...x].py", {"x": "a/b/c d"}),
        (["[x].py"], "/%C3%A9", "[x].py", {"x": "é"}),
        (["[x].py"], "/é", "[x].py", {"x": "é"}),
        (["é.py"], "/%c3%a9", "é.py", {}),
        (["my file.py"], "/my%20file", "my file.py", {}),
        (["[x].py"], "/a+b", "[x].py", {"x": "a+b"}),
        (["[x].py"], "/100%", "[x].py", {"x": "100%"}),
        (["[x].py"], "/%252e%252e", "[x].py", {"x": "%2e%2e"}),
        (["[x].py"], "/a?b=/c", "[x].py", {"x": "a"}),
        (["[x].py"], "/...", "[x].py", {"x": "..."}),
        (["[x].py"], "/https%3A%2F%2Fexample.com", "[x].py", {"x": "https://example.com"}),
    ],
)
def test_a_path_has_its_route(files: list[str], path: str, file: str | None, params: dict[str, str] | None) -> None:
    expected = None if file is None else (file, params)
    assert choose(files, path) == expected
    assert choose(files[::-1], path) == expected


@pytest.mark.parametrize(
    ("files", "method", "file"),
    [
        (["a.py", "a.get.py"], "GET", "a.get.py"),
        (["a.py", "a.get.py"], "POST", "a.py"),
        (["a.py", "a.get.py"], "HEAD", "a.get.py"),
        (["a.py", "a.head.py", "a.get.py"], "HEAD", "a.head.py"),
        (["a.py"], "PROPFIND", "a.py"),
        (["a.get.py"], "POST", None),
        (["a.get.py", "[x].py"], "POST", "[x].py"),
        (["a.get.py", "[x].post.py", "[...].py"], "DELETE", "[...].py"),
    ],
)
def test_a_method_has_its_file(files: list[str], method: str, file: str | None) -> None:
    for order in (files, files[::-1]):
        found = choose(order, "/a", method)
        assert (found and found[0]) == file


def test_files_for_different_methods_name_their_parameters_on_their_own() -> None:
    files = ["[id].get.py", "[name].post.py"]
    assert choose(files, "/7", "GET") == ("[id].get.py", {"id": "7"})
    assert choose(files, "/7", "POST") == ("[name].post.py", {"name": "7"})


@pytest.mark.parametrize(
    ("scope", "segments"),
    [
        (http("/a/b"), ("a", "b")),
        (http("/"), ()),
        (http(""), ()),
        (http("/a?x=1"), ("a",)),
        # Without a raw path there is nothing left to decode.
        (http(None, path="/a/%2e%2e/b"), ("a", "%2e%2e", "b")),
        (http(None, path="/a/é"), ("a", "é")),
        # Below a mount.
        (http("/app/a", root_path="/app"), ("a",)),
        (http("/app/a", root_path="/app/"), ("a",)),
        (http("/app", root_path="/app"), ()),
        (http("/app/app/a", root_path="/app"), ("app", "a")),
        (http("/apple/a", root_path="/app"), ("apple", "a")),
        (http("/a", root_path="/app"), ("a",)),
        (http("/m%C3%A9/x/a", root_path="/mé/x"), ("a",)),
        # What nothing answers.
        (http("//"), None),
        (http("//a"), None),
        (http("/a//b"), None),
        (http("/a//"), None),
        (http("/."), None),
        (http("/a/.."), None),
        (http("/%2e%2E/a"), None),
        (http("/.%2e/a"), None),
        (http("/a%2F..%2Fb"), None),
        (http("/%2Fetc%2Fpasswd"), None),
        (http("/..%5ca"), None),
        (http("/a%00b"), None),
        (http("/a\\b"), None),
        (http(None, path="/a/../b"), None),
        (http(None, path="/a\0"), None),
        (http("/%ff"), None),
        (http("/%c0%ae%c0%ae/a"), None),
        (http(b"/\xff"), None),
        (http("*"), None),
        (http("a/b"), None),
        (http("http://example.com/a"), None),
    ],
)
def test_the_segments_of_a_path(scope: dict[str, Any], segments: tuple[str, ...] | None) -> None:
    assert path_segments(scope) == segments
