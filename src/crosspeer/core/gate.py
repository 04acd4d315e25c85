"""The gate of a hub: who may come in, with which hooks, and what the application says to it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Final, cast

from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, Response

from crosspeer.core.admission import Admission
from crosspeer.core.hooks import Hooks, HooksLike, HookTable, as_hooks
from crosspeer.core.memory import HighWater
from crosspeer.core.request import HUB_KEY, Request
from crosspeer.core.upgrade import Upgrade, as_upgrade, check_refusal
from crosspeer.wire.envelope import MAX_NAMESPACE

if TYPE_CHECKING:
    from crosspeer.core.hub import Hub

logger = logging.getLogger("crosspeer")

Resolved = HooksLike | Response | None
Resolve = Callable[[Request], Resolved | Awaitable[Resolved]]
Check = Callable[[Request], bool]
FOUND_KEY: Final = "crosspeer.found"
"""Where the scope of a request keeps what `resolve` has said of it."""
MAX_TABLES: Final = 256
"""Hook tables that are kept for the next connection with the same hooks."""

Negotiation = Generator[Awaitable[Any], Any, "Admission | Response"]


class Gate:
    """Takes handshakes, and counts the connections that they become.

    Args:
        hooks, resolve, namespace: see `Hub`.
        host_allowed, origin_allowed: say whether a request may come in at all.
        most: connections, None for no bound.
    """

    def __init__(
        self,
        hub: Hub,
        hooks: HooksLike | None,
        resolve: Resolve | None,
        namespace: Callable[[Request], str] | None,
        host_allowed: Check,
        origin_allowed: Check,
        most: int | None,
    ) -> None:
        self._hub = hub
        self._hooks = None if hooks is None else HookTable.of(as_hooks(hooks))
        self._resolve = resolve
        self._namespace = namespace or (lambda request: request.scope["path"])
        self.host_allowed: Final = host_allowed
        self.origin_allowed: Final = origin_allowed
        self._most = most
        self._memory = HighWater(hub.limits.max_memory)
        self._tables: dict[int, tuple[HooksLike, HookTable]] = {}
        self.connections = 0
        """Those in the middle of their handshake included."""
        self._closing = 0

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Refuse every new handshake with 503 meanwhile."""
        self._closing += 1
        try:
            yield
        finally:
            self._closing -= 1

    @property
    def is_closing(self) -> bool:
        """Whether every new handshake is refused."""
        return self._closing > 0

    def release(self) -> None:
        """A connection, or a handshake that was let in, has come to its end."""
        self.connections -= 1

    async def serves(self, request: Request) -> bool:
        """Whether there are hooks for a request that others may answer too. `admit` does not ask `resolve` again."""
        if self._resolve is None:
            return self._hooks is not None
        request.scope[HUB_KEY] = self._hub
        try:
            found = self._resolve(request)
            request.scope[FOUND_KEY] = found = await found if isawaitable(found) else found
        except Exception:
            # It may have meant to: `admit` will say what is wrong.
            return True
        return found is not None

    def admit(self, request: Request) -> Admission | Response | Coroutine[Any, Any, Admission | Response]:
        """Take a handshake through the gate: an admission to make a peer of, or the response that refuses it.

        The order: is there room, is it us who is meant, may this page connect, are there hooks, what does `upgrade`
        say. Only an application that is `async` there has to be awaited for.
        """
        if self._closing or self._is_full() or self._memory.is_high():
            return _later()
        if not self.host_allowed(request):
            return PlainTextResponse("Misdirected Request: this host is not served here", 421)
        if not self.origin_allowed(request):
            return PlainTextResponse("Forbidden: this origin may not connect", 403)
        self.connections += 1
        negotiation = self._negotiate(request)
        waiting_for = self._advance(request, negotiation.send, None)
        return self._await(negotiation, request, waiting_for) if isawaitable(waiting_for) else waiting_for

    # Inside.

    def _is_full(self) -> bool:
        return self._most is not None and self.connections >= self._most

    def _advance(self, request: Request, step: Callable[[Any], Any], value: object) -> Any:
        """Go on with a negotiation: to what it has to await, or to its end."""
        admitted: Admission | Response
        try:
            return step(value)
        except StopIteration as done:
            admitted = done.value
        except Exception as error:
            logger.error("the handshake for %r failed", request.scope["path"], exc_info=error)
            admitted = PlainTextResponse("Internal Server Error", 500)
        if self._closing and isinstance(admitted, Admission):
            # It took its time, and the end has begun meanwhile.
            admitted = _later()
        if not isinstance(admitted, Admission):
            self.release()
        return admitted

    async def _await(self, negotiation: Negotiation, request: Request, waiting_for: Any) -> Admission | Response:
        while isawaitable(waiting_for):
            try:
                answer = await waiting_for
            except Exception as error:
                waiting_for = self._advance(request, negotiation.throw, error)
            except BaseException:
                self.release()
                raise
            else:
                waiting_for = self._advance(request, negotiation.send, answer)
        return cast("Admission | Response", waiting_for)

    def _negotiate(self, request: Request) -> Negotiation:
        """Come to an answer. Yields what has to be awaited for, and is sent the results."""
        try:
            answer = yield from self._ask(request)
        except HTTPException as refusal:
            answer = Response(refusal.detail, refusal.status_code, refusal.headers, "text/plain")
        if isinstance(answer, Response):
            check_refusal(answer)
        return answer

    def _ask(self, request: Request) -> Negotiation:
        """Ask the application for hooks, and these for their answer."""
        request.scope[HUB_KEY] = self._hub
        hooks = yield from self._find_hooks(request)
        if isinstance(hooks, Response):
            return hooks
        answer = None if hooks.upgrade is None else hooks.upgrade(request)
        if isawaitable(answer):
            answer = yield answer
        if isinstance(answer, Response):
            return answer
        accepted = as_upgrade(answer)
        request.context.update(accepted.context or {})
        namespace = self._namespace(request) if accepted.namespace is None else accepted.namespace
        if not isinstance(namespace, str) or not namespace:
            raise ValueError(f"a namespace is a string that is not empty, not {namespace!r}")
        if len(namespace.encode(errors="replace")) > MAX_NAMESPACE:
            return PlainTextResponse("URI Too Long: it would be a namespace", 414)
        return Admission(self._hub, request, hooks, _only_offered(accepted, request), namespace)

    def _find_hooks(self, request: Request) -> Generator[Awaitable[Any], Any, HookTable | Response]:
        if self._resolve is None:
            return self._hooks or PlainTextResponse("Not Found", 404)
        found = request.scope.pop(FOUND_KEY) if FOUND_KEY in request.scope else self._resolve(request)
        if isawaitable(found):
            found = yield found
        if found is None:
            return PlainTextResponse("Not Found", 404)
        if isinstance(found, Response):
            return found
        return self._table(found)

    def _table(self, found: HooksLike) -> HookTable:
        """The hooks as a connection calls them. Most connections share theirs with others."""
        known = self._tables.get(id(found))
        if known is not None and known[0] is found and isinstance(found, Hooks):
            return known[1]
        table = HookTable.of(as_hooks(found))
        if self._hooks is not None:
            table = self._hooks.then(table)
        if len(self._tables) >= MAX_TABLES:
            self._tables.clear()
        # Kept with what it was made of, so that no other object can come to have that id.
        self._tables[id(found)] = (found, table)
        return table


def _later() -> Response:
    """The refusal of who may try again soon."""
    return PlainTextResponse("Service Unavailable", 503, {"retry-after": "1"})


def _only_offered(accepted: Upgrade, request: Request) -> Upgrade:
    """Drop a subprotocol that the client did not offer: it would have to fail the connection (RFC 6455 section 4.1)."""
    if accepted.protocol is None or accepted.protocol in request.offered_protocols:
        return accepted
    logger.warning("upgrade chose the subprotocol %r, which the client did not offer", accepted.protocol)
    return replace(accepted, protocol=None)
