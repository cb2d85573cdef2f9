"""Structures that the file holds twice: each copy is read to its bytes, or to the reason why not.

Serves the headers [2.2.2] and the region tables [2.2.3], which differ in place, size and signature only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from ..errors import UnreadableError
from ..files.partial_reads import read_around
from ..files.source import Source
from ..plain_values import plain
from .checksum import checksum, stored_checksum
from .rules import Findings, finding

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Copy(Generic[T]):
    """Copy `number` (1 or 2) at `file_offset`: its `value`, or the `rule` it breaks and the `problem`."""

    number: int
    file_offset: int
    value: T | None
    data: bytes = field(default=b"", repr=False)  # with zeros for what cannot be read
    rule: str = ""
    problem: str = ""

    def to_dict(self, filename: str | None = None) -> dict[str, Any]:
        """As JSON has it, without the value."""
        problem = finding(self.rule, self.problem, self.file_offset, filename) if self.value is None else None
        return {
            "number": self.number,
            "file_offset": self.file_offset,
            "valid": self.value is not None,
            "problem": plain(problem),
        }


@dataclass(frozen=True, slots=True)
class Place:
    """A structure of `size` bytes with a signature; `rules` is the prefix of the ids of its rules."""

    name: str
    rules: str
    offsets: tuple[int, int]
    size: int
    signature: bytes


def read_copies(source: Source, place: Place, decode: Callable[[bytes, int], T]) -> tuple[Copy[T], Copy[T]]:
    """Both copies. `decode` gets the bytes of a copy with a right signature and checksum, and its file offset."""
    first, second = place.offsets
    return _read_copy(source, place, 1, first, decode), _read_copy(source, place, 2, second, decode)


def report_bad_copies(copies: tuple[Copy[T], Copy[T]], place: Place, findings: Findings) -> None:
    """A finding for each copy that is not valid; the refusal where none is."""
    for copy in copies:
        if copy.value is None:
            findings.add(copy.rule, f"{place.name} {copy.number} is not valid: {copy.problem}", copy.file_offset)
    if any(copy.value is not None for copy in copies):
        return
    truncated = all(copy.rule.endswith(".truncated") for copy in copies)
    problems = ", ".join(f"{place.name} {copy.number}: {copy.problem}" for copy in copies)
    rule = "both_truncated" if truncated else "none_valid"
    findings.add(f"{place.rules}.{rule}", f"no valid {place.name} ({problems})", copies[0].file_offset)


def _read_copy(source: Source, place: Place, number: int, offset: int, decode: Callable[[bytes, int], T]) -> Copy[T]:
    def bad(rule: str, problem: str, data: bytes = b"") -> Copy[T]:
        return Copy(number, offset, None, data, f"{place.rules}.{rule}", problem)

    if not source.holds_all(offset, place.size):
        return bad("truncated", f"the file ends at {source.whole_end:#x}, before its last byte")
    try:
        data = source.read_at(offset, place.size)
    except UnreadableError as error:
        data, _ = read_around(source, offset, place.size)
        return bad("unreadable", f"it cannot be read: {error.message}", data)
    if not data.startswith(place.signature):
        return bad("signature", f"its signature is {data[:4]!r}, not {place.signature!r}", data)
    stored, computed = stored_checksum(data), checksum(data)
    if stored != computed:
        return bad("checksum", f"its checksum is {stored:#010x}, but its bytes give {computed:#010x}", data)
    return Copy(number, offset, decode(data, offset), data)
