"""`--workers`: several processes on one port, which share their topics.

Each worker has a listening socket of its own on the same port (SO_REUSEPORT), so the system spreads connections, and
one that dies takes no other's along. The supervisor listens to nothing: it starts them, starts again what dies, and
passes the end on.
"""

from __future__ import annotations

import functools
import logging
import multiprocessing
import os
import signal
import socket
import tempfile
import threading
import time
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any, Final

from crosspeer.server.logs import configure_logging
from crosspeer.server.serve import serve
from crosspeer.server.target import TargetError, load_target

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.context import SpawnProcess

    from crosspeer.server.server import Server
    from crosspeer.server.target import Target

    Loadable = str | Callable[[], Target]

logger = logging.getLogger("crosspeer")

STEADY: Final = 5.0
"""Seconds after which a worker counts as one that works: the next start is not delayed."""
PAUSES: Final = (0.0, 0.5, 1.0, 2.0, 5.0)
"""Seconds before a worker is started again, the first time and after each death that came soon."""


class Worker:
    """One place among the workers, whoever holds it."""

    def __init__(self, start: Any) -> None:
        self._start = start
        self._deaths = 0
        self.next_start = 0.0
        self.process: SpawnProcess | None = None
        self.leash: Connection | None = None
        self.is_ready = False
        self._since = 0.0

    def start(self) -> None:
        self.process, self.leash = self._start()
        self.is_ready = False
        self._since = time.monotonic()

    def died(self) -> None:
        assert self.process is not None
        code, now = self.process.exitcode, time.monotonic()
        self._deaths = 1 if now - self._since > STEADY else self._deaths + 1
        pause = PAUSES[min(self._deaths, len(PAUSES)) - 1]
        logger.error("worker %d ended with %s; another takes its place", self.process.pid, code)
        self.process, self.leash, self.next_start = None, None, now + pause


class Supervisor:
    """Runs the workers until a signal ends them.

    Args:
        target: the TARGET of the command line, loaded in each worker, or a function that makes one there.
        options: what `serve` takes.
        started: called with the address when all listen, instead of a line in the log.
    """

    def __init__(
        self,
        count: int,
        target: Loadable,
        host: str,
        port: int,
        log_level: str,
        options: dict[str, Any],
        started: Callable[[tuple[str, int]], None] | None = None,
    ) -> None:
        self._context = multiprocessing.get_context("spawn")
        # It only holds the port: it does not listen, so no connection ends up here.
        self._place = bind_shared(host, port)
        self._url = _url(self._place, options["ssl_certfile"] is not None)
        self._arguments = (target, self._place.getsockname()[:2], log_level, options)
        self._workers = [Worker(self._start) for _ in range(count)]
        self._signals = 0
        self._announced = False
        self._started = started

    def run(self) -> int:
        """Until the end; the exit status."""
        woken, wakes = socket.socketpair()
        woken.setblocking(False)
        wakes.setblocking(False)
        signal.set_wakeup_fd(wakes.fileno())
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._signalled)
        for worker in self._workers:
            worker.start()
        try:
            while not self._signals:
                if not self._look_after():
                    return 1
                wait([*self._sentinels(), *self._unready(), woken], timeout=self._next())
                while _drained(woken):
                    pass
            return self._stop(woken)
        finally:
            for worker in self._workers:
                if worker.process is not None:
                    worker.process.kill()
                    worker.process.join()

    def _look_after(self) -> bool:
        """Note who is ready, start again who died. False: the first ones do not even start."""
        for worker in self._workers:
            if worker.leash is not None and not worker.is_ready and worker.leash.poll():
                worker.is_ready = True
            if worker.process is not None and not worker.process.is_alive():
                if not self._announced:
                    return False
                worker.died()
            if worker.process is None and time.monotonic() >= worker.next_start:
                worker.start()
        if not self._announced and not self._unready():
            self._announced = True
            if self._started is not None:
                self._started(self._place.getsockname()[:2])
                return True
            logger.info("crosspeer is on %s (%d workers; Ctrl+C stops them)", self._url, len(self._workers))
        return True

    def _stop(self, woken: socket.socket) -> int:
        logger.info("stopping; once more to stop now")
        for worker in self._workers:
            if worker.process is not None:
                worker.process.terminate()
        while (sentinels := self._sentinels()) and self._signals < 2:
            wait([*sentinels, woken])
            while _drained(woken):
                pass
        return 0 if self._signals < 2 else 130

    def _start(self) -> tuple[SpawnProcess, Connection]:
        ready, leash = self._context.Pipe()
        process = self._context.Process(target=_work, args=(leash, *self._arguments))
        process.start()
        leash.close()
        return process, ready

    def _signalled(self, number: int, _frame: object) -> None:
        self._signals += 1

    def _sentinels(self) -> list[int]:
        return [worker.process.sentinel for worker in self._workers if worker.process and worker.process.is_alive()]

    def _unready(self) -> list[Connection]:
        return [worker.leash for worker in self._workers if worker.leash is not None and not worker.is_ready]

    def _next(self) -> float | None:
        """Seconds until a worker is to be started again."""
        times = [worker.next_start for worker in self._workers if worker.process is None]
        return max(0.0, min(times) - time.monotonic()) if times else None


def serve_with_workers(
    count: int,
    target: Loadable,
    host: str,
    port: int,
    log_level: str,
    options: dict[str, Any],
    started: Callable[[tuple[str, int]], None] | None = None,
) -> int:
    """Serve a TARGET in several processes until a signal ends them; the exit status. See `Supervisor`.

    Raises:
        OSError: the address is taken or not there.
    """
    with tempfile.TemporaryDirectory(prefix="crosspeer-") as folder:
        options = {**options, "sync": options["sync"] or f"local://{folder}/bus"}
        return Supervisor(count, target, host, port, log_level, options, started).run()


def bind_shared(host: str, port: int) -> socket.socket:
    """Take a port that other sockets may share, without listening on it.

    Raises:
        OSError: the address is taken or not there.
    """
    if port:
        # SO_REUSEPORT would share the port with any other program of this user: first see that nobody has it.
        socket.create_server((host, port), family=_family(host)).close()
    place = socket.socket(_family(host), socket.SOCK_STREAM)
    place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    place.bind((host, port))
    return place


def _work(
    leash: Connection, target: Loadable, address: tuple[str, int], log_level: str, options: dict[str, Any]
) -> None:
    """A worker's life."""
    # Ctrl+C reaches the whole group of the terminal; the supervisor passes it on once.
    os.setsid()
    threading.Thread(target=_end_with_the_supervisor, args=(leash,), daemon=True).start()
    configure_logging(log_level)
    listener = _listen(address)
    try:
        loaded = load_target(target) if isinstance(target, str) else target()
        serve(loaded, sock=listener, started=functools.partial(_started, leash), **options)
    except (TargetError, RuntimeError, ValueError) as error:
        logger.error("%s", error)
        raise SystemExit(1) from None


def _started(leash: Connection, server: Server) -> None:
    if server.hub is not None:
        # The system gives each connection to some worker: a POST would not find the stream that it belongs to.
        server.hub.sse = None
    leash.send(True)


def _end_with_the_supervisor(leash: Connection) -> None:
    try:
        leash.recv()
    except (EOFError, OSError):
        os.kill(os.getpid(), signal.SIGTERM)


def _listen(address: tuple[str, int]) -> socket.socket:
    listener = socket.socket(_family(address[0]), socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind(address)
    listener.listen(4096)
    return listener


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _url(place: socket.socket, tls: bool) -> str:
    host, port = place.getsockname()[:2]
    scheme = "https" if tls else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _drained(woken: socket.socket) -> bool:
    try:
        return bool(woken.recv(64))
    except BlockingIOError:
        return False
