"""Disks that are served: NBD beside qemu-nbd and nbdkit, FUSE beside libvhdi's vhdimount, all by local clients."""

from __future__ import annotations

import random
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import peers
from images import DENSE_SIZE, MB, Images
from measure import Work, each, milliseconds, rate, timed

_COUNT = 20_000
_SIZE = 4096
_SECONDS = 30  # until a server must be there


def works(images: Images) -> Iterator[Work]:
    """Small reads, one and 16 under way; a copy of a sparse disk with the server's start; a mounted disk in one go."""
    folder = images.folder
    ours = {"ours": [*peers.own_words("serve", images.dense), "--socket"]}
    if peers.command("qemu-nbd"):
        qemu = ["qemu-nbd", "--read-only", "--persistent"]
        ours["qemu-nbd"] = [*qemu, "-f", "vhdx", str(images.dense), "--socket"]
        ours["qemu-nbd, raw"] = [*qemu, "-f", "raw", str(images.dense_raw), "--socket"]
    for depth in (1, 16):
        name = f"NBD, 4 KB anywhere, {depth} under way"
        runs = {who: _small_reads(folder, command, depth) for who, command in ours.items()}
        yield Work(name, runs, each(_COUNT), "ours / qemu-nbd", lambda v: v["ours"] / v["qemu-nbd"], 1.0)
    if peers.command("nbdcopy") and peers.command("nbdkit"):
        sparse = {
            "ours": _copy(folder, [*peers.own_words("serve", images.vast), "--socket"]),
            "nbdkit": _copy(folder, ["nbdkit", "-f", "-r", "file", str(images.vast_raw), "-U"]),
        }
        name = "NBD, nbdcopy of sparse 8 TB"
        yield Work(name, sparse, milliseconds, "ours / nbdkit, raw", lambda v: v["ours"] / v["nbdkit"], 1.5)
    if peers.command("fusermount3"):
        mounts = {
            "ours": _in_one_go(folder, peers.own_words("mount", images.dense)),
            "ours, direct": _in_one_go(folder, peers.own_words("mount", "--direct-io", images.dense)),
        }
        if peers.command("vhdimount"):
            mounts["vhdimount"] = _in_one_go(folder, ["vhdimount", str(images.dense)])
        what = "ours / vhdimount"
        yield Work("FUSE, 1 GB in one go", mounts, rate(DENSE_SIZE), what, lambda v: v["ours"] / v["vhdimount"], 1.0)


def _small_reads(folder: Path, command: Sequence[str], depth: int) -> Callable[[], float]:
    places = random.Random(0)
    offsets = [places.randrange(DENSE_SIZE // _SIZE) * _SIZE for _ in range(_COUNT)]
    requests = [struct.pack(">IHHQQI", 0x25609513, 0, 0, 0, offset, _SIZE) for offset in offsets]

    def seconds() -> float:
        with _served(folder, command) as path, _client(path) as client:
            _ask(client, requests[:1000], depth)
            return timed(lambda: _ask(client, requests, depth))()

    return seconds


@contextmanager
def _client(path: str) -> Iterator[socket.socket]:
    """A connection to the default export, behind the shortest handshake: simple replies."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        client.recv(18, socket.MSG_WAITALL)
        client.sendall(struct.pack(">I8sII", 0b11, b"IHAVEOPT", 1, 0))
        client.recv(10, socket.MSG_WAITALL)
        yield client


def _ask(client: socket.socket, requests: Sequence[bytes], depth: int) -> None:
    """Have all requests answered, so many under way."""
    reply = 16 + _SIZE
    buffer, received, sent = bytearray(reply * depth), 0, depth
    client.sendall(b"".join(requests[:depth]))
    while received < len(requests) * reply:
        received += client.recv_into(buffer)
        ready = min(received // reply + depth, len(requests))
        if ready > sent:
            client.sendall(b"".join(requests[sent:ready]))
            sent = ready


def _copy(folder: Path, command: Sequence[str]) -> Callable[[], float]:
    def run() -> None:
        with _served(folder, command) as path:
            subprocess.run(["nbdcopy", f"nbd+unix:///?socket={path}", "null:"], check=True)

    return timed(run)


@contextmanager
def _served(folder: Path, command: Sequence[str]) -> Iterator[str]:
    """The path of a socket at which a command, which is given it as its last word, serves."""
    path = folder / "nbd.sock"
    path.unlink(missing_ok=True)
    with subprocess.Popen([*command, str(path)], env=peers.own_environment(folder), stdout=-3, stderr=-3) as server:
        try:
            _wait(path.exists)
            yield str(path)
        finally:
            server.kill()


def _in_one_go(folder: Path, command: Sequence[str]) -> Callable[[], float]:
    mountpoint = folder / "mounted"

    def seconds() -> float:
        mountpoint.mkdir(exist_ok=True)
        environment = peers.own_environment(folder)
        subprocess.run([*command, str(mountpoint)], check=True, env=environment, stdout=-3, stderr=-3)
        try:
            _wait(lambda: any(mountpoint.iterdir()))
            largest = max(mountpoint.iterdir(), key=lambda file: file.stat().st_size)
            return timed(lambda: _read_all(largest))()
        finally:
            subprocess.run(["fusermount3", "-u", str(mountpoint)], check=True)

    return seconds


def _read_all(path: Path) -> None:
    buffer = bytearray(MB)
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


def _wait(ready: Callable[[], bool]) -> None:
    until = time.monotonic() + _SECONDS
    while not ready():
        if time.monotonic() > until:
            raise TimeoutError
        time.sleep(0.001)
