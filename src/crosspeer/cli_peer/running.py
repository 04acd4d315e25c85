"""A command that lives in an event loop: from its arguments to its exit status."""

from __future__ import annotations

import asyncio
import shlex
import signal
import sys
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, NoReturn

import click

from crosspeer.core.errors import MissingExtra
from crosspeer.peerjs import Peer, PeerError
from crosspeer.server.logs import configure_logging

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from crosspeer.cli_peer.options import Broker


class Failed(Exception):
    """The command cannot do what it was asked for. The text says why."""


def run(broker: Broker, work: Coroutine[Any, Any, None], *, stopped: str = "") -> None:
    """Do the work of a command, and end the process if that fails: 1, or 128 and the number of the signal.

    Args:
        stopped: what to say when a signal ends it.
    """
    configure_logging("debug" if broker.debug >= 3 else "warning" if broker.debug == 2 else "error")
    try:
        asyncio.run(_until_terminated(work))
    except (KeyboardInterrupt, _Terminated) as signalled:
        if stopped:
            say(stopped, err=True)
        sys.exit(128 + (signal.SIGTERM if isinstance(signalled, _Terminated) else signal.SIGINT))
    except PeerError as error:
        fail(broker.explain(error))
    except (Failed, MissingExtra, ValueError) as error:
        fail(str(error))


@asynccontextmanager
async def peer_at(broker: Broker, id: str | None = None, **options: Any) -> AsyncIterator[Peer]:
    """A peer that its broker knows, and that comes back when it loses it.

    Raises:
        PeerError: the broker cannot be reached at once, or refuses.
    """
    peer = Peer(id, **broker.arguments(), **{"backoff": True, **options})
    try:
        await _opened(peer)
        yield peer
    finally:
        await peer.destroy()


def tell_command(peer: Peer, broker: Broker, command: str) -> None:
    """Say who we are, and what the other side types; `{id}` is the place of our id in it."""
    say(f"This is {peer.id}. On the other side, type")
    say(f"    crosspeer {command.format(id=shlex.quote(peer.id or ''))}{broker.flags()}")


def say(text: str, *, err: bool = False) -> None:
    # A reader who has gone, such as `head`, ends nothing.
    with suppress(OSError):
        click.echo(text, err=err)


def fail(text: str) -> NoReturn:
    """End the process: it cannot do what it was asked for."""
    say(f"crosspeer: {text}", err=True)
    sys.exit(1)


async def _opened(peer: Peer) -> None:
    """Wait for the broker, but not for a second attempt: at the beginning it is the command line that is wrong."""
    trouble: asyncio.Future[PeerError] = asyncio.get_running_loop().create_future()

    def failed(error: PeerError) -> None:
        if not trouble.done():
            trouble.set_result(error)

    peer.once("error", failed)

    async def wait() -> None:
        await peer

    opening = asyncio.ensure_future(wait())
    try:
        either: set[asyncio.Future[Any]] = {opening, trouble}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if trouble.done():
            raise trouble.result()
        opening.result()
    finally:
        trouble.cancel()
        opening.cancel()
        await asyncio.wait({opening})


async def _until_terminated(work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.ensure_future(work)
    is_terminated = False

    def terminate() -> None:
        nonlocal is_terminated
        is_terminated = True
        task.cancel()

    # Windows has no such signals, and threads get none.
    with suppress(NotImplementedError, RuntimeError):
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminate)
    try:
        await task
    except asyncio.CancelledError:
        if is_terminated:
            raise _Terminated from None
        raise


class _Terminated(Exception):
    """SIGTERM came."""
