"""`vhdxreader measure`: what an image takes, and what a copy would."""

from __future__ import annotations

from typing import Any

import click

import vhdxreader

from .answer import answers, asked_for_json
from .grouped import GroupedCommand
from .options import opens_image
from .output import print_pairs, size
from .source import source_of

_KEYS = ("filename", "format", "virtual_size", "required_size", "fully_allocated_size", "files")


@click.command("measure", cls=GroupedCommand)
@opens_image
@click.option(
    *("--format", "-O", "format_name"),
    type=click.Choice(["raw", "vhd"]),
    default="raw",
    show_default=True,
    help="The format of the copy.",
)
@answers("measure", *_KEYS)
def command(image: str, format_name: str, **how: Any) -> int:
    """Say how many bytes a copy of the disk in IMAGE needs, and what each file of its chain takes on disk.

    A file's shared bytes are those that its file system keeps once for it and for others (reflinks).
    """
    with vhdxreader.open(source_of(image), **how) as disk:
        try:
            found = vhdxreader.measure(disk, format_name)
        except OverflowError as error:
            raise vhdxreader.VhdxError(str(error)) from None
    answer = asked_for_json()
    if answer is not None:
        answer.give({"filename": vhdxreader.plain(image), **found.to_dict()})
        return 0
    pairs = [
        ("Virtual size", size(found.virtual_size)),
        ("Required", size(found.required)),
        ("Fully allocated", size(found.fully_allocated)),
    ]
    print_pairs(f"A copy as {format_name}", pairs)
    for use in found.files:
        known = [("File size", use.size), ("On disk", use.allocated), ("Shared", use.shared)]
        print_pairs(use.filename, [(name, "not known" if value is None else size(value)) for name, value in known])
    return 0
