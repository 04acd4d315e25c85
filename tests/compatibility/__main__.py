"""Write docs/compatibility.md of the results that the last runs kept."""

from __future__ import annotations

import sys

from compatibility.page import PAGE, render
from compatibility.results import FILE, load


def main() -> None:
    columns = load()
    incomplete = [title for title, column in columns.items() if not column.is_complete]
    if not columns or incomplete:
        sys.exit(f"{FILE} has no results of {', '.join(incomplete) or 'any server'}: run the tests in tests/contract")
    PAGE.write_text(render(columns))
    print(f"wrote {PAGE} with {len(columns)} servers")  # noqa: T201


if __name__ == "__main__":
    main()
