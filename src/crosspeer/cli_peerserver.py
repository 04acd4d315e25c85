"""`crosspeer peerserver`: the command of the npm package `peer`, flag for flag, with what it prints."""

from __future__ import annotations

import atexit
import contextlib
import queue
import socket
import sys
import threading
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from crosspeer import __version__
from crosspeer.core.errors import MissingExtra
from crosspeer.peerjs import BrokerLimits, PeerServer, Turn
from crosspeer.server.logs import LEVELS, configure_logging
from crosspeer.server.serve import serve
from crosspeer.server.server import BACKLOG, bind
from crosspeer.server.workers import serve_with_workers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Option = Callable[[Callable[..., None]], Callable[..., None]]

MAX_LINES: Final = 10_000
"""Lines that wait for a reader of our output who does not read; more are left out."""
_SHORT: Final = ("-p=", "-H=", "-k=", "-t=", "-c=")


class _NpmCommand(click.Command):
    """Reads its arguments as `yargs` does: `--cors A B`, `-p=9000`, `--no-allow_discovery`, flags that nobody knows."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        rest = super().parse_args(ctx, _as_click(args))
        for unknown in (arg for arg in ctx.args if arg.startswith("-")):
            click.echo(f"crosspeer: peerserver has no {unknown.partition('=')[0]}, which is ignored", err=True)
        return rest


def _as_click(args: Sequence[str]) -> list[str]:
    made: list[str] = []
    is_list = False
    for arg in args:
        if is_list and not arg.startswith("-"):
            made += ["--cors", arg]
            continue
        is_list = arg == "--cors"
        if arg.startswith("--no-"):
            made += [f"--{arg[5:]}", "false"]
        elif arg.startswith(_SHORT):
            made += [arg[:2], arg[3:]]
        elif not is_list:
            made.append(arg)
    return made


def _flag(name: str, text: str) -> Option:
    return click.option(name, is_flag=False, flag_value=True, default=False, type=bool, metavar="", help=text)


def _milliseconds(name: str, default: int, text: str) -> Option:
    return click.option(*name.split(), default=default, show_default=True, type=click.IntRange(min=1), help=text)


@click.version_option(__version__, prog_name="crosspeer")
@click.command(
    "peerserver", cls=_NpmCommand, context_settings={"ignore_unknown_options": True, "allow_extra_args": True}
)
@_milliseconds("--expire_timeout -t", 5000, "Milliseconds that messages wait for a peer which is not there.")
@click.option(
    "--concurrent_limit", "-c", default=5000, show_default=True, type=click.IntRange(min=1), help="Registered ids."
)
@_milliseconds("--alive_timeout", 60_000, "Milliseconds of silence after which a client is gone.")
@click.option("--key", "-k", default="peerjs", show_default=True, help="What clients have to send as their key.")
@click.option("--sslkey", type=click.Path(), help="PEM file of the certificate's key.")
@click.option("--sslcert", type=click.Path(), help="PEM file of the certificate; with its key: https and wss.")
@click.option("--host", "-H", help="Address to listen on; without one, all of IPv4 and IPv6.")
@click.option("--port", "-p", envvar="PORT", required=True, type=click.IntRange(0, 65535), help="Port (or PORT).")
@click.option("--path", envvar="PEERSERVER_PATH", default="/", show_default=True, help="Or PEERSERVER_PATH.")
@_flag("--allow_discovery", "List the ids at {path}/{key}/peers.")
@_flag("--proxied", "Believe the nearest proxy about the address of a client.")
@click.option("--cors", multiple=True, metavar="ORIGIN ...", help="Pages that may read the HTTP routes; else all.")
@click.option("--origin", "origins", multiple=True, help="Page that may open the socket; else all. May be repeated.")
@click.option(
    "--turn_url", "turn_urls", multiple=True, help="URL of a TURN server to mint credentials for. Repeatable."
)
@click.option("--turn_secret", envvar="PEERSERVER_TURN_SECRET", help="Its secret; better by PEERSERVER_TURN_SECRET.")
@click.option("--turn_lifetime", default=600, show_default=True, type=click.IntRange(1, 86400), help="In seconds.")
@click.option("--sync", metavar="URL", help="Be one broker with other nodes: redis://, nats:// or postgres://.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 256), help="Processes on the port.")
@click.option("--max_message_size", type=click.IntRange(min=1), help="Largest frame in bytes [default: 65536].")
@click.option("--log-level", default="warning", show_default=True, type=click.Choice(LEVELS), help="To standard error.")
def peerserver(
    sslkey: str | None,
    sslcert: str | None,
    host: str | None,
    port: int,
    sync: str | None,
    workers: int,
    log_level: str,
    **options: Any,
) -> None:
    """Run a broker for PeerJS clients: the command of the npm package `peer`, with its flags.

    \b
    Example:
      crosspeer peerserver --port 9000 --path /myapp
    """
    configure_logging(log_level)
    if (sslkey is None) != (sslcert is None):
        _fail("Warning: PeerServer will not run because either the key or the certificate has not been provided.")
    server = _server(sync=sync, **options)
    listener = _listen(host, port)
    path = options["path"] if options["path"].startswith("/") else f"/{options['path']}"
    lines = _Lines()

    def started(address: tuple[str, int]) -> None:
        lines.put(f"Started PeerServer on {address[0]}, port: {address[1]}, path: {path}")

    files: dict[str, Any] = {"ssl_certfile": sslcert, "ssl_keyfile": sslkey}
    if workers > 1:
        _serve_with_workers(workers, listener, log_level, {**files, "sync": sync}, options, started)
    else:
        _tell(server, lines)
        _raise_open_files()
        try:
            serve(server, sock=listener, started=lambda _server: started(listener.getsockname()[:2]), **files)
        except (OSError, RuntimeError, ValueError) as error:
            _fail(f"crosspeer: {error}")
    lines.put("Http server closed.")
    lines.close()


def _serve_with_workers(
    count: int,
    listener: socket.socket,
    log_level: str,
    serving: dict[str, Any],
    options: dict[str, Any],
    started: Callable[[tuple[str, int]], None],
) -> None:
    """Let several processes listen, where we have seen that one can."""
    host, port = listener.getsockname()[:2]
    listener.close()
    try:
        status = serve_with_workers(count, partial(_worker, options), host, port, log_level, serving, started)
    except OSError as error:
        _fail(f"crosspeer: cannot listen on port {port} of {host}: {error.strerror or error}")
    if status:
        sys.exit(status)


def _worker(options: dict[str, Any]) -> PeerServer:
    """One of several brokers that are one, in its own process."""
    lines = _Lines()
    atexit.register(lines.close)
    _raise_open_files()
    server = _server(**options)
    _tell(server, lines)
    return server


def _tell(server: PeerServer, lines: _Lines) -> None:
    server.on("connection", lambda client: lines.put(f"Client connected: {client.id}"))
    server.on("disconnect", lambda client: lines.put(f"Client disconnected: {client.id}"))


class _Lines:
    """Standard output, written by a thread: a reader that stops does not stop the broker."""

    def __init__(self) -> None:
        self._lines: queue.Queue[str | None] = queue.Queue(MAX_LINES)
        self._thread = threading.Thread(target=self._write, name="output", daemon=True)
        self._thread.start()

    def put(self, line: str) -> None:
        with contextlib.suppress(queue.Full):
            self._lines.put_nowait(line)

    def close(self) -> None:
        """Write what is left, as long as somebody reads it."""
        with contextlib.suppress(queue.Full):
            self._lines.put_nowait(None)
        self._thread.join(1.0)

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            with contextlib.suppress(OSError):
                sys.stdout.write(f"{line}\n")
                sys.stdout.flush()


def _server(
    *,
    expire_timeout: int,
    alive_timeout: int,
    turn_urls: tuple[str, ...],
    turn_secret: str | None,
    turn_lifetime: int,
    max_message_size: int | None,
    cors: tuple[str, ...],
    origins: tuple[str, ...],
    **options: Any,
) -> PeerServer:
    if bool(turn_urls) != bool(turn_secret):
        _fail("crosspeer: TURN needs both --turn_url and its secret (PEERSERVER_TURN_SECRET)")
    try:
        return PeerServer(
            expire_timeout=expire_timeout / 1000,
            alive_timeout=alive_timeout / 1000,
            cors=cors or None,
            origins=origins or "*",
            turn=Turn(turn_secret or "", turn_urls, lifetime=turn_lifetime) if turn_urls else None,
            limits=BrokerLimits() if max_message_size is None else BrokerLimits(max_message_size=max_message_size),
            **options,
        )
    except (ValueError, MissingExtra) as error:
        _fail(f"crosspeer: {error}")


def _listen(host: str | None, port: int) -> socket.socket:
    try:
        if host in (None, "::") and socket.has_dualstack_ipv6():
            return socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=BACKLOG)
        return bind(host or "0.0.0.0", port)
    except OSError as error:
        _fail(f"crosspeer: cannot listen on port {port} of {host or 'this machine'}: {error.strerror or error}")


def _raise_open_files() -> None:
    """Take as many connections as the system allows, as Node does."""
    try:
        import resource
    except ImportError:  # Windows has no such limit.
        return
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _fail(message: str) -> NoReturn:
    click.echo(message, err=True)
    sys.exit(1)
