"""What all these commands share: how they find their broker, and what they say when something goes wrong."""

from __future__ import annotations

import functools
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import click

from crosspeer.peerjs.client.options import CLOUD_HOST
from crosspeer.peerjs.rtc.choose import NAMES
from crosspeer.wire.peerjs import is_valid_id

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from crosspeer.peerjs import PeerError

    Command = Callable[..., None]

_TOKEN: Final = "CROSSPEER_TOKEN"
_ICE: Final = "CROSSPEER_ICE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """Where peers meet, as the command line says it."""

    host: str
    port: int
    path: str
    key: str
    secure: bool | None
    token: str | None
    ice: tuple[str, ...]
    relay_only: bool
    engine: str | None
    debug: int

    @property
    def url(self) -> str:
        """For people."""
        secure = self.port == 443 if self.secure is None else self.secure
        return f"{'https' if secure else 'http'}://{self.host}:{self.port}/{self.path.strip('/')}"

    def arguments(self) -> dict[str, Any]:
        """What `Peer` is made with.

        Raises:
            click.UsageError: an ICE server cannot be read.
        """
        config: dict[str, Any] | None = None
        if self.ice or self.relay_only:
            config = {"iceServers": _ice_servers(self.ice)}
            config["iceTransportPolicy"] = "relay" if self.relay_only else "all"
        same = ("host", "port", "path", "key", "secure", "token", "engine", "debug")
        return {name: getattr(self, name) for name in same} | {"config": config}

    def flags(self) -> str:
        """What the other side types to find the same broker: nothing that is secret, and nothing for the default."""
        words: list[str] = []
        for name, default in (("host", CLOUD_HOST), ("port", 443), ("path", "/"), ("key", "peerjs")):
            if (value := getattr(self, name)) != default:
                words += [f"--{name}", str(value)]
        if self.secure is not None:
            words.append("--secure" if self.secure else "--insecure")
        return "".join(f" {shlex.quote(word)}" for word in words)

    def explain(self, error: PeerError) -> str:
        """What to do about an error of the peer."""
        text = str(error).rstrip(".")
        advice = _ADVICE.get(error.type, "")
        return f"{text}{advice.format(url=self.url)}"


_ADVICE: Final = {
    "peer-unavailable": ": nobody of this id is at {url}; check the id, and that the other side is running",
    "unavailable-id": " at {url}: choose another, or leave it out to be given one",
    "invalid-key": ": give the one of {url} with --key",
    "network": " ({url}): check --host, --port, --path, --key, and --secure or --insecure",
    "server-error": " ({url}): check --host, --port, --path, --key, and --secure or --insecure",
    "negotiation-failed": ": some networks need a TURN server, see --ice",
}


class PeerId(click.ParamType[str]):
    """The id of a peer, which PeerJS allows."""

    name = "id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not is_valid_id(value):
            self.fail(f"{value!r} is no id: letters and digits, with single spaces, - and _ between them", param, ctx)
        return str(value)


def peer_options(command: Command) -> Command:
    """Add the options of `Broker`, which the command gets as `broker`."""

    @functools.wraps(command)
    def with_broker(**options: Any) -> None:
        names = Broker.__dataclass_fields__
        broker = Broker(**{name: options.pop(name) for name in names})
        broker.arguments()
        command(broker=broker, **options)

    wrapped: Command = with_broker
    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped


_OPTIONS: Final = (
    click.option("--host", default=CLOUD_HOST, show_default=True, help="Broker where both sides meet."),
    click.option("--port", default=443, show_default=True, type=click.IntRange(1, 65535), help="Its port."),
    click.option("--path", default="/", show_default=True, help="Its path."),
    click.option("--key", default="peerjs", show_default=True, help="Its key."),
    click.option("--secure/--insecure", default=None, help="With or without TLS  [default: with it on port 443]"),
    click.option("--token", envvar=_TOKEN, help=f"Proves who we are to a broker that asks; better by {_TOKEN}."),
    click.option(
        "--ice",
        envvar=_ICE,
        multiple=True,
        metavar="URL",
        help="stun:HOST:PORT or turn:USER:PASSWORD@HOST:PORT, or none; repeatable, or several in " + _ICE + ".",
    ),
    click.option("--relay-only", is_flag=True, help="Go through a TURN server, and tell nobody our addresses."),
    click.option("--engine", type=click.Choice(NAMES), help="WebRTC engine  [default: the first that is installed]"),
    click.option("--debug", default=0, type=click.IntRange(0, 3), help="What is logged: 1 errors, 2 warnings, 3 all."),
)


def _ice_servers(urls: Sequence[str]) -> list[dict[str, str]]:
    if list(urls) == ["none"]:
        return []
    return [_ice_server(url) for url in urls]


def _ice_server(url: str) -> dict[str, str]:
    scheme, colon, rest = url.partition(":")
    login, at, address = rest.rpartition("@")
    username, _, credential = login.partition(":")
    is_turn = scheme in ("turn", "turns")
    if not colon or not address or (not is_turn and (scheme not in ("stun", "stuns") or at)):
        raise click.UsageError("--ice is stun:HOST:PORT, turn:USER:PASSWORD@HOST:PORT, or none")
    if is_turn and not (username and credential):
        raise click.UsageError(f"--ice {scheme}:...@{address} needs a user and a password before the @")
    server = {"urls": f"{scheme}:{address}"}
    return server | {"username": username, "credential": credential} if is_turn else server
