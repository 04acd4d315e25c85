"""A fleet under test: a backplane, three nodes, each with its own way to it, and the processes of their clients."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import httpx

from backplanes import Broker
from faults.brokers import BROKERS, HOLES, LOGS
from faults.checker import Came, Checker, Entry, Heard, Log, Moved, Published, Stream, Told, Violation
from faults.clients import Crew
from faults.proxy import Proxy, proxy
from process import Command, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HERE: Final = Path(__file__).parent
NODES: Final = 3
PER_PROCESS: Final = 500
"""Clients of one process."""
WITHIN: Final = 30.0
"""Seconds until whatever is waited for has happened."""
KINDS: Final[dict[str, type[Told | Came | Moved]]] = {"Told": Told, "Came": Came, "Moved": Moved}
SAID: Final = 2000
"""Characters of what a node has said that are told of a run that failed."""
QUIET: Final = 1.0
"""Seconds without a delivery after which nothing more comes."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run is."""

    backend: str
    clients: int = 1000
    seconds: float = 15.0
    seed: int = 1
    engine: str = "auto"
    topics: int = 8
    history: bool = True
    """Whether every second topic has one."""
    each: int = 2
    """Topics of a client."""
    publishers: int = 30
    rate: float = 2.0
    """Publications a second, of each publisher."""

    @property
    def names(self) -> list[str]:
        kinds = ("live", "kept" if self.history and self.backend in LOGS else "live")
        return [f"{kinds[number % 2]}/{number}" for number in range(self.topics)]


class Node:
    """A place in the fleet, held by one process after the other."""

    def __init__(self, way: Proxy | None, sync: str, engine: str) -> None:
        self.way = way
        """To its backplane; None where that is no server."""
        self._options = ("--sync", sync, "--engine", engine)
        self._stack = AsyncExitStack()
        self.command: Command | None = None

    @property
    def url(self) -> str:
        assert self.command is not None
        return self.command.url

    async def start(self) -> None:
        self._stack = AsyncExitStack()
        self.command = await self._stack.enter_async_context(serving("application:hub", *self._options, cwd=HERE))

    async def kill(self) -> None:
        """End it without a word."""
        assert self.command is not None
        os.killpg(self.command.process.pid, signal.SIGKILL)
        await self.close()

    async def stop(self) -> None:
        """End it politely, and see that it ends well."""
        assert self.command is not None
        self.command.signal(signal.SIGTERM)
        status = await self.command.ended()
        assert status == 0, self.command.output
        await self.close()

    async def close(self) -> None:
        self.command = None
        await self._stack.aclose()

    async def status(self) -> str:
        async with httpx.AsyncClient(timeout=WITHIN) as client:
            answer = await client.get(f"{self.url}/_crosspeer/health")
        return str(answer.json()["status"])


class Clients:
    """One process of clients."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def say(self, *line: Any) -> dict[str, Any]:
        """Give a command, and wait for its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(line).encode() + b"\n")
        answer = await self._process.stdout.readline()
        assert answer, "a process of clients has ended"
        found: dict[str, Any] = json.loads(answer)
        return found


class Fleet:
    """All of it."""

    def __init__(self, plan: Plan, broker: Broker, nodes: list[Node], crews: list[Clients]) -> None:
        self.plan = plan
        self.broker = broker
        self.nodes = nodes
        self._crews = crews

    async def tell(self, *line: Any) -> list[dict[str, Any]]:
        """Give all clients a command."""
        return await asyncio.gather(*(crew.say(*line) for crew in self._crews))

    async def moved(self) -> None:
        """Tell all clients where the nodes are."""
        await self.tell("nodes", [node.url for node in self.nodes if node.command is not None])

    async def whole(self) -> None:
        """Wait until everybody is connected, and all nodes reach each other."""

        async def is_whole() -> bool:
            answers = await self.tell("count")
            if sum(answer["whole"] for answer in answers) < self.plan.clients:
                return False
            return all([await node.status() == "ok" for node in self.nodes])

        await until(is_whole)

    async def quiet(self) -> None:
        """Publish no more, and wait until everything has arrived."""
        await self.tell("quiet")
        heard, since = -1, time.monotonic()

        async def is_quiet() -> bool:
            nonlocal heard, since
            now = sum(answer["heard"] for answer in await self.tell("count"))
            if now != heard:
                heard, since = now, time.monotonic()
            return time.monotonic() - since > QUIET

        await until(is_quiet)

    async def degraded(self, node: Node) -> float:
        """Wait until a node says that it cannot reach the others; the seconds that took."""
        begin = time.monotonic()

        async def is_degraded() -> bool:
            return await node.status() == "degraded"

        await until(is_degraded)
        return time.monotonic() - begin


async def until(true: Callable[[], Any], within: float = WITHIN) -> None:
    async with asyncio.timeout(within):
        while not await true():
            await asyncio.sleep(0.05)


@asynccontextmanager
async def fleet(plan: Plan) -> AsyncIterator[Fleet]:
    """Start everything, with all clients connected and publishing."""
    async with AsyncExitStack() as stack:
        broker = await stack.enter_async_context(BROKERS[plan.backend]())
        nodes = []
        for _ in range(NODES):
            way, sync = None, broker.url
            if plan.backend != "local":
                way = await stack.enter_async_context(proxy(broker.url))
                sync = urlsplit(broker.url)._replace(netloc=_netloc(broker.url, way.url)).geturl()
            node = Node(way, sync, plan.engine)
            nodes.append(node)
            stack.push_async_callback(node.close)
        await asyncio.gather(*(node.start() for node in nodes))
        crews = [await stack.enter_async_context(_crew(crew)) for crew in _crews(plan, [node.url for node in nodes])]
        made = Fleet(plan, broker, nodes, crews)
        try:
            await made.tell("come")
            await made.whole()
            await made.tell("publish")
            yield made
        except Exception as error:
            for node in nodes:
                error.add_note("a node said:\n" + ("nothing" if node.command is None else node.command.output[-SAID:]))
            raise


def _netloc(url: str, way: str) -> str:
    """The address of a proxy, with whatever the URL of the backplane says before its own."""
    user, found, _ = urlsplit(url).netloc.rpartition("@")
    return f"{user}{found}{urlsplit(way).netloc}"


def _crews(plan: Plan, urls: list[str]) -> Iterator[Crew]:
    processes = -(-plan.clients // PER_PROCESS)
    for number in range(processes):
        count, publishers = (
            each // processes + (number < each % processes) for each in (plan.clients, plan.publishers)
        )
        yield Crew(chr(97 + number), count, publishers, plan.rate, plan.names, plan.each, urls, plan.seed)


@asynccontextmanager
async def _crew(crew: Crew) -> AsyncIterator[Clients]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "faults.clients"),
        env=os.environ | {"PYTHONPATH": str(HERE.parent)},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=16 * 1024 * 1024,
    )
    try:
        assert process.stdin is not None
        process.stdin.write(json.dumps(asdict(crew)).encode() + b"\n")
        yield Clients(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run found."""

    deliveries: int
    published: int
    returns: list[float]
    """Seconds that each client was away, each time."""
    tellings: int
    recovered: int
    """Subscriptions that went on without a gap."""
    violations: list[Violation]

    @property
    def back(self) -> float | None:
        """Seconds within which 99 of 100 lost clients were back."""
        return sorted(self.returns)[int(len(self.returns) * 0.99)] if self.returns else None


async def judge(fleet: Fleet, folder: Path) -> Outcome:
    """End a run: let everybody write down what it heard, in files of this folder, and check it."""
    for file in folder.glob("history-*.jsonl"):
        file.unlink()
    paths = [folder / f"history-{number}.jsonl" for number in range(len(fleet._crews))]
    answers = await asyncio.gather(
        *(crew.say("dump", str(path)) for crew, path in zip(fleet._crews, paths, strict=True))
    )
    returns = [seconds for answer in answers for seconds in answer["returns"]]
    return read(paths, fleet.plan, returns)


def read(paths: list[Path], plan: Plan, returns: list[float]) -> Outcome:
    """Check what clients have written down."""
    published = [_published(row[1]) for row in _rows(paths, "published")]
    with_history = [topic for topic in plan.names if topic.startswith("kept/")]
    checker = Checker(published, with_history, has_holes=plan.backend in HOLES)
    recovered = 0
    for _, name, topic, rows in _rows(paths, "log"):
        log = Log(name, topic, [_entry(*row) for row in rows])
        recovered += sum(isinstance(entry, Came) and entry.whole for entry in log.entries)
        checker.add(log)
    total = sum(each.attempted for each in published)
    violations = checker.violations()
    return Outcome(checker.deliveries, total, returns, checker.tellings, recovered, violations)


def _rows(paths: list[Path], kind: str) -> Iterator[list[Any]]:
    for path in paths:
        with path.open() as file:
            for line in file:
                if line.startswith(f'["{kind}"'):
                    yield json.loads(line)


def _published(row: dict[str, Any]) -> Published:
    return Published(**row | {"stream": Stream(*row["stream"])})


def _entry(kind: str, *values: Any) -> Entry:
    if kind == "Heard":
        stream, *others = values
        return Heard(Stream(*stream), *others)
    return KINDS[kind](*values)
