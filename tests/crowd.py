"""Clients by the ten thousand: raw sockets that cost next to nothing, for a server in a process of its own."""

from __future__ import annotations

import resource
import select
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Self

from raw import FIN, TEXT, frame, handshake

DEADLINE: Final = 20.0
AT_ONCE: Final = 500
"""Handshakes that are under way at the same time: fewer than wait to be accepted."""
SPARE: Final = 500
"""Descriptors that are left for everything else, here and in the server."""


@contextmanager
def descriptors(wanted: int) -> Iterator[int]:
    """Raise the limit for this process and its children as far as it goes: how many clients there may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        yield wanted if hard == resource.RLIM_INFINITY else min(wanted, hard - SPARE)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def text(data: str) -> bytes:
    """A short text as a server sends it."""
    payload = data.encode()
    assert len(payload) < 126
    return bytes((FIN | TEXT, len(payload))) + payload


class Client:
    """One peer, spoken to one step at a time. Its first message tells that its `open` hook has run."""

    def __init__(self, address: tuple[str, int], path: str) -> None:
        self.socket = socket.create_connection(address, timeout=DEADLINE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(handshake(path))

    def opened(self) -> Self:
        expected = b"\r\n\r\n" + text("ready")
        received = b""
        while not received.endswith(expected):
            assert len(received) < 2000, received
            received += self._receive(2000)
        assert received.startswith(b"HTTP/1.1 101 ")
        return self

    def say(self, data: str) -> None:
        self.socket.sendall(frame(FIN | TEXT, data.encode()))

    def hear(self, data: str) -> None:
        """Receive exactly this."""
        expected, received = text(data), b""
        while len(received) < len(expected):
            received += self._receive(len(expected) - len(received))
        assert received == expected

    def echo(self, data: str) -> float:
        """Seconds that an echo takes."""
        begin = time.perf_counter()
        self.say(data)
        self.hear(data)
        return time.perf_counter() - begin

    def close(self) -> None:
        self.socket.close()

    def _receive(self, most: int) -> bytes:
        data = self.socket.recv(most)
        assert data, "the server has hung up"
        return data


class Crowd:
    """Many peers that only listen."""

    def __init__(self, address: tuple[str, int], path: str, count: int) -> None:
        self.clients: list[Client] = []
        try:
            while len(self.clients) < count:
                some = [Client(address, path) for _ in range(min(AT_ONCE, count - len(self.clients)))]
                self.clients += some
                for client in some:
                    client.opened()
        except BaseException:
            self.close()
            raise

    def hear(self, expected: bytes) -> None:
        """Everybody receives exactly these bytes, in whatever order of peers."""
        heard = {client.socket.fileno(): 0 for client in self.clients}
        sockets = {client.socket.fileno(): client.socket for client in self.clients}
        end = time.monotonic() + DEADLINE
        with select.epoll() as ready:
            for number in sockets:
                ready.register(number, select.EPOLLIN)
            waiting = len(sockets)
            while waiting:
                assert time.monotonic() < end, f"{waiting} peers still wait"
                for number, _ in ready.poll(1):
                    data = sockets[number].recv(min(65_536, len(expected) - heard[number]))
                    before, heard[number] = heard[number], heard[number] + len(data)
                    assert data, "the server has hung up"
                    assert expected[before : heard[number]] == data, data
                    if heard[number] == len(expected):
                        ready.unregister(number)
                        waiting -= 1

    def close(self) -> None:
        for client in self.clients:
            client.close()
