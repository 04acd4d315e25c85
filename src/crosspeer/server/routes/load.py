"""One route file: its module, and what it exports. A file that fails is kept as a route that answers 500."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import itertools
import re
import sys
import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import PlainTextResponse, Response

from crosspeer.core.hooks import Hooks, as_hooks
from crosspeer.server.routes.pattern import METHODS, Pattern

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from types import ModuleType

ANY: Final = "*"
"""The key of a `handler` among the functions of a route: it serves every method that has none of its own."""

_NOT_WORDS: Final = re.compile(r"\W+")
_serial: Final = itertools.count()


@dataclass(frozen=True, slots=True)
class RouteError:
    """Why a file is no route, or a broken one."""

    file: str
    """The file, from the name of the routes folder on."""
    line: int | None
    """The last line of the file that was executed, where one was."""
    message: str

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.message}"


@dataclass(frozen=True, slots=True)
class Function:
    """An HTTP function of a module, and whether it wants to see the request."""

    call: Callable[..., Any]
    wants_request: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """What one file serves."""

    paths: Pattern
    method: str | None
    """The method that its name restricts it to."""
    file: str
    """The file, from the name of the routes folder on."""
    functions: Mapping[str, Function] = field(repr=False)
    """By method; `ANY` for the rest."""
    websocket: Hooks | None = field(default=None, repr=False)
    """The one instance that all its connections share."""
    error: RouteError | None = None
    """Why it is broken."""

    @property
    def pattern(self) -> str:
        """Its paths, as `/users/:id` or `/docs/**:path`."""
        return str(self.paths)


class ExportError(Exception):
    """A module that can be imported, but exports what cannot be served."""


def load_route(path: Path, file: str, paths: Pattern, method: str | None) -> Route:
    """Import a route file. Never raises for what is wrong with the file: see `Route.error`."""
    try:
        module = _import(path, file)
        functions = _functions(module, method)
        websocket = _websocket(module, method)
        if not functions and websocket is None:
            wanted = "an HTTP function" if method is None else f"{method.lower()} nor handler"
            raise ExportError(f"exports neither websocket nor {wanted}")
    except (Exception, SystemExit) as error:
        return Route(paths, method, file, {method or ANY: _BROKEN}, error=_described(error, path, file))
    return Route(paths, method, file, functions, websocket)


def _import(path: Path, file: str) -> ModuleType:
    # Without a dot: a relative import then fails with Python's own clear words, and instances can be pickled.
    unique = hashlib.sha256(f"{path} {next(_serial)}".encode(errors="surrogateescape")).hexdigest()[:12]
    name = f"crosspeer_routes_{unique}_{_NOT_WORDS.sub('_', file.removesuffix('.py'))}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None, "a .py file always has a loader"
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Before it runs: dataclasses and type hints look their own module up there.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


def _functions(module: ModuleType, method: str | None) -> dict[str, Function]:
    handler = _function(module, "handler")
    if method is not None:
        own = _function(module, method.lower()) or handler
        return {} if own is None else {method: own}
    found = {ANY: handler} | {name: _function(module, name.lower()) for name in METHODS}
    return {name: function for name, function in found.items() if function is not None}


def _function(module: ModuleType, name: str) -> Function | None:
    value = getattr(module, name, None)
    if value is None:
        return None
    if not callable(value) or inspect.isclass(value):
        kind = "a class" if inspect.isclass(value) else type(value).__name__
        raise ExportError(f"{name} must be a function, not {kind}")
    try:
        signature = inspect.signature(value)
    except ValueError:  # some that are written in C have none
        return Function(value)
    for arguments in ((None,), ()):
        try:
            signature.bind(*arguments)
        except TypeError:
            continue
        return Function(value, wants_request=bool(arguments))
    raise ExportError(f"{name}{signature} cannot be called with the request alone")


def _websocket(module: ModuleType, method: str | None) -> Hooks | None:
    value = getattr(module, "websocket", None)
    if value is None:
        return None
    if method not in (None, "GET"):
        raise ExportError(f"websocket is out of reach: a handshake is a GET, the file is for {method}")
    try:
        return as_hooks(value)
    except TypeError as error:
        raise ExportError(f"websocket: {error}") from error


def _described(error: BaseException, path: Path, file: str) -> RouteError:
    if isinstance(error, ExportError):
        return RouteError(file, None, _one_line(str(error)))
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return RouteError(file, error.lineno, f"{type(error).__name__}: {_one_line(error.msg)}")
    frames = traceback.extract_tb(error.__traceback__)
    line = next((frame.lineno for frame in reversed(frames) if frame.filename == str(path)), None)
    return RouteError(file, line, _one_line(f"{type(error).__name__}: {error}"))


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _broken() -> Response:
    return PlainTextResponse("Internal Server Error", 500)


_BROKEN: Final = Function(_broken, wants_request=False)
