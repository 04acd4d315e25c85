"""Which requests are those of peers that come by `EventSource`, and what becomes of them."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from starlette.responses import PlainTextResponse, Response

from crosspeer.core.session import Session
from crosspeer.runtime.handshake import admit, rendered
from crosspeer.runtime.sse.inbox import NUMBER_HEADER, take_post
from crosspeer.runtime.sse.peers import TOKEN_HEADER, EventPeers, peers_of
from crosspeer.wire.sse import CACHE_HEADERS, MEDIA_TYPE
from crosspeer.wire.streamed import CLOSED_ID

if TYPE_CHECKING:
    from collections.abc import Iterable

    from crosspeer.core.hub import Hub
    from crosspeer.core.request import Request
    from crosspeer.core.sse import SSE
    from crosspeer.runtime.exchange import Exchange
    from crosspeer.runtime.sse.connection import EventConnection

logger = logging.getLogger("crosspeer")

_ACCEPT: Final = MEDIA_TYPE.encode()
_TOKEN: Final = TOKEN_HEADER.encode()
_MARKS: Final = (TOKEN_HEADER, "last-event-id")
"""Headers that a page of another origin asks our permission for."""
_NOT_FOUND: Final = PlainTextResponse("Not Found", 404)
_ELSEWHERE: Final = PlainTextResponse("Forbidden: this page may not connect", 403)


def concerns(method: str, headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether a request looks like a peer's: a GET for events, a POST with a secret, or the question whether it may."""
    if method == "GET":
        return any(name == b"accept" and _accepts(value) for name, value in headers)
    if method == "POST":
        return any(name == _TOKEN for name, _ in headers)
    return method == "OPTIONS" and any(name == b"access-control-request-headers" for name, _ in headers)


async def respond(hub: Hub, request: Request, exchange: Exchange, *, is_last: bool) -> bool:
    """Answer a request that `concerns` is true for. False: it is not meant for peers, and nothing was sent.

    Args:
        is_last: nobody else could answer it: then what is not found is 404.
    """
    if hub.sse is None:
        return False
    peers = peers_of(hub, hub.sse)
    if request.method == "POST" and (connection := peers.by_token(request)) is not None:
        answered = await take_post(connection, request, exchange, hub)
        await _answer(exchange, answered, request)
        return True
    try:
        async with asyncio.timeout(hub.limits.handshake_timeout):
            is_ours = await hub.gate.serves(request)
    except TimeoutError:
        is_ours = True
    if not is_ours:
        if is_last:
            await _answer(exchange, _NOT_FOUND)
        return is_last
    if request.method == "GET":
        await _Gate(hub, hub.sse, peers, request, exchange).stream()
    elif request.method == "POST":
        # A secret that was guessed, has expired, or is another page's: nobody learns which.
        await _answer(exchange, _NOT_FOUND)
    else:
        return await _permit(hub, request, exchange)
    return True


class _Gate:
    """A GET for events on a path with hooks."""

    def __init__(self, hub: Hub, options: SSE, peers: EventPeers, request: Request, exchange: Exchange) -> None:
        self._hub = hub
        self._options = options
        self._peers = peers
        self._request = request
        self._exchange = exchange

    async def stream(self) -> None:
        if self._request.headers.get("last-event-id") == CLOSED_ID:
            # The one answer after which a browser does not come back.
            await _answer(self._exchange, Response(status_code=204), self._request)
        elif _is_blind(self._request):
            await _answer(self._exchange, _ELSEWHERE)
        else:
            await self._resume_or_open()

    async def _resume_or_open(self) -> None:
        found = self._peers.by_position(self._request)
        if found is not None and found[0].channel.can_resume(found[1]):
            await self._resume(*found)
            return
        await self._open()

    async def _resume(self, connection: EventConnection, number: int) -> None:
        try:
            await self._start(connection)
        except Exception as error:
            logger.debug("a client did not wait for its stream: %r", error)
            return
        await connection.serve(self._exchange, number)

    async def _open(self) -> None:
        admitted = await admit(self._hub, self._request)
        if isinstance(admitted, Response):
            told = self._request if self._hub.gate.origin_allowed(self._request) else None
            await _answer(self._exchange, admitted, told)
            return
        before = self._peers.by_position(self._request)
        if before is not None and before[0].channel.has_sent(before[1]):
            # The same client, which has missed too much: it is not to be there twice.
            before[0].channel.finish()
        session = Session(admitted)
        connection = self._peers.add(session, self._exchange)
        try:
            await self._start(connection, admitted.accepted.header_pairs)
        except BaseException as error:
            # The client left in the middle of its handshake: no peer, so no hook has anything to close.
            session.abandon()
            self._peers.discard(connection)
            if not isinstance(error, Exception):
                raise
            return
        await connection.serve(self._exchange, None)

    async def _start(self, connection: EventConnection, more: Iterable[tuple[str, str]] = ()) -> None:
        await self._exchange.start(200, self._headers(connection, more))
        if self._options.keep_alive > 0:
            # Somebody acknowledges our comments, or nobody is there.
            self._exchange.drop_when_silent(3 * self._options.keep_alive)

    def _headers(self, connection: EventConnection, more: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
        """Ours last, and only once: nobody else says what kind of answer this is."""
        ours = {"content-type": MEDIA_TYPE, **CACHE_HEADERS}
        if self._options.crossws:
            ours[TOKEN_HEADER] = connection.channel.token
        pairs = [pair for pair in more if pair[0] not in ours] + list(ours.items())
        return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs] + _cors(self._request)


async def _permit(hub: Hub, request: Request, exchange: Exchange) -> bool:
    """Tell a browser that a page of another origin may send the headers of a peer, if it may connect."""
    wanted = request.headers.get("access-control-request-headers", "").lower()
    may_come = hub.gate.host_allowed(request) and hub.gate.origin_allowed(request)
    if not may_come or not any(mark in wanted for mark in _MARKS):
        return False
    headers = {
        "access-control-allow-methods": "GET, POST",
        "access-control-allow-headers": ", ".join((*_MARKS, NUMBER_HEADER, "content-type")),
        "access-control-max-age": "600",
    }
    await _answer(exchange, Response(status_code=204, headers=headers), request)
    return True


async def _answer(exchange: Exchange, response: Response, page: Request | None = None) -> None:
    """Send a whole answer, readable for the page of that request if it is of another origin."""
    made = await rendered(response)
    await exchange.answer(made.status, [*made.headers, *(_cors(page) if page is not None else [])], made.body)


def _cors(request: Request) -> list[tuple[bytes, bytes]]:
    """The page has passed the Origin check. Cookies it brings only if the application says so, in `upgrade`."""
    origin = request.headers.get("origin")
    if origin is None:
        return []
    return [(b"access-control-allow-origin", origin.encode("latin-1")), (b"vary", b"origin")]


def _is_blind(request: Request) -> bool:
    """A page of another site asks without saying who it is: it could not read the answer, but it would be a peer."""
    site = request.headers.get("sec-fetch-site")
    return "origin" not in request.headers and site in ("cross-site", "same-site")


def _accepts(value: bytes) -> bool:
    return _ACCEPT in value and any(part.partition(b";")[0].strip().lower() == _ACCEPT for part in value.split(b","))
