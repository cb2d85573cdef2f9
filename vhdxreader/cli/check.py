"""`vhdxreader check`: everything that is wrong with an image."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import click

import vhdxreader
from vhdxreader import FileRange, Report, Severity, VhdxError

from .answer import answers, asked_for_json
from .failure import each_image, failed, worst
from .grouped import GroupedCommand
from .info_text import log_state, short_log_state
from .options import images_argument, parent_options
from .output import print_findings, print_pairs, short_size, size
from .progress import progress_bar, shows_progress
from .source import source_of
from .table import Column, print_table

_KEYS = (
    *("filename", "format", "worst", "disk_type", "virtual_size", "file_size", "block_size", "payload_block_count"),
    *("allocated_block_count", "bitmap_block_count", "unused_size", "trimmed_size", "unused", "read_size", "log"),
    *("finding_counts", "findings", "before_replay", "changed", "parent_state", "parents"),
)
_SHOWN_RANGES = 10
_SUMMARY = (
    Column("File", path=True),
    Column("Type"),
    Column("Virtual", right=True, spared=True),
    Column("Log", wrap=True),
    Column("Worst"),
    Column("Findings", right=True),
    Column("Rule", wrap=True),
)


@click.command("check", cls=GroupedCommand)
@images_argument
@click.option("-v", "--verbose", is_flag=True, help="Of several images, all findings, not a line each.")
@answers("check", *_KEYS)
@parent_options
@click.option("--chain/--own", default=True, help="Follow parents, where there are some, or leave them.  [--chain]")
@click.option("--deep", is_flag=True, help="Read every byte that a block has in the file.")
@shows_progress
def command(
    images: Sequence[str], verbose: bool, deep: bool, progress: bool | None, quiet: bool, chain: bool, **how: Any
) -> int:
    """Hold each IMAGE against every rule of the specification and list all that is wrong with it; of several, a line
    each.

    Works on images that cannot be opened, and looks at their parents, too. Exits with 0 where nothing is wrong, 2 if
    the image or a parent is corrupt, 3 if a WARNING is worth a look, and 1 if it is no VHDX, of a kind that is not
    supported, changed meanwhile, or lacks a parent and nothing else.
    """
    if not chain:
        how |= {"parent": None, "parents": None}

    def examine(filename: str) -> Report:
        with progress_bar("Checking", progress, quiet=quiet, unit="BAT entries") as report_progress:
            return vhdxreader.check(source_of(filename), deep=deep, progress=report_progress, **how)

    def one(filename: str) -> int:
        report = examine(filename)
        _give(report)
        return exit_code(report)

    def rows() -> Iterator[list[str]]:
        for filename in images:
            try:
                report = examine(filename)
            except (VhdxError, OSError) as error:
                codes.append(failed(error, filename))
                yield [filename, "", "", "", "error", "", ""]
            else:
                codes.append(exit_code(report))
                yield _summary(report)

    if len(images) == 1 or verbose or asked_for_json():
        return each_image(images, one)
    codes: list[int] = []
    print_table(_SUMMARY, rows())
    return worst(codes)


def _give(report: Report) -> None:
    answer = asked_for_json()
    if answer is not None:
        answer.give(report.to_dict())
        return
    for shown in (report, *report.parents):
        _print_text(shown)


def exit_code(report: Report) -> int:
    """What the command exits with; it has no verdict on an image that was changed meanwhile."""
    if any(one.changed for one in (report, *report.parents)):
        return 1
    if report.worst is Severity.ERROR:
        return 2 if report.is_corrupt else 1
    return 3 if report.worst is Severity.WARNING else 0


def _summary(report: Report) -> list[str]:
    findings = [finding for one in (report, *report.parents) for finding in one.findings]
    first = next((finding.rule for finding in findings if finding.severity is report.worst), "")
    return [
        report.name,
        report.disk_type or "not known",
        "" if report.virtual_size is None else short_size(report.virtual_size),
        _log(report, short_log_state),
        "fine" if report.worst is None else str(report.worst),
        str(sum(sum(one.counts.values()) for one in (report, *report.parents))),
        first,
    ]


def _log(report: Report, say: Callable[[dict[str, Any]], str] = log_state) -> str:
    return "not known" if report.log is None else say(report.log.to_dict())


def _parent_text(report: Report) -> str:
    words = str(report.parent_state).replace("_", " ")
    return f"{words}, {report.parents[0].name}" if report.parents else words


def _range_pair(part: FileRange) -> tuple[str, str]:
    return f"{part.file_offset:#x}", f"{size(part.length)}, {part.kind}"


def _print_text(report: Report) -> None:
    sizes = [("File size", report.file_size), ("Virtual size", report.virtual_size), ("Block size", report.block_size)]
    counts = [
        ("Payload blocks", report.payload_blocks),
        ("Allocated blocks", report.allocated_blocks),
        ("Sector bitmap blocks", report.bitmap_blocks),
    ]
    pairs = [("Type", str(report.disk_type or "not known")), ("Log", _log(report))]
    if report.parent_state not in (None, "none"):
        pairs.append(("Parent", _parent_text(report)))
    pairs += [(name, size(value)) for name, value in sizes if value is not None]
    pairs += [(name, "not known" if value is None else str(value)) for name, value in counts]
    ends = [
        ("Unused space", report.unused_size),
        ("Kept for trimmed blocks", report.trimmed_size or None),
        ("Read", report.read_size),
    ]
    pairs += [(name, size(value)) for name, value in ends if value is not None]
    print_pairs(report.name, pairs)
    if report.unused:
        print_pairs("Space that no block reads", [_range_pair(part) for part in report.unused[:_SHOWN_RANGES]])
        if len(report.unused) > _SHOWN_RANGES:
            click.echo("  more: vhdxreader map --unused lists all")
    print_findings("Findings", report.findings)
    for rule, count in report.counts.items():
        listed = sum(finding.rule == rule for finding in report.findings)
        if listed < count:
            click.echo(f"  {count - listed} more of {rule}")
    if report.before_replay:
        print_findings("On disk, before the log's replay", report.before_replay)
