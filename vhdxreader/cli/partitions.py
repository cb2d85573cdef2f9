"""`vhdxreader partitions`: the partition table inside a disk."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

import vhdxreader
from vhdxreader import PartitionTable

from .answer import answers, asked_for_json
from .grouped import GroupedCommand
from .options import opens_image
from .output import print_findings, print_pairs, report_findings, short_size
from .source import source_of
from .table import Column, print_table

_KEYS = (*("filename", "scheme", "sector_size", "disk_guid", "disk_signature", "volume", "partitions", "findings"),)
_COLUMNS = (
    Column("No.", right=True),
    Column("Offset", right=True),
    Column("Size", right=True),
    Column("Bytes", right=True),
    Column("Type", wrap=True),
    Column("Holds"),
    Column("Name", wrap=True),
)
_SCHEMES = {"gpt": "GPT", "mbr": "MBR", "none": "none"}


@click.command("partitions", cls=GroupedCommand)
@opens_image
@answers("partitions", *_KEYS)
def command(image: str, **how: Any) -> int:
    """Show the partition table of the disk in IMAGE, GPT or MBR, and what each partition holds by its signature.

    Numbers are those of Linux; --partition of other commands takes them.
    """
    with vhdxreader.open(source_of(image), **how) as disk:
        report_findings(disk)
        table = disk.partitions()
    answer = asked_for_json()
    if answer is not None:
        answer.give({"filename": vhdxreader.plain(image), **table.to_dict()})
    else:
        _print_text(image, table)
    return 0


def _print_text(image: str, table: PartitionTable) -> None:
    pairs = [("Partition table", _SCHEMES[table.scheme]), ("Sector size", f"{table.sector_size} bytes")]
    identity = table.signature if table.guid is None else str(table.guid)
    pairs += [("Disk identifier", identity)] if identity else []
    pairs += [("The whole disk holds", table.volume)] if table.volume else []
    print_pairs(image, pairs)
    if table.partitions:
        print_table(_COLUMNS, _rows(table))
    if table.findings:
        print_findings("Findings", table.findings)


def _rows(table: PartitionTable) -> Iterator[list[str]]:
    for part in table.partitions:
        yield [
            str(part.number),
            f"{part.disk_offset:#x}",
            short_size(part.length),
            str(part.length),
            (part.type_name or part.type) + (", bootable" if part.bootable else ""),
            part.volume or "",
            part.name or "",
        ]
