"""The port's tracks, on each engine: offers of calls that nobody wrote, and frames that nobody reads."""

from __future__ import annotations

import asyncio
import itertools
import random
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from crosspeer.peerjs import MediaStream
from crosspeer.peerjs.rtc.choose import NAMES, choose_engine
from crosspeer.peerjs.rtc.config import IceConfig
from crosspeer.peerjs.rtc.port import RTCError
from crosspeer.wire.sdp import check_description, check_tracks
from mutations import mutate
from peers import DEADLINE, until

if TYPE_CHECKING:
    from crosspeer.peerjs.rtc.frames import Feed
    from crosspeer.peerjs.rtc.port import Channel, Engine, Link


class End:
    """One end of a link, and the tracks that it gets."""

    def __init__(self, engine: Engine, *streams: MediaStream) -> None:
        self.candidates: list[dict[str, Any]] = []
        self.tracks: list[Feed] = []
        self.is_open = False
        self.link: Link = engine.link(IceConfig(), self)
        for stream in streams:
            for track in stream.tracks:
                self.link.add_track(track)

    def candidate_found(self, candidate: dict[str, Any]) -> None:
        self.candidates.append(candidate)

    def channel_opened(self, channel: Channel) -> None:
        raise AssertionError("nobody opens one")

    def track_added(self, track: Feed) -> None:
        self.tracks.append(track)

    def link_opened(self) -> None:
        self.is_open = True

    def ice_state_changed(self, state: str) -> None:
        """Not of interest."""


@pytest.fixture(params=NAMES)
def engine(request: pytest.FixtureRequest) -> Engine:
    return choose_engine(request.param)


def pattern() -> MediaStream:
    return MediaStream.test_pattern(64, 48, fps=50)


async def connect(here: End, there: End) -> None:
    async with asyncio.timeout(DEADLINE):
        await here.link.accept(await there.link.answer(await here.link.offer()))
        while not (here.is_open and there.is_open):
            for giver, taker in ((here, there), (there, here)):
                while giver.candidates:
                    await taker.link.add_candidate(giver.candidates.pop())
            await asyncio.sleep(0.005)


async def test_frames_that_nobody_reads_do_not_pile_up(engine: Engine) -> None:
    """Whoever reads late sees what is now, not what was."""
    brighter = (np.full((48, 64, 3), min(level, 200), np.uint8) for level in itertools.count(step=3))
    stream = MediaStream.from_frames(brighter, fps=50)
    here, there = End(engine, stream), End(engine)
    try:
        await connect(here, there)
        (track,) = there.tracks
        assert track.kind == "video"
        async with asyncio.timeout(DEADLINE), aclosing(stream.video()) as sent:
            async for frame in sent:
                if frame.image[0, 0, 0] == 200:
                    break
        async with asyncio.timeout(DEADLINE), aclosing(track.frames()) as received:
            levels = [int((await anext(received)).image.mean()) for _ in range(4)]
        # The first few may have waited.
        assert levels[-1] > 150, levels
    finally:
        for end in (here, there):
            await end.link.close()
    stream.stop()


async def test_closing_ends_the_tracks(engine: Engine) -> None:
    here, there = End(engine, pattern()), End(engine)
    await connect(here, there)
    frames = there.tracks[0].frames()
    async with asyncio.timeout(DEADLINE):
        await anext(frames)
        rest = asyncio.ensure_future(_all(frames))
        await asyncio.sleep(0)
        await there.link.close()
        await here.link.close()
        await rest


async def _all(frames: Any) -> int:
    return len([frame async for frame in frames])


async def test_a_link_that_never_came_about_leaves_nothing(engine: Engine) -> None:
    here, there = End(engine, pattern()), End(engine)
    async with asyncio.timeout(DEADLINE):
        await there.link.answer(await here.link.offer())
        assert len(there.tracks) == 1
        await here.link.close()
        await there.link.close()
    await until(lambda: len(asyncio.all_tasks()) == 1)
    with pytest.raises(RTCError):
        here.link.add_track(pattern().tracks[0])


async def test_mutations_of_a_real_offer(engine: Engine) -> None:
    """Row R3: refused, or answered; soon, and with nothing left behind."""
    source = End(engine, pattern(), MediaStream.silence())
    offer = await source.link.offer()
    await source.link.close()
    chance = random.Random(7)
    outcomes = {"refused": 0, "answered": 0}
    for _ in range(40):
        changed = mutate(offer, chance)
        there = End(engine, pattern())
        try:
            check_description(changed)
            check_tracks(changed, "media")
            async with asyncio.timeout(DEADLINE):
                await there.link.answer(changed)
            outcomes["answered"] += 1
        except (RTCError, ValueError):
            outcomes["refused"] += 1
        finally:
            await there.link.close()
    assert min(outcomes.values()) > 0, outcomes
    await until(lambda: len(asyncio.all_tasks()) == 1)
