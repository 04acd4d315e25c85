"""The forms of hooks, and global hooks beside those that `resolve` finds."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from crosspeer import CloseDetails, Hooks, Hub, Message, Peer, Request, Response, Upgrade, define_hooks
from crosspeer.core.hooks import HookTable, as_hooks
from crosspeer.testing import HandshakeRefused, connect


class Echo(Hooks):
    def message(self, peer: Peer, message: Message) -> None:
        peer.send(message.data)


@dataclass
class Greeter(Hooks):
    """A dataclass cannot be hashed."""

    greeting: str = "hello"

    def open(self, peer: Peer) -> None:
        peer.send(self.greeting)


def echo(peer: Peer, message: Message) -> None:
    peer.send(message.data)


async def async_echo(peer: Peer, message: Message) -> None:
    await asyncio.sleep(0)
    peer.send(message.data)


@pytest.mark.parametrize(
    "hooks", [Echo, Echo(), define_hooks(message=echo), define_hooks(message=async_echo), {"message": echo}]
)
async def test_hooks_come_in_many_forms(hooks: Any) -> None:
    async with connect(hooks) as client:
        await client.send("a")
        assert await client.receive() == "a"


async def test_a_dataclass_may_be_hooks() -> None:
    async with connect(Greeter("salve")) as client:
        assert await client.receive() == "salve"


@pytest.mark.parametrize("wrong", [3, "hooks", object(), lambda: None, object, None])
def test_what_is_no_hooks(wrong: Any) -> None:
    with pytest.raises(TypeError, match="no hooks"):
        as_hooks(wrong)


@pytest.mark.parametrize("wrong", [{"onmessage": echo}, {"message": "echo"}, {"message": None}])
def test_a_wrong_hook_is_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=next(iter(wrong))):
        define_hooks(**wrong)


def test_hooks_that_nobody_wrote_cost_nothing() -> None:
    table = HookTable.of(Echo())
    assert table.message is not None
    assert [table.upgrade, table.open, table.close, table.drain, table.ping, table.pong] == [None] * 6


class Noting(Hooks):
    """Notes each hook, and waits in the middle if it is told to."""

    def __init__(self, name: str, log: list[str], wait: bool = False, answer: Any = None) -> None:
        self.name, self.log, self.wait, self.answer = name, log, wait, answer

    def note(self, hook: str, result: Any = None) -> Any:
        self.log.append(f"{self.name}.{hook}")
        return self.later(hook, result) if self.wait else result

    async def later(self, hook: str, result: Any) -> Any:
        await asyncio.sleep(0)
        self.log.append(f"{self.name}.{hook} ends")
        return result

    def upgrade(self, request: Request) -> Any:
        return self.note("upgrade", self.answer)

    def open(self, peer: Peer) -> Any:
        return self.note("open")

    def message(self, peer: Peer, message: Message) -> Any:
        return self.note("message")

    def close(self, peer: Peer, details: CloseDetails) -> Any:
        return self.note("close")


@pytest.mark.parametrize("wait", [False, True])
async def test_global_hooks_run_before_the_resolved_ones(wait: bool) -> None:
    log: list[str] = []
    hub = Hub(Noting("all", log, wait), resolve=lambda request: Noting("one", log, wait))
    async with connect(hub) as client:
        await client.send("x")
    expected = [f"{who}.{hook}" for hook in ("upgrade", "open", "message", "close") for who in ("all", "one")]
    assert [entry for entry in log if not entry.endswith("ends")] == expected
    if wait:
        assert log.index("all.open ends") < log.index("one.open")


async def test_both_upgrades_count() -> None:
    one = Upgrade(headers={"x-a": "1"}, context={"a": 1}, namespace="first", protocol="p1")
    two = {"headers": [("x-b", "2")], "context": {"b": 2}, "protocol": "p2"}
    hub = Hub(Noting("all", [], answer=one), resolve=lambda request: Noting("one", [], wait=True, answer=two))
    async with connect(hub, subprotocols=["p1", "p2"]) as client:
        (peer,) = hub.peers["first"]
        assert peer.context == {"a": 1, "b": 2}
        assert client.protocol == "p2"
        assert (client.headers["x-a"], client.headers["x-b"]) == ("1", "2")


@pytest.mark.parametrize("who", ["all", "one"])
async def test_either_upgrade_may_refuse(who: str) -> None:
    log: list[str] = []
    answers = {"all": None, "one": None} | {who: Response("no", 402)}
    hub = Hub(Noting("all", log, answer=answers["all"]), resolve=lambda r: Noting("one", log, answer=answers["one"]))
    with pytest.raises(HandshakeRefused) as refused:
        await connect(hub)
    assert refused.value.status == 402
    assert log == (["all.upgrade"] if who == "all" else ["all.upgrade", "one.upgrade"])


async def test_a_hub_without_hooks_refuses_all() -> None:
    with pytest.raises(HandshakeRefused) as refused:
        await connect(Hub())
    assert refused.value.status == 404


async def test_a_resolver_may_refuse_with_a_response() -> None:
    with pytest.raises(HandshakeRefused) as refused:
        await connect(Hub(resolve=lambda request: Response("pay first", 402)))
    assert (refused.value.status, refused.value.body) == (402, b"pay first")


@pytest.mark.parametrize("resolve", [lambda request: 1 / 0, lambda request: "no hooks"])
async def test_a_resolver_that_fails_is_500(resolve: Any, caplog: pytest.LogCaptureFixture) -> None:
    hub = Hub(resolve=resolve)
    with pytest.raises(HandshakeRefused) as refused:
        await connect(hub, "/some")
    assert refused.value.status == 500
    assert "/some" in caplog.text
    assert hub.connections == 0
