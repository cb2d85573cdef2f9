"""`vhdxreader hash`: digests of virtual disks, and whether they are those of a list."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TextIO

import click

import vhdxreader
from vhdxreader import ListedDigest, VirtualDisk

from .answer import answers, asked_for_json
from .failure import each_image, worst
from .options import images_argument, opens, part_of, partition_option, salvages
from .output import printable, report_change, report_findings, report_lost
from .progress import progress_bar, shows_progress

_KEYS = (
    *("filename", "partition", "virtual_size", "digests", "before_replay", "file_size", "file_digests"),
    *("expected_digests", "verified", "salvaged", "lost", "blocks"),
)


def _with_both(command: Any) -> Any:
    """Let --log take "both", which only this command knows."""
    for option in command.__click_params__:
        if option.name == "log":
            option.type = click.Choice([*option.type.choices, "both"])
    return command


@click.command("hash", short_help="Digests of the virtual disk.")
@images_argument
@_with_both
@opens
@salvages
@partition_option
@click.option(
    *("-a", "--algorithm", "names"),
    default="sha256",
    show_default=True,
    metavar="NAME,...",
    help="Digests to make, all in one pass: md5, sha1, sha256, blake2b, ...",
)
@click.option("--file", "with_file", is_flag=True, help="Digests of the image file, too.")
@click.option("--blocks", is_flag=True, help="One digest a payload block; blocks of zeros cost nothing.")
@click.option("--verify", type=click.File(errors="surrogateescape"), metavar="LIST", help="Compare with those of a list.")
@answers("hash", *_KEYS)
@shows_progress
def command(
    images: Sequence[str], names: str, blocks: bool, verify: TextIO | None, quiet: bool, progress: bool | None, **how: Any
) -> int:
    """Print the digest of the virtual disk in each IMAGE: of all of it, or none.

    One digest is printed as sha256sum does, several in BSD's form. With --log both, those of the state before the log's
    replay come first. With --salvage, a digest that holds zeros for lost bytes is marked, and the exit code is 2.

    LIST is as sha256sum or hashdeep write it; it names the disk by its image, or by a raw copy of the same name. With
    it, the exit code is 1 where a digest differs, or the list has none for an IMAGE.
    """
    wanted = [name.strip().lower() for name in names.split(",")]
    try:
        listed = None if verify is None else vhdxreader.parse_digest_list(verify, wanted[0] if "," not in names else None)
        vhdxreader.hash_disk(_Nothing(), wanted)
        work = _Hashing(wanted, listed, quiet, progress, how)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if blocks and (len(wanted) > 1 or verify is not None):
        raise click.UsageError("--blocks makes one digest, and does not verify")
    return each_image(images, work.print_blocks if blocks else work.print_whole)


class _Nothing:
    """A disk of no bytes: who hashes it learns whether the algorithms are there."""

    size = 0

    def preadinto(self, _buffer: Any, _offset: int, /) -> int:
        return 0
