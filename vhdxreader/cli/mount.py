"""`vhdxreader mount`: disks as files, by FUSE."""

from __future__ import annotations

import logging
import os
from functools import partial
from typing import Any

import click

import vhdxreader

from .grouped import GroupedCommand
from .options import opens, salvage_options


@click.command("mount", cls=GroupedCommand)
@click.argument("image", metavar="IMAGE|URL|DIR", type=click.Path())
@click.argument("mountpoint", type=click.Path(exists=True, file_okay=False))
@opens
@salvage_options
@click.option(
    "--foreground", "-f", is_flag=True, help="Stay until it is unmounted; errors go to standard error. A URL needs it."
)
@click.option("--direct-io", is_flag=True, help="Without the system's cache; nothing of it can be mapped into memory.")
@click.option("--allow-other", is_flag=True, help="Let other users read, too.")
def command(image: str, mountpoint: str, foreground: bool, direct_io: bool, allow_other: bool, **how: Any) -> int:
    """Show the disk in IMAGE, or at URL, as disk.raw at MOUNTPOINT, its partitions as partition1.raw and so on, and
    what is to be said of it as findings.txt; of a folder the same in a folder for each image below it. All is
    read-only.

    fusermount3 -u MOUNTPOINT ends it. Files have no holes there: to copy a disk, convert and serve are better.
    """
    from vhdxreader.integrations import fuse

    logging.basicConfig(format="vhdxreader: %(message)s")
    if os.path.lexists(image):
        image = os.path.abspath(image)  # in the background it is another folder
    if os.path.isdir(image):
        found = {f"/{os.path.relpath(path, image)}": path for path in vhdxreader.find_images(image)}
    else:
        found = {"": image}
        with vhdxreader.open(image, **how) as disk:  # what is wrong with it is better said now
            if not foreground and any(one.source.is_remote for one in disk.images):
                raise click.UsageError("what is read by URL needs --foreground")  # its threads survive no fork
    files = fuse.DiskFiles({shown: partial(vhdxreader.open, path, **how) for shown, path in found.items()})
    options = {"foreground": foreground, "direct_io": direct_io, "allow_other": allow_other}
    try:
        fuse.mount(files, os.path.abspath(mountpoint), **options)
    except fuse.FuseMissingError as error:
        raise vhdxreader.VhdxError(str(error)) from None
    return 0
