"""`crosspeer call`: a film, a camera or a test pattern to another peer, and what it sends into a file."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from crosspeer.cli_peer.options import Broker, PeerId, peer_options
from crosspeer.cli_peer.running import Failed, fail, peer_at, run, say, tell_command
from crosspeer.peerjs import MediaError, PeerError
from crosspeer.peerjs.transfer.names import printable

if TYPE_CHECKING:
    from crosspeer.peerjs import MediaConnection, MediaStream, Peer

_FIRST = "first"
"""A camera that was asked for without a name."""


@click.command("call")
@click.argument("peer_id", required=False, type=PeerId())
@click.option("--video", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Film to send, or sound.")
@click.option("--loop", is_flag=True, help="Begin the film again at its end.")
@click.option("--camera", is_flag=False, flag_value=_FIRST, metavar="[DEVICE]", help="Camera to send.")
@click.option("--pattern", is_flag=True, help="Send a test pattern.")
@click.option("--record", type=click.Path(dir_okay=False, path_type=Path), help="File for what comes: .mp4, .webm, ...")
@click.option("--id", type=PeerId(), metavar="ID", help="Our own id; without one the broker gives it.")
@peer_options
def call(peer_id: str | None, record: Path | None, id: str | None, broker: Broker, **sent: Any) -> None:
    """Call another peer, or wait for one call without PEER_ID.

    The other side may be a web page. The call ends with the film, when the other side hangs up, or by Ctrl+C.

    \b
    Examples:
      crosspeer call --id ada --record visit.mp4
      crosspeer call ada --video film.mp4
    """
    chosen = [sent[name] for name in ("video", "camera", "pattern") if sent[name]]
    if len(chosen) > 1:
        raise click.UsageError("--video, --camera and --pattern exclude each other")
    if peer_id is not None and not chosen:
        raise click.UsageError("there is nothing to send: give --video FILE, --camera, or --pattern")
    if record is not None and record.exists():
        fail(f"{record} is there already")
    run(broker, _run(broker, peer_id, id, sent, record), stopped="Hung up.")


async def _run(broker: Broker, peer_id: str | None, id: str | None, sent: dict[str, Any], record: Path | None) -> None:
    try:
        stream = _stream(**sent)
        async with peer_at(broker, id) as peer:
            if peer_id == peer.id:
                raise Failed("this is our own id")
            if peer_id is None:
                tell_command(peer, broker, "call {id} --video FILE")
            answered = await (_wait(peer, stream) if peer_id is None else _dial(peer, peer_id, stream))
            await _talk(answered, stream, record)
    except MediaError as error:
        raise Failed(str(error)) from None


def _stream(video: Path | None, loop: bool, camera: str | None, pattern: bool) -> MediaStream | None:
    from crosspeer.peerjs import MediaStream

    if video is not None:
        return MediaStream.from_file(video, loop=loop)
    if camera is not None:
        return MediaStream.from_camera(None if camera == _FIRST else camera)
    return MediaStream.test_pattern() if pattern else None


async def _dial(peer: Peer, other: str, stream: MediaStream | None) -> MediaConnection:
    assert stream is not None
    say(f"Calling {printable(other)}. Ctrl+C hangs up.")
    return await peer.call(other, stream)


async def _wait(peer: Peer, stream: MediaStream | None) -> MediaConnection:
    async for ringing in peer.incoming_calls():
        try:
            return await ringing.answer(stream)
        except PeerError as error:
            say(f"{printable(ringing.peer)} could not be answered: {error}", err=True)
    raise Failed("this peer is not called any more")


async def _talk(call: MediaConnection, stream: MediaStream | None, record: Path | None) -> None:
    """Until the film is over, or the other side hangs up."""
    other = printable(call.peer)
    say(f"In a call with {other}.")
    call.on("error", lambda error: say(f"{error}", err=True))
    async with AsyncExitStack() as stack:
        stack.push_async_callback(_hang_up, call)
        if record is not None:
            # What has come is kept, however the call ends.
            remote = await call.stream()
            await stack.enter_async_context(remote.record(record))
            say(f"Recording to {record}.")
        over = asyncio.ensure_future(call.wait_closed())
        ends = {over} if stream is None else {over, asyncio.ensure_future(stream.wait_ended())}
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            say(f"{other} has hung up." if over.done() else "That was all.")
        finally:
            for end in ends:
                end.cancel()
    if call.error is not None:
        raise call.error


async def _hang_up(call: MediaConnection) -> None:
    await call.close()
