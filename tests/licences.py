"""docs/licences.md: what crosspeer stands on, and on which terms. `python -m licences` writes it, as `make docs` does.

Of Python packages it is their own metadata that tells, of crates cargo's. A licence that is not among the `FREE` ones
has to have a word of its own in `NAMED`, which the page shows.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT: Final = Path(__file__).parent.parent
PAGE: Final = ROOT / "docs" / "licences.md"
LOCK: Final = ROOT / "engine" / "Cargo.lock"

FREE: Final = frozenset(
    {
        *("MIT", "MIT-0", "0BSD", "BSD-2-Clause", "BSD-3-Clause", "Apache-2.0", "ISC", "PSF-2.0", "Zlib", "Unlicense"),
        *("Unicode-3.0", "CC0-1.0", "BSL-1.0", "ZPL-2.1", "HPND", "TCL", "CNRI-Python", "Python-2.0"),
        "Apache-2.0 WITH LLVM-exception",
    }
)
"""Licences that ask for no more than a notice."""

NAMED: Final = {
    "certifi": "MPL-2.0 asks for changes to its own files alone, a list of certificates; for tests",
    "hypothesis": "MPL-2.0 asks for changes to its own files alone; for tests",
    "pathspec": "MPL-2.0 asks for changes to its own files alone; for linters",
    "tqdm": "MPL-2.0 asks for changes to its own files alone; only with its extra",
    "av": (
        "its own code is BSD-3-Clause; its wheels hold FFmpeg (LGPL) built with x264 and x265 (GPL). Whoever hands a "
        "program on with these wheels in it keeps to the GPL, or builds PyAV with an FFmpeg of their own. It comes "
        "with the extras `aiortc` and `media`, and with nothing else"
    ),
    "wrtc": (
        "its own code and Chrome's WebRTC in it are BSD-3-Clause, what that holds of others is as free; OpenH264 in it "
        "is Cisco's, BSD-2-Clause, and H.264 is subject to patents"
    ),
}
"""What is to be said of a package beside its licence."""

CLASSIFIERS: Final = {
    "MIT License": "MIT",
    "BSD License": "BSD-3-Clause",
    "Apache Software License": "Apache-2.0",
    "ISC License (ISCL)": "ISC",
    "Python Software Foundation License": "PSF-2.0",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
    "Zope Public License": "ZPL-2.1",
    "GNU General Public License v3 (GPLv3)": "GPL-3.0",
    "GNU Lesser General Public License v3 (LGPLv3)": "LGPL-3.0",
}
FREE_TEXT: Final = {
    "mit": "MIT",
    "mit license": "MIT",
    "bsd": "BSD-3-Clause",
    "new bsd": "BSD-3-Clause",
    "bsd license": "BSD-3-Clause",
    "3-clause bsd": "BSD-3-Clause",
    "bsd-3-clause": "BSD-3-Clause",
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "apache-2.0": "Apache-2.0",
    "psf": "PSF-2.0",
    "mpl 2.0": "MPL-2.0",
    "mpl-2.0": "MPL-2.0",
    "unlicense": "Unlicense",
    "the mit license": "MIT",
    "mpl-2.0 and mit": "MPL-2.0 AND MIT",
}
UNKNOWN: Final = "unknown"

INTRODUCTION: Final = """\
# Licences

<!-- Made by `make docs` of what is installed: change tests/licences.py, not this page. -->

crosspeer is under the [MIT licence](../LICENSE). What it stands on is not part of it: pip and cargo install it beside
it, on these terms.
"""


@dataclass(frozen=True)
class Dependency:
    """One package."""

    name: str
    version: str
    licence: str
    """An SPDX expression, or `UNKNOWN`."""
    use: str
    """When it is installed: always, with an extra, for tests."""

    @property
    def is_free(self) -> bool:
        return is_free(self.licence)


def is_free(expression: str) -> bool:
    """Whether an SPDX expression leaves a choice that asks for no more than a notice. Only what it needs to read."""
    alternatives = re.split(r"\bOR\b|/", expression.replace("(", " ").replace(")", " "))
    return any(all(part.strip() in FREE for part in re.split(r"\bAND\b", each)) for each in alternatives)


# Python.


def licence_of(package: Distribution) -> str:
    """The licence that a package says it has."""
    metadata = package.metadata
    if expression := metadata.get("License-Expression"):
        return expression
    classifiers = [text.rpartition(" :: ")[2] for text in metadata.get_all("Classifier") or () if "License ::" in text]
    known = [CLASSIFIERS[text] for text in classifiers if text in CLASSIFIERS]
    if known:
        return " OR ".join(dict.fromkeys(known))
    words = [metadata.get("License") or "", *_titles(package)]
    firsts = [text.strip().partition("\n")[0].strip().lower() for text in words]
    return next((FREE_TEXT[first] for first in firsts if first in FREE_TEXT), UNKNOWN)


def _titles(package: Distribution) -> Iterator[str]:
    """The beginnings of the licence files of a package that says nothing else."""
    for path in package.files or ():
        if path.name.upper().startswith(("LICENSE", "LICENCE")) and ".dist-info" in str(path):
            yield path.read_text()[:100]


def pinned() -> dict[str, str]:
    """The versions of constraints.txt, by canonical names."""
    found = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            requirement = Requirement(line)
            found[canonicalize_name(requirement.name)] = str(requirement.specifier).removeprefix("==")
    return found


def python_dependencies() -> list[Dependency]:
    """All that is installed for crosspeer, its extras, its tests or its linters. What is missing is left out."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    roots: list[tuple[str, Iterable[str]]] = [("always", project["project"]["dependencies"])]
    roots += [(f"`[{name}]`", wanted) for name, wanted in project["project"]["optional-dependencies"].items()]
    groups = project["dependency-groups"]
    roots += [(name, [line for line in wanted if isinstance(line, str)]) for name, wanted in groups.items()]
    uses: dict[str, list[str]] = {}
    for use, wanted in roots:
        for name in dict.fromkeys(closure(wanted)):
            uses.setdefault(name, []).append(use)
    found = []
    for name, all_uses in sorted(uses.items()):
        package = distribution(name)
        shown = (
            all_uses[:1] if all_uses[0] == "always" else [use for use in all_uses if use.startswith("`")] or all_uses
        )
        found.append(Dependency(package.metadata["Name"], package.version, licence_of(package), ", ".join(shown)))
    return found


def closure(requirements: Iterable[str]) -> Iterator[str]:
    """These packages and all that they need, as far as it is installed, by canonical names."""
    waiting = [(Requirement(text), "") for text in requirements]
    seen: set[tuple[str, str]] = set()
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        try:
            package = distribution(name)
        except PackageNotFoundError:
            continue
        for wanted in ("", *requirement.extras):
            if (name, wanted) not in seen:
                seen.add((name, wanted))
                waiting += [(Requirement(text), wanted) for text in package.requires or ()]
        if name != "crosspeer-engine":
            yield name


# Rust.


def locked() -> dict[str, str]:
    """The crates of the engine's lock, but for our own."""
    packages = tomllib.loads(LOCK.read_text())["package"]
    return {f"{package['name']} {package['version']}": package["name"] for package in packages if "source" in package}


def crates() -> list[Dependency] | None:
    """The crates of the engine with their licences. None: cargo is missing, or has not fetched them."""
    if shutil.which("cargo") is None:
        return None
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--offline", "--manifest-path"]
    result = subprocess.run([*command, str(LOCK.with_name("Cargo.toml"))], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        return None
    metadata: dict[str, Any] = json.loads(result.stdout)
    built = _built(metadata)
    return [
        Dependency(
            package["name"],
            package["version"],
            package["license"] or UNKNOWN,
            "native engine" if package["id"] in built else "its tests, or another system",
        )
        for package in sorted(metadata["packages"], key=lambda package: (package["name"], package["version"]))
        if package["source"] is not None
    ]


def _built(metadata: dict[str, Any]) -> set[str]:
    """What the engine is built of on Linux."""
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    waiting, seen = [package["id"] for package in metadata["packages"] if package["name"] == "crosspeer-engine"], set()
    while waiting:
        if (id := waiting.pop()) not in seen:
            seen.add(id)
            waiting += [
                dependency["pkg"]
                for dependency in nodes[id]["deps"]
                if any(
                    kind["kind"] != "dev" and "windows" not in str(kind["target"]) for kind in dependency["dep_kinds"]
                )
            ]
    return seen


# The page.


def render(python: Iterable[Dependency], rust: Iterable[Dependency]) -> str:
    parts = [INTRODUCTION, "\n## Python\n\n", *_table(python), "\n## Rust\n\n", *_table(rust)]
    parts.append("\n## What is to be said of some\n\n")
    parts += [f"- **{name}**: {text}.\n" for name, text in sorted(NAMED.items())]
    parts.append(
        "\nThe clients in JavaScript that some tests run against (`peerjs`, `peer`) are installed below\n"
        "`tests/interop` and are MIT; Chromium, Redis, NATS, PostgreSQL and coturn are run by tests, and linked with\n"
        "nothing.\n"
    )
    return "".join(parts)


def names_of(page: str, heading: str) -> dict[str, str]:
    """The packages under a heading of the page, with their licences."""
    section = page.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")][2:]
    return {f"{name} {version}": licence for name, version, licence, _ in rows}


def _table(dependencies: Iterable[Dependency]) -> Iterator[str]:
    yield "| package | version | licence | installed |\n| --- | --- | --- | --- |\n"
    for each in dependencies:
        yield f"| {each.name} | {each.version} | {each.licence} | {each.use} |\n"


def main() -> None:
    rust = crates()
    if rust is None:
        raise SystemExit("the licences of crates are cargo's to tell: install Rust, or build the engine once")
    PAGE.write_text(render(python_dependencies(), rust))
    print(f"wrote {PAGE}")  # noqa: T201


if __name__ == "__main__":
    main()
