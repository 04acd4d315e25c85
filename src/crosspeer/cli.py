"""The `crosspeer` command."""

from __future__ import annotations

import errno
import logging
import os
import ssl
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from crosspeer import __version__
from crosspeer.cli_peer import COMMANDS
from crosspeer.cli_peerserver import peerserver
from crosspeer.core.errors import MissingExtra
from crosspeer.core.hosts import HostNames
from crosspeer.server.engine import ENVIRONMENT, NAMES, EngineError
from crosspeer.server.logs import LEVELS, configure_logging
from crosspeer.server.reload import serve_with_reload
from crosspeer.server.serve import serve
from crosspeer.server.server import bind
from crosspeer.server.target import TargetError, load_target
from crosspeer.server.workers import serve_with_workers
from crosspeer.sync import KEY_VARIABLE, connect

if TYPE_CHECKING:
    import socket

_FILE = click.Path(exists=True, dir_okay=False)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="crosspeer")
def main() -> None:
    """Real-time peers for Python."""


main.add_command(peerserver)
for _command in COMMANDS:
    main.add_command(_command)


@main.command("serve")
@click.argument("target")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for all.")
@click.option(
    "--port", default=3000, show_default=True, type=click.IntRange(0, 65535), help="Port; 0 takes a free one."
)
@click.option("--reload", is_flag=True, help="Start again when a file changes; pages are told to reconnect (1012).")
@click.option(
    "--engine", type=click.Choice(NAMES), envvar=ENVIRONMENT, default="auto", show_default=True, help="Engine."
)
@click.option("--ssl-certfile", type=_FILE, help="PEM file of the certificate; with it and its key: https and wss.")
@click.option("--ssl-keyfile", type=_FILE, help="PEM file of the certificate's key.")
@click.option(
    "--allowed-host",
    "allowed_hosts",
    multiple=True,
    metavar="NAME",
    help="Name that clients may connect to, for a proxy before a loopback address; * for any. May be repeated.",
)
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 256), help="Processes on the port.")
@click.option(
    "--sync", metavar="URL", help="Share topics with other nodes: redis://, nats://, postgres:// or local:///path."
)
@click.option(
    "--sync-key-file", type=_FILE, help=f"File with the key that all nodes share; or the key itself in {KEY_VARIABLE}."
)
@click.option("--log-level", default="info", show_default=True, type=click.Choice(LEVELS), help="What to log.")
def serve_command(
    target: str, host: str, port: int, reload: bool, workers: int, log_level: str, **options: Any
) -> None:
    """Serve TARGET over HTTP and WebSocket.

    TARGET is a folder that holds routes/ (and public/, served as static files), a routes folder itself, or
    module:attribute naming hooks, a hub or an ASGI application.

    \b
    Examples:
      crosspeer serve examples/chat
      crosspeer serve chat:Chat --port 8000 --reload
    """
    configure_logging(log_level)
    _check_certificate(options["ssl_certfile"], options["ssl_keyfile"])
    options["allowed_hosts"] = _checked_hosts(options["allowed_hosts"])
    if reload and workers > 1:
        _fail("--reload goes with one worker")
    _take_key(options.pop("sync_key_file"))
    _check_sync(options["sync"])
    if workers > 1:
        _bind(host, port).close()
        sys.exit(serve_with_workers(workers, target, host, port, log_level, options))
    sock = _bind(host, port)
    try:
        if reload:
            serve_with_reload(target, sock, log_level, options)
        else:
            serve(load_target(target), sock=sock, **options)
    except (TargetError, EngineError) as error:
        _fail(str(error))
    except RuntimeError as error:
        _fail(f"{error}; the log above says why")


def _check_certificate(certfile: str | None, keyfile: str | None) -> None:
    if certfile is None:
        if keyfile is not None:
            _fail("--ssl-keyfile goes with --ssl-certfile")
        return
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certfile, keyfile)
    except (ssl.SSLError, OSError) as error:
        _fail(f"{certfile} and its key cannot be used: {error.strerror or error}; give PEM files of a pair")


def _take_key(file: str | None) -> None:
    """Put a key where this process and its workers look for it."""
    if file is not None:
        try:
            key = Path(file).read_text().strip()
        except (OSError, ValueError) as error:
            _fail(f"{file} cannot be read as a key: {error}")
        if not key:
            _fail(f"{file} is empty: give a file with a line of text, the key")
        os.environ[KEY_VARIABLE] = key


def _check_sync(url: str | None) -> None:
    if url is not None:
        try:
            connect(url)
        except (ValueError, MissingExtra) as error:
            _fail(str(error))


def _checked_hosts(hosts: tuple[str, ...]) -> tuple[str, ...] | None:
    try:
        HostNames(hosts)
    except ValueError as error:
        _fail(str(error))
    return hosts or None


def _bind(host: str, port: int) -> socket.socket:
    try:
        return bind(host, port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            _fail(f"port {port} of {host} is taken: choose another with --port, or --port 0 for a free one")
        if error.errno == errno.EACCES:
            _fail(f"port {port} needs more rights: choose one above 1023 with --port")
        _fail(f"cannot listen on {host}: {error.strerror or error}; choose an address of this machine with --host")


def _fail(message: str) -> NoReturn:
    for handler in logging.getLogger().handlers:
        # What it refers to comes first.
        handler.flush()
    click.echo(f"crosspeer: {message}", err=True)
    sys.exit(1)
