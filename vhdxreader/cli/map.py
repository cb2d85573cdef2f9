"""`vhdxreader map`: where each part of the virtual disk comes from."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import click

import vhdxreader

from .. import Extent, Kind
from .options import json_option, opens_image
from .output import printable

_COLUMNS = "{:<18} {:<18} {:<11} {:>5}  {:<18} {}"


@click.command("map", short_help="Where each part of the disk comes from.")
@opens_image
@json_option
@click.option("--chain/--own", default=True, help="Of the whole chain, or of IMAGE alone: what it changed.  [--chain]")
def command(image: str, as_json: bool, chain: bool, **how: Any) -> int:
    """Show where each part of the virtual disk in IMAGE comes from.

    Parts are data, zero, absent (in no file: zeros, or in a parent that is not open) or error (it cannot be read).
    Offsets and lengths are bytes. The keys of the JSON are those of `qemu-img map`, with `filename` and `state`. Exits
    with 2 if there is a part that cannot be read.
    """
    if not chain:
        how |= {"parent": None, "parents": None}
    with vhdxreader.open(image, **how) as disk:
        seen = _Seen(disk.extents(chain=chain))
        sys.stdout.writelines(_json_lines(seen) if as_json else _text_lines(seen))
    return 2 if seen.error else 0


class _Seen:
    """Extents, and whether there was an error among them: a map may be too long to be kept."""

    def __init__(self, extents: Iterator[Extent]) -> None:
        self.error = False
        self._extents = extents

    def __iter__(self) -> Iterator[Extent]:
        for extent in self._extents:
            self.error = self.error or extent.kind is Kind.ERROR
            yield extent


def describe(extent: Extent) -> dict[str, Any]:
    """An extent as plain values, with the keys of `qemu-img map`."""
    facts: dict[str, Any] = {
        "start": extent.disk_offset,
        "length": extent.length,
        "depth": extent.depth,
        "present": extent.present,
        "zero": extent.zero,
        "data": extent.data,
    }
    if extent.file_offset is not None:
        facts["offset"] = extent.file_offset
    facts |= {"filename": extent.filename, "state": extent.kind.value}
    if extent.error is not None:
        facts["error"] = str(extent.error)
    return facts


def _json_lines(extents: _Seen) -> Iterator[str]:
    separator = "["
    for extent in extents:
        yield f"{separator}{json.dumps(describe(extent))}"
        separator = ",\n"
    yield "[]\n" if separator == "[" else "]\n"


def _text_lines(extents: _Seen) -> Iterator[str]:
    yield _COLUMNS.format("Offset", "Length", "State", "Depth", "File offset", "File") + "\n"
    for extent in extents:
        where = "" if extent.file_offset is None else f"{extent.file_offset:#x}"
        name = printable(extent.filename if extent.error is None else f"{extent.filename}: {extent.error}")
        state = extent.kind.value
        yield (
            _COLUMNS.format(f"{extent.disk_offset:#x}", f"{extent.length:#x}", state, extent.depth, where, name) + "\n"
        )
