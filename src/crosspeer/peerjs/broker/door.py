"""How a client comes in: what it must bring, who may have an id, and what happens to the one before."""

from __future__ import annotations

import hmac
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import parse_qsl

from crosspeer.peerjs.broker.rates import Buckets, address_key
from crosspeer.peerjs.broker.registry import Client, is_open
from crosspeer.peerjs.broker.state import REPLACED, TAKEN, logger
from crosspeer.wire.closing import CloseCode
from crosspeer.wire.peerjs import (
    ID_TAKEN_TEXT,
    INVALID_ID,
    INVALID_KEY,
    INVALID_TOKEN,
    LIMIT_EXCEEDED,
    NO_PARAMETERS,
    OPEN_TEXT,
    error_text,
    is_valid_id,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from starlette.types import Scope

    from crosspeer.core.peer import Peer
    from crosspeer.peerjs.broker.claims import Verdict
    from crosspeer.peerjs.broker.directory import Entry
    from crosspeer.peerjs.broker.fleet import Fleet
    from crosspeer.peerjs.broker.room import Waiting
    from crosspeer.peerjs.broker.state import State

CONTEXT: Final = "peerjs"
"""Where a peer's context holds its `Opening`, and its `Client` once it is registered."""

WRONG_KEY: Final = 4503
TOO_MANY_FAILURES: Final = 4004
"""More codes of crosspeer's own."""

MAX_FIELDS: Final = 64


class Opening(NamedTuple):
    """What a connection came with."""

    id: str
    token: str
    key: str
    address: str


class Refusal(NamedTuple):
    """Why a connection is not taken."""

    reason: str
    text: str
    code: int


_NO_PARAMETERS: Final = Refusal("no parameters", error_text(NO_PARAMETERS), CloseCode.POLICY)
_WRONG_KEY: Final = Refusal("wrong key", error_text(INVALID_KEY), WRONG_KEY)
_WRONG_KEYS: Final = Refusal("too many failures", error_text(INVALID_KEY), TOO_MANY_FAILURES)
_INVALID_ID: Final = Refusal("invalid id", error_text(INVALID_ID), CloseCode.POLICY)
_INVALID_TOKEN: Final = Refusal("invalid token", error_text(INVALID_TOKEN), CloseCode.POLICY)
_INVALID_TOKENS: Final = Refusal("too many failures", error_text(INVALID_TOKEN), TOO_MANY_FAILURES)
_TAKEN: Final = Refusal("id taken", ID_TAKEN_TEXT, TAKEN)
_TAKEN_TOO_OFTEN: Final = Refusal("too many failures", ID_TAKEN_TEXT, TOO_MANY_FAILURES)
_NOT_GRANTED: Final[dict[Verdict, Refusal]] = {"taken": _TAKEN, "later": _TAKEN, "too often": _TAKEN_TOO_OFTEN}
_FULL: Final = Refusal("full", error_text(LIMIT_EXCEEDED), CloseCode.TRY_LATER)
_ADDRESS_FULL: Final = Refusal("address full", error_text(LIMIT_EXCEEDED), CloseCode.TRY_LATER)


class Door:
    """Lets clients in, in the order of npm's `peer`: parameters, key, id, token, room."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._options = state.options
        limits = state.limits
        self._has_warned = False
        self._of_id = Buckets(limits.failures_per_id / 60, max(1.0, limits.failures_per_id))
        self._of_address = Buckets(limits.failures_per_address / 60, max(1.0, limits.failures_per_address))

    def read(self, scope: Scope) -> Opening | None:
        """What a handshake brings. None: its query is none."""
        try:
            query = dict(parse_qsl(scope["query_string"].decode(errors="replace"), max_num_fields=MAX_FIELDS))
        except ValueError:
            return None
        return Opening(query.get("id", ""), query.get("token", ""), query.get("key", ""), self.address(scope))

    def address(self, scope: Scope) -> str:
        """Who a request comes from, as rates count it: what the nearest proxy says, if there is to be one."""
        for name, value in reversed(scope["headers"]):
            if name == b"x-forwarded-for":
                if self._options.proxied:
                    return address_key(value.decode("latin-1").rpartition(",")[2].strip())
                self._warn_of_proxy()
        client = scope.get("client")
        return address_key(client[0] if client else None)

    def has_key(self, key: str, address: str) -> Refusal | None:
        """Look at a key, unless this address has guessed too often."""
        now = self._state.clock.time()
        if not self._of_address.has_one(address, now):
            return _WRONG_KEYS
        if not _is_same(key, self._options.key):
            self._of_address.take(address, now)
            return _WRONG_KEY
        return None

    def open(self, peer: Peer) -> Awaitable[None] | None:
        """A connection is open: register it, or say why not and close it."""
        opening: Opening = peer.context[CONTEXT]
        refusal = self._check(opening)
        if refusal is not None:
            self._refuse(peer, opening, refusal)
            return None
        if self._options.authenticate is None:
            return self._come_in(peer, opening)
        return self._authenticate(peer, opening)

    async def is_authentic(self, request: Any, id: str, token: str) -> bool:
        """Ask the application. Its failure is no permission."""
        if self._options.authenticate is None:
            return True
        try:
            answer = self._options.authenticate(request, id, token)
            return bool(await answer if isawaitable(answer) else answer)
        except Exception as error:
            logger.error("authenticate failed", exc_info=error)
            return False

    def judge(self, id: str, is_same: bool) -> Verdict:
        """Whether who brings the token of a registered id, or another one, may have it."""
        now = self._state.clock.time()
        if not self._of_id.has_one(id, now):
            return "too often"
        if not is_same:
            self._of_id.take(id, now)
            return "taken"
        return "granted"

    # Inside.

    def _warn_of_proxy(self) -> None:
        if not self._has_warned:
            self._has_warned = True
            logger.warning("there seems to be a proxy in front: without `proxied` all clients share what one may do")

    def _check(self, opening: Opening) -> Refusal | None:
        if not (opening.id and opening.token and opening.key):
            return _NO_PARAMETERS
        refusal = self.has_key(opening.key, opening.address)
        if refusal is not None:
            return refusal
        if not is_valid_id(opening.id):
            return _INVALID_ID
        if len(opening.token) > self._state.limits.max_token_length:
            return _INVALID_TOKEN
        return None

    async def _authenticate(self, peer: Peer, opening: Opening) -> None:
        now = self._state.clock.time()
        if not self._of_address.has_one(opening.address, now):
            self._refuse(peer, opening, _INVALID_TOKENS)
        elif not await self.is_authentic(peer.request, opening.id, opening.token):
            self._of_address.take(opening.address, now)
            self._refuse(peer, opening, _INVALID_TOKEN)
        else:
            waiting = self._come_in(peer, opening)
            if waiting is not None:
                await waiting

    def _come_in(self, peer: Peer, opening: Opening) -> Awaitable[None] | None:
        fleet = self._state.fleet
        return self._register(peer, opening) if fleet is None else self._claim(fleet, peer, opening)

    async def _claim(self, fleet: Fleet, peer: Peer, opening: Opening) -> None:
        """Register, if the other nodes agree."""
        refusal = None if opening.id in self._state.registry else self._check_room(opening)
        if refusal is not None:
            # Before the client loses the place that it may have elsewhere.
            self._refuse(peer, opening, refusal)
            return
        waiting = None
        async with fleet.claims.claimed(opening.id, opening.token) as (verdict, entry):
            refusal = _NOT_GRANTED.get(verdict)
            if refusal is not None:
                self._refuse(peer, opening, refusal)
            elif is_open(peer):
                waiting = self._register(peer, opening, entry)
        if waiting is not None:
            await waiting

    def _register(self, peer: Peer, opening: Opening, entry: Entry | None = None) -> Awaitable[None] | None:
        """Everything from the look at who has the id to the registration happens in one turn of the loop."""
        state = self._state
        known = state.registry.get(opening.id)
        refusal = self._check_room(opening) if known is None else self._check_token(known, opening)
        if refusal is not None:
            self._refuse(peer, opening, refusal)
            return None
        client = self._enter(peer, opening, entry) if known is None else self._take_over(known, peer)
        peer.context[CONTEXT] = client
        peer.send(OPEN_TEXT)
        self._hand_over(client, state.queues.take(client.id))
        return state.events.emit("connection", client)

    def _check_room(self, opening: Opening) -> Refusal | None:
        registry, most = self._state.registry, self._state.limits.max_clients_per_address
        if len(registry) >= self._options.concurrent_limit:
            return _FULL
        if most is not None and registry.at_address(opening.address) >= most:
            return _ADDRESS_FULL
        return None

    def _check_token(self, known: Client, opening: Opening) -> Refusal | None:
        return _NOT_GRANTED.get(self.judge(known.id, _is_same(known.token, opening.token)))

    def _enter(self, peer: Peer, opening: Opening, entry: Entry | None) -> Client:
        client = Client(opening.id, opening.token, opening.address, peer)
        self._state.enter(client)
        if entry is not None and self._state.fleet is not None:
            self._state.fleet.joined(client.id, entry)
        return client

    def _take_over(self, client: Client, peer: Peer) -> Client:
        """The same client on another connection: the old one is not to speak for it any more."""
        before, client.peer = client.peer, peer
        before.close(REPLACED, "replaced")
        client.refusals = 0
        self._state.metrics.takeovers += 1
        self._state.heard(client, self._state.clock.time())
        return client

    def _hand_over(self, client: Client, messages: list[Waiting]) -> None:
        now = self._state.clock.time()
        since = now - self._state.limits.contact_time
        for message in messages:
            client.send(message.text)
            client.met(message.src, now, since)
            self._state.metrics.relayed[message.type] += 1

    def _refuse(self, peer: Peer, opening: Opening, refusal: Refusal) -> None:
        self._state.refused(refusal.reason, opening.id, opening.address)
        peer.send(refusal.text)
        peer.close(refusal.code, refusal.reason)


def _is_same(one: str, other: str) -> bool:
    """Compare in a time that says nothing of where they differ."""
    return hmac.compare_digest(one.encode(errors="replace"), other.encode(errors="replace"))
