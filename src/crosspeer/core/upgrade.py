"""What `upgrade` may answer, checked before a byte of it reaches the wire."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

from starlette.datastructures import Headers
from starlette.responses import Response

HeadersLike = Mapping[str, str] | Iterable[tuple[str, str]]

TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
_BAD_VALUE: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_RESERVED: Final = frozenset(
    {
        "connection",
        "content-length",
        "sec-websocket-accept",
        "sec-websocket-extensions",
        "transfer-encoding",
        "upgrade",
    }
)
"""Headers of the 101 that belong to the server: a second one breaks the handshake (RFC 6455 section 4.2.2)."""


@dataclass(frozen=True, slots=True)
class Upgrade:
    """An accepted handshake. Every field is optional.

    Raises (when it is used, not when it is made):
        ValueError: a header's name is no token, its value has control characters, or the server owns it.
    """

    headers: HeadersLike | None = None
    """Headers of the 101 answer; a list of pairs keeps a repeated `set-cookie`."""
    namespace: str | None = None
    """Where the peer lives, instead of the default (the path, or what the hub's function says)."""
    context: Mapping[str, Any] | None = None
    """Merged into `request.context`, which becomes `peer.context`."""
    protocol: str | None = None
    """The subprotocol to choose. One that the client did not offer is not sent (RFC 6455 section 4.2.2)."""
    compress: bool | None = None
    """Whether to compress for this peer (permessage-deflate), if the client offers it and the server lets one choose;
    None leaves it to `Hub(compression=)`."""

    @property
    def header_pairs(self) -> list[tuple[str, str]]:
        """The headers as pairs, whatever form they were given in."""
        if self.headers is None:
            return []
        return list(self.headers.items() if isinstance(self.headers, (Mapping, Headers)) else self.headers)


UpgradeAnswer = Upgrade | Mapping[str, Any] | Response | None
_KEYS: Final = frozenset(field.name for field in fields(Upgrade))


def as_upgrade(answer: object) -> Upgrade:
    """Read an answer that accepts, with checked headers as a list of pairs in lower case.

    A `sec-websocket-protocol` header counts as `protocol`, which wins over it.

    Raises:
        TypeError: it is no answer, or a dict has an unknown key.
        ValueError: see `Upgrade`.
    """
    if answer is None:
        return Upgrade(headers=())
    if isinstance(answer, Mapping):
        unknown = set(answer) - _KEYS
        if unknown:
            names = ", ".join(sorted(map(str, unknown)))
            raise TypeError(f"upgrade answered unknown keys: {names} (known: {', '.join(sorted(_KEYS))})")
        answer = Upgrade(**answer)
    if not isinstance(answer, Upgrade):
        raise TypeError(f"upgrade answers None, Upgrade, a dict or a Response, not {type(answer).__name__}")
    headers = list(_checked(answer.header_pairs))
    protocol = answer.protocol or next((v for n, v in headers if n == "sec-websocket-protocol"), None)
    return Upgrade(
        headers=[pair for pair in headers if pair[0] != "sec-websocket-protocol"],
        namespace=answer.namespace,
        context=answer.context,
        protocol=protocol,
        compress=answer.compress,
    )


def merge_answers(first: object, second: object) -> Upgrade:
    """Both answers in one: headers and contexts are added up, in all else the second has the last word."""
    a, b = as_upgrade(first), as_upgrade(second)
    return Upgrade(
        headers=[*a.header_pairs, *b.header_pairs],
        namespace=a.namespace if b.namespace is None else b.namespace,
        context={**(a.context or {}), **(b.context or {})},
        protocol=a.protocol if b.protocol is None else b.protocol,
        compress=a.compress if b.compress is None else b.compress,
    )


def check_refusal(response: Response) -> None:
    """Raise for a refusal that cannot be sent as it is.

    Raises:
        ValueError: its status is not one of an answer, or a header could be taken for several (row H12).
    """
    if not 200 <= response.status_code < 600:
        raise ValueError(f"a handshake is not refused with the status {response.status_code}")
    for name, value in response.raw_headers:
        if not TOKEN.match(name.decode("latin-1")):
            raise ValueError(f"{name!r} is no header name")
        if _BAD_VALUE.search(value.decode("latin-1")):
            raise ValueError(f"the header {name!r} has a value that cannot be sent")


def _checked(headers: list[tuple[str, str]]) -> Iterable[tuple[str, str]]:
    for name, value in headers:
        if not TOKEN.match(name):
            raise ValueError(f"{name!r} is no header name")
        if name.lower() in _RESERVED:
            raise ValueError(f"the header {name!r} belongs to the server")
        if _BAD_VALUE.search(value) or not _is_latin1(value):
            raise ValueError(f"the header {name!r} has a value that cannot be sent")
        yield name.lower(), value


def _is_latin1(value: str) -> bool:
    try:
        value.encode("latin-1")
    except UnicodeEncodeError:
        return False
    return True
