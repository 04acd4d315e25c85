"""A fleet with a key: what is not sealed with it is refused, whoever may write to the backplane (row P12)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from crosspeer import Hub
from crosspeer.sync import KEY_VARIABLE, Relay, connect, open_backend
from crosspeer.testing import connect as client_of
from crosspeer.testing.sockets import connect as dial
from crosspeer.wire.envelope import encode_note, seal
from fleet import Chat, nodes, relay_of, settled, until
from process import crosspeer, serving

if TYPE_CHECKING:
    from backplanes import Broker

KEY = b"a key of the fleet"
CHAT = """
from crosspeer import Hooks

class Chat(Hooks):
    def open(self, peer):
        peer.subscribe("chat")
        peer.send("ready")

    def message(self, peer, message):
        peer.publish("chat", message.data)
"""


async def test_nodes_with_the_key_understand_each_other(broker: Broker) -> None:
    async with (
        nodes(broker, 2, key=KEY) as (one, two),
        client_of(one, "/?topic=chat") as near,
        client_of(two, "/?topic=chat") as far,
    ):
        await settled(one, two)
        await near.send("hello")
        assert await far.receive() == "hello"
        await until(lambda: one.peers_count() == 2)
        assert relay_of(one).counts.refused == relay_of(two).counts.refused == 0


async def test_what_is_not_sealed_with_the_key_is_dropped_and_counted(broker: Broker) -> None:
    async with (
        nodes(broker, 1, key=KEY) as (hub,),
        client_of(hub, "/?topic=chat") as client,
    ):
        await settled(hub)
        relay, stranger = relay_of(hub), open_backend(broker.url)
        heard: list[tuple[str, bytes]] = []
        await stranger.open(lambda channel, data: heard.append((channel, data)))
        try:
            everywhere, topic = relay._everywhere, relay._channel("/", "chat")
            envelope = b"xp\x01\x01" + bytes(16) + b"\x01\x00\x01\x00\x04\x00\x00\x00\x06/chatforged"
            note = encode_note(bytes(16), {"do": "disconnect", "where": {}, "code": 4500, "reason": ""})
            bad = [
                (topic, envelope),
                (everywhere, note),
                (topic, seal(b"another key, alas", topic, envelope)),
                (topic, seal(KEY, everywhere, envelope)),
                (everywhere, seal(KEY, topic, note)),
                (topic, seal(KEY, topic, envelope)[:-1]),
            ]
            await stranger.publish(bad)
            await until(lambda: relay.counts.refused == len(bad))
            assert hub.peers_count() == 1
            good = envelope.replace(b"forged", b"sealed")
            await stranger.publish([(topic, seal(KEY, topic, good))])
            assert await client.receive() == "sealed"
        finally:
            await stranger.close()


def test_a_key_has_a_length_and_is_nothing_for_crossws(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        connect("memory://", key="short")
    with pytest.raises(ValueError, match="crossws"):
        connect("memory://", key=KEY, crossws="channel")
    monkeypatch.setenv(KEY_VARIABLE, "short")
    with pytest.raises(ValueError, match="16 bytes"):
        Hub(sync="memory://")
    assert isinstance(connect("memory://", crossws="channel"), Relay), "that one has no key"


async def test_the_environment_has_the_key_of_hubs_that_name_none(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Hub(Chat(), sync="memory://keys")
    monkeypatch.setenv(KEY_VARIABLE, KEY.decode())
    two, three = Hub(Chat(), sync="memory://keys"), Hub(Chat(), sync=connect("memory://keys", key=KEY))
    for hub in (one, two, three):
        assert hub.sync is not None
        await hub.sync.start()
    async with client_of(two, "/?topic=chat") as client:
        await settled(two)
        one.publish("chat", "from one without")
        three.publish("chat", "from one with it")
        assert await client.receive() == "from one with it"
        assert relay_of(two).counts.refused >= 1
    for hub in (one, two, three):
        await hub.close()


async def test_the_command_line_takes_a_file(tmp_path: Path) -> None:
    (tmp_path / "chat.py").write_text(CHAT)
    (tmp_path / "key").write_text("a key of the fleet\n")
    sync = ("--sync", f"local://{tmp_path}/bus")
    async with (
        serving("chat:Chat", *sync, "--sync-key-file", "key", cwd=tmp_path) as one,
        serving("chat:Chat", *sync, "--sync-key-file", "key", cwd=tmp_path) as two,
        dial(one.url.replace("http", "ws")) as near,
        dial(two.url.replace("http", "ws")) as far,
    ):
        assert await near.receive() == await far.receive() == "ready"
        await near.send("sealed")
        assert await far.receive() == "sealed"


@pytest.mark.parametrize(
    ("content", "said"), [("", "is empty"), ("short\n", "16 bytes"), (b"\xff\xfe", "read as a key")]
)
async def test_a_file_that_is_no_key_is_an_error(tmp_path: Path, content: str | bytes, said: str) -> None:
    (tmp_path / "chat.py").write_text(CHAT)
    (tmp_path / "key").write_bytes(content if isinstance(content, bytes) else content.encode())
    options = ("--port", "0", "--sync", "memory://keys", "--sync-key-file", "key")
    async with crosspeer("serve", "chat:Chat", *options, cwd=tmp_path) as command:
        assert await command.ended() == 1
        assert said in command.output
