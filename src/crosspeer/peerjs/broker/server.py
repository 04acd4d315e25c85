"""`PeerServer`: a broker to run or to mount."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, overload

from crosspeer.peerjs.broker.clock import Clock, LoopClock
from crosspeer.peerjs.broker.door import Door
from crosspeer.peerjs.broker.hooks import BrokerHub
from crosspeer.peerjs.broker.http import BrokerHTTP
from crosspeer.peerjs.broker.limits import BrokerLimits
from crosspeer.peerjs.broker.options import Authenticate, Authorize, GenerateId, Options, new_id
from crosspeer.peerjs.broker.state import State

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp

    from crosspeer.core.origins import Origins
    from crosspeer.core.sync import Sync
    from crosspeer.peerjs.broker.cors import Cors
    from crosspeer.peerjs.broker.metrics import Metrics
    from crosspeer.peerjs.broker.registry import Client
    from crosspeer.peerjs.broker.turn import Turn

    H = TypeVar("H", bound=Callable[..., Any])

Event = Literal["connection", "disconnect", "message", "error"]


class PeerServer:
    """A broker for `peerjs` clients of any version, in the place of the npm package `peer`. Times are seconds.

    ```python
    serve(PeerServer(path="/myapp"), port=9000)           # a server of its own
    app.mount("/broker", PeerServer().asgi)               # in Starlette or FastAPI
    ```

    Args:
        path: below which everything is; the signalling socket is at `{path}/peerjs`.
        key: what clients have to send as their `key`.
        expire_timeout: how long messages wait for a peer that is not there before their sender gets EXPIRE.
        alive_timeout: silence after which a client is gone. Every frame, ping and pong is a sign of life.
        cleanup_out_msgs: messages for several absent peers expire together, this often at most.
        concurrent_limit: registered ids at a time.
        allow_discovery: whether `{path}/{key}/peers` lists the ids.
        proxied: the address of a client is what the nearest proxy says in `X-Forwarded-For`.
        cors: the pages that may read the HTTP routes: None for any, "*", or a list of origins.
        origins: the pages that may open the signalling socket: "*", or a list of origins. None: the same origin alone.
        generate_client_id: makes the ids of `{path}/{key}/id`; asked again while one is taken. May be async.
        authenticate: `authenticate(request, id, token)` says whether a client may come in. May be async.
        authorize: `authorize(src, dst, kind)` says whether one id may send the other a message. May be async.
        turn: mints TURN credentials at `{path}/{key}/turn`.
        sync: makes one broker of all nodes with the same: the URL of a backend, as `redis://localhost`, or what
            `crosspeer.sync.connect` makes of one. Brokers with another `key` on it are another fleet.
        limits: the bounds of what a client may cost.
        clock: in place of the running event loop's, for tests.

    Raises:
        ValueError: an option is out of its range, or no backend is known by the URL.
        MissingExtra: the backend's client library is not installed.
    """

    def __init__(
        self,
        *,
        path: str = "/",
        key: str = "peerjs",
        expire_timeout: float = 5.0,
        alive_timeout: float = 90.0,
        cleanup_out_msgs: float = 1.0,
        concurrent_limit: int = 5000,
        allow_discovery: bool = False,
        proxied: bool = False,
        cors: Cors = None,
        origins: Origins = "*",
        generate_client_id: GenerateId = new_id,
        authenticate: Authenticate | None = None,
        authorize: Authorize | None = None,
        turn: Turn | None = None,
        sync: Sync | str | None = None,
        limits: BrokerLimits | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.options: Final = Options(
            path=path,
            key=key,
            expire_timeout=expire_timeout,
            alive_timeout=alive_timeout,
            cleanup_out_msgs=cleanup_out_msgs,
            concurrent_limit=concurrent_limit,
            allow_discovery=allow_discovery,
            proxied=proxied,
            cors=cors,
            origins=origins,
            generate_client_id=generate_client_id,
            authenticate=authenticate,
            authorize=authorize,
            turn=turn,
            limits=limits or BrokerLimits(),
        )
        self._state = State(self.options, clock or LoopClock())
        door = Door(self._state)
        self.hub: Final = BrokerHub(self._state, door, sync)
        """The WebSocket side, for `serve` and every adapter."""
        self.http: Final[ASGIApp] = BrokerHTTP(self._state, door)
        """The HTTP side, as an ASGI application."""

    @cached_property
    def asgi(self) -> ASGIApp:
        """Both sides as one ASGI application, to mount in another or to run on any ASGI server."""
        from crosspeer.adapters.asgi import Adapter

        return Adapter(self.hub, http=self.http)

    @property
    def metrics(self) -> Metrics:
        """What it has counted."""
        return self._state.metrics

    @property
    def clients(self) -> dict[str, Client]:
        """The clients of this node by their ids, as they are now, in the order of their registration."""
        registry = self._state.registry
        return {id: client for id in registry if (client := registry.get(id)) is not None}

    @overload
    def on(self, event: Event) -> Callable[[H], H]: ...
    @overload
    def on(self, event: Event, handler: H) -> H: ...
    def on(self, event: Event, handler: Any = None) -> Any:
        """Call a handler, sync or async, at every event of this name. It can be a decorator: `@server.on("error")`.

        `connection(client)` and `disconnect(client)`: an id was registered (or taken over), or is free again.
        `message(client, message)`: every message that could be read, before it is handled. `error(error)`: one that
        could not, or a failure. What a handler raises is logged.

        Raises:
            ValueError: there is no such event.
        """
        if handler is None:
            return lambda decorated: self.on(event, decorated)
        self._state.events.add(event, handler)
        return handler
