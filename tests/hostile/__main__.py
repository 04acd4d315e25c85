"""Run the tests of the table and write docs/hostile.md: `python -m hostile`, as `make docs` does.

With `--kept` it is written of what earlier runs found.
"""

from __future__ import annotations

import subprocess
import sys

from hostile.outcomes import FILE, load
from hostile.page import PAGE, render
from hostile.table import nodes_of, rows

COSTS = "hostile/test_memory.py"


def main() -> None:
    paths = {test.path for row in rows().values() for test in row.tests} | {COSTS}
    if "--kept" not in sys.argv:
        tests = sorted(f"tests/{path}" for path in paths)
        # Slow ones too: they are on the page.
        command = [sys.executable, "-m", "pytest", "--quiet", "-m", "slow or not slow", *tests]
        subprocess.run(command, check=True)
    kept = load()
    missing = [test.path for row in rows().values() for test in row.tests if not nodes_of(test, kept.tests)]
    missing += [
        f"row {row.id} in {COSTS}" for row in rows().values() if row.mib is not None and row.id not in kept.costs
    ]
    if missing:
        sys.exit(f"{FILE} has no results of {', '.join(dict.fromkeys(missing))}")
    PAGE.write_text(render(kept.tests, kept.tests, kept.costs))
    print(f"wrote {PAGE} with {len(rows())} rows")  # noqa: T201


if __name__ == "__main__":
    main()
