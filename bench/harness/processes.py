"""Processes that are pinned to a core, watched by the clock and never left behind."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import select
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

from harness.errors import Failure
from harness.paths import ROOT

_TO_LISTEN = 30.0
_TO_STOP = 3.0
_ERROR = re.compile(r"[\w.]*(Error|Exception)\b")
_OPEN_FILES = 20_000


class Process:
    """A process that leads a group of its own; its error output is kept for the case that it fails."""

    def __init__(self, command: list[str], core: int, environment: Mapping[str, str] | None = None) -> None:
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            command,
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
            preexec_fn=lambda: _settle_in(core),
        )
        self.pid = self._process.pid

    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def last_words(self) -> str:
        """The line of its error output that says most."""
        self._log.seek(0)
        said = self._log.read().decode(errors="replace").replace(str(ROOT), ".")
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        errors = [line for line in lines if _ERROR.match(line)]
        return (errors or lines or ["it said nothing"])[-1]

    def line(self, within: float) -> str:
        """The next line of its output."""
        assert self._process.stdout is not None
        descriptor, deadline, line = self._process.stdout.fileno(), time.monotonic() + within, b""
        while not line.endswith(b"\n"):
            if not select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise Failure(f"no answer within {within:.0f} seconds")
            # Byte by byte: lines are few and short, and nothing must be taken from the next one.
            byte = os.read(descriptor, 1)
            if not byte:
                raise Failure(self.last_words())
            line += byte
        return line.decode().strip()

    def go_on(self) -> None:
        """Send an empty line."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")

    def stop(self) -> None:
        """End it and all its children: politely, and then not."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_TO_STOP)
                break
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        for stream in (self._process.stdin, self._process.stdout, self._log):
            assert stream is not None
            stream.close()


def _settle_in(core: int) -> None:
    """What the new process does before it becomes the command."""
    os.sched_setaffinity(0, {core})
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    most = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


@contextlib.contextmanager
def running(command: list[str], core: int, environment: Mapping[str, str] | None = None) -> Iterator[Process]:
    """A process that is stopped at the end, however that comes."""
    process = Process(command, core, environment)
    try:
        yield process
    finally:
        process.stop()


def wait_until_listening(process: Process, port: int) -> None:
    deadline = time.monotonic() + _TO_LISTEN
    while time.monotonic() < deadline:
        if process.has_ended():
            raise Failure(f"it ended at once: {process.last_words()}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise Failure(f"it did not listen within {_TO_LISTEN:.0f} seconds: {process.last_words()}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and all below it.

    The clock of a process counts in nanoseconds what /proc/<pid>/stat counts in hundredths of a second; only children
    that have ended are taken from there.
    """
    return sum(time.clock_gettime(~each << 3 | 2) + _ended_children(each) for each in _tree(pid))


def memory_bytes(pid: int) -> int:
    """The proportional set size of a process and all below it: pages that are shared count in part."""
    total = 0
    for each in _tree(pid):
        for line in Path(f"/proc/{each}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total


def _ended_children(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    user, system = fields[13:15]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _tree(pid: int) -> list[int]:
    found = [pid]
    for each in found:
        for task in Path(f"/proc/{each}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found
