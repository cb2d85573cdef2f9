"""`vhdxreader skeleton`: the beginning of an image, without its payload."""

from __future__ import annotations

import click

from .. import VhdxError, plain, write_skeleton
from .answer import answers, asked_for_json
from .grouped import GroupedCommand
from .options import NewFile, image_argument, offers_force, terminable
from .options import size as parse_size
from .output import size
from .source import source_of


@click.command("skeleton", cls=GroupedCommand)
@image_argument
@click.argument("target", metavar="OUT", type=NewFile())
@click.option(
    "--max-size", type=parse_size, metavar="SIZE", default="127M", show_default=True, help="The most to write."
)
@click.option("--bitmaps", is_flag=True, help="Sector bitmap blocks, too.")
@click.option("--force", is_flag=True, help="Overwrite OUT if it exists.")
@answers("skeleton", "filename", "target", "file_size", "last_structure")
def command(image: str, target: str, max_size: int, bitmaps: bool, force: bool) -> None:
    """Copy the beginning of IMAGE, up to the end of its last structure that is no payload, to OUT.

    That is the header section, log, metadata, BAT and unknown regions, byte for byte at their places: for bug reports,
    and for the Kaitai Web IDE, which takes about 127 MiB. Blocks that lie between structures are copied with them.
    info, dump, log and check work on it; info shows the state before the replay of a log.
    """
    with terminable(), offers_force():
        skeleton, is_written = write_skeleton(
            source_of(image), target, max_size=max_size, bitmaps=bitmaps, overwrite=force
        )
    if not is_written:
        raise VhdxError(
            f"the beginning of the file up to the end of its last structure, the {skeleton.last}, has"
            f" {size(skeleton.size)}: more than --max-size"
        )
    answer = asked_for_json()
    if answer is None:
        click.echo(f"{size(skeleton.size)}, up to the end of the {skeleton.last}")
    else:
        facts = {"filename": image, "target": target, "file_size": skeleton.size, "last_structure": skeleton.last}
        answer.give({key: plain(value) for key, value in facts.items()})
