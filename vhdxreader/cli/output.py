"""How values are shown: sizes, text from an untrusted file, JSON."""

from __future__ import annotations

import json
from typing import Any

import click

from .. import Severity, VirtualDisk

_MAX_LISTED = 1000  # lost ranges
_UNITS = ("bytes", "KB", "MB", "GB", "TB", "PB", "EB")


def size(value: int) -> str:
    """Bytes, and in front of them the largest unit (a power of 1024) with up to two decimals."""
    if value < 1024:
        return f"{value} bytes"
    power = min((value.bit_length() - 1) // 10, len(_UNITS) - 1)
    number = f"{value / (1 << 10 * power):.2f}".rstrip("0").rstrip(".")
    return f"{number} {_UNITS[power]} ({value} bytes)"


def printable(text: str) -> str:
    """Text that may come from an image, on one line and without what could steer a terminal: escaped as in Python."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def print_json(value: Any) -> None:
    """Print JSON, plain ASCII."""
    click.echo(json.dumps(value, indent=2))


def print_pairs(title: str, pairs: list[tuple[str, str]]) -> None:
    """Print a heading and indented lines of name and value, the values in one column."""
    click.echo(f"{printable(title)}:" if pairs else f"{printable(title)}: none")
    names = [printable(name) for name, _ in pairs]
    width = max((len(name) for name in names), default=0)
    for name, (_, value) in zip(names, pairs, strict=True):
        click.echo(f"  {name + ':':<{width + 1}}  {printable(value)}".rstrip())


def report_lost(disk: VirtualDisk) -> int:
    """Say on standard error what a salvaging command read as zeros; the exit code that it calls for."""
    for lost in disk.lost[:_MAX_LISTED]:
        click.echo(f"lost: {lost.length} bytes at {lost.disk_offset}: {printable(lost.reason)}", err=True)
    if not disk.lost:
        return 0
    total = sum(lost.length for lost in disk.lost)
    click.echo(f"vhdxreader: {total} bytes in {len(disk.lost)} ranges were lost and are zeros", err=True)
    return 2


def report_findings(disk: VirtualDisk) -> None:
    """Say once on standard error what somebody should know of a disk whose bytes are about to be read."""
    for image in disk.images:
        for finding in image.findings:
            if finding.severity >= Severity.WARNING:
                click.echo(f"vhdxreader: {printable(f'{image.name}: {finding}')}", err=True)


def report_change(disk: VirtualDisk) -> None:
    """Say on standard error that a disk was changed while it was read, where that is allowed."""
    if disk.has_changed():
        click.echo(f"vhdxreader: WARNING: {printable(disk.name)} was changed while it was read", err=True)
