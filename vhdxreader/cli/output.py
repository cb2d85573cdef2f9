"""How values are shown: sizes, text from an untrusted file, JSON."""

from __future__ import annotations

import json
from typing import Any

import click

_UNITS = ("bytes", "KB", "MB", "GB", "TB", "PB", "EB")


def size(value: int) -> str:
    """Bytes, and in front of them the largest unit (a power of 1024) with up to two decimals."""
    if value < 1024:
        return f"{value} bytes"
    power = min((value.bit_length() - 1) // 10, len(_UNITS) - 1)
    number = f"{value / (1 << 10 * power):.2f}".rstrip("0").rstrip(".")
    return f"{number} {_UNITS[power]} ({value} bytes)"


def printable(text: str) -> str:
    """Text that may come from an image, without what could steer a terminal: escaped like a Python string."""
    return "".join(char if char.isprintable() or char == "\n" else ascii(char)[1:-1] for char in text)


def print_json(value: Any) -> None:
    """Print JSON, plain ASCII."""
    click.echo(json.dumps(value, indent=2))


def print_pairs(title: str, pairs: list[tuple[str, str]]) -> None:
    """Print a heading and indented lines of name and value, the values in one column."""
    click.echo(f"{printable(title)}:" if pairs else f"{title}: none")
    width = max((len(name) for name, _ in pairs), default=0)
    for name, value in pairs:
        click.echo(f"  {name + ':':<{width + 1}}  {printable(value)}".rstrip())
