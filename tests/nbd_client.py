"""A client of the NBD protocol, as much of it as the tests need, from its document."""

from __future__ import annotations

import socket
import struct


class Client:
    """Connected, at an export, with everything agreed on."""

    def __init__(self, path: str, *, structured: bool = True, name: bytes = b"") -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(20)
        self.socket.connect(path)
        assert self.read(18)[:16] == b"NBDMAGICIHAVEOPT"
        self.socket.sendall(struct.pack(">I", 3))
        if structured:
            self.option(8)
            assert self.reply() == (8, 1, b"")
            self.option(10, struct.pack(">I", len(name)) + name + struct.pack(">II", 1, 15) + b"base:allocation")
            assert self.reply()[1] == 4
            assert self.reply()[1] == 1
        self.option(1, name)
        self.size, self.flags = struct.unpack(">QH", self.read(10))
        self.structured = structured

    def __del__(self) -> None:
        self.socket.close()

    def read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self.socket.recv(size - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    def option(self, number: int, data: bytes = b"", length: int | None = None) -> None:
        self.socket.sendall(struct.pack(">8sII", b"IHAVEOPT", number, len(data) if length is None else length) + data)

    def reply(self) -> tuple[int, int, bytes]:
        magic, option, kind, length = struct.unpack(">QIII", self.read(20))
        assert magic == 0x3E889045565A9
        return option, kind, self.read(length)

    def ask(self, command: int, offset: int = 0, length: int = 0, flags: int = 0, data: bytes = b"") -> list:
        """The chunks of the answer: type and content; of a simple reply its error, and the rest of it."""
        self.socket.sendall(struct.pack(">IHHQQI", 0x25609513, flags, command, 77, offset, length) + data)
        if not self.structured:
            magic, error, cookie = struct.unpack(">IIQ", self.read(16))
            assert (magic, cookie) == (0x67446698, 77)
            return [(error, self.read(length) if command == 0 and not error else b"")]
        chunks, done = [], 0
        while not done:
            magic, done, kind, cookie, size = struct.unpack(">IHHQI", self.read(20))
            assert (magic, cookie) == (0x668E33EF, 77)
            chunks.append((kind, self.read(size)))
        return chunks

    def data(self, offset: int, length: int) -> bytes:
        parts = bytearray(length)
        for kind, chunk in self.ask(0, offset, length):
            assert kind == 1
            at = int.from_bytes(chunk[:8], "big") - offset
            parts[at : at + len(chunk) - 8] = chunk[8:]
        return bytes(parts)

    def error(self, *request, **more) -> int:
        (kind, data) = self.ask(*request, **more)[-1]
        if not self.structured:
            return kind
        assert kind == 0x8001
        return int.from_bytes(data[:4], "big")
