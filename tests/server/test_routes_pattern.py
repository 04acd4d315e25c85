"""What the name of a route file says."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crosspeer.server.routes.pattern import METHODS, MalformedName, Segment, parse_name


@pytest.mark.parametrize(
    ("file", "pattern", "method"),
    [
        ("index.py", "/", None),
        ("hello.get.py", "/hello", "GET"),
        ("users/[id].delete.py", "/users/:id", "DELETE"),
        ("a/[...slug].py", "/a/**:slug", None),
        ("[...].py", "/**", None),
        ("[...].post.py", "/**", "POST"),
        ("b/[...].py", "/b/**", None),
        ("(grp)/index.get.py", "/", "GET"),
        ("(grp)/a/(other)/b.py", "/a/b", None),
        ("(grp).py", "/(grp)", None),
        ("x(grp)/a.py", "/x(grp)/a", None),
        ("foo.get.get.py", "/foo.get", "GET"),
        ("methods/get.py", "/methods/get", None),
        ("get.post.py", "/get", "POST"),
        ("Hello.GET.py", "/Hello.GET", None),
        ("hello.get.dev.py", "/hello.get.dev", None),
        ("icon.png.py", "/icon.png", None),
        ("a.b.c.py", "/a.b.c", None),
        ("pre-[id].py", "/pre-:id", None),
        ("[a]-[b].py", "/:a-:b", None),
        ("[lang].json.get.py", "/:lang.json", "GET"),
        ("[get].py", "/:get", None),
        ("users/index.py", "/users", None),
        ("index/index.py", "/index", None),
        ("index/users.py", "/index/users", None),
        ("users.index.py", "/users.index", None),
        ("[id]/index.put.py", "/:id", "PUT"),
        ("a/[...slug]/index.py", "/a/**:slug", None),
        ("[user-id]/[a b].py", "/:user_id/:a_b", None),
        ("_ws.py", "/_ws", None),
        ("my file.py", "/my file", None),
        *((f"x.{method.lower()}.py", "/x", method) for method in METHODS),
    ],
)
def test_a_name_gives_a_route(file: str, pattern: str, method: str | None) -> None:
    paths, found = parse_name(file)
    assert (str(paths), found) == (pattern, method)


@pytest.mark.parametrize(
    ("file", "complaint"),
    [
        ("[[opt]].py", "do not fit"),
        ("[[...opt]].py", "do not fit"),
        ("[id.py", "do not fit"),
        ("id].py", "do not fit"),
        ("users]/[id].py", "do not fit"),
        ("[].py", "has no name"),
        ("[].get.py", "has no name"),
        ("x-[].py", "has no name"),
        ("[a][b].py", "no text between"),
        ("[..].py", "no name for a parameter"),
        ("[....].py", "no name for a parameter"),
        ("[...a][b].py", "no name for a parameter"),
        ("[...a]/b.py", "whole last segment"),
        ("[...]/b.py", "whole last segment"),
        ("pre-[...a].py", "whole last segment"),
        ("[id]/[id].py", "two parameters are called 'id'"),
        ("[a-b]/[a.b].py", "two parameters are called 'a_b'"),
        ("[_]/[...].py", "two parameters are called '_'"),
    ],
)
def test_a_malformed_name_is_told(file: str, complaint: str) -> None:
    with pytest.raises(MalformedName, match=re.escape(complaint)):
        parse_name(file)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("[id].py", "[name].py", True),
        ("a/[...x].py", "a/[...y].py", True),
        ("a/[...x].py", "a/[...].py", False),
        ("pre-[id].py", "[id].py", False),
        ("a.py", "a/index.py", True),
        ("a.py", "A.py", False),
    ],
)
def test_patterns_are_equal_when_they_match_the_same_paths(one: str, other: str, same: bool) -> None:
    assert (parse_name(one) == parse_name(other)) is same


def segment(part: str) -> Segment:
    (found,) = parse_name(f"{part}.py")[0].segments
    return found


@pytest.mark.parametrize(
    ("part", "value", "matched"),
    [
        ("users", "users", ()),
        ("users", "Users", None),
        ("[id]", "7", ("7",)),
        ("[id]", "a/b", ("a/b",)),
        ("[id]", "", None),
        ("pre-[id]", "pre-7", ("7",)),
        ("pre-[id]", "pre-", None),
        ("pre-[id]", "7", None),
        ("[id].json", "x.json", ("x",)),
        ("[id].json", ".json", None),
        ("[id].json", "xxjson", None),
        ("[a]-[b]", "x-y", ("x", "y")),
        ("[a]-[b]", "x-y-z", ("x-y", "z")),
        ("[a]-[b]", "-", None),
        ("[a]-[b]", "x-", None),
        ("[a]-[b]", "-y", None),
        ("[a]-[b]", "---", ("-", "-")),
        ("ab[x]ba", "aba", None),
        ("ab[x]ba", "abba", None),
        ("[a]-[b]a-b", "a-b", None),
    ],
)
def test_a_segment_matches(part: str, value: str, matched: tuple[str, ...] | None) -> None:
    assert segment(part).match(value) == matched


@given(
    st.lists(st.text("-a.", max_size=3), min_size=2, max_size=5),
    st.text("-a.", max_size=12),
)
@example(["", "-", "a-a"], "a-a")
def test_a_segment_matches_what_a_greedy_expression_matches(texts: list[str], value: str) -> None:
    texts[1:-1] = [text or "-" for text in texts[1:-1]]
    expected = re.fullmatch("(.+)".join(map(re.escape, texts)), value)
    found = Segment(tuple(texts), ("",) * (len(texts) - 1)).match(value)
    assert found == (expected.groups() if expected else None)


def test_a_long_hostile_segment_costs_no_time() -> None:
    before = time.perf_counter()
    assert segment("[a]-[b]-[c]-[d]-[e]x").match("-" * 64_000) is None
    assert segment("[a]-[b]-[c]-[d]-[e]").match("-" * 64_000) is not None
    assert time.perf_counter() - before < 1  # an expression with five groups would take days
