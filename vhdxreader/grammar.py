"""The one seam to the generated parser: bytes in, decoded structure out, errors translated.

Nothing else imports Kaitai. Bytes are read before they come here, since a Kaitai stream seeks on what it reads.
Layer 1: imports `errors` and the generated parser.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kaitaistruct import ConsistencyError, ConsistencyNotCheckedError, KaitaiStructError

from ._generated.vhdx import Vhdx
from .errors import CorruptImageError, TruncatedImageError

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


@contextmanager
def _translated(structure: str, offset: int) -> Iterator[None]:
    try:
        yield
    except EOFError as error:  # KaitaiStruct's EndOfStreamError is one, too
        raise TruncatedImageError(f"{structure} ends before its last field: {error}", offset=offset) from error
    except _FOREIGN_ERRORS as error:
        raise CorruptImageError(f"{structure} is not as the grammar says: {error}", offset=offset) from error
