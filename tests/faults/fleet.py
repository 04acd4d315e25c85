"""Run `python tests/faults/fleet.py --help`: the fault tests of a fleet, with all that belongs to them in the path."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    runpy.run_module("faults", run_name="__main__", alter_sys=True)
