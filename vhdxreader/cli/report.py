"""`vhdxreader report`: an image on one page."""

from __future__ import annotations

from typing import Any

import click

import vhdxreader

from .answer import answers, asked_for_json
from .grouped import GroupedCommand
from .options import NewFile, image_argument, offers_force, opens, terminable
from .progress import progress_bar, shows_progress
from .source import source_of


@click.command("report", cls=GroupedCommand)
@image_argument
@click.argument("target", metavar="OUT.html", type=NewFile())
@opens
@click.option("--deep", is_flag=True, help="Read every byte that a block has in the file.")
@click.option(
    "--digest", "digests", multiple=True, metavar="NAME", help="Digest of each file of the chain: sha256, ..."
)
@click.option("--force", is_flag=True, help="Overwrite OUT.html if it exists.")
@answers("report", "filename", "target")
@shows_progress
def command(image: str, target: str, force: bool, progress: bool | None, quiet: bool, **how: Any) -> int:
    """Write a page on IMAGE to OUT.html: facts, findings and what they mean, pictures of the disk and of the file, the
    chain, structures, partitions.

    The page is one file that needs no script and no network. It is written of images that cannot be opened, too.
    """
    with (
        terminable(),
        offers_force(),
        progress_bar("Checking", progress, quiet=quiet, unit="BAT entries") as report,
    ):
        try:
            vhdxreader.write_report(source_of(image), target, overwrite=force, **how, progress=report)
        except ImportError as error:
            raise click.ClickException(str(error)) from None
        except ValueError as error:  # a digest that cannot be made
            raise click.UsageError(str(error)) from None
    answer = asked_for_json()
    if answer is not None:
        answer.give({"filename": vhdxreader.plain(image), "target": vhdxreader.plain(target)})
    return 0
