"""Notices a loop that stands still, while it does, and says in whose hook: everybody else waits for that one."""

from __future__ import annotations

import asyncio
import logging
import sys
import sysconfig
import threading
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import FrameType

logger = logging.getLogger("crosspeer")

STALL: Final = 1.0
"""Seconds that the loop may take for one turn before the log says so."""
_OURS: Final = ("crosspeer.", "uvicorn.", "starlette.")
_LIBRARIES: Final = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})
_LOOP: Final = ("run", "run_until_complete", "run_forever", "_run_once", "_run")


class Watchdog:
    """Watches the running loop from a thread of its own, until it is stopped or the loop is closed."""

    def __init__(self, stall: float = STALL) -> None:
        self._loop = asyncio.get_running_loop()
        self._watched = threading.get_ident()
        self._stall = stall
        self._turned = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="crosspeer-watchdog", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        # It may be waiting for a turn of the loop, which does not come while we are here.
        self._turned.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stopped.wait(self._stall):
            self._turned.clear()
            if self._stopped.is_set():
                return
            asked = time.monotonic()
            if not self._ask():
                return
            if self._turned.wait(self._stall):
                continue
            logger.warning("the event loop has stood still for %.1f s, in %s", self._stall, self._culprit())
            while not self._turned.wait(self._stall):
                if self._loop.is_closed():
                    return
            logger.warning("the event loop goes on after %.1f s", time.monotonic() - asked)

    def _ask(self) -> bool:
        """Have the loop say that it turns. False: it never will."""
        try:
            self._loop.call_soon_threadsafe(self._turned.set)
        except RuntimeError:
            return False
        return True

    def _culprit(self) -> str:
        frame = sys._current_frames().get(self._watched)
        return "an unknown place" if frame is None else place_of(frame)


def place_of(innermost: FrameType) -> str:
    """Where a loop is: the first function of the application on its stack, which is a hook, and its line."""
    frames: list[FrameType] = []
    frame: FrameType | None = innermost
    while frame is not None and not _is_loop(frame):
        frames.insert(0, frame)
        frame = frame.f_back
    called = [frame for frame in frames if not _module(frame).startswith(_OURS)]
    # A framework may stand between us and the application.
    applications = [frame for frame in called if not frame.f_code.co_filename.startswith(_LIBRARIES)]
    found = (applications or called or [innermost])[0]
    return f"{found.f_code.co_qualname} ({found.f_code.co_filename}:{found.f_lineno})"


def _is_loop(frame: FrameType) -> bool:
    return frame.f_code.co_name in _LOOP and _module(frame).startswith("asyncio.")


def _module(frame: FrameType) -> str:
    name: str = frame.f_globals.get("__name__", "")
    return name
