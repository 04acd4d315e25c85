#!/usr/bin/env python3
"""Measure data connections between two Python peers beside plain WebRTC channels, and write PEERS.md. See README.md."""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from harness import machine
from harness.paths import BENCH, ROOT

PAGE = BENCH / "PEERS.md"
WARM_UP, SECONDS = 1.0, 2.0
CONNECTS, CYCLES, FIRST_CYCLES = 30, 500, 250
HIGH, LOW = 256 * 1024, 64 * 1024
"""Bytes in an engine's queue between which the plain channels are kept: what the client does too."""

BULK = bytes(1024 * 1024)
PIECE = bytes(16 * 1024)
"""What a plain channel sends for bulk; PeerJS cuts into as much."""
SMALL = {
    "id": 123456, "x": 1.25, "y": -2.5, "name": "sensor-17-temperature-a", "ok": True,
    "tags": ["a", "b"], "t": 1732195200.123, "unit": "celsius",
}  # fmt: skip
"""Exactly 100 bytes of BinaryPack."""
SMALL_SIZE = 100

BROKER = """
import asyncio, sys
from crosspeer import Server
from crosspeer.peerjs import BrokerLimits, PeerServer

async def main():
    # Five hundred connections in a row are no honest client.
    much = 1_000_000
    limits = BrokerLimits(relay_rate=much, relay_burst=much, strangers_per_minute=much, strangers_burst=much)
    async with Server(PeerServer(limits=limits), port=0) as server:
        print(server.url, flush=True)
        await asyncio.to_thread(sys.stdin.read)

asyncio.run(main())
"""

Send = Callable[[], Awaitable[Any]]


class Meter:
    """Counts what arrives."""

    def __init__(self) -> None:
        self.count = 0
        self._target = -1
        self._done = asyncio.Event()

    def arrived(self, *_: object) -> None:
        self.count += 1
        if self.count == self._target:
            self._done.set()

    async def wait_for(self, target: int) -> None:
        self._target = target
        self._done.clear()
        if self.count < target:
            await self._done.wait()


async def rate(send: Send, meter: Meter) -> tuple[float, float]:
    """Messages a second, from the first that is sent to the last that has arrived; and the seconds of CPU of each.

    That is the time of all threads of the process, so of both ends.
    """
    sent = 0
    for seconds in (WARM_UP, SECONDS):
        before, started, cpu = sent, time.perf_counter(), time.process_time()
        while time.perf_counter() - started < seconds:
            for _ in range(16):
                await send()
            sent += 16
        async with asyncio.timeout(60):
            await meter.wait_for(sent)
        count = sent - before
        result = count / (time.perf_counter() - started), (time.process_time() - cpu) / count
    return result


# Two peers and their data connection.


@asynccontextmanager
async def two_peers(url: str, engine: str) -> AsyncIterator[tuple[Any, Any]]:
    from urllib.parse import urlsplit

    from crosspeer.peerjs import Peer

    where = urlsplit(url)
    options = {"host": where.hostname, "port": where.port, "config": {"iceServers": []}, "engine": engine}
    async with Peer("alice", **options) as alice, Peer("bob", **options) as bob:
        yield alice, bob


async def connection(url: str, engine: str, value: Any) -> tuple[float, float]:
    meter = Meter()
    async with two_peers(url, engine) as (alice, bob):
        bob.on("connection", lambda incoming: incoming.on("data", meter.arrived))
        outgoing = await alice.connect("bob", reliable=True)
        return await rate(lambda: outgoing.send(value), meter)


async def connect_times(url: str, engine: str) -> list[float]:
    """Milliseconds from `connect` to open at the caller."""
    times = []
    async with two_peers(url, engine) as (alice, _):
        for _ in range(CONNECTS):
            started = time.perf_counter()
            made = await alice.connect("bob")
            times.append((time.perf_counter() - started) * 1000)
            await made.close()
    return times


async def cycles(url: str, engine: str) -> list[float]:
    """Resident MB after the first cycles, and after all."""
    sizes = []
    async with two_peers(url, engine) as (alice, bob):
        closed = Meter()

        def answer(incoming: Any) -> None:
            incoming.on("data", incoming.send)
            incoming.on("close", closed.arrived)

        bob.on("connection", answer)
        for turn in range(1, FIRST_CYCLES + CYCLES + 1):
            made = await alice.connect("bob")
            await made.send("x")
            await made.receive()
            await made.close()
            async with asyncio.timeout(30):
                await closed.wait_for(turn)
            if turn in (FIRST_CYCLES, FIRST_CYCLES + CYCLES):
                gc.collect()
                sizes.append(resident())
    return sizes


def resident() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


# The engines by themselves.


async def plain_wrtc(_: str, data: bytes) -> tuple[float, float]:
    import webrtc

    here, there = webrtc.RTCPeerConnection(), webrtc.RTCPeerConnection()
    adding: set[asyncio.Task[None]] = set()
    described = asyncio.Event()

    def carry(to: Any) -> Callable[[Any], None]:
        async def add(candidate: Any) -> None:
            await described.wait()
            await to.add_ice_candidate(webrtc.RTCIceCandidateInit.from_json(candidate.to_json()))

        def found(event: Any) -> None:
            if event.candidate is not None:
                task = asyncio.ensure_future(add(event.candidate))
                adding.add(task)
                task.add_done_callback(adding.discard)

        return found

    here.on("icecandidate", carry(there))
    there.on("icecandidate", carry(here))
    channel, meter, opened, low = here.create_data_channel("bench"), Meter(), asyncio.Event(), asyncio.Event()
    there.on("datachannel", lambda event: event.channel.on("message", meter.arrived))
    channel.on("open", lambda event: opened.set())
    channel.on("bufferedamountlow", lambda event: low.set())
    channel.buffered_amount_low_threshold = LOW
    offer = await here.create_offer()
    await here.set_local_description(offer)
    await there.set_remote_description(offer)
    answer = await there.create_answer()
    await there.set_local_description(answer)
    await here.set_remote_description(answer)
    described.set()
    await opened.wait()
    turns = 0

    async def send() -> None:
        nonlocal turns
        channel.send(data)
        turns += 1
        if channel.buffered_amount > HIGH:
            low.clear()
            await low.wait()
        elif turns % 32 == 0:
            await asyncio.sleep(0)

    result = await rate(send, meter)
    here.close()
    there.close()
    return result


async def plain_aiortc(_: str, data: bytes) -> tuple[float, float]:
    from aiortc import RTCConfiguration, RTCPeerConnection

    here, there = (RTCPeerConnection(RTCConfiguration(iceServers=[])) for _ in range(2))
    channel, meter, opened, low = here.createDataChannel("bench"), Meter(), asyncio.Event(), asyncio.Event()
    there.on("datachannel", lambda incoming: incoming.on("message", meter.arrived))
    channel.on("open", opened.set)
    channel.on("bufferedamountlow", low.set)
    channel.bufferedAmountLowThreshold = LOW
    await here.setLocalDescription(await here.createOffer())
    await there.setRemoteDescription(here.localDescription)
    await there.setLocalDescription(await there.createAnswer())
    await here.setRemoteDescription(there.localDescription)
    await opened.wait()

    async def send() -> None:
        channel.send(data)
        if channel.bufferedAmount > HIGH:
            low.clear()
            await low.wait()
        else:
            await asyncio.sleep(0)

    result = await rate(send, meter)
    await here.close()
    await there.close()
    return result


Measure = Callable[[str], Awaitable[Any]]
CONTENDERS: dict[str, tuple[str, Measure, Measure]] = {
    "ours-wrtc": (
        "DataConnection, binary, on wrtc",
        lambda url: connection(url, "wrtc", BULK),
        lambda url: connection(url, "wrtc", SMALL),
    ),
    "ours-aiortc": (
        "DataConnection, binary, on aiortc",
        lambda url: connection(url, "aiortc", BULK),
        lambda url: connection(url, "aiortc", SMALL),
    ),
    "wrtc": (
        "plain wrtc channel",
        lambda url: plain_wrtc(url, PIECE),
        lambda url: plain_wrtc(url, bytes(SMALL_SIZE)),
    ),
    "aiortc": (
        "plain aiortc channel",
        lambda url: plain_aiortc(url, PIECE),
        lambda url: plain_aiortc(url, bytes(SMALL_SIZE)),
    ),
}
SIZES = {"ours-wrtc": len(BULK), "ours-aiortc": len(BULK), "wrtc": len(PIECE), "aiortc": len(PIECE)}
OTHERS: dict[str, Measure] = {
    "connect-wrtc": lambda url: connect_times(url, "wrtc"),
    "connect-aiortc": lambda url: connect_times(url, "aiortc"),
    "cycles-wrtc": lambda url: cycles(url, "wrtc"),
    "cycles-aiortc": lambda url: cycles(url, "aiortc"),
}


def main() -> int:
    arguments = _arguments()
    if arguments.measure:
        name, _, kind = arguments.measure.partition("/")
        measure = OTHERS[name] if not kind else CONTENDERS[name][1 if kind == "bulk" else 2]
        print(json.dumps(asyncio.run(measure(arguments.broker))))  # type: ignore[arg-type]
        return 0
    from crosspeer.peerjs import binarypack

    assert len(binarypack.pack(SMALL)) == SMALL_SIZE, len(binarypack.pack(SMALL))
    broker = subprocess.Popen([sys.executable, "-c", BROKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert broker.stdout is not None
        url = broker.stdout.readline().strip()
        state = machine.checkout_state()
        page = _page(_measure_all(url, arguments.runs), state)
    finally:
        broker.kill()
        broker.wait()
    print(page)
    if arguments.write:
        PAGE.write_text(page)
    return 0


def _measure_all(url: str, runs: int) -> dict[str, list[Any]]:
    """Everything once in each round, so that what disturbs the machine disturbs all."""
    found: dict[str, list[Any]] = {}
    for turn in range(1, runs + 1):
        for name in (*(f"{name}/{kind}" for kind in ("bulk", "small") for name in CONTENDERS), *OTHERS):
            if name.startswith("cycles") and turn > 1:
                continue
            print(f"round {turn} of {runs}: {name} ...", file=sys.stderr, end=" ", flush=True)
            command = [sys.executable, __file__, "--measure", name, "--broker", url]
            done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
            if done.returncode:
                raise SystemExit(f"{name} failed:\n{done.stderr}")
            found.setdefault(name, []).append(json.loads(done.stdout))
            print(done.stdout.strip()[:60], file=sys.stderr)
    return found


def _page(found: dict[str, list[Any]], state: str) -> str:
    facts = [fact for fact in machine.describe() if fact[0] in ("date", "machine", "system", "crosspeer", "CPython")]
    load = f"{os.getloadavg()[2]:.0f} processes at a time in the last quarter of an hour"
    facts += [("engines", _versions()), ("BinaryPack", _codec()), ("load", load)]
    if machine.checkout_state() != state:
        facts.append(("attention", "crosspeer was changed during the runs; its figures are of more than one version"))
    runs = len(found["wrtc/bulk"])
    lines = "\n".join(f"- {name}: {value}" for name, value in facts)
    bulk = "\n".join(_row(found, name, "bulk") for name in CONTENDERS)
    small = "\n".join(_row(found, name, "small") for name in CONTENDERS)
    ratios = "\n".join(_ratios(found, name) for name in ("wrtc", "aiortc"))
    engines = "\n".join(_engine_row(found, engine) for engine in ("wrtc", "aiortc"))
    return f"""# Data connections

Written by `bench/peers.py`; what the figures mean is in [README.md](README.md). Medians of {runs} runs.

{lines}

Both ends are in one process, and talk over the machine's own network; a connection keeps the order. CPU is that of
both ends together.

| bulk | MB/s | min - max | CPU for a MB |
| --- | --- | --- | --- |
{bulk}

| messages of {SMALL_SIZE} bytes | messages/s | min - max | CPU for a message |
| --- | --- | --- | --- |
{small}

How often as much as plain channels DataConnection on wrtc gets through:

| | bulk | bulk, for the CPU | small | small, for the CPU |
| --- | --- | --- | --- | --- |
{ratios}

| engine | connect, median | connect, 95 % | memory after {FIRST_CYCLES} connections | after {CYCLES} more |
| --- | --- | --- | --- | --- |
{engines}
"""


def _figures(found: dict[str, list[Any]], name: str, kind: str) -> tuple[list[float], float]:
    """How much got through in each run, in MB or messages a second, and the CPU of one at the median, in us."""
    scale = SIZES[name] / 1e6 if kind == "bulk" else 1.0
    runs = found[f"{name}/{kind}"]
    return [rate * scale for rate, _ in runs], statistics.median(cpu for _, cpu in runs) * 1e6 / scale


def _row(found: dict[str, list[Any]], name: str, kind: str) -> str:
    rates, cpu = _figures(found, name, kind)
    digits = 1 if kind == "bulk" else 0
    shown = [f"{each:,.{digits}f}" for each in (statistics.median(rates), min(rates), max(rates))]
    price = f"{cpu / 1000:.1f} ms" if kind == "bulk" else f"{cpu:.0f} us"
    return f"| {CONTENDERS[name][0]} | {shown[0]} | {shown[1]} - {shown[2]} | {price} |"


def _ratios(found: dict[str, list[Any]], other: str) -> str:
    cells = []
    for kind in ("bulk", "small"):
        (ours, our_cpu), (theirs, their_cpu) = (_figures(found, name, kind) for name in ("ours-wrtc", other))
        cells += [f"{statistics.median(ours) / statistics.median(theirs):.2f}", f"{their_cpu / our_cpu:.2f}"]
    return f"| {CONTENDERS[other][0]} | {' | '.join(cells)} |"


def _engine_row(found: dict[str, list[Any]], engine: str) -> str:
    times = sorted(each for run in found[f"connect-{engine}"] for each in run)
    before, after = found[f"cycles-{engine}"][0]
    slow = times[int(len(times) * 0.95)]
    cells = f"{statistics.median(times):.1f} ms", f"{slow:.1f} ms", f"{before:.1f} MB", f"{after:.1f} MB"
    return f"| {engine} | {' | '.join(cells)} |"


def _codec() -> str:
    from crosspeer.wire.binarypack import choose

    return "the engine's" if choose.pack is not choose.write else "Python's"


def _versions() -> str:
    from importlib.metadata import version

    return ", ".join(f"{name} {version(name)}" for name in ("wrtc", "aiortc"))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="rounds, of which medians are taken (default: 5)")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.relative_to(ROOT)} too")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--broker", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
