"""The adapter contract, and what is to be asked of the adapters for foreign servers alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

from crosspeer.core.hub import Hub
from crosspeer.testing.contracts import AdapterContract
from crosspeer.testing.contracts.adapter import Echo
from raw import Raw, handshake

if TYPE_CHECKING:
    from hosted.application import HostHarness


class HostedContract(AdapterContract):
    """The contract as it runs in a server's process."""

    async def test_the_adapter_knows_what_its_server_can_do(self, harness: HostHarness) -> None:
        recorder = Echo()
        hub = Hub(recorder)
        async with harness.serve(hub) as connect, connect("/"):
            await recorder.wait_for("open")
            (session,) = hub.sessions()
            assert session.transport.capabilities == harness.capabilities

    async def test_a_query_beyond_ascii_is_no_error(self, harness: HostHarness) -> None:
        recorder = Echo()
        async with harness.serve(Hub(recorder)), Raw(harness.url) as client:
            client.send(handshake(harness.prefix + "/?q=" + "中".encode().decode("latin-1")))
            status, _ = await client.head()
            # The bytes do not belong there (RFC 3986): some servers take them, others refuse.
            assert status in (101, 400)
            if status == 101:
                await recorder.wait_for("open")
                assert "q" in recorder.peers[0].request.query_params

    async def test_a_plain_request_is_answered_426(self, harness: HostHarness) -> None:
        async with harness.serve(Hub(Echo())), httpx.AsyncClient(trust_env=False) as client:
            answer = await client.get(harness.url + harness.prefix + "/")
        assert answer.status_code == 426
        assert answer.headers["upgrade"] == "websocket"
        assert answer.text == "WebSocket upgrade is required."

    async def test_a_plain_request_goes_to_the_other_application(self, harness: HostHarness) -> None:
        async with (
            harness.serve(Hub(Echo()), http=harness.page) as connect,
            httpx.AsyncClient(trust_env=False) as client,
            connect("/"),
        ):
            answer = await client.get(harness.url + harness.prefix + "/page")
        assert (answer.status_code, answer.text) == (200, "the page")
