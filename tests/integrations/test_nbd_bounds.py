"""The NBD server with clients that cost too much: silent, slow, greedy, or too many; and after it was killed."""

from __future__ import annotations

import errno
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from builder import MB, dynamic, full
from nbd_client import Client
from running import running

from vhdxreader.integrations.nbd import NbdServer, served, unix_socket
from vhdxreader.integrations.nbd.client import Client as ServerSide

IMAGE = dynamic(9 * MB, {0: full()})
TRANSMISSION = "vhdxreader.integrations.nbd.transmission"


class Counted:
    """An export of zeros that counts its reads."""

    size = 64 * MB

    def __init__(self) -> None:
        self.reads = 0

    def preadinto(self, buffer, _offset: int) -> int:
        self.reads += 1
        return len(buffer)

    def extents(self, **_where):
        return iter(())


@contextmanager
def server(export=None):
    with served({"": export or Counted()}) as path:
        yield path


def wait_until(holds) -> None:
    for _ in range(1000):
        if holds():
            return
        time.sleep(0.02)
    raise AssertionError("it did not come to that in 20 seconds")


def drip(client: socket.socket) -> None:
    """A byte now and then, always before a single read would time out."""
    for _ in range(400):
        client.sendall(b"x")
        time.sleep(0.05)


class FullListener(socket.socket):
    """Has no descriptor for a client, as long as `full`."""

    full, tries = True, 0

    def accept(self):
        self.tries += 1
        if self.full:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return super().accept()


def test_without_descriptors_it_waits_and_does_not_spin(tmp_path, caplog):
    path = str(tmp_path / "nbd.sock")
    with unix_socket(path) as plain:
        listener = FullListener(fileno=plain.detach())
    with NbdServer({"": Counted()}, listener) as running:
        thread = threading.Thread(target=running.serve)
        thread.start()
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(20)
            client.connect(path)
            wait_until(lambda: listener.tries)
            time.sleep(0.3)
            assert listener.tries < 10
            assert "has to wait" in caplog.text
            listener.full = False
            assert client.recv(8) == b"NBDMAGIC"
        listener.full = True
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
            running.stop()
            thread.join(20)
    assert not thread.is_alive()


def test_the_whole_handshake_is_bounded(monkeypatch):
    monkeypatch.setattr("vhdxreader.integrations.nbd.server._HANDSHAKE_SECONDS", 0.3)
    with server() as path, socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        client.sendall(struct.pack(">I8sII", 3, b"IHAVEOPT", 3, 60_000))
        with pytest.raises(OSError, match=r"Broken pipe|reset"):
            drip(client)


def test_a_client_may_be_idle_but_not_in_the_middle_of_a_request(monkeypatch):
    monkeypatch.setattr(f"{TRANSMISSION}._REQUEST_SECONDS", 0.2)
    with server() as path:
        for begun in (b"x" * 10, struct.pack(">IHHQQI", 0x25609513, 0, 1, 77, 0, MB) + b"data"):
            client = Client(path)
            time.sleep(0.5)
            assert client.data(0, 512) == bytes(512)
            client.socket.sendall(begun)
            with pytest.raises((EOFError, ConnectionResetError)):
                client.read(1)


def test_long_replies_that_nobody_takes_are_few_at_a_time():
    export = Counted()
    with server(export) as path:
        clients = [Client(path, structured=False) for _ in range(12)]
        for client in clients:
            client.socket.sendall(struct.pack(">IHHQQI", 0x25609513, 0, 0, 77, 0, 32 * MB))
        wait_until(lambda: export.reads >= 4)
        time.sleep(0.3)
        assert export.reads == 4  # of 32 MiB each, and no more
        assert Client(path).data(0, 512) == bytes(512)


def test_a_long_reply_that_is_not_taken_makes_room(monkeypatch):
    monkeypatch.setattr(f"{TRANSMISSION}._REPLY_SECONDS", 0.5)
    with server() as path:
        clients = [Client(path, structured=False) for _ in range(8)]
        for client in clients:
            client.socket.sendall(struct.pack(">IHHQQI", 0x25609513, 0, 0, 77, 0, 32 * MB))
        assert Client(path, structured=False).ask(0, 0, 2 * MB) == [(0, bytes(2 * MB))]


def test_tcp_clients_that_vanish_are_noticed():
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()):
        connection, _ = listener.accept()
        with connection:
            ServerSide(connection)
            assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


# ---- the socket of one that was killed


def killed_server(path: str) -> None:
    """Leave the socket of a server that was killed."""
    unix_socket(path).close()


def test_a_killed_servers_socket_is_replaced(tmp_path):
    path, image = tmp_path / "nbd.sock", IMAGE.save(tmp_path / "disk.vhdx")
    for _ in range(2):
        command = [sys.executable, "-m", "vhdxreader", "serve", image, "--socket", path]
        with running(command, stdout=subprocess.PIPE) as program:
            assert program.stdout.readline().startswith(b"nbd+unix:")
            assert Client(str(path)).data(0, 512) == IMAGE.expected(0, 512)
            program.send_signal(signal.SIGKILL)
        assert path.exists()


def test_what_is_no_dead_socket_is_left(tmp_path):
    path = str(tmp_path / "nbd.sock")
    killed_server(path)
    os.symlink(path, tmp_path / "link")
    (tmp_path / "file").write_text("kept")
    for name in ("link", "file"):
        with pytest.raises(OSError, match="in use"):
            unix_socket(str(tmp_path / name))
    assert (tmp_path / "file").read_text() == "kept"
    with unix_socket(path), pytest.raises(OSError, match="in use"):
        unix_socket(path)


def test_of_many_that_start_at_once_one_gets_the_socket(tmp_path):
    def start(path: str) -> socket.socket | None:
        try:
            return unix_socket(path)
        except OSError:
            return None

    for number in range(20):
        path = str(tmp_path / str(number))
        killed_server(path)
        with ThreadPoolExecutor(8) as pool:
            listeners = [listener for listener in pool.map(start, [path] * 8) if listener]
        assert len(listeners) == 1
        listeners[0].close()


def test_requests_that_came_together_are_received_together(monkeypatch):
    calls = []
    received = ServerSide._receive
    monkeypatch.setattr(ServerSide, "_receive", lambda self: calls.append(1) or received(self))
    here, there = socket.socketpair()
    with here, there:
        there.sendall(bytes(range(16)) * 28)
        taken = ServerSide(here)
        assert b"".join(taken.read_some(28) for _ in range(16)) == bytes(range(16)) * 28
        there.shutdown(socket.SHUT_WR)
        assert taken.read_some(28) == b""
    assert len(calls) == 2
