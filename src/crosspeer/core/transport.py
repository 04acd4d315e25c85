"""The port between a session and the connection under it: what every adapter and engine provides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from crosspeer.core.outgoing import Outgoing


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a server truly can do. What it cannot is named here, asserted by the contract suite and documented."""

    denial_status: bool = True
    """A refusal carries its status; without it every refusal is a bare 403."""
    denial_response: bool = True
    """A refusal carries its headers and body; without it there are none."""
    response_headers: bool = True
    """Headers from `upgrade` stand on the 101."""
    subprotocol: bool = True
    """A subprotocol can be chosen; without it none ever is."""
    close_code_received: bool = True
    """`close` sees the code of the client's close frame; without it 1005, or 1006 for whatever ended it."""
    close_reason_received: bool = True
    """`close` sees the reason of the client's close frame; without it the reason is empty."""
    close_code_echoed: bool = True
    """The answer to the client's close frame carries the same code; without it another one."""
    close_code_sent: bool = True
    """The client sees the code of `peer.close`, and those that crosspeer closes with; without it 1005."""
    low_close_codes: bool = True
    """Close codes below 3000 are sent; without it the client sees 2000 more (3011 for 1011), but for 1000."""
    close_reason_sent: bool = True
    """The client sees the reason of `peer.close`; without it the reason is empty."""
    empty_binary: bool = True
    """An empty binary message arrives; without it the server sends nothing."""
    lost_connection: bool = True
    """A lost connection is told from a close frame without a code: 1006 against 1005. Without it both are the same."""
    ping: bool = True
    """`peer.ping` sends, and the `ping` and `pong` hooks are called."""
    terminate: bool = True
    """`peer.terminate` drops the connection at once; without it the server ends it in its own way."""
    read_backpressure: bool = True
    """A slow hook holds its client up; without it the server keeps what comes in meanwhile, without a bound."""
    backpressure: bool = True
    """A reader that stops holds the queue up, so that its limit is felt; without it the server holds what is unread."""


class Transport(Protocol):
    """One connection, as its session sees it.

    It MUST call `session.start` once, then `receive`, `pinged`, `ponged` and `drained` as things happen, and
    `session.closed` exactly once, whatever ended the connection. It MUST NOT call any of them from inside one of
    the methods below: they are called in the middle of a hook. It MUST call `receive` no more while it is paused.
    """

    capabilities: Capabilities

    @property
    def protocol(self) -> str:
        """The subprotocol that was chosen, empty if none."""
        ...

    @property
    def extensions(self) -> str:
        """The extensions that were negotiated, empty if none or unknown."""
        ...

    @property
    def taken(self) -> int:
        """Bytes that left the outbox and are not written yet."""
        ...

    def push(self, item: Outgoing) -> bool:
        """Queue a message behind those that wait, and write it when it can be. MUST NOT wait.

        False: the session's outbox is full and its policy is to close the peer.
        """
        ...

    def pause_reading(self) -> None:
        """Read no further until `resume_reading`."""
        ...

    def resume_reading(self) -> None: ...

    def ping(self, data: bytes) -> None:
        """Send a ping, if the server can."""
        ...

    def close(self, code: int, reason: str, *, now: bool) -> None:
        """Send a close frame, after what waits or (`now`) at once, and give the other side its time to answer."""
        ...

    def abort(self) -> None:
        """Drop the connection, without a close frame."""
        ...

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine to its end, before the connection's own work counts as done."""
        ...

    async def wait_for_drain(self, threshold: int) -> None:
        """Wait until at most `threshold` bytes are unsent, or the connection is gone."""
        ...

    async def wait_closed(self) -> None:
        """Wait until the connection is gone and its last hook has ended."""
        ...
