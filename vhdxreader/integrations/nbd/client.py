"""A client's connection: what it sends, as far as it comes in time, and what is sent to it.

In: a connected socket. Out: exactly the bytes that are asked for, or `ProtocolError`. A client that sends nothing, or
takes nothing, is waited for only as long as `within` allows, however slowly its bytes drip.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

from .protocol import ProtocolError

_BUFFER = 16 << 10  # bytes: many small requests by one call of the system
_SEND_FLAGS = getattr(socket, "MSG_NOSIGNAL", 0)
"""A client that has gone is an error of its own thread, also where SIGPIPE would end the process."""

_KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}  # gone without a word: seen in 2 minutes


class Client:
    """One connection, which the caller closes. For one thread."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._received = b""  # and not yet read
        self._deadline: float | None = None
        if connection.family != getattr(socket, "AF_UNIX", None):
            _set_up_tcp(connection)

    def read_some(self, size: int) -> bytes:
        """At most so many bytes, as soon as there are any; none where the client has gone."""
        received = self._received or self._receive()
        self._received = received[size:]
        return received[:size]

    def read(self, size: int) -> bytes:
        """All of `size` bytes."""
        return b"".join(self._parts(size))

    def skip(self, size: int) -> None:
        """Take so many bytes out of the way, and keep none."""
        for _ in self._parts(size):
            pass

    def send(self, head: bytes, data: memoryview | None = None) -> None:
        """Both, one behind the other."""
        self._keep_time()
        if data is None:
            self._connection.sendall(head, _SEND_FLAGS)
            return
        sent = self._connection.sendmsg((head, data), (), _SEND_FLAGS)
        if sent < len(head):
            self._connection.sendall(head[sent:], _SEND_FLAGS)
            sent = len(head)
        if sent < len(head) + len(data):
            self._connection.sendall(data[sent - len(head) :], _SEND_FLAGS)

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """All that is read and sent in this context takes so long at most, or `ProtocolError` ends it."""
        self._deadline = time.monotonic() + seconds
        try:
            yield
        except TimeoutError as error:
            raise ProtocolError(f"it did not send or take in {seconds:g} seconds what it must") from error
        finally:
            self._deadline = None
            self._connection.settimeout(None)

    def _parts(self, size: int) -> Iterator[bytes]:
        while size:
            part = self.read_some(size)
            if not part:
                raise ProtocolError("the client has gone")
            yield part
            size -= len(part)

    def _receive(self) -> bytes:
        self._keep_time()
        return self._connection.recv(_BUFFER)

    def _keep_time(self) -> None:
        """Have the connection wait up to the deadline, and no longer."""
        if self._deadline is not None:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._connection.settimeout(left)


def _set_up_tcp(connection: socket.socket) -> None:
    """Small answers go at once, and a client whose machine has gone is noticed."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
