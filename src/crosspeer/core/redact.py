"""What logs may say of a URL: everything but the secrets in its query."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_plus

REDACTED: Final = "[redacted]"

_PARTS: Final = ("token", "secret", "passw", "session", "signature", "credential", "apikey", "jwt", "ticket")
"""A name that has one of these in it is a secret's: `access_token`, `sessionId`, `X-Amz-Signature`."""
_WORDS: Final = frozenset({"auth", "authorization", "key", "otp", "pass", "pwd", "sid", "sig"})
"""So is a name that has one of these as a word of its own; inside of others they mean nothing (`author`, `passage`)."""

_NAME: Final = re.compile(r"[?&;#]([^?&;#=\s]+)=")
_VALUE: Final = re.compile(r"[^&\s]*")
_WORD: Final = re.compile(r"[a-z0-9]+")


def redact(text: str) -> str:
    """Replace the secrets of every query in a text: `/chat?token=[redacted]&room=1`.

    A value ends at `&` or white space. Rather too much is taken for a secret than too little.
    """
    out, done = [], 0
    for found in _NAME.finditer(text):
        # The name may stand in a value that is hidden already.
        if found.start() >= done and _is_secret(unquote_plus(found[1])):
            value = _VALUE.match(text, found.end())
            out += [text[done : found.end()], REDACTED]
            done = found.end() + len(value[0] if value else "")
    return "".join(out) + text[done:] if out else text


def _is_secret(name: str) -> bool:
    name = name.lower()
    if name.endswith("key") or any(part in name.replace("_", "").replace("-", "") for part in _PARTS):
        return True
    return not _WORDS.isdisjoint(_WORD.findall(name))
