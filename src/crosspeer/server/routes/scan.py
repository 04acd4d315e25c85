"""A routes folder: which of its files are routes, and what they are."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from crosspeer.server.routes.load import Route, RouteError, load_route
from crosspeer.server.routes.pattern import MalformedName, Pattern, parse_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

logger = logging.getLogger("crosspeer")


def scan(folder: Path) -> tuple[list[Route], list[RouteError]]:
    """Load every route of a folder, in the order of their paths, and say what is wrong with which file.

    Raises:
        OSError: a folder cannot be read.
    """
    routes: list[Route] = []
    errors: list[RouteError] = []
    taken: dict[tuple[Pattern, str | None], str] = {}
    for relative in sorted(_files(folder, "", (folder.resolve(),))):
        file = f"{folder.name}/{relative}"
        try:
            key = paths, method = parse_name(relative)
        except MalformedName as error:
            errors.append(RouteError(file, None, str(error)))
            continue
        if key in taken:
            # Not imported: what it does on import would be done by a file that serves nothing.
            errors.append(RouteError(file, None, f"not served, {taken[key]} gives the same route {paths}"))
            continue
        taken[key] = file
        route = load_route(folder / relative, file, paths, method)
        routes.append(route)
        if route.error is not None:
            errors.append(route.error)
    return routes, errors


def _files(folder: Path, prefix: str, above: tuple[Path, ...]) -> Iterator[str]:
    """The route files below a folder. `above` are the real folders down to here, the routes folder first."""
    for entry in folder.iterdir():
        if entry.name.startswith(".") or entry.name in ("__pycache__", "__init__.py"):
            continue
        relative = prefix + entry.name
        real = entry.resolve()
        if entry.is_dir():
            if _is_inside(real, above[0], entry) and real not in above:  # a link upwards is a circle
                yield from _files(entry, f"{relative}/", (*above, real))
        elif entry.suffix == ".py" and entry.is_file() and _is_inside(real, above[0], entry):
            yield relative


def _is_inside(real: Path, root: Path, entry: Path) -> bool:
    if real.is_relative_to(root):
        return True
    logger.warning("%s is skipped: it is a link out of the routes folder", entry)
    return False
