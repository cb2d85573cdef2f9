"""The server: takes connections, a thread for each, and ends cleanly."""

from __future__ import annotations

import io
import logging
import os
import selectors
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType

from .export import Export
from .handshake import Handshake
from .protocol import ProtocolError
from .transmission import Transmission

_log = logging.getLogger("vhdxreader.nbd")

MAX_CONNECTIONS = 64
"""Clients at once; one more is turned away."""

_HANDSHAKE_SECONDS = 30
_STREAM_BUFFER = 64 << 10  # many small requests by one call of the system


class NbdServer:
    """Serves `exports` by their names on a listening socket, which it closes; the disks stay the caller's to close.

    `serve` blocks until `stop`, which any thread or signal handler may call. Used as a context, it stops at the end and
    waits until no client is served any longer.
    """

    def __init__(self, exports: Mapping[str, Export], listener: socket.socket) -> None:
        self._exports = dict(exports)
        self._listener = listener
        self._listener.setblocking(False)
        self._waker, self._woken = socket.socketpair()
        self._waker.setblocking(False)
        self._clients: dict[threading.Thread, socket.socket] = {}
        self._lock = threading.Lock()

    def serve(self) -> None:
        """Take connections until `stop` is called."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while not any(key.fileobj is self._woken for key, _ in selector.select()):
                with suppress(OSError):  # whoever knocked has gone, or there are too many open files
                    self._take(self._listener.accept()[0])

    def stop(self) -> None:
        """Have `serve` return."""
        with suppress(OSError):
            self._waker.send(b"!")

    def close(self) -> None:
        """End all connections, wait for their threads, and close the listener."""
        self.stop()
        with self._lock:
            clients = dict(self._clients)
        for connection in clients.values():
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in clients:
            thread.join()
        address = self._listener.getsockname()
        if isinstance(address, str):
            with suppress(OSError):
                os.unlink(address)
        for end in (self._listener, self._waker, self._woken):
            end.close()

    def __enter__(self) -> NbdServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _take(self, connection: socket.socket) -> None:
        with self._lock:
            if len(self._clients) >= MAX_CONNECTIONS:
                _log.warning("a client is turned away: there are %d already", MAX_CONNECTIONS)
                connection.close()
                return
            thread = threading.Thread(target=self._client, args=(connection,), name="nbd client", daemon=True)
            self._clients[thread] = connection
        thread.start()

    def _client(self, connection: socket.socket) -> None:
        try:
            with connection, _buffered(connection) as stream:
                connection.settimeout(_HANDSHAKE_SECONDS)
                if connection.family != getattr(socket, "AF_UNIX", None):
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                agreed = Handshake(connection, stream, self._exports).run()
                if agreed is not None:
                    connection.settimeout(None)
                    Transmission(connection, stream, self._exports[agreed.name], agreed).run()
        except ProtocolError as error:
            _log.warning("a client is sent away: %s", error)
        except (OSError, ValueError) as error:  # it has gone, or the disk was closed
            _log.info("a client has gone: %s", error)
        finally:
            with self._lock:
                del self._clients[threading.current_thread()]


def _buffered(connection: socket.socket) -> io.BufferedReader:
    return io.BufferedReader(connection.makefile("rb", buffering=0), _STREAM_BUFFER)


def unix_socket(path: str) -> socket.socket:
    """A listening socket at a path that is not there yet, for this user only. `OSError` where it cannot be had."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        mask = os.umask(0o177)
        try:
            listener.bind(path)
        finally:
            os.umask(mask)
        listener.listen(MAX_CONNECTIONS)
    except BaseException:
        listener.close()
        raise
    return listener


def tcp_socket(host: str = "127.0.0.1", port: int = 10809) -> socket.socket:
    """A listening socket, on this machine's own address unless another is named; port 0 takes any free one."""
    return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
