"""File-based routes: a file is an endpoint, its name is the path."""

from crosspeer.server.routes.app import Routes
from crosspeer.server.routes.load import Route, RouteError

__all__ = ["Route", "RouteError", "Routes"]
