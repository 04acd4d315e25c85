"""Prepare everything below `bench/`: the load generator, the Python environment, the npm packages."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from harness.errors import Failure
from harness.paths import BENCH, ENVIRONMENT, LOAD, PYTHON, ROOT, SERVERS

_DEADLINE = 900
"""Seconds for one step: a slow network, a slow compiler."""


def prepare() -> None:
    """Make what is missing. Only the load generator must be there; servers that are not get a row that says so.

    Raises:
        Failure: the load generator cannot be built.
    """
    build_load()
    for step in (_make_environment, _install_packages):
        try:
            step()
        except Failure as failure:
            print(f"setup: {failure}", file=sys.stderr)


def build_load() -> None:
    """Build the load generator, if there is cargo.

    Raises:
        Failure: it cannot be built, and none is there.
    """
    if shutil.which("cargo") is None:
        if LOAD.exists():
            return
        raise Failure("cargo is missing, and the load generator is written in Rust: see https://rustup.rs")
    _run("building the load generator", ["cargo", "build", "--release", "--locked", "--quiet"], BENCH / "load")


def _make_environment() -> None:
    requirements = SERVERS / "requirements.txt"
    engine = ROOT / "engine" / "crates" / "python"
    sources = sorted((ROOT / "engine").glob("crates/*/src/**/*.rs"))
    stamp = _Stamp(ENVIRONMENT / "stamp", [requirements, ROOT / "pyproject.toml", *sources])
    if stamp.is_right():
        return
    shutil.rmtree(ENVIRONMENT, ignore_errors=True)
    _run("making the Python environment", [sys.executable, "-m", "venv", str(ENVIRONMENT)], BENCH)
    install = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run("installing the Python servers", [*install, "--requirement", str(requirements)], BENCH)
    _run("installing crosspeer from the checkout", [*install, "--no-deps", "--editable", str(ROOT)], BENCH)
    if shutil.which("cargo"):
        _run("building crosspeer's native engine", [*install, "--no-deps", str(engine)], BENCH)
    stamp.write()


def _install_packages() -> None:
    stamp = _Stamp(SERVERS / "node_modules" / ".stamp", [SERVERS / "package-lock.json"])
    if stamp.is_right():
        return
    if shutil.which("npm") is None:
        raise Failure("npm is missing: the servers on Node and Bun are left out")
    # No install scripts: Bun's only links the binary, which is found without it.
    _run("installing the npm packages", ["npm", "ci", "--ignore-scripts", "--silent"], SERVERS)
    stamp.write()


class _Stamp:
    """A file that names the files from which something was made."""

    def __init__(self, path: Path, sources: Iterable[Path]) -> None:
        self._path = path
        self._wanted = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()

    def is_right(self) -> bool:
        return self._path.exists() and self._path.read_text() == self._wanted

    def write(self) -> None:
        self._path.write_text(self._wanted)


def _run(what: str, command: list[str], folder: Path) -> None:
    print(f"setup: {what}", file=sys.stderr)
    try:
        done = subprocess.run(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=_DEADLINE, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise Failure(f"{what} took more than {_DEADLINE} seconds") from None
    if done.returncode:
        raise Failure(f"{what} failed:\n{done.stdout.strip()}")
