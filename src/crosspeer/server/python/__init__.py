"""The Python engine: WebSocket connections that are written to once a turn of the loop, on any asyncio loop."""

from crosspeer.server.python.engine import PythonEngine

__all__ = ["PythonEngine"]
