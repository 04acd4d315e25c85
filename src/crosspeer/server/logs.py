"""How the command line logs, and what of a request a log may say."""

from __future__ import annotations

import logging
import os
import queue
import threading
from typing import TYPE_CHECKING, Any, Final

from crosspeer.core.redact import redact

if TYPE_CHECKING:
    LoggerAdapter = logging.LoggerAdapter[logging.Logger]
else:
    LoggerAdapter = logging.LoggerAdapter

LEVELS: Final = ("critical", "error", "warning", "info", "debug")


WAITING: Final = 10_000
"""Lines that wait for a log that does not take them, as a pipe that nobody reads."""
LAST_LINES: Final = 0.5
"""Seconds for the lines that wait, when somebody wants them written now."""
STANDARD_ERROR: Final = 2


class PatientHandler(logging.Handler):
    """Writes to a descriptor from a thread of its own, so that nobody waits for who reads the log.

    What finds no room is dropped and counted, and the log says how much that was when there is room again.
    """

    def __init__(self, descriptor: int = STANDARD_ERROR, waiting: int = WAITING) -> None:
        super().__init__()
        self.dropped = 0
        """Lines that were not written, since it began."""
        self._told = 0
        self._descriptor = descriptor
        self._waiting = waiting
        # A plain one, for a signal may come in the middle of a `put`, and its handler logs too.
        self._lines: queue.SimpleQueue[str | threading.Event | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write_all, name="crosspeer-log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            # Here: what is logged may be of this thread alone.
            line = self.format(record)
        except Exception:
            self.handleError(record)
            return
        if self._lines.qsize() < self._waiting:
            self._lines.put(line)
        else:
            self.dropped += 1

    def flush(self) -> None:
        """Wait until what was logged is written, if somebody takes it in time."""
        written = threading.Event()
        self._lines.put(written)
        written.wait(LAST_LINES)

    def close(self) -> None:
        self._lines.put(None)
        self._thread.join(LAST_LINES)
        super().close()

    def _write_all(self) -> None:
        while (line := self._lines.get()) is not None:
            if isinstance(line, threading.Event):
                line.set()
                continue
            try:
                self._write(line)
                if (count := self.dropped - self._told) > 0:
                    self._told += count
                    self._write(f"{count} lines of the log were dropped: nobody took them")
            except OSError:
                # As of a disk that is full, or of a reader that has gone.
                self.acquire()
                self.dropped += 1
                self.release()

    def _write(self, line: str) -> None:
        # Not by the stream, whose lock would then be held when the interpreter wants to flush it at its end.
        data = line.encode(errors="backslashreplace") + b"\n"
        while data:
            data = data[os.write(self._descriptor, data) :]


class LineFormatter(logging.Formatter):
    """Keeps what a client has sent from beginning a line, or colouring one (row P17).

    Control characters are written as their escapes. A traceback has lines of its own, which are indented.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:
        return _escaped(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:
        return "\n".join(f"  {_escaped(line)}" for line in super().formatException(ei).split("\n"))

    def formatStack(self, stack_info: str) -> str:
        return "\n".join(f"  {_escaped(line)}" for line in stack_info.split("\n"))


def _escaped(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def configure_logging(level: str) -> None:
    """Send all records to standard error, one line each (a traceback has more), without ever waiting for its reader."""
    handler = PatientHandler()
    handler.setFormatter(LineFormatter("%(asctime)s %(levelname)-8s %(message)s", datefmt="%H:%M:%S"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    if level != "debug":
        # Its start-up and its connections are told by crosspeer already.
        logging.getLogger("uvicorn").setLevel(logging.WARNING)


class Redacting(LoggerAdapter):
    """A logger that hides the secrets in the URLs which it is given as arguments (row H17)."""

    @property
    def level(self) -> int:
        """uvicorn reads it of its loggers."""
        return self.logger.level

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        if self.isEnabledFor(level):
            super().log(level, msg, *(redact(arg) if isinstance(arg, str) else arg for arg in args), **kwargs)


ACCESS_LOG: Final = Redacting(logging.getLogger("uvicorn.access"))
UVICORN_LOG: Final = Redacting(logging.getLogger("uvicorn.error"))
