"""What the lack of a capability means for the members of the public classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

YES: Final = "✓"
PARTLY: Final = "~"
NO: Final = "–"


@dataclass(frozen=True)
class Effect:
    """Which cells it changes, and what happens instead, for the footnote."""

    note: str
    no: tuple[str, ...] = ()
    """Members that do nothing then."""
    partly: tuple[str, ...] = ()
    """Members that do less then."""


_CLOSING = ("Peer.close", "Hub.close", "Hooks.error")
_QUEUE = (
    "Hooks.drain",
    "Peer.buffered_amount",
    "Peer.dropped",
    "Peer.wait_for_drain",
    "Peer.websocket.buffered_amount",
)

EFFECTS: Final = {
    "denial_status": Effect("Every refusal is a bare 403.", partly=("Response",)),
    "denial_response": Effect("A refusal has no headers and no body.", partly=("Response",)),
    "response_headers": Effect("Headers from `upgrade` do not reach the client.", no=("Upgrade.headers",)),
    "subprotocol": Effect("No subprotocol can be chosen.", no=("Upgrade.protocol", "Peer.websocket.protocol")),
    "close_code_received": Effect(
        "The code of the client's close frame is not told: it is 1005, or 1006 whatever happened.",
        no=("CloseDetails.code",),
        partly=("Hooks.close",),
    ),
    "close_reason_received": Effect("The reason of the client's close frame is not told.", no=("CloseDetails.reason",)),
    "close_code_echoed": Effect(
        "A client that closes with a code is answered with another one.", partly=("Hooks.close",)
    ),
    "close_code_sent": Effect("Every close frame goes out without a code: the client sees 1005.", partly=_CLOSING),
    "low_close_codes": Effect(
        "Of the close codes below 3000 only 1000 can be sent: for the others the client sees 2000 more "
        "(3011 for 1011).",
        partly=_CLOSING,
    ),
    "close_reason_sent": Effect("The reason of `close` does not reach the client.", partly=_CLOSING[:2]),
    "empty_binary": Effect("An empty binary message is not sent.", partly=("Peer.send",)),
    "lost_connection": Effect(
        "A lost connection looks like a close frame without a code.", no=("CloseDetails.was_clean",)
    ),
    "ping": Effect(
        "Pings are answered by the server and not shown. The heartbeat asks by a message instead.",
        no=("Peer.ping", "Hooks.ping", "Hooks.pong"),
        partly=("Hub.heartbeat",),
    ),
    "terminate": Effect(
        "Nothing can drop a connection: the server ends it in its own way.", partly=("Peer.terminate",)
    ),
    "read_backpressure": Effect(
        "The server reads on while a hook is slow, and keeps what comes in without a bound.",
        partly=("Limits.max_waiting_messages",),
    ),
    "backpressure": Effect(
        "The server takes whatever it is given and holds what a slow reader leaves, without a bound: "
        "no queue fills, nothing is dropped or drained.",
        no=(*_QUEUE, "Limits.max_queue_size", "Limits.overflow"),
    ),
}


def marks(lacks: set[str], member: str) -> tuple[str, list[str]]:
    """The mark of a member's cell, and the capabilities that it is for."""
    because = [name for name in EFFECTS if name in lacks and member in EFFECTS[name].no + EFFECTS[name].partly]
    if any(member in EFFECTS[name].no for name in because):
        return NO, because
    return (PARTLY if because else YES), because
