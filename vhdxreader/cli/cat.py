"""`vhdxreader cat`: the virtual disk's bytes to standard output."""

from __future__ import annotations

import sys
from typing import Any

import click

import vhdxreader

from ..files.writing import write_all
from .options import reads_data, size
from .output import report_lost

_BUFFER_SIZE = 1 << 20


@click.command("cat", short_help="The virtual disk's bytes to standard output.")
@reads_data
@click.option("--offset", type=size, metavar="SIZE", default="0", help="Start at this byte of the virtual disk.")
@click.option("--length", type=size, metavar="SIZE", help="Write this many bytes.  [default: up to the end]")
def command(image: str, offset: int, length: int | None, **how: Any) -> int:
    """Write the virtual disk in IMAGE, or a part of it, to standard output.

    Sizes are bytes, also as 0x1000, 64K, 1M, 2G or 1T.
    """
    with vhdxreader.open(image, **how) as disk:
        rest = disk.size - offset
        if rest < 0 or (length is not None and length > rest):
            raise click.UsageError(f"the virtual disk ends at byte {disk.size}, before the end of what is asked for")
        write_range(disk, offset, rest if length is None else length)
        return report_lost(disk)


def write_range(disk: vhdxreader.VirtualDisk, offset: int, length: int) -> None:
    """Copy `length` bytes at `offset` to standard output through one buffer."""
    buffer = memoryview(bytearray(min(_BUFFER_SIZE, length)))
    end = offset + length
    while offset < end:
        part = buffer[: end - offset]
        offset += disk.preadinto(part, offset)
        write_all(sys.stdout.buffer, part)
    sys.stdout.buffer.flush()
