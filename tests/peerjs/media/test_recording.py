"""Streams written to files, and read again by FFmpeg."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest

from crosspeer.peerjs import MediaError, MediaStream
from crosspeer.peerjs.media.writer import Writer
from crosspeer.peerjs.rtc.frames import AudioFrame, VideoFrame
from footage import film, is_pattern, pitch, take, tone
from peers import DEADLINE

if TYPE_CHECKING:
    from pathlib import Path


def both(fps: float = 15) -> MediaStream:
    return MediaStream.combine(MediaStream.test_pattern(160, 120, fps), MediaStream.from_samples(tone()))


@pytest.mark.parametrize("ending", ["mp4", "webm", "mkv"])
async def test_pictures_and_sound(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"call.{ending}"
    stream = both()
    async with stream.record(path) as recording:
        await take(stream.video(), 15)
    assert recording.path == str(path)
    stream.stop()
    with av.open(str(path)) as file:
        frames = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
    assert len(frames) >= 5
    assert {frame.shape for frame in frames} == {(120, 160, 3)}
    assert is_pattern(frames[-1])
    pieces = await take(MediaStream.from_file(path).audio(), 999)
    assert pitch(np.concatenate([piece.samples for piece in pieces])[4800:]) == pytest.approx(440, abs=10)


async def test_until_the_stream_ends(tmp_path: Path) -> None:
    stream = MediaStream.from_file(await film(tmp_path / "film.mp4", 0.6))
    async with asyncio.timeout(DEADLINE):
        await stream.record(tmp_path / "copy.mkv")
    copy = MediaStream.from_file(tmp_path / "copy.mkv")
    assert len(await take(copy.video(), 99)) == 9


async def test_sound_of_a_film(tmp_path: Path) -> None:
    stream = MediaStream.from_file(await film(tmp_path / "film.mp4", 0.6))
    async with asyncio.timeout(DEADLINE):
        await stream.record(tmp_path / "film.wav")
    with av.open(str(tmp_path / "film.wav")) as file:
        assert [each.type for each in file.streams] == ["audio"]
        assert file.streams.audio[0].codec_context.sample_rate == 48_000


async def test_a_reader_and_two_recordings_at_once(tmp_path: Path) -> None:
    stream = MediaStream.from_file(await film(tmp_path / "film.mp4", 0.6))
    async with asyncio.timeout(DEADLINE):
        frames, *_ = await asyncio.gather(
            take(stream.video(), 99), stream.record(tmp_path / "a.mp4")._finished(), _done(stream, tmp_path / "b.webm")
        )
    assert len(frames) == 9
    for name in ("a.mp4", "b.webm"):
        with av.open(str(tmp_path / name)) as file:
            assert len(list(file.decode(video=0))) == 9


async def test_stopping_writes_what_has_come(tmp_path: Path) -> None:
    stream = MediaStream.from_frames(itertools.repeat(np.zeros((16, 16, 3), np.uint8)), fps=500)
    recording = stream.record(tmp_path / "call.mkv")
    await take(stream.video(), 8)
    async with asyncio.timeout(DEADLINE):
        await recording.stop()
    stream.stop()
    with av.open(str(tmp_path / "call.mkv")) as file:
        assert len(list(file.decode(video=0))) >= 8


async def test_a_file_has_one_track_of_each_kind(tmp_path: Path) -> None:
    stream = MediaStream.combine(MediaStream.test_pattern(160, 120, 50), MediaStream.test_pattern(32, 32, 50))
    async with stream.record(tmp_path / "call.mp4"):
        await take(stream.video(), 5)
    stream.stop()
    with av.open(str(tmp_path / "call.mp4")) as file:
        assert [(each.type, each.codec_context.width) for each in file.streams] == [("video", 160)]


async def _done(stream: MediaStream, path: Path) -> None:
    await stream.record(path)


@pytest.mark.parametrize(
    ("name", "stream", "reason"),
    [
        ("call.nonsense", MediaStream.silence, "cannot be written"),
        ("nowhere/call.mp4", MediaStream.silence, "cannot be written: No such file"),
        ("call.wav", MediaStream.test_pattern, "such a file does not hold video"),
    ],
)
async def test_what_cannot_be_written(tmp_path: Path, name: str, stream: Any, reason: str) -> None:
    with pytest.raises(MediaError, match=reason):
        stream().record(tmp_path / name)


async def test_a_track_that_fails_ends_its_part(tmp_path: Path) -> None:
    good = itertools.repeat(np.zeros((16, 16, 3), np.uint8), 5)
    recording = MediaStream.from_frames(itertools.chain(good, [None]), fps=50).record(tmp_path / "call.mp4")
    with pytest.raises(MediaError, match="the video track failed"):
        async with asyncio.timeout(DEADLINE):
            await recording
    with av.open(str(tmp_path / "call.mp4")) as file:
        assert len(list(file.decode(video=0))) == 5


async def test_nothing_came(tmp_path: Path) -> None:
    recording = MediaStream.from_frames(_never()).record(tmp_path / "call.mp4")
    async with asyncio.timeout(DEADLINE):
        await recording.stop()
        await recording.stop()


async def _never() -> Any:
    await asyncio.Event().wait()
    yield


class TestWriter:
    """Frames as networks bring them: late, far apart, in other sizes."""

    def read(self, path: Path) -> tuple[list[Any], float]:
        with av.open(str(path)) as file:
            frames = [(frame.width, frame.height, float(frame.time)) for frame in file.decode(video=0)]
            assert file.duration is not None
            return frames, file.duration / av.time_base

    def test_sizes_change_in_the_middle(self, tmp_path: Path) -> None:
        writer = Writer(str(tmp_path / "a.mp4"), ["video"])
        for n, (width, height) in enumerate([(101, 51), (320, 240), (1, 1), (101, 51)]):
            writer.write(VideoFrame(np.zeros((height, width, 3), np.uint8), n / 10), n / 10)
        writer.close()
        assert [frame[:2] for frame in self.read(tmp_path / "a.mp4")[0]] == [(100, 50)] * 4

    def test_times_that_cannot_be_are_not_believed(self, tmp_path: Path) -> None:
        writer = Writer(str(tmp_path / "a.mkv"), ["video", "audio"])
        black, silent = np.zeros((16, 16, 3), np.uint8), np.zeros((960, 1), np.int16)
        for n, time in enumerate([0.0, 1e6, 1e6, -1e6, 1e9, 5.0]):
            writer.write(VideoFrame(black, time), n / 10)
            writer.write(AudioFrame(silent, 48_000, time), n / 10)
        writer.close()
        frames, duration = self.read(tmp_path / "a.mkv")
        times = [frame[2] for frame in frames]
        assert times == sorted(set(times))
        assert times[-1] < 2
        assert duration < 2

    def test_silence_is_put_where_no_sound_came(self, tmp_path: Path) -> None:
        writer = Writer(str(tmp_path / "a.wav"), ["audio"])
        for at in (0.0, 3.0):
            writer.write(AudioFrame(np.full((480, 1), 9000, np.int16), 48_000, at), at)
        writer.close()
        with av.open(str(tmp_path / "a.wav")) as file:
            samples = np.concatenate([frame.to_ndarray() for frame in file.decode(audio=0)], axis=1)
        assert samples.shape[1] / 2 / 48_000 == pytest.approx(3.01, abs=0.05)
        assert np.count_nonzero(samples) == 2 * 2 * 480

    def test_sound_waits_for_the_first_picture(self, tmp_path: Path) -> None:
        writer = Writer(str(tmp_path / "a.mp4"), ["audio", "video"])
        for n in range(50):
            writer.write(AudioFrame(np.full((960, 1), 9000, np.int16), 48_000, n / 50), n / 50)
        writer.write(VideoFrame(np.zeros((16, 16, 3), np.uint8), 0.0), 1.0)
        writer.close()
        with av.open(str(tmp_path / "a.mp4")) as file:
            assert sum(frame.samples for frame in file.decode(audio=0)) >= 48_000

    def test_pictures_that_never_come(self, tmp_path: Path) -> None:
        writer = Writer(str(tmp_path / "a.mp4"), ["audio", "video"])
        for n in range(12):
            writer.write(AudioFrame(np.zeros((960, 1), np.int16), 48_000, float(n)), float(n))
        writer.write(VideoFrame(np.zeros((16, 16, 3), np.uint8), 0.0), 13.0)
        writer.close()
        with av.open(str(tmp_path / "a.mp4")) as file:
            assert [each.type for each in file.streams] == ["audio"]
