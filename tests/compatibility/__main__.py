"""Write docs/compatibility.md of the results that the last runs kept."""

from __future__ import annotations

import sys

from compatibility.page import PAGE, render, titles_of
from compatibility.results import FILE, load


def main() -> None:
    columns = {title: column for title, column in load().items() if column.is_complete}
    # A server leaves the page by hand: more often it is only not installed here.
    missing = titles_of(PAGE.read_text()) - columns.keys() if PAGE.exists() else set()
    if missing:
        sys.exit(f"{FILE} has no complete results of {', '.join(sorted(missing))}: run the tests in tests/contract")
    PAGE.write_text(render(columns))
    print(f"wrote {PAGE} with {len(columns)} servers")  # noqa: T201


if __name__ == "__main__":
    main()
