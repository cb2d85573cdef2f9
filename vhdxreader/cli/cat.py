"""`vhdxreader cat`: the virtual disk's bytes to standard output."""

from __future__ import annotations

import sys
from typing import Any

import click

import vhdxreader
from vhdxreader import CustodyRecord

from .grouped import GroupedCommand
from .options import part_of, partition_option, reads_data, size
from .output import report_change, report_findings, report_lost
from .progress import progress_bar, shows_progress
from .record import reading, records, standard_output
from .source import source_of


@click.command("cat", cls=GroupedCommand)
@reads_data
@partition_option
@click.option("--offset", type=size, metavar="SIZE", default="0", help="Start at this byte of the virtual disk.")
@click.option("--length", type=size, metavar="SIZE", help="Write this many bytes.  [default: up to the end]")
@records
@shows_progress
def command(
    image: str,
    partition: int | None,
    offset: int,
    length: int | None,
    changing: bool,
    progress: bool | None,
    quiet: bool,
    record: CustodyRecord | None,
    **how: Any,
) -> int:
    """Write the virtual disk in IMAGE, or a part of it, to standard output.

    Sizes are bytes, also as 0x1000, 64K, 1M, 2G or 1T.
    """
    if sys.stdout.isatty():
        raise click.UsageError("a disk's bytes are nothing for a terminal: give them to a file or a program, as | xxd")
    with vhdxreader.open(source_of(image), **how) as disk:
        part = part_of(disk, partition)
        rest = part.size - offset
        if rest < 0 or (length is not None and length > rest):
            raise click.UsageError(f"the virtual disk ends at byte {part.size}, before the end of what is asked for")
        shared = vhdxreader.shared_blocks(disk) if (offset, length, partition) == (0, None, None) else ()
        if not quiet:
            report_findings(disk, shared)
        with (
            reading(record, part) as note,
            vhdxreader.steady(disk, changing=changing),
            progress_bar("Reading", progress, quiet=quiet) as report,
        ):
            note(findings=shared)
            output = standard_output(record)
            vhdxreader.copy_range(part, output, offset=offset, length=length, progress=report)
        if changing:
            report_change(disk)
        return report_lost(disk) or (2 if shared else 0)
