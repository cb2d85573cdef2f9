"""The server: takes connections, a thread for each, and ends cleanly."""

from __future__ import annotations

import errno
import logging
import os
import selectors
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType

from .client import Client
from .export import Export
from .handshake import Handshake
from .listener import MAX_CONNECTIONS
from .protocol import ProtocolError
from .transmission import Transmission

_log = logging.getLogger("vhdxreader.nbd")

_HANDSHAKE_SECONDS = 10  # for all of it, as qemu-nbd's
_NO_ROOM = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_NO_ROOM_SECONDS = 0.5


class NbdServer:
    """Serves `exports` by their names on a listening socket, which it closes; the disks stay the caller's to close.

    `serve` blocks until `stop`, which any thread may call, or until a byte comes to `wakeup_fd`, which is for signals.
    Used as a context, it stops at the end and waits until no client is served any longer.
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
                self._accept()

    def stop(self) -> None:
        """Have `serve` return."""
        with suppress(OSError):
            self._waker.send(b"!")

    @property
    def wakeup_fd(self) -> int:
        """For `signal.set_wakeup_fd`: a handler that calls `stop` may be run only when `serve` has returned."""
        return self._waker.fileno()

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

    def _accept(self) -> None:
        try:
            connection = self._listener.accept()[0]
        except OSError as error:  # or whoever knocked has gone
            if error.errno in _NO_ROOM:
                _log.warning("a client has to wait: %s", error.strerror)
                self._rest()
            return
        self._take(connection)

    def _rest(self) -> None:
        """Do nothing for a moment, unless `stop` is called: the client that cannot be taken keeps knocking."""
        self._woken.settimeout(_NO_ROOM_SECONDS)
        with suppress(TimeoutError):
            self._woken.recv(1, socket.MSG_PEEK)

    def _take(self, connection: socket.socket) -> None:
        with self._lock:
            if len(self._clients) >= MAX_CONNECTIONS:
                _log.warning("a client is turned away: there are %d already", MAX_CONNECTIONS)
                connection.close()
                return
            thread = threading.Thread(target=self._client, args=(connection,), name="nbd client", daemon=True)
            self._clients[thread] = connection
        try:
            thread.start()
        except RuntimeError as error:  # the system has no thread left
            _log.warning("a client is turned away: %s", error)
            with self._lock:
                del self._clients[thread]
            connection.close()

    def _client(self, connection: socket.socket) -> None:
        try:
            with connection:
                client = Client(connection)
                with client.within(_HANDSHAKE_SECONDS):
                    agreed = Handshake(client, self._exports).run()
                if agreed is not None:
                    Transmission(client, self._exports[agreed.name], agreed).run()
        except ProtocolError as error:
            _log.warning("a client is sent away: %s", error)
        except (OSError, ValueError) as error:  # it has gone, or the disk was closed
            _log.info("a client has gone: %s", error)
        finally:
            with self._lock:
                del self._clients[threading.current_thread()]
