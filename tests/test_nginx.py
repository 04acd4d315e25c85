"""The nginx configurations that the pages show, run by a real nginx, with its TLS in front of real nodes."""

from __future__ import annotations

import asyncio
import json
import os
import re
import ssl
import subprocess
import urllib.request
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest
import websockets

from backplanes import Broker, answers, find, free_port
from pages import ROOT
from process import crosspeer, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

NODES, BROKER = ROOT / "docs" / "nodes.md", ROOT / "docs" / "peerserver.md"
ABOUT = """\
daemon off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    ssl_certificate {folder}/cert.pem;
    ssl_certificate_key {folder}/key.pem;
    {shown}
}}
"""


def shown(page: Path) -> str:
    """The one nginx block of a page."""
    (block,) = re.findall(r"^```nginx\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    return str(block)


@asynccontextmanager
async def nginx(folder: Path, configuration: str, port: int) -> AsyncIterator[ssl.SSLContext]:
    """Run nginx with what a page shows; whom a client is to trust."""
    program = find("nginx")
    if program is None:
        pytest.skip("nginx is not installed here: apt-get install nginx-light")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-days", "1", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(
        [*command, "-keyout", folder / "key.pem", "-out", folder / "cert.pem"], check=True, capture_output=True
    )
    path = folder / "nginx.conf"
    path.write_text(ABOUT.format(folder=folder, shown=configuration))
    if os.geteuid() == 0:
        # Its workers are nobody, who reads no private folder.
        path.write_text(f"user root;\n{path.read_text()}")
    server = Broker("", [program, "-e", str(folder / "error.log"), "-c", str(path)], answers(port), {})
    try:
        await server.start()
        yield ssl.create_default_context(cafile=str(folder / "cert.pem"))
    finally:
        await server.kill()


async def test_clients_of_one_nginx_meet_though_their_nodes_differ(tmp_path: Path) -> None:
    port, chat = free_port(), str(ROOT / "examples" / "chat")
    sync = f"local://{tmp_path}/bus"
    async with AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(serving(chat, "--sync", sync)) for _ in range(2)]
        first, second = (node.url.removeprefix("http://") for node in nodes)
        configuration = (
            shown(NODES)
            .replace("10.0.0.11:3000", first)
            .replace("10.0.0.12:3000", second)
            .replace("least_conn; ", "")  # each its turn, so that both are certainly used
            .replace("listen 443 ssl", f"listen 127.0.0.1:{port} ssl")
        )
        trust = await stack.enter_async_context(nginx(tmp_path, configuration, port))
        origin = f"https://localhost:{port}"
        clients = [
            await stack.enter_async_context(
                websockets.connect(f"wss://localhost:{port}/rooms/hall", ssl=trust, origin=origin, proxy=None)
            )
            for _ in range(2)
        ]
        for speaker, listener in (clients, reversed(clients)):
            async with asyncio.timeout(20):
                await until_heard(speaker, listener)


async def until_heard(speaker: websockets.ClientConnection, listener: websockets.ClientConnection) -> None:
    """Say something, and once more if nothing was heard: nodes take a moment to find each other."""
    while True:
        await speaker.send(json.dumps({"type": "say", "text": "over both"}))
        with suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                while "over both" not in str(await listener.recv()):
                    pass
                return


async def test_the_broker_behind_nginx_knows_each_address(tmp_path: Path) -> None:
    port = free_port()
    async with AsyncExitStack() as stack:
        broker = await stack.enter_async_context(
            crosspeer("peerserver", "--host", "127.0.0.1", "--port", "0", "--path", "/myapp", "--proxied")
        )
        broker_port = (await broker.printed(r"port: (\d+)"))[1]
        location = shown(BROKER).replace("127.0.0.1:9000", f"127.0.0.1:{broker_port}")
        configuration = f"server {{ listen 127.0.0.1:{port} ssl; server_name localhost; {location} }}"
        trust = await stack.enter_async_context(nginx(tmp_path, configuration, port))

        def new_id() -> str:
            url = f"https://localhost:{port}/myapp/peerjs/id"
            with urllib.request.urlopen(url, context=trust, timeout=10) as answer:
                return str(answer.read().decode())

        id = await asyncio.to_thread(new_id)
        url = f"wss://localhost:{port}/myapp/peerjs?key=peerjs&id={id}&token=secret"
        async with websockets.connect(url, ssl=trust, origin=f"https://localhost:{port}", proxy=None) as client:
            assert json.loads(await client.recv()) == {"type": "OPEN"}
