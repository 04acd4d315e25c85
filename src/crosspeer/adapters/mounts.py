"""Where frameworks change the scope of an application that is mounted in them, and how it is put right.

Most do as ASGI says: `path` is all of the path, and `root_path` is the part of the mount.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from starlette.types import Scope


def restored(scope: Scope) -> Scope:
    """The scope as ASGI has it, with the parameters of the route where Starlette's requests look for them."""
    if scope.get("root_path", "").endswith("/"):
        # hypercorn's dispatcher, for a prefix that ends with one
        scope = {**scope, "root_path": scope["root_path"].rstrip("/")}
    if "litestar_app" in scope and "raw_path" in scope:
        return _with_prefix(scope)
    if "url_route" in scope and "path_params" not in scope:
        # Django Channels
        return {**scope, "path_params": scope["url_route"]["kwargs"]}
    return scope


def _with_prefix(scope: Scope) -> Scope:
    """Litestar takes the prefix of a mount away, and adds a slash to the rest; only `raw_path` has kept it."""
    path = unquote(scope["raw_path"].decode("latin-1"))
    rest = scope["path"].rstrip("/")
    whole = path.rstrip("/")
    if not whole.endswith(rest):
        # Two slashes in a row, which it makes one: the path is right, and who knows how much of it is the mount.
        return {**scope, "path": path}
    return {**scope, "path": path, "root_path": whole.removesuffix(rest)}
