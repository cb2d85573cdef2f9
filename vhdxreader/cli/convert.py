"""`vhdxreader convert`: the virtual disk to a raw file or a block device."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

import vhdxreader

from .options import offers_force, reads_data
from .output import report_change, report_findings, report_lost


@click.command("convert", short_help="The virtual disk as a raw image.")
@reads_data
@click.argument("target", metavar="DST", type=click.Path())
@click.option("--force", is_flag=True, help="Overwrite DST if it exists; a block device always does.")
@click.option("--sparse/--no-sparse", default=True, help="Leave holes for zeros in a file.  [default: --sparse]")
@click.option("--detect-zeroes", is_flag=True, help="Look for zeros inside data, too, 4 KB at a time.")
@click.option("--mapfile", type=click.Path(), help="Mapfile of a --salvage run.  [default: DST.map; none with -]")
@click.option("--verify-source", is_flag=True, help="Read the disk a second time, and compare.")
@click.option("--progress", is_flag=True, help="Show a progress bar on standard error.")
def command(
    image: str,
    target: str,
    force: bool,
    sparse: bool,
    detect_zeroes: bool,
    mapfile: str | None,
    verify_source: bool,
    progress: bool,
    changing: bool,
    **how: Any,
) -> int:
    """Write the virtual disk in IMAGE to DST, as a raw image. DST is a file, a block device, or - for standard output.

    A file is there when it is whole, or not at all: until then it has a name of its own, which begins with .vhdxreader-
    in the same folder. With --salvage, a GNU ddrescue mapfile says which bytes were lost.
    """
    output = sys.stdout.buffer if target == "-" else target
    if mapfile is None and how["errors"] == "zero" and target != "-":
        mapfile = target + ".map"
    with _terminable(), offers_force(), vhdxreader.open(image, **how) as disk, _progress_bar(progress) as report:
        report_findings(disk)
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
        return report_lost(disk)


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


@contextmanager
def _progress_bar(wanted: bool) -> Iterator[Callable[[int, int], None] | None]:
    if not wanted:
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    columns = (BarColumn(), DownloadColumn(binary_units=True), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
