"""The negotiation with a new client, up to the export that it wants."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from . import protocol as nbd
from .client import Client
from .protocol import Info, Option, ProtocolError, Reply

_U32 = struct.Struct(">I")
_CONTEXT = b"base:allocation"
_CONTEXT_ID = 1


class Sized(Protocol):
    """What is offered, as far as the handshake must know it."""

    size: int


@dataclass(slots=True)
class Agreed:
    """What client and server agreed on."""

    name: str
    structured: bool
    allocation: bool  # whether extents may be asked for


class Handshake:
    """One negotiation; `exports` by name."""

    def __init__(self, client: Client, exports: Mapping[str, Sized]) -> None:
        self._client = client
        self._exports = exports
        self._no_zeroes = False
        self._structured = False
        self._allocation: str | None = None  # the export it was asked for

    def run(self) -> Agreed | None:
        """Answer options until the client wants an export; None if it wants none. Raises `ProtocolError`."""
        self._client.send(nbd.GREETING)
        (flags,) = nbd.CLIENT_FLAGS.unpack(self._client.read(nbd.CLIENT_FLAGS.size))
        if flags & ~0b11:
            raise ProtocolError(f"unknown client flags {flags:#x}")
        self._no_zeroes = bool(flags & 0b10)
        for _ in range(nbd.MAX_OPTIONS):
            option, data = self._option()
            if option == Option.ABORT:
                self._reply(option, Reply.ACK)
                return None
            name = self._answer(option, data)
            if name is not None:
                return Agreed(name, self._structured, self._structured and self._allocation == name)
        raise ProtocolError("too many options")

    def _option(self) -> tuple[int, bytes | None]:
        """The next option and its data; None for data that is longer than any may be."""
        magic, option, length = nbd.OPTION.unpack(self._client.read(nbd.OPTION.size))
        if magic != nbd.OPTION_MAGIC:
            raise ProtocolError("an option without its magic")
        if length > nbd.MAX_REQUEST:
            raise ProtocolError(f"an option of {length} bytes")
        if length > nbd.MAX_OPTION:
            for at in range(0, length, nbd.MAX_OPTION):
                self._client.read(min(nbd.MAX_OPTION, length - at))
            return option, None
        return option, self._client.read(length)

    def _answer(self, option: int, data: bytes | None) -> str | None:
        """Answer one; the name of the export, where the client has chosen."""
        if data is None:
            self._reply(option, Reply.ERR_TOO_BIG)
        elif option == Option.EXPORT_NAME:
            return self._export_name(data)
        elif option in (Option.INFO, Option.GO):
            return self._info(option, data)
        elif option == Option.LIST:
            self._list(data)
        elif option == Option.STRUCTURED_REPLY:
            self._structured = not data
            self._reply(option, Reply.ERR_INVALID if data else Reply.ACK)
        elif option in (Option.LIST_META_CONTEXT, Option.SET_META_CONTEXT):
            self._meta_context(option, data)
        else:
            self._reply(option, Reply.ERR_UNSUP)
        return None

    def _export_name(self, data: bytes) -> str:
        """The old way to choose, which knows no errors."""
        name = _text(data)
        if name not in self._exports:
            raise ProtocolError(f"there is no export {name!r}")
        head = struct.pack(">QH", self._exports[name].size, nbd.TRANSMISSION_FLAGS)
        self._client.send(head + (b"" if self._no_zeroes else bytes(124)))
        return name

    def _info(self, option: int, data: bytes) -> str | None:
        parsed = _name_at(data, 0)
        if parsed is None or not _are_requests(data[parsed[1] :]):
            self._reply(option, Reply.ERR_INVALID)
            return None
        name, _ = parsed
        if name not in self._exports:
            self._reply(option, Reply.ERR_UNKNOWN, b"there is no such export")
            return None
        size = self._exports[name].size
        self._reply(option, Reply.INFO, nbd.EXPORT_INFO.pack(Info.EXPORT, size, nbd.TRANSMISSION_FLAGS))
        sizes = nbd.BLOCK_SIZE_INFO.pack(Info.BLOCK_SIZE, 1, nbd.PREFERRED, nbd.MAX_REQUEST)
        self._reply(option, Reply.INFO, sizes)
        self._reply(option, Reply.ACK)
        return name if option == Option.GO else None

    def _list(self, data: bytes) -> None:
        if data:
            self._reply(Option.LIST, Reply.ERR_INVALID)
            return
        for name in self._exports:
            encoded = name.encode("utf-8", "surrogateescape")
            self._reply(Option.LIST, Reply.SERVER, _U32.pack(len(encoded)) + encoded)
        self._reply(Option.LIST, Reply.ACK)

    def _meta_context(self, option: int, data: bytes) -> None:
        parsed = _name_at(data, 0)
        queries = None if parsed is None else _queries(data, parsed[1])
        if parsed is None or queries is None:
            self._reply(option, Reply.ERR_INVALID)
            return
        if parsed[0] not in self._exports:
            self._reply(option, Reply.ERR_UNKNOWN)
            return
        listing = option == Option.LIST_META_CONTEXT
        wanted = _CONTEXT in queries or (listing and (not queries or b"base:" in queries))
        if wanted:
            self._reply(option, Reply.META_CONTEXT, _U32.pack(_CONTEXT_ID) + _CONTEXT)
        if not listing:
            self._allocation = parsed[0] if wanted else None
        self._reply(option, Reply.ACK)

    def _reply(self, option: int, kind: Reply, data: bytes = b"") -> None:
        head = nbd.OPTION_REPLY.pack(nbd.OPTION_REPLY_MAGIC, option, kind, len(data))
        self._client.send(head + data)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _are_requests(data: bytes) -> bool:
    """Whether these are requests for information, 16 bits each behind their number."""
    return len(data) >= 2 and len(data) == 2 + 2 * int.from_bytes(data[:2], "big")


def _name_at(data: bytes, at: int) -> tuple[str, int] | None:
    """A name with its length in front, and where it ends."""
    if len(data) < at + 4:
        return None
    end = at + 4 + int.from_bytes(data[at : at + 4], "big")
    return (_text(data[at + 4 : end]), end) if end <= len(data) else None


def _queries(data: bytes, at: int) -> list[bytes] | None:
    """The queries of a meta context option; None where they are not as many, or as long, as it says."""
    if len(data) < at + 4:
        return None
    count, at = int.from_bytes(data[at : at + 4], "big"), at + 4
    found = []
    while at < len(data):
        parsed = _name_at(data, at)
        if parsed is None:
            return None
        found.append(data[at + 4 : parsed[1]])
        at = parsed[1]
    return found if len(found) == count else None
