"""`vhdxreader convert`: the virtual disk to a raw file or a block device."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

import vhdxreader
from vhdxreader import Finding, VirtualDisk

from .answer import answers, asked_for_json
from .options import offers_force, reads_data
from .output import report_change, report_findings, report_lost
from .progress import progress_bar, shows_progress


@click.command("convert", short_help="The virtual disk as a raw image.")
@reads_data
@click.argument("target", metavar="DST", type=click.Path())
@click.option("--force", is_flag=True, help="Overwrite DST if it exists; a block device always does.")
@click.option("--sparse/--no-sparse", default=True, help="Leave holes for zeros in a file.  [default: --sparse]")
@click.option("--detect-zeroes", is_flag=True, help="Look for zeros inside data, too, 4 KiB at a time.")
@click.option("--mapfile", type=click.Path(), help="Mapfile of a --salvage run.  [default: DST.map; none with -]")
@click.option("--verify-source", is_flag=True, help="Read the disk a second time, and compare.")
@shows_progress
@answers("convert", "filename", "target", "virtual_size", "findings", "changed", "lost")
def command(
    image: str,
    target: str,
    force: bool,
    sparse: bool,
    detect_zeroes: bool,
    mapfile: str | None,
    verify_source: bool,
    progress: bool | None,
    quiet: bool,
    changing: bool,
    **how: Any,
) -> int:
    """Write the virtual disk in IMAGE to DST, as a raw image. DST is a file, a block device, or - for standard output.

    A file is there when it is whole, or not at all: until then it has a name of its own, which begins with .vhdxreader-
    in the same folder. With --salvage, a GNU ddrescue mapfile says which bytes were lost.
    """
    if target == "-" and asked_for_json() is not None:
        raise click.UsageError("standard output cannot take both the disk and JSON")
    if target == "-" and progress is None and sys.stdout.isatty():
        progress = False  # a bar would stand among the bytes
    output = sys.stdout.buffer if target == "-" else target
    if mapfile is None and how["errors"] == "zero" and target != "-":
        mapfile = target + ".map"
    with (
        _terminable(),
        offers_force(),
        vhdxreader.open(image, **how) as disk,
        progress_bar("Converting", progress, quiet=quiet) as report,
    ):
        shared = vhdxreader.shared_blocks(disk)
        if not quiet:
            report_findings(disk, shared)
        vhdxreader.convert(
            disk,
            output,
            overwrite=force,
            sparse=sparse,
            detect_zeroes=detect_zeroes,
            lost_map=mapfile,
            progress=report,
            changing=changing,
            verify_source=verify_source,
        )
        if changing:
            report_change(disk)
        _answer(disk, target, shared, salvaged=how["errors"] == "zero")
        return report_lost(disk) or (2 if shared else 0)


def _answer(disk: VirtualDisk, target: str, shared: Sequence[Finding], *, salvaged: bool) -> None:
    answer = asked_for_json()
    if answer is not None:
        findings = [finding for image in disk.images for finding in image.findings]
        findings += shared
        facts = {
            "filename": disk.name,
            "target": target,
            "virtual_size": disk.size,
            "findings": findings,
            "changed": any(finding.rule == "file.changed" for finding in findings),
            "lost": disk.lost if salvaged else None,
        }
        answer.give({key: vhdxreader.plain(value) for key, value in facts.items()})


@contextmanager
def _terminable() -> Iterator[None]:
    """Have the signals that end a process undo what was begun, as an interrupt from the keyboard does.

    One that does not end it, as SIGHUP under nohup, stays as it is.
    """
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    ending = [number for number in numbers if signal.getsignal(number) == signal.SIG_DFL]
    for number in ending:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in ending:
            signal.signal(number, signal.SIG_DFL)
