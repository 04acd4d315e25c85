"""F20: the soak runs, measures and judges. (`make soak` is the real one, of 20 minutes.)"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from faults.soak import LISTENERS, ROOMS, SAMPLES, Sample, growth
from hostile.stage import ENGINES, needed

linux = pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")


def flat(**grown: float) -> list[Sample]:
    """Samples of an hour in which something grows from nothing to so much."""
    counts = {"memory": 0.0, "descriptors": 0.0, "tasks": 0.0} | grown
    return [
        Sample(
            3600 * number / SAMPLES,
            40 + counts["memory"] * number / SAMPLES,
            int(100 + counts["descriptors"] * number / SAMPLES),
            int(3 + counts["tasks"] * number / SAMPLES),
        )
        for number in range(SAMPLES)
    ]


def test_what_grows_is_found() -> None:
    assert growth(flat()) == []
    assert growth(flat(memory=2, descriptors=5)) == []
    for name, amount in (("memory", 20.0), ("descriptors", 100.0), ("tasks", 100.0)):
        (line,) = growth(flat(**{name: amount}))
        assert line.startswith(f"{name} grew from ")


@linux
@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("engine", ENGINES)
async def test_the_command_soaks_for_twenty_seconds(engine: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(Path(__file__).with_name("soak.py")), "--seconds", "20", "--engine", needed(engine)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(100):
            output, _ = await process.communicate()
        said = output.decode()
        assert "none lost" in said
        assert "MiB an hour" in said
        assert process.returncode == 0, said
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert ROOMS * LISTENERS == 100
