"""`--reload`: a supervisor that starts the server again when a file changes.

The listening socket stays open in the supervisor, so that a page which reconnects meanwhile waits instead of failing.
The server in the child gets SIGTERM and closes its peers with 1012, as for every restart.
"""

from __future__ import annotations

import functools
import logging
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.supervisors import ChangeReload

from crosspeer.server.logs import configure_logging
from crosspeer.server.serve import serve
from crosspeer.server.target import TargetError, load_target

if TYPE_CHECKING:
    import socket

logger = logging.getLogger("crosspeer")


def serve_with_reload(target: str, sock: socket.socket, log_level: str, options: dict[str, Any]) -> None:
    """Serve a TARGET of the command line, again after every change of a file below it and the working folder."""
    folders = {str(Path.cwd())} | ({target} if Path(target).is_dir() else set())
    config = uvicorn.Config(
        "crosspeer:unused",  # uvicorn only reads what and how to watch
        reload=True,
        reload_dirs=sorted(folders),
        reload_includes=["*.py", "*.html", "*.css", "*.js"],
        # watchfiles waits by itself; the watch has to stand before the child can be seen to serve.
        reload_delay=0.02 if find_spec("watchfiles") else 0.25,
        log_config=None,
    )
    child = functools.partial(_serve_child, target=target, log_level=log_level, options=options)
    ChangeReload(config, target=child, sockets=[sock]).run()


def _serve_child(
    sockets: list[socket.socket] | None = None, *, target: str, log_level: str, options: dict[str, Any]
) -> None:
    configure_logging(log_level)
    assert sockets is not None
    try:
        serve(load_target(target), sock=sockets[0], **options)
    except TargetError as error:
        # The supervisor goes on watching: the next change may mend it.
        logger.error("%s; waiting for a change", error)
        sys.exit(1)
