"""docs/licences.md names all that is installed, and no licence is on it that asks for more than a notice unawares."""

from __future__ import annotations

import pytest
from packaging.utils import canonicalize_name

from licences import NAMED, PAGE, UNKNOWN, crates, is_free, locked, names_of, pinned, python_dependencies


@pytest.mark.parametrize(
    ("expression", "free"),
    [
        ("MIT", True),
        ("MIT OR Apache-2.0", True),
        ("GPL-3.0 OR MIT", True),
        ("MIT AND GPL-3.0", False),
        ("MIT/Apache-2.0", True),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", True),
        ("LGPL-2.1", False),
        ("MPL-2.0", False),
        (UNKNOWN, False),
    ],
)
def test_what_is_free(expression: str, free: bool) -> None:
    assert is_free(expression) is free


def test_python_packages_are_free_or_named() -> None:
    for dependency in python_dependencies():
        assert dependency.is_free or dependency.name in NAMED, f"{dependency.name} is under {dependency.licence}"


def test_the_page_names_every_python_package_that_is_installed() -> None:
    page, pins = names_of(PAGE.read_text(), "Python"), pinned()
    for dependency in python_dependencies():
        # An environment may have others than the pinned ones; what is pinned is what the page is made of.
        if pins.get(canonicalize_name(dependency.name)) == dependency.version:
            assert page.get(f"{dependency.name} {dependency.version}") == dependency.licence, "run `make docs`"


def test_crates_are_free_or_named() -> None:
    page = names_of(PAGE.read_text(), "Rust")
    assert page.keys() == locked().keys(), "docs/licences.md is stale: run `make docs`"
    for name, licence in page.items():
        assert is_free(licence) or name.split()[0] in NAMED, f"{name} is under {licence}"


def test_the_page_has_the_licences_that_cargo_tells() -> None:
    found = crates()
    if found is None:
        pytest.skip("cargo is missing, or has not fetched the crates")
    page = names_of(PAGE.read_text(), "Rust")
    assert {f"{crate.name} {crate.version}": crate.licence for crate in found} == page, "run `make docs`"


def test_what_is_named_is_there() -> None:
    names = {dependency.name for dependency in python_dependencies()}
    missing = NAMED.keys() - names
    # A wheel is not there for every system.
    assert missing <= {"wrtc", "av"}, f"{missing} are not installed any more"
