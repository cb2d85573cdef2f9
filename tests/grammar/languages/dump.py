"""Prints every value that the Python parser finds in an image: `python dump.py GRAMMAR.json IMAGE`.

The format, one line a value, is the same in all languages (docs/languages.md): `path = value` with numbers and enum
members in decimal, text as in JSON, bytes as their count and in hexadecimal (more than 64: their Adler-32); `none`
where an `if` does not hold and `error` where a value cannot be had. Fields come in the grammar's order. Of arrays
longer than 5000 only the first and the last four items are shown.
"""

from __future__ import annotations

import json
import sys
import zlib
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import Any

from kaitaistruct import KaitaiStruct, KaitaiStructError

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "generated" / "python"))
from vhdx import Vhdx


def pascal(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))


def fields_by_class(spec: dict[str, Any]) -> dict[str, list[str]]:
    """The names of a type's fields, in the grammar's order, by the name of its class."""
    types = {spec["meta"]["id"]: spec} | spec["types"]
    return {
        pascal(name): [
            *(field["id"] for part in ("params", "seq") for field in kind.get(part, [])),
            *kind.get("instances", {}),
        ]
        for name, kind in types.items()
    }


def dump(value: Any, path: str, fields: dict[str, list[str]]) -> Iterator[str]:
    if isinstance(value, KaitaiStruct):
        for name in fields[type(value).__name__]:
            try:
                child = getattr(value, name)
            except (KaitaiStructError, EOFError, UnicodeDecodeError):
                yield f"{path}/{name} error"
            else:
                yield from dump(child, f"{path}/{name}", fields)
    elif isinstance(value, list):
        yield f"{path} = {len(value)} items"
        for i in range(len(value)) if len(value) <= 5000 else [*range(4), *range(len(value) - 4, len(value))]:
            yield from dump(value[i], f"{path}[{i}]", fields)
    else:
        yield f"{path} none" if value is None else f"{path} = {plain(value)}"


def plain(value: bool | IntEnum | int | str | bytes) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return f"{len(value)} bytes {value.hex() if len(value) <= 64 else zlib.adler32(value)}"


if __name__ == "__main__":
    grammar = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    sys.stdout.reconfigure(encoding="utf-8", newline="\n")
    with Vhdx.from_file(sys.argv[2]) as image:
        for line in dump(image, "", fields_by_class(grammar)):
            print(line)
