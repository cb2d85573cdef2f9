"""Prints every value that the Python parser finds in an image: `python dump.py FIELDS IMAGE`.

FIELDS is what `fields.js` made of the grammar. The format, one line a value, is the same in all languages:

- `path = value` with numbers and enum members in decimal, bytes as their count and in hexadecimal (more than 64: their
  Adler-32), and text in quotes with all but printable ASCII, and what would end it, as `\\u{hexadecimal}`;
- `path none` where an `if` does not hold, `path error` where a value cannot be had.

Of arrays longer than 5000 only the first and the last four items are shown. What stands behind an exception is asked
of a new object: that part is dumped again from the start, without the values that are known to fail.
"""

from __future__ import annotations

import sys
import zlib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kaitaistruct import KaitaiStruct, KaitaiStructError

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "generated" / "python"))
from vhdx import Vhdx


class _FailedError(Exception):
    """A value cannot be had; its path."""


class Dump:
    """The lines of one image; `fields` are the names of a type's fields by the name of its class."""

    def __init__(self, fields: dict[str, list[str]], image: str) -> None:
        self.fields = fields
        self.image = image
        self.failed: set[str] = set()

    def lines(self) -> Iterator[str]:
        """All of them, each field of the file with a new object."""
        for name in self.fields["Vhdx"]:
            yield from self._lines_of(name)

    def _lines_of(self, name: str) -> list[str]:
        while True:
            try:
                with Vhdx.from_file(self.image) as root:
                    return list(self._field(root, name, ""))
            except _FailedError as error:
                self.failed.add(str(error))

    def _field(self, owner: KaitaiStruct, name: str, path: str) -> Iterator[str]:
        path = f"{path}/{name}"
        if path in self.failed:
            yield f"{path} error"
            return
        try:
            value = getattr(owner, name)
        except (KaitaiStructError, EOFError, UnicodeDecodeError) as error:
            raise _FailedError(path) from error
        yield from self._value(value, path)

    def _value(self, value: Any, path: str) -> Iterator[str]:
        if isinstance(value, KaitaiStruct):
            for name in self.fields[type(value).__name__]:
                yield from self._field(value, name, path)
        elif isinstance(value, list):
            yield f"{path} = {len(value)} items"
            for i in range(len(value)) if len(value) <= 5000 else [*range(4), *range(len(value) - 4, len(value))]:
                yield from self._value(value[i], f"{path}[{i}]")
        else:
            yield f"{path} none" if value is None else f"{path} = {plain(value)}"


def plain(value: bool | int | str | bytes) -> str:
    """The value as it is printed; an enum member is an int."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, str):
        return '"' + "".join(c if " " <= c <= "~" and c not in '"\\' else f"\\u{{{ord(c):x}}}" for c in value) + '"'
    return f"{len(value)} bytes {value.hex() if len(value) <= 64 else zlib.adler32(value)}"


def read_fields(path: str) -> dict[str, list[str]]:
    """The names of a type's fields by the name of its class."""
    fields = defaultdict(list)
    for line in Path(path).read_text(encoding="ascii").splitlines():
        kind, name = line.split()[:2]
        fields["".join(map(str.capitalize, kind.split("_")))].append(name)
    return fields


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8", newline="\n")
    for line in Dump(read_fields(sys.argv[1]), sys.argv[2]).lines():
        print(line)
