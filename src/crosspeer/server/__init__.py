"""The default server: `serve` and `Server`, file routes, and the choice of what a target is."""

from crosspeer.server.routes import Routes
from crosspeer.server.serve import serve
from crosspeer.server.server import Server

__all__ = ["Routes", "Server", "serve"]
