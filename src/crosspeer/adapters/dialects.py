"""Where ASGI servers differ from one another, and how a scope tells which one it came from.

The scope is what middleware and frameworks hand on as it is; the server's own callables they often wrap.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from crosspeer.core.transport import Capabilities

if TYPE_CHECKING:
    from starlette.types import Scope

PLAIN: Final = Capabilities(ping=False, terminate=False, lost_connection=False)
"""What ASGI itself can do; single servers do less (`docs/compatibility.md`)."""
DENIAL: Final = "websocket.http.response"
"""The extension by which a server lets an application refuse a handshake with a response of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """What one server can do, and what the adapter has to know to get it right there."""

    capabilities: Capabilities = PLAIN
    loss_has_no_reason: bool = False
    """1005 stands for a lost connection too, and only the one after a close frame comes with a (then empty) reason."""
    closes_unread: bool = False
    """It sends no close frame while a `receive` waits."""
    stays_open: bool = False
    """It does not end the connection of an application that has returned."""
    takes_empty_for_none: bool = False
    """It looks at the truth of a text and does not send an empty one."""


_WITHOUT_DENIAL: Final = replace(PLAIN, denial_status=False, denial_response=False)

UVICORN: Final = Dialect(capabilities=replace(PLAIN, lost_connection=True), loss_has_no_reason=True)
HYPERCORN: Final = Dialect(capabilities=replace(PLAIN, close_code_received=False, close_reason_received=False))
GRANIAN: Final = Dialect(
    capabilities=replace(PLAIN, response_headers=False, close_reason_received=False), closes_unread=True
)
GUNICORN: Final = Dialect(
    capabilities=replace(_WITHOUT_DENIAL, close_reason_received=False, lost_connection=True),
)
DAPHNE: Final = Dialect(
    capabilities=replace(
        _WITHOUT_DENIAL,
        response_headers=False,
        close_reason_received=False,
        close_code_echoed=False,
        low_close_codes=False,
        close_reason_sent=False,
        empty_binary=False,
        lost_connection=True,
        read_backpressure=False,
        backpressure=False,
    ),
    stays_open=True,
    takes_empty_for_none=True,
)


def dialect_of(scope: Scope) -> Dialect:
    """The dialect of a handshake's server; for one that is not known, that of ASGI itself."""
    version = scope.get("asgi", {}).get("spec_version")
    extensions = scope.get("extensions", {})
    if DENIAL in extensions:
        # Files are no answer to a handshake, and only granian offers them there.
        known = GRANIAN if "http.response.pathsend" in extensions else {"2.4": UVICORN, "2.3": HYPERCORN}.get(version)
        return known or Dialect()
    known = {"2.4": GUNICORN, None: DAPHNE}.get(version) if "asgi" in scope and "extensions" not in scope else None
    return known or Dialect(capabilities=_WITHOUT_DENIAL)
