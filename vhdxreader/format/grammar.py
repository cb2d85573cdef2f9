"""The one seam to the generated parser: bytes in, decoded structure out, errors translated.

Nothing else imports Kaitai. Bytes are read before they come here, since a Kaitai stream seeks on what it reads.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any
from uuid import UUID

from ..errors import CorruptImageError, TruncatedImageError

try:
    from kaitaistruct import ConsistencyError, ConsistencyNotCheckedError, KaitaiStream, KaitaiStructError

    from .._generated import vhdx as _parser
except ModuleNotFoundError as error:
    from .parser_state import NOT_BUILT

    raise ImportError(NOT_BUILT.format(error), name=error.name) from None

Vhdx = _parser.Vhdx

# Everything that Kaitai's runtime can raise, and what its string decoding does not catch.
_FOREIGN_ERRORS = (KaitaiStructError, ConsistencyError, ConsistencyNotCheckedError, UnicodeDecodeError)


def decode(structure: str, data: bytes | memoryview, offset: int) -> Any:
    """The structure that the grammar calls by this name, decoded from its own bytes.

    `offset` is the file offset of `data`, for messages. Fields are plain; of what the grammar leaves lazy, ask `part`.
    """
    with _translated(structure, offset):
        return getattr(Vhdx, structure).from_bytes(bytes(data))


def part(decoded: Any, name: str, offset: int) -> Any:
    """A lazy part of what `decode` gave."""
    with _translated(f"{type(decoded).__name__}.{name}", offset):
        return getattr(decoded, name)


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a structure as it lies in the file: `raw` are the bytes it is in, at file offset `offset`.

    `name` is the grammar's. A field of bits is `bits` wide, from bit `bit` of `raw` on (0 is the least significant).
    The value of a GUID is a `UUID`, of a state an `IntEnum`.
    """

    name: str
    offset: int
    raw: bytes
    value: Any
    bit: int | None = None
    bits: int | None = None


def fields(structure: str, data: bytes, offset: int) -> list[Field]:
    """Every field of the structure that the grammar calls by this name, in their order, without its lazy parts.

    `data` begins with the structure, and lies at file offset `offset`.
    """
    stream = _Recorder(BytesIO(data))
    with _translated(structure, offset):
        decoded = getattr(Vhdx, structure)(stream)
        values = [(name, value) for name, value in vars(decoded).items() if not name.startswith("_")]
        if hasattr(type(decoded), "reserved"):  # what fills a structure up to its end is lazy
            values.append(("reserved", decoded.reserved))
    found = []
    for (name, value), (start, size, is_bits) in zip(values, stream.reads, strict=True):
        first = start // 8
        raw = data[first : -(-(start + size) // 8)]
        value = UUID(bytes_le=value.raw) if isinstance(value, Vhdx.Guid) else value
        bits = (start % 8, size) if is_bits else (None, None)
        found.append(Field(name, offset + first, raw, value, *bits))
    return found


class _Recorder(KaitaiStream):  # type: ignore[misc]  # the runtime has no types
    """A stream that keeps where each of its values was read: first bit, number of bits, whether it is a bit field.

    A structure's fields take one read each, in their order; a GUID does, too.
    """

    def __init__(self, io: BytesIO) -> None:
        super().__init__(io)
        self.reads: list[tuple[int, int, bool]] = []

    def read_bytes(self, n: int) -> bytes:
        self.reads.append((self.pos() * 8, n * 8, False))
        data: bytes = super().read_bytes(n)
        return data

    def read_bits_int_le(self, n: int) -> int:
        self.reads.append((self.pos() * 8 - self.bits_left, n, True))
        value: int = super().read_bits_int_le(n)
        return value


@contextmanager
def _translated(structure: str, offset: int) -> Iterator[None]:
    try:
        yield
    except EOFError as error:  # KaitaiStruct's EndOfStreamError is one, too
        raise TruncatedImageError(f"{structure} ends before its last field: {error}", file_offset=offset) from error
    except _FOREIGN_ERRORS as error:
        raise CorruptImageError(f"{structure} is not as the grammar says: {error}", file_offset=offset) from error
