"""`vhdxreader check`: everything that is wrong with an image."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

import vhdxreader

from .. import Finding, Severity
from .options import image_argument, json_option
from .output import print_json, print_pairs, printable, size


@click.command("check", short_help="All that is wrong with an image.")
@image_argument
@json_option
@click.option("--deep", is_flag=True, help="Read every byte that a block has in the file.")
def command(image: str, as_json: bool, deep: bool) -> int:
    """Hold IMAGE against every rule of the specification and list all that is wrong with it.

    Works on images that cannot be opened. Exits with 0 where nothing is wrong, 2 if the image is corrupt, 3 if a
    WARNING is worth a look, 1 if it is no VHDX or of a kind that is not supported.
    """
    with _progress_bar() as progress:
        report = vhdxreader.check(image, deep=deep, progress=progress)
    if as_json:
        print_json(describe(report))
    else:
        _print_text(report)
    return exit_code(report)


def exit_code(report: vhdxreader.Report) -> int:
    """What the command exits with; it has no verdict on an image that was changed meanwhile."""
    if report.changed:
        return 1
    if report.worst is Severity.ERROR:
        return 2 if report.is_corrupt else 1
    return 3 if report.worst is Severity.WARNING else 0


def describe(report: vhdxreader.Report) -> dict[str, Any]:
    """All that a report holds, as plain values; sizes and offsets in bytes."""
    return {
        "filename": report.name,
        "format": "vhdx" if report.is_vhdx else None,
        "worst": None if report.worst is None else report.worst.name,
        "file_size": report.file_size,
        "log_state": report.log_state,
        "disk_type": report.disk_type,
        "virtual_size": report.virtual_size,
        "block_size": report.block_size,
        "payload_blocks": report.payload_blocks,
        "allocated_blocks": report.allocated_blocks,
        "bitmap_blocks": report.bitmap_blocks,
        "unused_bytes": report.unused_bytes,
        "bytes_read": report.bytes_read,
        "counts": dict(report.counts),
        "findings": [_finding(finding) for finding in report.findings],
        "before_replay": [_finding(finding) for finding in report.before_replay],
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "severity": finding.severity.name,
        "rule": finding.rule,
        "section": finding.section,
        "offset": finding.file_offset,
        "message": finding.message,
        "means": finding.means,
    }


def _print_text(report: vhdxreader.Report) -> None:
    sizes = [("File size", report.file_size), ("Virtual size", report.virtual_size), ("Block size", report.block_size)]
    counts = [
        ("Payload blocks", report.payload_blocks),
        ("Allocated blocks", report.allocated_blocks),
        ("Sector bitmap blocks", report.bitmap_blocks),
    ]
    pairs = [("Type", report.disk_type or "not known"), ("Log", report.log_state or "not known")]
    pairs += [(name, size(value)) for name, value in sizes if value is not None]
    pairs += [(name, str(value)) for name, value in counts if value is not None]
    ends = [("Unused space", report.unused_bytes), ("Read", report.bytes_read)]
    pairs += [(name, size(value)) for name, value in ends if value is not None]
    print_pairs(report.name, pairs)
    _print_findings("Findings", report.findings)
    for rule, count in report.counts.items():
        listed = sum(finding.rule == rule for finding in report.findings)
        if listed < count:
            click.echo(f"  {count - listed} more of {rule}")
    if report.before_replay:
        _print_findings("On disk, before the log's replay", report.before_replay)


def _print_findings(title: str, findings: Sequence[Finding]) -> None:
    click.echo(f"{title}:" if findings else f"{title}: none")
    for finding in findings:
        where = "" if finding.file_offset is None else f" at {finding.file_offset:#x}"
        click.echo(f"  {finding.severity.name} {finding.rule}{where} [{finding.section}]")
        click.echo(f"    {printable(finding.message)}")
        click.echo(f"    Means: {finding.means}")


@contextmanager
def _progress_bar() -> Iterator[Callable[[int, int], None] | None]:
    """A bar on standard error, where that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    columns = (TextColumn("Block allocation table"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
