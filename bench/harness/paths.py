"""Where things are."""

from __future__ import annotations

from pathlib import Path

BENCH = Path(__file__).resolve().parent.parent
ROOT = BENCH.parent
SERVERS = BENCH / "servers"
ENVIRONMENT = BENCH / ".env"
PYTHON = ENVIRONMENT / "bin" / "python"
LOAD = BENCH / "load" / "target" / "release" / "crosspeer-load"
RESULTS = BENCH / "RESULTS.md"
PLOTS = BENCH / "plots"
