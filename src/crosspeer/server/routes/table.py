"""Which route answers a path: a tree with one level a segment, and the most specific branch first."""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from crosspeer.server.routes.load import ANY, Function, Route

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from crosspeer.server.routes.pattern import CatchAll, Segment

_INSTEAD: Final = {"HEAD": ("HEAD", "GET")}
"""The functions that serve a method, the best first."""


class Endpoint:
    """All files of one pattern: one for every method at most, and one without a method."""

    def __init__(self) -> None:
        self._files: dict[str | None, Route] = {}

    def add(self, route: Route) -> None:
        self._files[route.method] = route

    def accepts(self, method: str) -> bool:
        """Whether a file name says that this is the place for a method, be there a function or not."""
        return any(name in self._files for name in (None, *_INSTEAD.get(method, (method,))))

    @property
    def is_for_peers_only(self) -> bool:
        return not any(route.functions for route in self._files.values())

    def function(self, method: str) -> tuple[Route, Function] | None:
        """What serves a method: the file for the method before the file for all, `handler` last."""
        for name in (*_INSTEAD.get(method, (method,)), ANY):
            for route in (self._files.get(name), self._files.get(None)):
                if route is not None and (function := route.functions.get(name)) is not None:
                    return route, function
        return None

    def websocket(self) -> Route | None:
        """The file whose hooks serve a handshake; else one that is broken, for it may have meant to."""
        routes = [route for name in ("GET", None) if (route := self._files.get(name)) is not None]
        for route in routes:
            if route.websocket is not None:
                return route
        return next((route for route in routes if route.error is not None), None)


@dataclass(slots=True)
class Match:
    """An endpoint for a path, with the values of its parameters."""

    endpoint: Endpoint
    values: tuple[str, ...]

    def parameters(self, route: Route) -> dict[str, str]:
        """The values under the names that one of the endpoint's files gives them."""
        return dict(zip(route.paths.names, self.values, strict=True))


@dataclass(slots=True)
class _Node:
    """What is left of the patterns after some segments."""

    end: Endpoint | None = None
    static: dict[str, _Node] = field(default_factory=dict)
    dynamic: list[tuple[Segment, _Node]] = field(default_factory=list)
    """Segments with parameters, the most specific first."""
    catch_all: dict[bool, Endpoint] = field(default_factory=dict)
    """By whether it needs a segment."""

    def child(self, segment: Segment) -> _Node:
        if segment.is_static:
            return self.static.setdefault(segment.texts[0], _Node())
        for known, node in self.dynamic:
            if known == segment:
                return node
        node = _Node()
        insort(self.dynamic, (segment, node), key=lambda pair: pair[0].rank)
        return node

    def endpoint(self, catch_all: CatchAll | None) -> Endpoint:
        if catch_all is not None:
            return self.catch_all.setdefault(catch_all.needs_one, Endpoint())
        if self.end is None:
            self.end = Endpoint()
        return self.end


class Table:
    """All routes by their patterns."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._root = _Node()
        for route in routes:
            node = self._root
            for segment in route.paths.segments:
                node = node.child(segment)
            node.endpoint(route.paths.catch_all).add(route)

    def find(self, path: tuple[str, ...]) -> Iterator[Match]:
        """All that match a path, the most specific first: decided from the left, a segment at a time."""
        return _walk(self._root, path, ())

    def choose(self, path: tuple[str, ...], method: str) -> Match | None:
        """The one that answers: the most specific that has a file for the method."""
        return next((match for match in self.find(path) if match.endpoint.accepts(method)), None)


def _walk(node: _Node, path: tuple[str, ...], values: tuple[str, ...]) -> Iterator[Match]:
    # Every node has one place in the tree, so it is visited once at most, whatever the path looks like.
    if path:
        first, *rest = path
        if (child := node.static.get(first)) is not None:
            yield from _walk(child, tuple(rest), values)
        for segment, child in node.dynamic:
            if (matched := segment.match(first)) is not None:
                yield from _walk(child, tuple(rest), values + matched)
    elif node.end is not None:
        yield Match(node.end, values)
    for needs_one in (True, False):
        endpoint = node.catch_all.get(needs_one)
        if endpoint is not None and (path or not needs_one):
            yield Match(endpoint, (*values, "/".join(path)))
