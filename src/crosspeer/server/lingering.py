"""How a connection ends whose other side is to read our last words."""

from __future__ import annotations

import asyncio


def linger(socket: asyncio.Transport, within: float) -> asyncio.TimerHandle | None:
    """End our half of a connection, and all of it after some seconds if the other side has not ended its own by then.

    A socket that is closed with bytes left to read resets the connection, which takes our last words from a client that
    is still sending. The caller goes on reading and throws away what comes. None: the connection is over already.
    """
    if socket.is_closing():
        return None
    if not socket.can_write_eof():
        # TLS ends both halves at once.
        socket.close()
        return None
    if not end_our_half(socket):
        return None
    socket.resume_reading()
    return asyncio.get_running_loop().call_later(within, socket.abort)


def end_our_half(socket: asyncio.Transport) -> bool:
    """Say that nothing more comes. False: the other side has gone, and so has the connection."""
    try:
        socket.write_eof()
    except OSError:
        # asyncio asks the system at once, which knows of a reset that asyncio has not heard of yet.
        socket.abort()
        return False
    return True
