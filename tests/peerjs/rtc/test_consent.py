"""Row R8: a peer whose process is killed says nothing. Its silence is noticed, once the engine misses its consent."""

from __future__ import annotations

import asyncio
import sys

import pytest

from crosspeer.peerjs import Peer
from crosspeer.peerjs.rtc.choose import NAMES
from peers import Heard, own_broker

VICTIM = """
import asyncio, sys
from crosspeer.peerjs import Peer

async def main(engine, host, port):
    async with Peer(engine, host=host, port=int(port), config={"iceServers": []}, engine=engine):
        await asyncio.Event().wait()

asyncio.run(main(*sys.argv[1:]))
"""
PATIENCE = 55.0


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_a_killed_peer_is_noticed() -> None:
    async with (
        own_broker() as where,
        Peer("survivor", **where) as wrtc,
        Peer("too", **where, engine="aiortc") as aiortc,
    ):
        arguments = [where["host"], str(where["port"])]
        victims = [
            await asyncio.create_subprocess_exec(sys.executable, "-c", VICTIM, engine, *arguments) for engine in NAMES
        ]
        try:
            heard = []
            for peer, engine in ((wrtc, "wrtc"), (aiortc, "aiortc")):
                connection = await patiently(peer, engine)
                heard.append(Heard(connection, "close", "error", "ice_state_changed"))
            for victim in victims:
                victim.kill()
                await victim.wait()
            async with asyncio.timeout(PATIENCE):
                for each in heard:
                    while not each.of("close"):
                        await asyncio.sleep(0.1)
            assert [error.type for error in heard[0].of("error")] == ["negotiation-failed"]
        finally:
            for victim in victims:
                if victim.returncode is None:
                    victim.kill()
                    await victim.wait()


async def patiently(peer: Peer, id: str) -> object:
    """Connect to a peer whose process has just been started: offers wait for it at the broker."""
    while True:
        try:
            return await peer.connect(id)
        except Exception:
            await asyncio.sleep(0.1)
