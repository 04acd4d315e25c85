"""Streams without a call: where frames come from, how they are paced, and who gets them."""

from __future__ import annotations

import asyncio
import itertools
import sys
import threading
import time
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from crosspeer import MissingExtra
from crosspeer.peerjs import MediaError, MediaStream
from crosspeer.peerjs.media.track import WAITING
from footage import film, has_colour, hears, is_pattern, pitch, sees, take, tone
from peers import DEADLINE, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


def picture(*colour: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.full((6, 8, 3), colour, np.uint8)


class TestSources:
    async def test_the_pattern(self) -> None:
        frames = await take(MediaStream.test_pattern(333, 111, fps=100).video(), 3)
        assert [frame.image.shape for frame in frames] == [(111, 333, 3)] * 3
        assert all(is_pattern(frame.image) for frame in frames)
        assert (frames[0].image[-1] != frames[2].image[-1]).any(), "the square moves"
        assert frames[0].time < frames[1].time < frames[2].time

    async def test_silence(self) -> None:
        frames = await take(MediaStream.silence().audio(), 3)
        assert [(frame.samples.shape, frame.sample_rate) for frame in frames] == [((960, 1), 48_000)] * 3
        assert not any(frame.samples.any() for frame in frames)
        assert [frame.time for frame in frames] == pytest.approx([0, 0.02, 0.04])

    async def test_pictures_of_an_iterable_are_made_in_a_thread(self) -> None:
        threads: set[int] = set()

        def make() -> Any:
            for n in range(3):
                threads.add(threading.get_ident())
                yield picture(n, n, n)

        frames = await take(MediaStream.from_frames(make(), fps=1000).video(), 9)
        assert [frame.image[0, 0, 0] for frame in frames] == [0, 1, 2]
        assert len(threads) == 1
        assert threading.get_ident() not in threads

    async def test_one_that_never_goes_on_does_not_keep_the_program(self) -> None:
        script = """
import asyncio, queue
from crosspeer.peerjs import MediaStream

async def main():
    stream = MediaStream.from_frames(iter(queue.Queue().get, None))
    reading = asyncio.ensure_future(anext(stream.video()))
    await asyncio.sleep(0.1)

asyncio.run(main())
"""
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", script)
        try:
            async with asyncio.timeout(DEADLINE):
                assert await process.wait() == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def test_pictures_of_an_async_iterable(self) -> None:
        closed: list[bool] = []

        async def make() -> AsyncIterator[Any]:
            try:
                for n in itertools.count():
                    yield picture(n, 0, 0)
            finally:
                closed.append(True)

        stream = MediaStream.from_frames(make(), fps=1000)
        assert [frame.image[0, 0, 0] for frame in await take(stream.video(), 3)] == [0, 1, 2]
        stream.stop()
        await until(lambda: closed == [True])

    async def test_they_keep_their_pace(self) -> None:
        began = time.monotonic()
        frames = await take(MediaStream.from_frames(itertools.repeat(picture(1, 2, 3)), fps=50).video(), 6)
        assert time.monotonic() - began > 0.09
        assert all(later.time - frame.time > 0.019 for frame, later in itertools.pairwise(frames))

    async def test_sound_of_any_rate_becomes_ours(self) -> None:
        stream = MediaStream.from_samples(tone(1000, 8000), 8000)
        frames = await take(stream.audio(), 20)
        assert {frame.sample_rate for frame in frames} == {48_000}
        assert {frame.samples.shape for frame in frames} == {(960, 1)}
        assert pitch(np.concatenate([frame.samples for frame in frames])) == pytest.approx(1000, abs=10)

    async def test_flat_samples_and_two_channels(self) -> None:
        flat = (piece[:, 0] for piece in tone())
        assert (await take(MediaStream.from_samples(flat).audio(), 1))[0].samples.shape == (960, 1)
        assert (await take(MediaStream.from_samples(tone(channels=2)).audio(), 1))[0].samples.shape == (960, 2)

    @pytest.mark.parametrize(
        ("image", "reason"),
        [
            (np.zeros((4, 4), np.uint8), r"uint8 of the shape \(height, width, 3\), not uint8 of \(4, 4\)"),
            (np.zeros((4, 4, 4), np.uint8), "not uint8 of"),
            (np.zeros((4, 4, 3), float), "not float64 of"),
            (np.zeros((0, 4, 3), np.uint8), "1 to 8192 pixels on each side, not 4 x 0"),
            ("no picture", "uint8 of the shape"),
        ],
        ids=str,
    )
    async def test_what_is_no_picture(self, image: Any, reason: str) -> None:
        with pytest.raises(MediaError, match=reason):
            await take(MediaStream.from_frames([image]).video(), 1)

    @pytest.mark.parametrize("piece", [np.zeros(9), np.zeros((9, 3), np.int16), np.zeros((1, 1, 1), np.int16), "x"])
    async def test_what_is_no_sound(self, piece: Any) -> None:
        with pytest.raises(MediaError, match=r"samples are int16 of the shape"):
            await take(MediaStream.from_samples([piece]).audio(), 1)

    def test_what_makes_no_sense(self) -> None:
        with pytest.raises(ValueError, match="fps is a number above 0"):
            MediaStream.from_frames([], fps=0)
        with pytest.raises(ValueError, match="1 to 8192 pixels"):
            MediaStream.test_pattern(0, 10)
        with pytest.raises(ValueError, match="has a track"):
            MediaStream([])
        with pytest.raises(MediaError, match="no audio"):
            MediaStream.test_pattern().audio()
        with pytest.raises(MediaError, match="no video"):
            MediaStream.silence().video()


class TestReaders:
    async def test_each_gets_every_frame(self) -> None:
        images = (picture(n, 0, 0) for n in range(5))
        stream = MediaStream.from_frames(images, fps=50)
        taken = await asyncio.gather(take(stream.video(), 9), take(stream.video(), 9))
        assert [[frame.image[0, 0, 0] for frame in frames] for frames in taken] == [[0, 1, 2, 3, 4]] * 2
        assert stream.ended

    async def test_one_who_is_slow_misses_the_oldest(self) -> None:
        images = (picture(n, 0, 0) for n in range(20))
        stream = MediaStream.from_frames(images, fps=1000)
        frames = stream.video()
        assert (await anext(frames)).image[0, 0, 0] == 0
        async with asyncio.timeout(DEADLINE):
            await stream.wait_ended()
        rest = await take(frames, 20)
        assert [frame.image[0, 0, 0] for frame in rest] == list(range(20))[-WAITING["video"] :]

    async def test_nobody_reads_and_it_stands_still(self) -> None:
        made: list[int] = []

        async def make() -> AsyncIterator[Any]:
            for n in itertools.count():
                made.append(n)
                yield picture(n, 0, 0)

        stream = MediaStream.from_frames(make(), fps=200)
        first = await take(stream.video(), 3)
        await until(lambda: not tasks_of("_run"))
        count = len(made)
        again = await take(stream.video(), 2)
        assert [frame.image[0, 0, 0] for frame in first] == [0, 1, 2]
        assert again[0].image[0, 0, 0] == count
        assert again[0].time - first[-1].time < 1, "its clock stood still too"
        stream.stop()

    async def test_stopping_ends_all_readers(self) -> None:
        stream = MediaStream.combine(MediaStream.test_pattern(8, 8), MediaStream.silence())
        reading = [asyncio.ensure_future(take(frames, 10_000)) for frames in (stream.video(), stream.audio())]
        await take(stream.video(), 1)
        assert not stream.ended
        stream.stop()
        stream.stop()
        async with asyncio.timeout(DEADLINE):
            await asyncio.gather(*reading)
        assert stream.ended
        assert await take(stream.video(), 1) == []
        await until(lambda: not tasks_of("_run"))

    def test_one_that_never_began_is_stopped_without_a_loop(self) -> None:
        stream = MediaStream.test_pattern()
        stream.stop()
        assert stream.ended
        assert repr(stream) == "<MediaStream of video, ended>"


def tasks_of(name: str) -> list[Any]:
    return [task for task in asyncio.all_tasks() if getattr(task.get_coro(), "__name__", "") == name]


class TestFiles:
    async def test_a_film(self, tmp_path: Path) -> None:
        stream = MediaStream.from_file(await film(tmp_path / "film.mp4"))
        assert repr(stream) == "<MediaStream of video and audio>"
        frames, pieces = await asyncio.gather(take(stream.video(), 99), take(stream.audio(), 999))
        assert 10 <= len(frames) <= 15
        assert all(is_pattern(frame.image) for frame in frames)
        assert {frame.image.shape for frame in frames} == {(120, 160, 3)}
        sound = np.concatenate([piece.samples for piece in pieces])
        assert sound.shape[1] == 2
        assert 0.8 < len(sound) / 48_000 < 1.3
        assert pitch(sound[9600:38_400]) == pytest.approx(440, abs=10)
        assert abs(frames[-1].time - pieces[-1].time) < 0.3
        assert stream.ended

    async def test_it_is_played_at_its_pace(self, tmp_path: Path) -> None:
        stream = MediaStream.from_file(await film(tmp_path / "film.mp4", 0.6))
        began = time.monotonic()
        await asyncio.gather(take(stream.video(), 99), take(stream.audio(), 999))
        assert time.monotonic() - began > 0.4

    async def test_it_begins_again(self, tmp_path: Path) -> None:
        stream = MediaStream.from_file(await film(tmp_path / "film.webm", 0.3), loop=True)
        frames, pieces = await asyncio.gather(take(stream.video(), 14), take(stream.audio(), 45))
        for track in (frames, pieces):
            assert all(frame.time < later.time for frame, later in itertools.pairwise(track))
        assert all(is_pattern(frame.image) for frame in frames)
        assert not stream.ended
        stream.stop()

    async def test_sound_alone(self, tmp_path: Path) -> None:
        recording = MediaStream.from_samples(itertools.islice(tone(), 60)).record(tmp_path / "tone.wav")
        async with asyncio.timeout(DEADLINE):
            await recording
        stream = MediaStream.from_file(tmp_path / "tone.wav")
        assert not stream.has_video
        await hears(stream)

    @pytest.mark.parametrize(
        ("name", "content", "reason"),
        [
            ("missing.mp4", None, "missing.mp4 cannot be opened as media: No such file"),
            ("empty.mp4", b"", "empty.mp4 cannot be opened as media"),
            ("notes.mp4", b"Dear diary, " * 1000, "notes.mp4 cannot be opened as media: Invalid data"),
        ],
    )
    async def test_what_is_no_media(self, tmp_path: Path, name: str, content: bytes | None, reason: str) -> None:
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(MediaError, match=reason):
            await take(MediaStream.from_file(tmp_path / name).video(), 1)

    async def test_one_that_breaks_off(self, tmp_path: Path) -> None:
        whole = (await film(tmp_path / "film.webm")).read_bytes()
        (tmp_path / "half.webm").write_bytes(whole[: len(whole) // 2])
        frames = await take(MediaStream.from_file(tmp_path / "half.webm").video(), 99)
        assert 0 < len(frames) < 15

    async def test_one_that_is_broken_in_the_middle(self, tmp_path: Path) -> None:
        """What can be decoded is, and nothing but a `MediaError` comes of the rest."""
        whole = bytearray((await film(tmp_path / "film.webm")).read_bytes())
        for place in range(len(whole) // 3, len(whole), 97):
            whole[place] ^= 0xFF
        (tmp_path / "bad.webm").write_bytes(whole)
        with suppress(MediaError):
            await take(MediaStream.from_file(tmp_path / "bad.webm").video(), 99)

    def test_a_playlist_reaches_no_network(self, tmp_path: Path) -> None:
        (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/film.ts\n#EXT-X-ENDLIST\n")
        with pytest.raises(MediaError):
            MediaStream.from_file(tmp_path / "list.m3u8")


class TestDevices:
    """No camera is here; FFmpeg's virtual ones go the same way."""

    async def test_a_camera(self) -> None:
        stream = MediaStream.from_camera("color=red:size=64x48:rate=20", format="lavfi")
        image = await sees(stream, has_colour(254, 0, 0))
        assert image.shape == (48, 64, 3)
        stream.stop()

    async def test_a_microphone(self) -> None:
        stream = MediaStream.from_microphone("sine=frequency=440:sample_rate=44100", format="lavfi")
        frames = await take(stream.audio(), 25)
        assert pitch(np.concatenate([frame.samples for frame in frames]) * 8) == pytest.approx(440, abs=10)
        stream.stop()

    @pytest.mark.parametrize(
        ("make", "device", "reason"),
        [
            (MediaStream.from_camera, "/dev/video99", "no camera: /dev/video99 cannot be opened as media"),
            (MediaStream.from_microphone, "none-such", "no microphone: none-such cannot be opened as media"),
        ],
    )
    @pytest.mark.skipif(sys.platform != "linux", reason="the names are Linux's")
    def test_there_is_none(self, make: Any, device: str, reason: str) -> None:
        with pytest.raises(MediaError, match=reason):
            make(device)

    def test_one_that_has_to_be_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "platform", "win32")
        with pytest.raises(MediaError, match="name the camera: there is no usual one on win32"):
            MediaStream.from_camera()

    def test_a_microphone_is_no_camera(self) -> None:
        with pytest.raises(MediaError, match="is no camera: it has no video"):
            MediaStream.from_camera("sine", format="lavfi")


@pytest.mark.parametrize("package", ["av", "numpy"])
def test_a_missing_package_is_named_with_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    for name in [name for name in sys.modules if name.startswith("crosspeer.peerjs.media")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    import crosspeer.peerjs

    with pytest.raises(MissingExtra, match=rf"{package} is not installed: pip install 'crosspeer\[media\]'"):
        crosspeer.peerjs.MediaStream  # noqa: B018
    assert crosspeer.peerjs.MediaConnection


async def test_frames_may_be_left_in_the_middle() -> None:
    stream = MediaStream.test_pattern(8, 8, fps=100)
    async with aclosing(stream.video()) as frames:
        await anext(frames)
    await until(lambda: not tasks_of("_run"))
