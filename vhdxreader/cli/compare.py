"""`vhdxreader compare`: whether two disks are the same."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import Any

import click

import vhdxreader
from vhdxreader import Comparison, NotVhdxError, PartitionStream, VhdxError, VirtualDisk

from .answer import answers, asked_for_json
from .failure import failed
from .grouped import GroupedCommand
from .options import opens, part_of, partition_option
from .output import complain, counted, report_findings, size
from .progress import progress_bar, shows_progress

_TROUBLE = 2
_KEYS = (
    *("filenames", "partition", "equal", "virtual_sizes", "first_disk_offset", "differing_byte_count"),
    *("range_count", "ranges"),
)
_MAX_LISTED = 1000


@click.command("compare", cls=GroupedCommand)
@click.argument("a", metavar="A", type=click.Path())
@click.argument("b", metavar="B", type=click.Path())
@opens
@partition_option
@click.option("--strict", is_flag=True, help="Disks of different sizes differ, also where the rest is zeros.")
@click.option("--first", "first_only", is_flag=True, help="Look no further than the first difference.")
@click.option("--ranges", is_flag=True, help="List the ranges that differ.")
@answers("compare", *_KEYS)
@shows_progress
def command(a: str, b: str, partition: int | None, strict: bool, first_only: bool, ranges: bool, **how: Any) -> int:
    """Compare the disks in A and B: images, raw files, or - for a raw disk from standard input.

    What both say is zeros, or the same bytes of a common parent, is not read. Exits with 0 where they are the same, 1
    where they differ, 2 where they cannot be compared. A file that is no VHDX is compared as it is.
    """
    foreign: list[NotVhdxError] = []
    progress = {"wanted": how.pop("progress"), "quiet": how.pop("quiet")}
    try:
        with ExitStack() as stack:
            sides = [_side(name, how, partition, stack, foreign) for name in (a, b)]
            disks = [side.disk if isinstance(side, PartitionStream) else side for side in sides]
            with (
                vhdxreader.steady(*(disk for disk in disks if isinstance(disk, VirtualDisk))),
                progress_bar("Comparing", **progress) as report,
            ):
                found = vhdxreader.compare(*sides, strict=strict, first_only=first_only, progress=report)
    except (VhdxError, OSError) as error:
        failed(error)
        return _TROUBLE
    for each in [] if found.equal else foreign:
        complain(f"vhdxreader: {each}. Its bytes were compared as they are.")
    answer = asked_for_json()
    if answer is not None:
        facts = found.to_dict() | ({} if ranges else {"ranges": None})
        answer.give({"filenames": vhdxreader.plain([a, b]), "partition": partition, **facts})
    else:
        _print_text(found, strict, ranges)
    return 0 if found.equal else 1


def _side(name: str, how: dict[str, Any], partition: int | None, stack: ExitStack, foreign: list[NotVhdxError]) -> Any:
    """What is to be compared: a disk, a partition of one, or something raw, of which `foreign` keeps what it is."""
    if name == "-":
        return _Unseekable(sys.stdin.buffer)
    try:
        disk = stack.enter_context(vhdxreader.open(name, **how))
    except NotVhdxError as error:
        foreign.append(error)
        return name
    report_findings(disk, vhdxreader.shared_blocks(disk))
    return part_of(disk, partition)


class _Unseekable:
    """Standard input, from where it stands, also where it could be sought in."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def seekable(self) -> bool:
        return False

    def read(self, size: int) -> bytes:
        data: bytes = self._file.read(size)
        return data


def _print_text(found: Comparison, strict: bool, ranges: bool) -> None:
    size_a, size_b = found.size_a, found.size_b
    if size_a != size_b and None not in (size_a, size_b):
        click.echo(f"The sizes differ: {size_a} and {size_b} bytes{'' if strict else '; the rest counts as zeros'}.")
    if found.first_difference is None:
        click.echo("The disks are the same." if found.equal else "The disks differ in size.")
        return
    click.echo(f"The disks differ, first at {found.first_difference:#x}.")
    verb = "differs" if found.differing_byte_count == 1 else "differ"
    click.echo(f"{size(found.differing_byte_count)} {verb}, in {counted(found.range_count, 'range')}.")
    for one in found.ranges[:_MAX_LISTED] if ranges else ():
        click.echo(f"  {one.disk_offset:#x}  {counted(one.length, 'byte')}")
    if ranges and found.range_count > _MAX_LISTED:
        click.echo(f"  and {found.range_count - _MAX_LISTED} more; --json has up to 65536")
