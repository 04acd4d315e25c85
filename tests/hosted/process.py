"""A server in a process of its own, and pytest's side of the line to it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from crosspeer.testing.contracts import AdapterContract
from hosted.contract import HostedContract
from hosted.parameters import chosen
from hosted.servers import SERVERS, command

if TYPE_CHECKING:
    from crosspeer.core.transport import Capabilities

TESTS = Path(__file__).parent.parent
START = 20.0
"""For the server to load the application, in seconds."""
ANSWER = 55.0
"""For one test: longer than the process itself gives it."""
STOP = 20.0


class Process:
    """A running server. It stands for the harness until the test runs in the process, which has the real one."""

    def __init__(self, name: str) -> None:
        self.capabilities: Capabilities = SERVERS[name].capabilities
        self._name = name
        self._folder = Path(tempfile.mkdtemp(prefix="hosted-"))
        self._log = self._folder / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self._line: socket.socket | None = None
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def run(self, test: str, choice: list[int]) -> None:
        """Run a test of the contract over there. It ends here as it ended there."""
        assert self._line is not None
        assert self._process is not None
        self._line.sendall(json.dumps({"test": test, "choice": choice}).encode() + b"\n")
        answer = self._read_line()
        if not answer:
            pytest.fail(f"{self._name} ended in the middle of the test:\n{self._output()}", pytrace=False)
        result = json.loads(answer)
        if result["outcome"] == "skipped":
            pytest.skip(result["text"])
        elif result["outcome"] == "failed":
            pytest.fail(f"in the process of {self._name}:\n{result['text']}\n{self._output()}", pytrace=False)

    def stop(self) -> None:
        """End the process politely, and make sure of it."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(STOP)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
                pytest.fail(f"{self._name} did not stop within {STOP:g} s:\n{self._output()}", pytrace=False)
            finally:
                if self._line is not None:
                    self._line.close()
                shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self) -> None:
        server = SERVERS[self._name]
        path = str(self._folder / "control")
        with socket.socket(socket.AF_UNIX) as control, socket.socket() as listener:
            control.bind(path)
            control.listen(1)
            control.settimeout(START)
            # A server that binds the port itself does so beside ours, which keeps it from everybody else.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if server.port:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listener.bind(("127.0.0.1", 0))
            host, port = listener.getsockname()
            if server.listen:
                listener.listen(128)
            variables = {
                "HOSTED_SERVER": self._name,
                "HOSTED_CONTROL": path,
                "HOSTED_URL": f"http://{host}:{port}",
                "PYTHONPATH": str(TESTS),
            }
            with self._log.open("wb") as log:
                self._process = subprocess.Popen(
                    command(self._name, fd=listener.fileno(), port=port),
                    env=os.environ | variables,
                    cwd=self._folder,
                    pass_fds=[listener.fileno()] if server.listen else [],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            request = socket.create_connection((host, port)) if server.listen else None
            if request is not None:
                # Not every server has a lifespan: a first request wakes the application of each.
                request.sendall(b"GET / HTTP/1.1\r\nHost: hosted\r\nConnection: close\r\n\r\n")
            try:
                self._line, _ = control.accept()
            except TimeoutError:
                pytest.fail(f"{self._name} did not load the application:\n{self._output()}", pytrace=False)
            finally:
                if request is not None:
                    request.close()
        if server.port:
            self._await_port(host, port)
        self._line.settimeout(ANSWER)

    def _await_port(self, host: str, port: int) -> None:
        """The application of a server that binds the port itself may start before it listens."""
        deadline = time.monotonic() + START
        while time.monotonic() < deadline:
            try:
                socket.create_connection((host, port), START).close()
                return
            except ConnectionRefusedError:
                time.sleep(0.01)
        pytest.fail(f"{self._name} does not listen:\n{self._output()}", pytrace=False)

    def _read_line(self) -> bytes:
        assert self._line is not None
        line = b""
        while not line.endswith(b"\n"):
            try:
                part = self._line.recv(65_536)
            except TimeoutError:
                pytest.fail(f"{self._name} does not answer:\n{self._output()}", pytrace=False)
            if not part:
                return b""
            line += part
        return line

    def _output(self) -> str:
        return f"its output:\n{self._log.read_text(errors='replace')[-4000:]}" if self._log.exists() else ""


def run_in_process(item: pytest.Function) -> bool:
    """Run a test of the contract where its server is. False: it is for pytest to call."""
    harness: Any = item.funcargs.get("harness")
    name = item.originalname
    if not isinstance(harness, Process) or not hasattr(HostedContract, name):
        return False
    assert item.cls is not None
    assert issubclass(item.cls, AdapterContract)
    harness.run(name, chosen(getattr(HostedContract, name), item.funcargs))
    return True
