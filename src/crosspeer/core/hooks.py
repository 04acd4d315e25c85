"""The eight hooks, how an application writes them, and the one form in which a connection calls them."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import Response

from crosspeer.core.errors import InvalidMessage, LimitExceeded
from crosspeer.core.upgrade import UpgradeAnswer, merge_answers
from crosspeer.wire.closing import CloseCode

if TYPE_CHECKING:
    from crosspeer.core.message import Message
    from crosspeer.core.peer import Peer
    from crosspeer.core.request import Request

logger = logging.getLogger("crosspeer")

HOOK_NAMES: Final = ("upgrade", "open", "message", "close", "error", "drain", "ping", "pong")

Hook = Callable[..., Any]

_CLIENTS_DOING: Final = (
    (InvalidMessage, CloseCode.INVALID_DATA, "invalid message"),
    (LimitExceeded, CloseCode.TOO_MUCH, "limit exceeded"),
)
"""What a client can make a hook raise that means no harm: how such a peer is closed."""


@dataclass(frozen=True, slots=True)
class CloseDetails:
    """How a connection ended."""

    code: int = CloseCode.NO_STATUS
    """The close code: 1005 where a close frame had none, 1006 where no close frame came."""
    reason: str = ""
    """The reason of the close frame."""
    was_clean: bool = True
    """Whether both sides sent their close frame (the web's `wasClean`)."""


class Hooks:
    """What an application does with its peers. Every method is optional and may be `async`.

    The hooks of one peer run one at a time and in order: `open` ends before the first `message`, `close` is the
    last and runs exactly once. They run on the event loop, so a sync hook must not block.
    """

    def upgrade(self, request: Request) -> UpgradeAnswer | Awaitable[UpgradeAnswer]:
        """Accept the handshake (None, `Upgrade` or a dict of its fields) or refuse it with a `Response`.

        Raising Starlette's `HTTPException` refuses too; any other exception is logged and answered with 500.
        """

    def open(self, peer: Peer) -> Awaitable[None] | None:
        """Called once the peer can be sent to."""

    def message(self, peer: Peer, message: Message) -> Awaitable[None] | None:
        """Called for each complete message, in order."""

    def close(self, peer: Peer, details: CloseDetails) -> Awaitable[None] | None:
        """Called once, when the peer has left `peers` and its topics; `publish` still reaches the others."""

    def error(self, peer: Peer, error: Exception) -> Awaitable[None] | None:
        """Called with what another hook raised. By default the peer is closed.

        With 1007 for an `InvalidMessage` and 4505 for a `LimitExceeded`, which are the client's doing and a line in the
        log; with 1011 for all else, which is logged with its traceback.
        """
        for kind, code, reason in _CLIENTS_DOING:
            if isinstance(error, kind):
                # Not the text of the error: that may repeat what was sent.
                logger.info("closed a peer from %s with %d: %s", peer.remote_address or "somewhere", code, reason)
                peer.close(code, reason)
                return None
        logger.error("a hook of peer %s failed", peer, exc_info=error)
        peer.close(CloseCode.INTERNAL_ERROR, "internal error")
        return None

    def drain(self, peer: Peer) -> Awaitable[None] | None:
        """Called when the outgoing queue is empty again after the connection had held it up."""

    def ping(self, peer: Peer, data: bytes) -> Awaitable[None] | None:
        """Called for a ping of the peer, which is answered already (RFC 6455 section 5.5.2)."""

    def pong(self, peer: Peer, data: bytes) -> Awaitable[None] | None:
        """Called for a pong that answers `peer.ping`, not for the heartbeat's."""


def define_hooks(**hooks: Hook) -> Hooks:
    """Make hooks of plain functions: `define_hooks(open=..., message=...)`.

    Raises:
        TypeError: a name is no hook, or a value cannot be called.
    """
    made = Hooks()
    for name, function in hooks.items():
        if name not in HOOK_NAMES:
            raise TypeError(f"there is no hook {name!r}: hooks are {', '.join(HOOK_NAMES)}")
        if not callable(function):
            raise TypeError(f"the hook {name!r} is a {type(function).__name__}, not a function")
        setattr(made, name, function)
    return made


HooksLike = Hooks | type[Hooks] | Mapping[str, Hook]
"""Whatever stands for hooks: a `Hooks` subclass, an instance of one, or a mapping of hook names to functions."""


def as_hooks(value: object) -> Hooks:
    """Take hooks in any of their forms.

    Raises:
        TypeError: it is none of them.
    """
    if isinstance(value, Hooks):
        return value
    if isinstance(value, type) and issubclass(value, Hooks):
        return value()
    if isinstance(value, Mapping):
        return define_hooks(**value)
    raise TypeError(f"{value!r} is no hooks: give a Hooks subclass, an instance of one, or define_hooks(...)")


@dataclass(frozen=True, slots=True)
class HookTable:
    """Hooks as a connection calls them: bound, and None where the application has nothing to do."""

    upgrade: Hook | None
    open: Hook | None
    message: Hook | None
    close: Hook | None
    error: Hook
    drain: Hook | None
    ping: Hook | None
    pong: Hook | None

    @classmethod
    def of(cls, hooks: Hooks) -> HookTable:
        written: dict[str, Any] = {name: _written(hooks, name) for name in HOOK_NAMES}
        return cls(**written)

    def then(self, other: HookTable) -> HookTable:
        """The hooks of both: each of ours runs to its end before the other's, which has the last word on `error`."""
        pairs = {name: _both(getattr(self, name), getattr(other, name)) for name in HOOK_NAMES[1:]}
        pairs["error"] = other.error
        return HookTable(upgrade=_both_upgrades(self.upgrade, other.upgrade), **pairs)


def _written(hooks: Hooks, name: str) -> Hook | None:
    """The bound hook, or None for one that the application left as it was."""
    hook: Hook = getattr(hooks, name)
    if name != "error" and getattr(hook, "__func__", None) is getattr(Hooks, name):
        return None
    return hook


def _both(first: Hook | None, second: Hook | None) -> Any:
    if first is None or second is None:
        return first or second

    def run(*args: Any) -> Any:
        waiting = first(*args)
        return _after(waiting, second, args) if isawaitable(waiting) else second(*args)

    return run


async def _after(waiting: Awaitable[Any], second: Hook, args: tuple[Any, ...]) -> None:
    await waiting
    again = second(*args)
    if isawaitable(again):
        await again


def _both_upgrades(first: Hook | None, second: Hook | None) -> Hook | None:
    if first is None or second is None:
        return first or second

    async def run(request: Request) -> Any:
        answers = []
        for hook in (first, second):
            answer = hook(request)
            answers.append(await answer if isawaitable(answer) else answer)
            if isinstance(answers[-1], Response):
                return answers[-1]
        return merge_answers(*answers)

    return run
