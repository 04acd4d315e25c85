"""Names of files as a stranger sends them: what is taken, and why the rest is not."""

from __future__ import annotations

import pytest

from crosspeer.peerjs.transfer.names import MAX_DEPTH, MAX_NAME, MAX_PATH, BadName, printable, safe_parts

REFUSED = {
    "": "outside",
    ".": "outside",
    "..": "outside",
    "../x": "outside",
    "a/../../x": "outside",
    "/etc/passwd": "outside",
    "//server/share": "outside",
    "a//b": "outside",
    "a/": "outside",
    "..\\x": "backslash",
    "C:\\x": "backslash",
    "a\0.txt": "cannot be seen",
    "a\nb": "cannot be seen",
    "\x1b]0;title\x07": "cannot be seen",
    "a\x7f": "cannot be seen",
    "a\x9b2J": "cannot be seen",
    "a\u2028b": "cannot be seen",
    "photo\u202egpj.exe": "cannot be seen",
    "\ud800": "cannot be seen",
    ".bashrc": "hidden",
    ".ssh/authorized_keys": "hidden",
    "a/.git": "hidden",
    "CON": "device",
    "nul.txt": "device",
    "a/com1": "device",
    "LPT¹.log": "device",
    "aux .txt": "device",
    "a.": "ends with a space or a dot",
    "a ": "ends with a space or a dot",
    " a": "begins with a space",
    "x.crosspeer-part": "our own",
    "x.Crosspeer-PART": "our own",
    "x" * (MAX_NAME + 1): "more than 240 bytes",
    "ü" * 121: "more than 240 bytes",
    "x" * (MAX_PATH + 1): "more than 1024 bytes",
    "x" * 10_000_000: "more than 1024 bytes",
    "/".join("x" * (MAX_DEPTH + 1)): "deep",
}
TAKEN = [
    "a",
    "a b.tar.gz",
    "photos/2026/ä ö.jpg",
    "日本語.txt",
    "👨‍👩‍👧.png",
    "what?.txt",
    "12:30.log",
    "console.txt",
    "x" * MAX_NAME,
    "/".join("x" * MAX_DEPTH),
]


@pytest.mark.parametrize(("name", "why"), REFUSED.items(), ids=lambda text: ascii(text)[:30])
def test_a_name_that_is_refused(name: str, why: str) -> None:
    with pytest.raises(BadName, match=why):
        safe_parts(name, windows=False)


@pytest.mark.parametrize("name", TAKEN, ids=lambda text: ascii(text)[:30])
def test_a_name_that_is_taken(name: str) -> None:
    assert "/".join(safe_parts(name, windows=False)) == name


@pytest.mark.parametrize("name", ["a:b", "C:x", "a?", 'a"b', "<a>", "a|b", "a*"])
def test_windows_takes_less(name: str) -> None:
    assert safe_parts(name, windows=False) == (name,)
    with pytest.raises(BadName, match="Windows"):
        safe_parts(name, windows=True)


def test_hidden_names_can_be_allowed() -> None:
    assert safe_parts(".config/a", hidden=True) == (".config", "a")
    with pytest.raises(BadName, match="outside"):
        safe_parts("../a", hidden=True)


def test_a_stranger_s_text_does_not_control_the_terminal() -> None:
    assert printable("ä\x1b[2J\n\x9b\u202e\ud800\0") == "ä\\x1b[2J\\n\\x9b\\u202e\\ud800\\x00"
    assert printable("x" * 500) == "x" * 200 + "..."
