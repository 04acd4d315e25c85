"""From a target to an open upstream: found, checked, connected to, and greeted with a handshake."""

from __future__ import annotations

import asyncio
import socket
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as websockets_connect
from websockets.headers import build_authorization_basic

from crosspeer.upstream.address import Address, address_of
from crosspeer.upstream.headers import forwarded, protocols_for
from crosspeer.upstream.options import Options, check_dial_options

if TYPE_CHECKING:
    from crosspeer.core.limits import Limits
    from crosspeer.core.peer import Peer
    from crosspeer.upstream.allow import Allow, Place
    from crosspeer.upstream.options import Target


class Dialer:
    """How the peers of one proxy get their upstreams.

    Raises:
        TypeError, ValueError: a target that is no function is not a possible one.
    """

    def __init__(self, target: Target, allow: Allow, options: Options) -> None:
        self._target = target
        # Read now: a mistake is its author's to see, not the first client's.
        self._fixed = None if callable(target) else address_of(target)
        self._allow = allow
        self._options = options

    async def find(self, peer: Peer) -> Address:
        """Find out where a peer is to go.

        Raises:
            TypeError, ValueError: the target is none.
            Exception: whatever the target's function raises.
        """
        if self._fixed is not None:
            return self._fixed
        assert callable(self._target)
        return address_of(await _settled(self._target(peer)))

    async def open(self, peer: Peer, address: Address) -> ClientConnection:
        """Connect and do the handshake. No redirect is followed, and no proxy of the environment is used.

        Raises:
            TargetRefused: the address is not allowed.
            OSError, websockets.InvalidHandshake: the upstream is not there, or refuses.
            TypeError, ValueError: the options ask for what cannot be done.
        """
        arguments = await self._arguments(peer, address)
        connected = await _connected(await self._allow.places(address))
        try:
            # Given a socket, it connects to nothing else.
            connect = self._options.connect or websockets_connect
            return cast("ClientConnection", await connect(address.url, sock=connected, **arguments))
        except BaseException:
            connected.close()
            raise

    async def _arguments(self, peer: Peer, address: Address) -> dict[str, Any]:
        options, request = self._options, peer.request
        given = dict(await _settled(_for(peer, options.websocket_options)) or {})
        check_dial_options(given)
        headers = forwarded(await _settled(_for(peer, options.headers)))
        names = {name.lower() for name, _ in headers}
        headers += [pair for pair in forwarded(given.pop("additional_headers", None)) if pair[0].lower() not in names]
        if address.credentials is not None and "authorization" not in names:
            headers.append(("authorization", build_authorization_basic(*map(unquote, address.credentials))))
        protocols = protocols_for(options.forward_protocol, request.offered_protocols, peer)
        return {
            **_defaults(request.hub.limits),
            **given,
            "additional_headers": headers,
            "subprotocols": protocols or None,
        }


def _defaults(limits: Limits) -> dict[str, Any]:
    return {
        "open_timeout": None,  # `connect_timeout` is, from further back.
        "close_timeout": limits.close_timeout,
        "max_size": limits.max_message_size,
        # Frames, which may be as large as a message: what the peer has no room for is to wait at the upstream.
        "max_queue": 1,
        "compression": None,
        "user_agent_header": None,
        "ping_interval": limits.ping_interval,
        # A pong that waits behind messages for a slow peer is not missing.
        "ping_timeout": None,
    }


async def _connected(places: list[Place]) -> socket.socket:
    """A socket that is connected to the first place that lets us."""
    failed: OSError | None = None
    for family, place in places:
        connecting = socket.socket(family, socket.SOCK_STREAM)
        try:
            connecting.setblocking(False)
            if family != socket.AF_UNIX:
                # asyncio does it for the sockets that it makes itself.
                connecting.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.get_running_loop().sock_connect(connecting, place)
        except OSError as error:
            connecting.close()
            failed = error
        except BaseException:
            connecting.close()
            raise
        else:
            return connecting
    raise failed or OSError("the target has no address")


def _for(peer: Peer, value: Any) -> Any:
    """An option that may be a function of the peer."""
    return value(peer) if callable(value) else value


async def _settled(value: Any) -> Any:
    return await value if isawaitable(value) else value
