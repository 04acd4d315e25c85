"""The servers that the contract runs on: how each is started, and what it cannot do."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from crosspeer.adapters import asgi, rsgi
from crosspeer.core.transport import Capabilities

ASGI = Capabilities(ping=False, terminate=False)
"""What a server can do that does all that ASGI has words for."""
BY_ASGI = {"ping": "ASGI has no words for it", "terminate": "ASGI has no words for it"}
BY_RSGI = "RSGI has no words for it"
CAPABILITIES = [capability.name for capability in fields(Capabilities)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One way of running one server."""

    module: str
    """What `python -m` runs."""
    options: tuple[str, ...] = ()
    listen: tuple[str, ...] = ()
    """The options that hand it a listening socket; `{fd}` is the descriptor. Empty: it binds a port itself."""
    port: tuple[str, ...] = ()
    """The options that name the port, for a server which binds it itself."""
    target: str = "hosted.application:application"
    prefix: str = ""
    """Where the target has mounted the adapter."""
    adapter: Any = asgi.Adapter
    has_events: bool = False
    """The clients come by `EventSource`."""
    capabilities: Capabilities = ASGI
    reasons: Mapping[str, str] = field(default_factory=lambda: BY_ASGI)
    """Why it lacks a capability."""
    noise: tuple[str, ...] = ()
    """What it logs as an error though nothing is wrong."""


UVICORN = Server(
    module="uvicorn",
    options=("--no-access-log",),
    listen=("--fd", "{fd}"),
    # Said after every refusal by a response (uvicorn 0.54).
    noise=("ASGI callable returned without completing handshake.",),
)
GUNICORN = Server(
    module="gunicorn",
    options=("--workers", "1", "--no-control-socket", "--graceful-timeout", "5", "--worker-class", "asgi"),
    listen=("--bind", "fd://{fd}"),
    capabilities=replace(ASGI, denial_status=False, denial_response=False, close_reason_received=False),
    reasons=BY_ASGI
    | {
        "denial_status": "its worker has no `websocket.http.response`",
        "denial_response": "its worker has no `websocket.http.response`",
        "close_reason_received": "its `websocket.disconnect` has none",
    },
)
GRANIAN = Server(
    module="granian",
    options=("--interface", "asgi", "--workers", "1", "--no-access-log"),
    port=("--host", "127.0.0.1", "--port", "{port}"),
    capabilities=replace(ASGI, response_headers=False, close_reason_received=False, lost_connection=False),
    reasons=BY_ASGI
    | {
        "response_headers": "it drops those of `websocket.accept`",
        "close_reason_received": "its `websocket.disconnect` has none",
        "lost_connection": "both are 1005",
    },
)

SERVERS = {
    "uvicorn": UVICORN,
    "uvicorn-wsproto": replace(UVICORN, options=(*UVICORN.options, "--ws", "wsproto")),
    "uvicorn-websockets": replace(UVICORN, options=(*UVICORN.options, "--ws", "websockets")),
    "gunicorn-uvicorn": replace(
        GUNICORN,
        options=(*GUNICORN.options[:-1], "uvicorn.workers.UvicornWorker"),
        capabilities=UVICORN.capabilities,
        reasons=UVICORN.reasons,
        noise=UVICORN.noise,
    ),
    "hypercorn": Server(
        module="hypercorn",
        listen=("--bind", "fd://{fd}"),
        capabilities=replace(ASGI, close_code_received=False, close_reason_received=False, lost_connection=False),
        reasons=BY_ASGI
        | {
            "close_code_received": "it says 1006 of every end that is not ours",
            "close_reason_received": "its `websocket.disconnect` has none",
            "lost_connection": "it says 1006 of every end that is not ours",
        },
    ),
    "granian": GRANIAN,
    "granian-rsgi": replace(
        GRANIAN,
        options=("--interface", "rsgi", *GRANIAN.options[2:]),
        target="hosted.application:rsgi_application",
        adapter=rsgi.Adapter,
        capabilities=replace(
            ASGI,
            denial_response=False,
            response_headers=False,
            subprotocol=False,
            close_code_received=False,
            close_reason_received=False,
            close_code_sent=False,
            close_reason_sent=False,
        ),
        reasons=dict.fromkeys(CAPABILITIES, BY_RSGI),
    ),
    "daphne": Server(
        module="daphne",
        options=("--verbosity", "0"),
        listen=("--fd", "{fd}"),
        capabilities=replace(
            ASGI,
            denial_status=False,
            denial_response=False,
            response_headers=False,
            close_reason_received=False,
            close_code_echoed=False,
            low_close_codes=False,
            close_reason_sent=False,
            empty_binary=False,
            read_backpressure=False,
            backpressure=False,
        ),
        reasons=BY_ASGI
        | {
            "denial_status": "it has no `websocket.http.response`",
            "denial_response": "it has no `websocket.http.response`",
            "response_headers": "it drops those of `websocket.accept`",
            "close_reason_received": "its `websocket.disconnect` has none",
            "close_code_echoed": "it answers with 1000",
            "low_close_codes": "autobahn takes no others from an application",
            "close_reason_sent": "it drops that of `websocket.close`",
            "empty_binary": "it takes one for none",
            "read_backpressure": "its queue of incoming messages has no limit",
            "backpressure": "its `send` never waits",
        },
    ),
    "gunicorn": GUNICORN,
}
EVENTS = replace(ASGI, subprotocol=False)
"""What a server can do with event streams."""
UNHELD = replace(EVENTS, backpressure=False)
"""What those can do that take everything for a reader that has stopped."""
SERVERS |= {
    f"{name}-events": replace(SERVERS[name], has_events=True, capabilities=capabilities)
    for name, capabilities in (
        ("uvicorn", EVENTS),
        ("hypercorn", EVENTS),
        ("granian", EVENTS),
        ("granian-rsgi", UNHELD),
        ("daphne", UNHELD),
        ("gunicorn", EVENTS),
    )
}
SERVERS |= {
    name + kind: replace(SERVERS[server + kind], target="hosted.mounts:application", prefix="/mount")
    for kind in ("", "-events")
    for name, server in (
        ("starlette", "uvicorn"),
        ("fastapi", "uvicorn"),
        ("litestar", "uvicorn"),
        ("quart", "hypercorn"),
        ("django", "daphne"),
    )
}
"""Frameworks, each on the server that its users have."""


def command(name: str, *, fd: int, port: int) -> list[str]:
    """The command line that starts a server on a listening socket, or on a port of its own."""
    server = SERVERS[name]
    where = [option.format(fd=fd, port=port) for option in (*server.listen, *server.port)]
    return [sys.executable, "-m", server.module, *server.options, *where, server.target]
