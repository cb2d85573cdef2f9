"""Where clients knock: sockets that listen.

In: a path, or an address. Out: a listening socket, which whoever asked for it closes.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager

MAX_CONNECTIONS = 64
"""Clients at once; one more is turned away."""

_LOCK_SECONDS = 5


def unix_socket(path: str) -> socket.socket:
    """A listening socket at a path, for this user only. `OSError` where it cannot be had.

    A socket that lies there and that nobody listens at, as a killed process leaves it, is replaced; nothing else is.
    """
    if not hasattr(socket, "AF_UNIX"):  # Python for Windows
        raise OSError(errno.EAFNOSUPPORT, "this system's Python has no sockets with paths; a port can be named instead")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # What is bound, but does not listen yet, would look dead to another that starts now.
        with _locked(os.path.dirname(path) or ".") as locked:
            if locked and _is_dead(path):
                os.unlink(path)
            _bind(listener, path)
            listener.listen(MAX_CONNECTIONS)
    except BaseException:
        listener.close()
        raise
    return listener


def tcp_socket(host: str = "127.0.0.1", port: int = 10809) -> socket.socket:
    """A listening socket, on this machine's own address unless another is named; port 0 takes any free one."""
    return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)


def _bind(listener: socket.socket, path: str) -> None:
    mask = os.umask(0o177)
    try:
        listener.bind(path)
    finally:
        os.umask(mask)


def _is_dead(path: str) -> bool:
    """Whether there is a socket, and nobody listens at it."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return False
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as knock:
            knock.setblocking(False)  # one that is too busy to answer lives
            knock.connect(path)
    except OSError as error:
        return error.errno == errno.ECONNREFUSED
    return False


@contextmanager
def _locked(folder: str) -> Iterator[bool]:
    """Wait until no other process makes a socket in the folder; False where somebody keeps it locked."""
    import fcntl  # there is none on Windows

    fd = os.open(folder, os.O_RDONLY)
    try:
        locked = False
        until = time.monotonic() + _LOCK_SECONDS
        while not locked and time.monotonic() < until:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                locked = True
            except BlockingIOError:
                time.sleep(0.05)
        yield locked
    finally:
        os.close(fd)
