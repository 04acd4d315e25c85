"""Redis where much depends on it: a cluster of three masters, or a master with a replica and a sentinel."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from redis.asyncio import Redis

from backplanes import UP_WITHIN, Broker, _required, _running, answers, free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SLOTS = 16384


@asynccontextmanager
async def running(*options: str, port: int | None = None) -> AsyncIterator[Broker]:
    """A Redis server with these options."""
    program = _required("redis-server", "redis-server")
    port = port or free_port()
    with tempfile.TemporaryDirectory() as folder:
        command = [program, *options, "--port", str(port), "--bind", "127.0.0.1", "--dir", folder, "--save", ""]
        async with _running(Broker(f"redis://127.0.0.1:{port}/0", command, answers(port), {}, folder)) as broker:
            yield broker


@asynccontextmanager
async def client(broker: Broker) -> AsyncIterator[Any]:
    made = Redis.from_url(broker.url, protocol=2, decode_responses=True)
    try:
        yield made
    finally:
        await made.aclose()


def port_of(broker: Broker) -> int:
    return int(broker.url.rpartition(":")[2].partition("/")[0])


class Cluster:
    """Three masters that share the slots, without replicas."""

    def __init__(self, nodes: list[Broker]) -> None:
        self.nodes = nodes
        self.url = "redis+cluster://" + ",".join(f"127.0.0.1:{port_of(node)}" for node in nodes[:2])

    async def form(self) -> None:
        for at, node in enumerate(self.nodes):
            async with client(node) as redis:
                begin, end = at * SLOTS // 3, (at + 1) * SLOTS // 3 - 1
                await redis.execute_command("CLUSTER ADDSLOTSRANGE", begin, end)
                for other in self.nodes[:at]:
                    await redis.execute_command("CLUSTER MEET", "127.0.0.1", port_of(other), await self._bus(other))
        for node in self.nodes:
            async with client(node) as redis, asyncio.timeout(UP_WITHIN):
                while (await redis.execute_command("CLUSTER INFO"))["cluster_state"] != "ok":
                    await asyncio.sleep(0.05)

    async def move(self, slot: int) -> None:
        """Give a slot to another master, as an operator does who adds one."""
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(client(node)) for node in self.nodes]
            names = [await redis.execute_command("CLUSTER MYID") for redis in clients]
            owner = slot * 3 // SLOTS
            to = names[(owner + 1) % 3]
            # The new one first, so that no moment is without an owner; its word counts more than that of the old one.
            for at in ((owner + 1) % 3, owner, (owner + 2) % 3):
                await clients[at].execute_command("CLUSTER SETSLOT", slot, "NODE", to)
            await clients[(owner + 1) % 3].execute_command("CLUSTER BUMPEPOCH")

    async def _bus(self, node: Broker) -> int:
        async with client(node) as redis:
            return int((await redis.config_get("cluster-port"))["cluster-port"])


@asynccontextmanager
async def cluster() -> AsyncIterator[Cluster]:
    async with AsyncExitStack() as stack:
        nodes = []
        for _ in range(3):
            options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-port", str(free_port())]
            nodes.append(await stack.enter_async_context(running(*options)))
        made = Cluster(nodes)
        await made.form()
        yield made


@asynccontextmanager
async def sentinel() -> AsyncIterator[tuple[str, Broker]]:
    """The URL of a sentinel, and the master that it watches. A replica is there to take its place."""
    program = _required("redis-server", "redis-server")
    async with running() as master, AsyncExitStack() as stack:
        replica = await stack.enter_async_context(running("--replicaof", "127.0.0.1", str(port_of(master))))
        async with client(replica) as redis, asyncio.timeout(UP_WITHIN):
            while (await redis.info("replication"))["master_link_status"] != "up":
                await asyncio.sleep(0.05)
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        port = free_port()
        config = Path(folder, "sentinel.conf")
        config.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {folder}\nsentinel monitor mymaster 127.0.0.1 {port_of(master)} 1\n"
            "sentinel down-after-milliseconds mymaster 500\nsentinel failover-timeout mymaster 2000\n"
        )
        watcher = Broker(f"redis://127.0.0.1:{port}", [program, str(config), "--sentinel"], answers(port), {}, folder)
        await stack.enter_async_context(_running(watcher))
        async with client(watcher) as redis, asyncio.timeout(UP_WITHIN):
            while int((await redis.execute_command("SENTINEL MASTER", "mymaster"))["num-slaves"]) < 1:
                await asyncio.sleep(0.05)
        yield f"redis+sentinel://127.0.0.1:{port}/mymaster/0", master
