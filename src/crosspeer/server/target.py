"""What can be served, and how a TARGET of the command line names it."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias, cast

from crosspeer.adapters.asgi import Adapter
from crosspeer.core.errors import CrosspeerError
from crosspeer.core.hooks import Hooks, HooksLike
from crosspeer.core.hub import Hub
from crosspeer.server.routes import Routes

if TYPE_CHECKING:
    from starlette.types import ASGIApp


_PROJECT_FILES: Final = ("pyproject.toml", "setup.py", "manage.py", ".git", ".venv")


class Bundle(Protocol):
    """What is more than hooks, as a `PeerServer` is: it brings its own application."""

    @property
    def asgi(self) -> ASGIApp: ...


Target: TypeAlias = "HooksLike | Hub | Routes | ASGIApp | Bundle"


class TargetError(CrosspeerError):
    """A TARGET that cannot be served; the message says in one line what to do."""


def application(target: object, http: ASGIApp | None = None) -> Adapter | ASGIApp:
    """Make the ASGI application for a target.

    Raises:
        TypeError: it is nothing that can be served.
    """
    if isinstance(carried := getattr(target, "asgi", None), Adapter):
        target = carried
    if isinstance(target, Routes):
        return Adapter(Hub(resolve=target.resolve, namespace=target.namespace), http=http or target)
    if isinstance(target, (Hub, Hooks, Mapping)) or (isinstance(target, type) and issubclass(target, Hooks)):
        return Adapter(target, http=http)
    if callable(target) and not inspect.isclass(target):
        if http is not None:
            raise TypeError("http= goes with hooks or a hub; an ASGI application serves its own HTTP")
        return cast("ASGIApp", target)
    raise TypeError(f"{target!r} cannot be served: give hooks, a Hub, Routes or an ASGI application")


def load_target(text: str) -> Any:
    """Load what a TARGET names: a folder with `routes/` in it, a routes folder, or `module:attribute`.

    Raises:
        TargetError: it names nothing that can be served, or its module cannot be imported.
    """
    path = Path(text)
    if path.is_dir():
        return _routes(path)
    if path.exists():
        raise TargetError(f"{text} is a file: give its folder, or module:attribute")
    module, colon, attribute = text.partition(":")
    if not colon or not module or not attribute or "/" in text:
        raise TargetError(f"there is no folder {text}: give a folder, or module:attribute")
    return _attribute(_module(module), attribute, text)


def _routes(folder: Path) -> Routes:
    if (folder / "routes").is_dir():
        return Routes(folder / "routes")
    if any((folder / name).exists() for name in _PROJECT_FILES):
        # Every file of a routes folder is imported: nobody wants that of a whole project.
        raise TargetError(f"{folder} is a project without routes/: put the endpoints into {folder / 'routes'}")
    routes = Routes(folder)
    if all(route.error for route in routes):
        why = f" ({routes.errors[0]})" if routes.errors else ""
        raise TargetError(f"{folder} holds no routes{why}: export websocket, get, post, ... in a file of it")
    return routes


def _module(name: str) -> Any:
    # As for every command of this kind, modules of the working folder can be named.
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise TargetError(f"there is no module {name} here: run it from the folder that holds it") from None
        raise TargetError(f"{name} cannot be imported: {error}") from error
    except Exception as error:
        raise TargetError(f"{name} cannot be imported: {type(error).__name__}: {error}") from error


def _attribute(module: Any, path: str, text: str) -> Any:
    found = module
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise TargetError(f"{module.__name__} has no {path}: check the name after the colon in {text}") from None
    try:
        application(found)
    except TypeError as error:
        raise TargetError(str(error)) from None
    return found
