"""Accepting connections for asyncio's protocols, also when the process runs out of descriptors.

asyncio then fills the log and uvloop closes its listener; and neither lets an answer be given.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from typing import TYPE_CHECKING, Final, Protocol

from crosspeer.runtime.tasks import Tasks
from crosspeer.server.descriptors import Notice, first_reserved

if TYPE_CHECKING:
    import socket
    import ssl

logger = logging.getLogger("crosspeer")

ACCEPTS: Final = 128
"""Connections that are accepted in one turn of the loop."""
PAUSE: Final = 0.5
"""Seconds until the next try, when there was no descriptor or no memory for a connection."""
_EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class ProtocolFactory(Protocol):
    """Makes the protocol of a connection; of one that is only to be `turned_away`, one that says so."""

    def __call__(self, *, turned_away: bool = False) -> asyncio.Protocol: ...


class Listener:
    """Accepts the connections of a socket that listens, until it is closed.

    Args:
        tls, handshake_timeout: for encrypted connections, and the seconds in which they have to be.
    """

    def __init__(
        self,
        listener: socket.socket,
        factory: ProtocolFactory,
        tls: ssl.SSLContext | None,
        handshake_timeout: float,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket = listener
        self._factory = factory
        self._tls = tls
        self._handshake_timeout = handshake_timeout if tls is not None else None
        self._arriving = Tasks()
        self._notice = Notice()
        self._again: asyncio.TimerHandle | None = None
        self._is_closed = False
        listener.setblocking(False)
        self._descriptor = listener.fileno()
        self._resume()

    def close(self) -> None:
        """Accept no more. The socket itself is its owner's."""
        if self._is_closed:
            return
        self._is_closed = True
        self._stop()

    async def wait_closed(self) -> None:
        """Wait for those that are on their way in. Cancelling this drops them."""
        await self._arriving.finish()

    def abort(self) -> None:
        """Drop those that are on their way in."""
        self._arriving.cancel()

    # Inside.

    def _resume(self) -> None:
        self._again = None
        self._loop.add_reader(self._descriptor, self._accept)

    def _stop(self) -> None:
        if self._again is None:
            self._loop.remove_reader(self._descriptor)
        else:
            self._again.cancel()

    def _accept(self) -> None:
        reserved = first_reserved()
        for _ in range(ACCEPTS):
            try:
                connection, _address = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    raise
                # The socket stays readable: without a pause the loop would do nothing else.
                self._stop()
                self._again = self._loop.call_later(PAUSE, self._resume)
                return
            connection.setblocking(False)
            self._arriving.start(self._take(connection, turned_away=connection.fileno() >= reserved))

    async def _take(self, connection: socket.socket, *, turned_away: bool) -> None:
        if turned_away:
            self._notice.turned_away()
        try:
            await self._loop.connect_accepted_socket(
                lambda: self._factory(turned_away=turned_away),
                connection,
                ssl=self._tls,
                ssl_handshake_timeout=self._handshake_timeout,
            )
        except OSError as error:
            # It has gone, or does not get on with TLS.
            logger.debug("a connection came to nothing: %r", error)
            connection.close()
        except asyncio.CancelledError:
            connection.close()
            raise
