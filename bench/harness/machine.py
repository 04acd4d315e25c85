"""On what it was measured."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
from datetime import date
from pathlib import Path

from harness.errors import Failure
from harness.paths import BENCH, PYTHON, ROOT, SERVERS
from harness.servers import bun


def describe() -> list[tuple[str, str]]:
    """Names and what they are, for a list."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    facts = [
        ("date", date.today().isoformat()),
        ("machine", f"{_processor()}, {os.cpu_count()} cores, {memory:.0f} GiB"),
        ("system", f"{platform.system()} {platform.release()} ({platform.machine()})"),
        ("crosspeer", _said_by(["git", "-C", str(ROOT), "describe", "--always", "--dirty"])),
        ("CPython", platform.python_version()),
        ("Python packages", _python_packages()),
        ("Bun", _bun_version()),
        ("Node", _said_by(["node", "--version"]).removeprefix("v")),
        ("npm packages", _npm_packages()),
        ("Rust", _said_by(["rustc", "--version"], BENCH / "load").removeprefix("rustc ")),
    ]
    return [(name, value) for name, value in facts if value]


def checkout_state() -> str:
    """Changes when a source of crosspeer does: then the runs before and after have measured two versions."""
    sources = sorted(path for path in (ROOT / "src").rglob("*") if path.suffix in (".py", ".so"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or "unknown processor"


def _python_packages() -> str:
    shown = ("picows", "starlette", "uvicorn", "uvloop", "websockets")
    listed = _said_by([str(PYTHON), "-m", "pip", "list", "--format", "json", "--disable-pip-version-check"])
    versions = {package["name"]: package["version"] for package in json.loads(listed or "[]")}
    return ", ".join(f"{name} {versions[name]}" for name in shown if name in versions)


def _npm_packages() -> str:
    manifests = ((name, SERVERS / "node_modules" / name / "package.json") for name in ("crossws", "ws", "peer"))
    return ", ".join(f"{name} {json.loads(path.read_text())['version']}" for name, path in manifests if path.exists())


def _bun_version() -> str:
    try:
        return _said_by([bun(), "--version"])
    except Failure:
        return ""


def _said_by(command: list[str], folder: Path | None = None) -> str:
    """What a tool prints, nothing where it is missing."""
    if shutil.which(command[0]) is None:
        return ""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=30, check=False)
    return "" if done.returncode else done.stdout.strip()
