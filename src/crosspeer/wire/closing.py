"""Close codes and reasons of a WebSocket: which may be sent, and what they are called (RFC 6455 section 7.4)."""

from __future__ import annotations

from enum import IntEnum

MAX_REASON_BYTES = 123
"""A close frame holds at most 125 bytes, two of them the code (RFC 6455 section 5.5)."""


class CloseCode(IntEnum):
    """The registered codes that crosspeer itself sends or reports."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    NO_STATUS = 1005
    ABNORMAL = 1006
    INVALID_DATA = 1007
    POLICY = 1008
    TOO_BIG = 1009
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012
    TRY_LATER = 1013
    DISCONNECTED = 4500
    """By the application's `Hub.disconnect`. From 4500 on a client is not to come back."""
    TOO_MUCH = 4505
    """By the default `error` hook: the peer wanted more topics, or a longer name, than `Limits` allows."""


_SENDABLE = frozenset(range(1000, 1015)) - {1004, 1005, 1006}


def may_be_received(code: int) -> bool:
    """Whether a close frame may carry this code: the registered ones, those of frameworks and of applications."""
    return code in _SENDABLE or 3000 <= code <= 4999


def check_close(code: int, reason: str) -> None:
    """Raise for a code or a reason that must not stand in a close frame.

    Raises:
        TypeError: the code is no integer or the reason no string.
        ValueError: the code is reserved or out of range, or the reason is over 123 bytes of UTF-8.
    """
    for value, wanted in ((code, int), (reason, str)):
        if not isinstance(value, wanted) or isinstance(value, bool):
            raise TypeError(f"close takes an integer and a string, not {type(value).__name__}")
    if not may_be_received(code):
        raise ValueError(f"close code {code} must not be sent: use 1000 to 1014 or 3000 to 4999")
    if len(reason.encode()) > MAX_REASON_BYTES:
        raise ValueError(f"a close reason takes at most {MAX_REASON_BYTES} bytes of UTF-8")
