"""What holds on every server that has an adapter of its own, and goes beyond what the contract can ask."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.client import connect as dial
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

import running
from crosspeer import CloseDetails, Hub, Limits, Upgrade
from crosspeer.testing.contracts.harness import Recorder, talk
from raw import FIN, PING, TEXT, Raw, frame

if TYPE_CHECKING:
    from crosspeer import Message, Peer, Request

pytestmark = pytest.mark.parametrize("server", running.SERVERS)

LONG = "the quick brown fox " * 500


class Echo(Recorder):
    answer: Upgrade | None = None

    def upgrade(self, request: Request) -> Upgrade | None:
        return self.answer

    def message(self, peer: Peer, message: Message) -> Any:
        peer.send(message.data)


async def test_the_end_of_the_server_closes_its_peers_with_1012_and_each_hook_runs_once(server: str) -> None:
    class Slow(Echo):
        async def close(self, peer: Peer, details: CloseDetails) -> None:  # type: ignore[override]
            await asyncio.sleep(0)
            self.note("close", details)

    slow = Slow()
    hub = Hub(slow)
    async with running.SERVERS[server](hub) as url:
        connect = running.dialer(url)
        clients = [await connect(f"/{number}") for number in range(3)]
        await slow.wait_for("open", 3)
    assert [details.code for details in slow.of("close")] == [1012] * 3, "they ended before the server did"
    assert all(details.was_clean for details in slow.of("close"))
    assert [await client.wait_closed() for client in clients] == [1012] * 3
    assert hub.connections == 0
    assert not hub.peers


async def test_a_hook_that_runs_when_its_client_leaves_runs_to_its_end(server: str) -> None:
    release = asyncio.Event()

    class Slow(Echo):
        async def message(self, peer: Peer, message: Message) -> None:
            self.note("begins", None)
            await release.wait()
            self.note("ends", None)

    slow = Slow()
    hub = Hub(slow)
    async with running.SERVERS[server](hub) as url:
        client = await running.dialer(url)()
        await client.send("x")
        await slow.wait_for("begins")
        client.terminate()
        async with asyncio.timeout(10):
            while hub.peers:
                await asyncio.sleep(0.01)
        release.set()
        await slow.wait_for("close")
        assert [name for name, _ in slow.events] == ["open", "begins", "ends", "close"]


async def test_a_peer_whose_hook_is_slow_is_not_taken_for_dead(server: str) -> None:
    """It is not read, so its pongs cannot come in."""
    running_hook, release = asyncio.Event(), asyncio.Event()

    class Slow(Echo):
        async def message(self, peer: Peer, message: Message) -> None:
            running_hook.set()
            await release.wait()
            peer.send(message.data)

    slow = Slow()
    limits = Limits(max_waiting_messages=1, ping_interval=0.2, ping_timeout=0.2)
    async with running.SERVERS[server](Hub(slow, limits=limits)) as url, running.dialer(url)() as client:
        for number in range(40):
            await client.send(str(number))
        await asyncio.wait_for(running_hook.wait(), 5)
        with pytest.raises(TimeoutError):
            await client.receive(timeout=1.5)
        assert slow.of("close") == []
        release.set()
        assert [await client.receive() for _ in range(40)] == [str(number) for number in range(40)]


async def test_pings_are_those_of_the_limits(server: str) -> None:
    limits = Limits(ping_interval=0.2, ping_timeout=0.2, close_timeout=0.5)
    echo = Echo()
    async with running.SERVERS[server](Hub(echo, limits=limits)) as url, Raw(url) as client:
        await client.upgrade()
        opcode, _ = await client.frame()
        assert opcode == PING
        # It is not answered.
        assert await echo.wait_for("close", timeout=20) == CloseDetails(1006, "", was_clean=False)
        await client.ended()


async def test_without_an_interval_there_are_no_pings(server: str) -> None:
    limits = Limits(ping_interval=None)
    async with running.SERVERS[server](Hub(Echo(), limits=limits)) as url, Raw(url) as client:
        await client.upgrade()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await client.reader.readexactly(1)
        client.send(frame(FIN | TEXT, b"still here"))
        assert await client.frame() == (TEXT, b"still here")


@pytest.mark.parametrize(
    ("wanted", "upgrade", "agreed"),
    [(True, None, True), (False, None, False), (True, False, False), (False, True, True)],
)
async def test_compression_is_what_the_hub_and_upgrade_say(
    server: str, wanted: bool, upgrade: bool | None, agreed: bool
) -> None:
    echo = Echo()
    echo.answer = Upgrade(compress=upgrade)
    hub = Hub(echo, compression=wanted)
    async with running.SERVERS[server](hub) as url:
        extension = ClientPerMessageDeflateFactory(client_max_window_bits=True)
        async with dial(url.replace("http", "ws"), extensions=[extension], compression=None, proxy=None) as client:
            assert client.response is not None
            header = client.response.headers.get("Sec-WebSocket-Extensions", "")
            assert header.startswith("permessage-deflate") is agreed
            await client.send(LONG)
            assert await client.recv() == LONG
            await client.send(b"\x00" * 100_000)
            assert await client.recv() == b"\x00" * 100_000
            assert echo.peers[0].websocket.extensions == header


async def test_a_message_larger_than_the_queue_passes_an_empty_one(server: str) -> None:
    limits = Limits(max_queue_size=64 * 1024)
    hub = Hub(Echo(), limits=limits)
    data = bytes(range(256)) * 8192
    async with running.SERVERS[server](hub) as url, running.dialer(url)() as client:
        await talk(client, client)
        (peer,) = hub.peers["/"]
        peer.send(data)
        assert await client.receive() == data


async def test_a_reader_that_leaves_with_much_unread_has_drained_nothing(server: str) -> None:
    echo = Echo()
    hub = Hub(echo, limits=Limits(max_queue_size=16 * 1024 * 1024))
    async with running.SERVERS[server](hub) as url:
        client = await running.dialer(url)()
        await echo.wait_for("open")
        (peer,) = hub.peers["/"]
        for _ in range(10_000):
            if peer.buffered_amount > 1024 * 1024:
                break
            peer.send(b"x" * 100_000)
            await asyncio.sleep(0)
        waiting = asyncio.create_task(peer.wait_for_drain())
        client.terminate()
        assert (await echo.wait_for("close")).code == 1006
        await asyncio.wait_for(waiting, 5)
        assert echo.of("drain") == []


async def test_what_one_turn_sends_keeps_its_order(server: str) -> None:
    """Short and long ones: some leave at once, others wait for the reader."""
    sent = [str(number) * (1 + 30_000 * (number % 5 == 0)) for number in range(200)]
    hub = Hub(Echo(), limits=Limits(max_queue_size=64 * 1024 * 1024))
    async with running.SERVERS[server](hub) as url, running.dialer(url)() as client:
        await talk(client, client)
        (peer,) = hub.peers["/"]
        for text in sent:
            peer.send(text)
        assert [await client.receive() for _ in sent] == sent


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate of the test's own, good for a day."""
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-days", "1", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return certificate, key


async def test_tls(server: str, certificate: tuple[Path, Path]) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*certificate)
    trust = ssl.create_default_context(cafile=str(certificate[0]))
    echo = Echo()
    hub = Hub(echo, limits=Limits(max_message_size=1_000_000, close_timeout=2))
    async with running.SERVERS[server](hub, tls) as url:
        address = url.replace("https", "wss") + "/room"
        async with dial(address, ssl=trust, proxy=None, compression=None) as client:
            for data in ("ünï", b"\x00" * 300_000):
                await client.send(data)
                assert await client.recv() == data
            assert echo.peers[0].request.url.scheme == "https"
            assert echo.peers[0].websocket.url.startswith("wss://")
        assert (await echo.wait_for("close")).code == 1000
        async with dial(address, ssl=trust, proxy=None, compression=None) as client:
            await client.send(b"x" * 1_000_001)
            await asyncio.wait_for(client.wait_closed(), 10)
            assert client.close_code == 1009
        async with dial(address, ssl=trust, proxy=None, compression=None) as client:
            await echo.wait_for("open", 3)
            echo.peers[2].close(4000, "bye")
            await asyncio.wait_for(client.wait_closed(), 10)
            assert (client.close_code, client.close_reason) == (4000, "bye")
        assert [details.code for details in [await echo.wait_for("close", 3)]] == [4000]
