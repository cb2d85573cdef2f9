"""`vhdxreader mount`: disks as files, by FUSE."""

from __future__ import annotations

import errno
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
    what is to be said of it as findings.txt; of a folder, here or on a server, the same in a folder for each image
    below it. All is read-only.

    fusermount3 -u MOUNTPOINT ends it. Files have no holes there: to copy a disk, convert and serve are better.
    """
    from vhdxreader.integrations import fuse

    logging.basicConfig(format="vhdxreader: %(message)s")
    image = _fixed(image)
    how["parent"] = [_fixed(path) for path in how["parent"]]
    if isinstance(how["parents"], list):
        how["parents"] = [_fixed(path) for path in how["parents"]]
    if not foreground and any(map(vhdxreader.is_url, (image, *how["parent"]))):
        raise click.UsageError("what is read by URL needs --foreground")  # its threads survive no fork
    named = vhdxreader.named_images([image])
    found = {_shown(path, image): _fixed(path) for path in named}
    if not found:
        raise FileNotFoundError(errno.ENOENT, "there is no image in it", image)
    if len(found) < len(named):
        raise FileExistsError(errno.EEXIST, "two of its images would be shown under one name", image)
    if "" in found:
        vhdxreader.open(image, **how).close()  # what is wrong with it is better said now
    files = fuse.DiskFiles({shown: partial(vhdxreader.open, path, **how) for shown, path in found.items()})
    options = {"foreground": foreground, "direct_io": direct_io, "allow_other": allow_other}
    try:
        fuse.mount(files, os.path.abspath(mountpoint), **options)
    except fuse.FuseMissingError as error:
        raise vhdxreader.VhdxError(str(error)) from None
    return 0


def _fixed(path: str) -> str:
    """A path as it is from any folder: in the background it is another one. A URL as it is."""
    return os.path.abspath(path) if os.path.lexists(path) else path


def _shown(path: str, mounted: str) -> str:
    """The folder that an image is shown as; none of its own where it alone is mounted."""
    if path == mounted:
        return ""
    parts = os.path.relpath(path, mounted).split(os.sep)
    return "".join(f"/{part}" for part in parts if part != os.pardir)  # which is in the way from a glob
