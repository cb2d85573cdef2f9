"""Values as JSON has them, the one way for every `to_dict()`."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from operator import index
from typing import Any
from uuid import UUID


def plain(value: Any) -> Any:
    r"""Numbers, booleans, text, lists and dicts with text as keys for what is made of our types, UUIDs and enums.

    GUIDs are lower case without braces, enums their lower-case words, bytes hexadecimal. What is no Unicode in a text
    of an image or a file name is escaped as Python does it (`\udcff`), so that strict readers of JSON take it.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, IntEnum):
        return value.name.lower()
    if isinstance(value, (int, float)):
        return value
    if isinstance(value, str):
        return str(value) if value.isascii() else value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)) and not hasattr(value, "to_dict"):
        return [plain(item) for item in value]
    return value.to_dict()


def checksum_text(value: int | None) -> str | None:
    """A checksum: all its digits, hexadecimal."""
    return None if value is None else f"{value:#010x}"


def decimal_text(value: int | None) -> str | None:
    """A number that may pass 2^53, which many readers of JSON cannot hold."""
    return None if value is None else str(value)


_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def short_size(value: int) -> str:
    """Bytes in the largest unit (a power of 1024), with up to two decimals."""
    value = index(value)
    if value < 1024:
        return counted(value, "byte")
    power = min((value.bit_length() - 1) // 10, len(_UNITS) - 1)
    number = f"{value / (1 << 10 * power):.2f}".rstrip("0").rstrip(".")
    return f"{number} {_UNITS[power]}"


def counted(count: int, thing: str) -> str:
    """So many of a thing, in its plural unless it is one."""
    return (
        f"{count} {thing}" if count == 1 else f"{count} {thing[:-1]}ies" if thing.endswith("y") else f"{count} {thing}s"
    )


def printable(text: str) -> str:
    """Text that may come from an image, on one line and without what could steer a terminal: escaped as in Python."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
