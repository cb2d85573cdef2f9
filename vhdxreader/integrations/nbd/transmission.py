"""The requests of one client for one export, answered in their order."""

from __future__ import annotations

import logging
import struct
import threading
from itertools import chain

from . import protocol as nbd
from .allocation import Allocation
from .client import Client
from .export import Export
from .handshake import Agreed
from .protocol import Chunk, Command, CommandFlag, Error, ProtocolError

_log = logging.getLogger("vhdxreader.nbd")

_OFFSET = struct.Struct(">Q")
_ERROR = struct.Struct(">IH")
_CONTEXT_ID = 1
_PIECE = nbd.MB  # bytes of a structured reply's chunk
_REQUEST_SECONDS = 30  # for the rest of a request that has begun, and for each piece of what it wants to write
_REPLY_SECONDS = 60  # for taking a long reply
_LONG_REPLIES = threading.BoundedSemaphore(4)
_MAX_EXTENTS = 4096  # of one reply


class Transmission:
    """One client at one export. It may be idle for ever, but not in the middle of a request.

    Memory: 1 MiB; up to 32 MiB more for a reply that cannot be structured, for four of all clients at a time.
    """

    def __init__(self, client: Client, export: Export, agreed: Agreed) -> None:
        self._client = client
        self._export = export
        self._agreed = agreed
        self._allocation = Allocation(export)
        self._buffer = memoryview(bytearray(_PIECE))

    def run(self) -> None:
        """Answer until the client leaves. Raises `ProtocolError` and `OSError` where it leaves otherwise."""
        read_some, size, unpack = self._client.read_some, nbd.REQUEST.size, nbd.REQUEST.unpack
        while True:
            request = read_some(size)
            if not request:
                return
            if len(request) < size:
                request += self._in_time(size - len(request))
            magic, flags, command, cookie, offset, length = unpack(request)
            if magic != nbd.REQUEST_MAGIC:
                raise ProtocolError("a request without its magic")
            if command == Command.READ and not flags and 0 < length <= _PIECE and offset + length <= self._export.size:
                self._read_piece(cookie, offset, length)
            elif command == Command.DISC:
                return
            else:
                self._other(command, flags, cookie, offset, length)

    def _read_piece(self, cookie: int, offset: int, length: int) -> None:
        """What nearly all requests are: a read that is answered by one chunk."""
        part = self._buffer[:length]
        try:
            self._export.preadinto(part, offset)
        except OSError as error:
            self._failed(cookie, offset, length, error)
            return
        if self._agreed.structured:
            head = nbd.CHUNK.pack(nbd.CHUNK_MAGIC, nbd.DONE, Chunk.OFFSET_DATA, cookie, length + _OFFSET.size)
            self._client.send(head + _OFFSET.pack(offset), part)
        else:
            self._client.send(nbd.SIMPLE_REPLY.pack(nbd.SIMPLE_REPLY_MAGIC, 0, cookie), part)

    def _other(self, command: int, flags: int, cookie: int, offset: int, length: int) -> None:
        inside = offset + length <= self._export.size and length > 0
        if command == Command.BLOCK_STATUS and inside and self._agreed.allocation:
            self._block_status(flags, cookie, offset, length)
        elif command in (Command.WRITE, Command.TRIM, Command.WRITE_ZEROES):
            if command == Command.WRITE:
                self._skip(length)
            self._refuse(cookie, Error.EPERM, "the export is read-only")
        elif command == Command.READ and inside and length <= nbd.MAX_REQUEST and flags in (0, CommandFlag.DF):
            self._read_long(flags, cookie, offset, length)
        elif command in (Command.FLUSH, Command.CACHE):
            self._refuse(cookie, Error.ENOTSUP, "the command was not offered")
        else:
            self._refuse(cookie, Error.EINVAL, f"request {command} at {offset:#x}, {length} bytes, is not valid")

    def _read_long(self, flags: int, cookie: int, offset: int, length: int) -> None:
        if not self._agreed.structured:
            self._read_simple(cookie, offset, length)
            return
        if flags & CommandFlag.DF and length > _PIECE:
            self._refuse(cookie, Error.EOVERFLOW, f"more than {_PIECE} bytes are sent in fragments only")
            return
        if length <= _PIECE:
            self._read_piece(cookie, offset, length)
            return
        for at in range(offset, offset + length, _PIECE):
            part = self._buffer[: min(_PIECE, offset + length - at)]
            try:
                self._export.preadinto(part, at)
            except OSError as error:
                self._failed(cookie, at, len(part), error)
                return
            done = nbd.DONE if at + len(part) == offset + length else 0
            head = nbd.CHUNK.pack(nbd.CHUNK_MAGIC, done, Chunk.OFFSET_DATA, cookie, len(part) + _OFFSET.size)
            self._client.send(head + _OFFSET.pack(at), part)

    def _read_simple(self, cookie: int, offset: int, length: int) -> None:
        """The whole read must have succeeded before a simple reply can begin."""
        with _LONG_REPLIES:
            buffer = memoryview(bytearray(length))
            try:
                self._export.preadinto(buffer, offset)
            except OSError as error:
                self._failed(cookie, offset, length, error)
                return
            with self._client.within(_REPLY_SECONDS):  # others wait for its place
                self._client.send(nbd.SIMPLE_REPLY.pack(nbd.SIMPLE_REPLY_MAGIC, 0, cookie), buffer)

    def _block_status(self, flags: int, cookie: int, offset: int, length: int) -> None:
        most = 1 if flags & CommandFlag.REQ_ONE else _MAX_EXTENTS
        try:
            extents = self._allocation.states(offset, length, most)
        except OSError as error:
            self._failed(cookie, offset, length, error)
            return
        words = [_CONTEXT_ID, *chain.from_iterable(extents)]
        head = nbd.CHUNK.pack(nbd.CHUNK_MAGIC, nbd.DONE, Chunk.BLOCK_STATUS, cookie, 4 * len(words))
        self._client.send(head + struct.pack(f">{len(words)}I", *words))

    def _failed(self, cookie: int, offset: int, length: int, error: OSError) -> None:
        _log.error("%s: %d bytes at %#x cannot be read: %s", self._agreed.name, length, offset, error)
        self._refuse(cookie, Error.EIO, str(error))

    def _refuse(self, cookie: int, code: Error, message: str) -> None:
        if not self._agreed.structured:
            self._client.send(nbd.SIMPLE_REPLY.pack(nbd.SIMPLE_REPLY_MAGIC, code, cookie))
            return
        text = message.encode("utf-8", "replace")[: 4 * nbd.KB]
        data = _ERROR.pack(code, len(text)) + text
        self._client.send(nbd.CHUNK.pack(nbd.CHUNK_MAGIC, nbd.DONE, Chunk.ERROR, cookie, len(data)) + data)

    def _skip(self, length: int) -> None:
        """Take the data of a write out of the way."""
        if length > nbd.MAX_REQUEST:
            raise ProtocolError(f"a write of {length} bytes")
        for at in range(0, length, _PIECE):
            with self._client.within(_REQUEST_SECONDS):
                self._client.skip(min(_PIECE, length - at))

    def _in_time(self, size: int) -> bytes:
        with self._client.within(_REQUEST_SECONDS):
            return self._client.read(size)
