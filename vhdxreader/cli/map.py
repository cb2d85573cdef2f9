"""`vhdxreader map`: where each part of the virtual disk comes from."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import click

import vhdxreader
from vhdxreader import Extent, Kind, VirtualDisk

from .answer import answers, asked_for_json
from .grouped import GroupedCommand
from .options import opens_image, trimmed_option
from .output import print_pairs, short_size
from .source import source_of
from .table import Column, print_table

_COLUMNS = (
    Column("Disk offset", right=True),
    Column("Length", right=True),
    Column("Bytes", right=True),
    Column("Kind"),
    Column("Depth", right=True),
    Column("File offset", right=True),
    Column("", wrap=True),
)
_UNUSED_COLUMNS = (
    Column("File offset", right=True),
    Column("Length", right=True),
    Column("Bytes", right=True),
    Column("Kind"),
)


class _MapCommand(GroupedCommand):
    """Takes `--json=qemu`: an option with a value that may be left out would take what follows for it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, ["--qemu" if argument == "--json=qemu" else argument for argument in args])


@click.command("map", cls=_MapCommand)
@opens_image
@trimmed_option
@answers("map", "filename", "virtual_size", "extents", "unused")
@click.option("--qemu", is_flag=True, help="As --json=qemu: an array with exactly the keys of qemu-img map.")
@click.option("--chain/--own", default=True, help="Of the whole chain, or of IMAGE alone: what it changed.  [--chain]")
@click.option("--unused", is_flag=True, help="Instead, the ranges of IMAGE's file that no block reads, for carving.")
@click.option("--plot", is_flag=True, help="Instead, two pictures of characters: the disk, and IMAGE's file.")
def command(image: str, qemu: bool, chain: bool, unused: bool, plot: bool, **how: Any) -> int:
    """Show where each part of the virtual disk in IMAGE comes from.

    Parts are data, zero, absent (in no file: zeros, or in a parent that is not open) or error (it cannot be read).
    Depth counts the files of the chain from IMAGE, which is 0. Exits with 2 if there is a part that cannot be read.

    A picture is as wide as the terminal, whatever the disk's size, and each kind has a character of its own. There,
    data of parents is the digit of their depth.
    """
    if plot and (qemu or unused or asked_for_json() is not None):
        raise click.UsageError("--plot is for people: it goes with none of --json, --jsonl, --qemu, --unused")
    if not chain or unused:
        how |= {"parent": None, "parents": None}
    with vhdxreader.open(source_of(image), **how) as disk:
        if unused:
            _give_unused(disk)
            return 0
        if plot:
            from .plot import print_plot

            return 2 if print_plot(disk) else 0
        seen = _Seen(disk.extents(chain=chain))
        answer = asked_for_json()
        if qemu:
            sys.stdout.writelines(_qemu_lines(seen))
        elif answer is not None:
            facts = {"filename": vhdxreader.plain(disk.name), "virtual_size": disk.size, "unused": None}
            answer.give_list(facts, "extents", (extent.to_dict() for extent in seen), "extent")
        else:
            _print_text(disk, seen)
    return 2 if seen.error else 0


def _give_unused(disk: VirtualDisk) -> None:
    ranges = vhdxreader.unused_ranges(disk.image)
    answer = asked_for_json()
    if answer is not None:
        facts = {"filename": vhdxreader.plain(disk.name), "virtual_size": disk.size, "extents": None}
        answer.give_list(facts, "unused", (part.to_dict() for part in ranges), "range")
        return
    rows = [[f"{part.file_offset:#x}", short_size(part.length), str(part.length), part.kind] for part in ranges]
    if rows:
        print_table(_UNUSED_COLUMNS, rows)
    else:
        click.echo("No range of the file is unused.")


class _Seen:
    """Extents, and whether there was an error among them: a map may be too long to be kept."""

    def __init__(self, extents: Iterator[Extent]) -> None:
        self.error = False
        self._extents = extents

    def __iter__(self) -> Iterator[Extent]:
        for extent in self._extents:
            self.error = self.error or extent.kind is Kind.ERROR
            yield extent


def _print_text(disk: VirtualDisk, extents: _Seen) -> None:
    print_pairs("Files by depth", [(str(depth), image.name) for depth, image in enumerate(disk.images)])
    print_table(_COLUMNS, map(_row, extents))


def _row(extent: Extent) -> list[str]:
    return [
        f"{extent.disk_offset:#x}",
        short_size(extent.length),
        str(extent.length),
        str(extent.kind),
        str(extent.depth),
        "" if extent.file_offset is None else f"{extent.file_offset:#x}",
        "" if extent.error is None else str(extent.error),
    ]


def _qemu_lines(extents: _Seen) -> Iterator[str]:
    separator = "["
    for extent in extents:
        yield f"{separator}{json.dumps(_as_qemu(extent))}"
        separator = ",\n"
    yield "[]\n" if separator == "[" else "]\n"


def _as_qemu(extent: Extent) -> dict[str, Any]:
    """An extent with the keys of `qemu-img map --output=json`."""
    facts: dict[str, Any] = {
        "start": extent.disk_offset,
        "length": extent.length,
        "depth": extent.depth,
        "present": extent.present,
        "zero": extent.zero,
        "data": extent.data,
    }
    return facts if extent.file_offset is None else {**facts, "offset": extent.file_offset}
