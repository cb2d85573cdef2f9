"""How values are shown to people: sizes, places, text from an untrusted file, pairs, findings."""

from __future__ import annotations

import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TextIO

import click

import vhdxreader
from vhdxreader import Severity

if TYPE_CHECKING:  # what `--help` need not load
    from vhdxreader import DamagedRange, Finding, VirtualDisk

_MAX_LISTED = 1000  # lost ranges
_NARROW = 20  # columns in which nothing is wrapped
short_size, printable = vhdxreader.short_size, vhdxreader.printable
WORD_COLORS = {"error": "red", "warning": "yellow", "dirty": "yellow", "lost": "red"}


def size(value: int) -> str:
    """Bytes, and in front of them the largest unit."""
    return short_size(value) if value < 1024 else f"{short_size(value)} ({value} bytes)"


def terminal_width(stream: TextIO | None = None) -> int | None:
    """Columns of the terminal that standard output is, or a stream; None if it is none, and nothing is to be cut."""
    stream = stream or sys.stdout
    if not stream.isatty():
        return None
    return shutil.get_terminal_size(os.get_terminal_size(stream.fileno())).columns


def complain(text: str) -> None:
    """Say it on standard error; on a terminal in as many lines as it takes, words whole where they fit."""
    width = terminal_width(sys.stderr)
    text = printable(text)
    if width is not None and len(text) > width > _NARROW:
        text = "\n".join(textwrap.wrap(text, width, subsequent_indent="  ", break_on_hyphens=False))
    click.echo(text, err=True)


def color_is_wanted(stream: TextIO) -> bool:
    """Only on a terminal, and not where NO_COLOR is set (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def colored(text: str, word: str) -> str:
    """Text in the colour that a word such as "error" has."""
    color = WORD_COLORS.get(word)
    return click.style(text, fg=color) if color and color_is_wanted(sys.stdout) else text


def print_pairs(title: str, pairs: Sequence[tuple[str, str]]) -> None:
    """Print a heading and indented lines of name and value, the values in one column."""
    click.echo(f"{printable(title)}:" if pairs else f"{printable(title)}: none")
    names = [printable(name) for name, _ in pairs]
    column = max((len(name) for name in names), default=0) + 5
    for name, (_, value) in zip(names, pairs, strict=True):
        print_wrapped(f"  {name + ':':<{column - 3}} ", printable(value), column)


def _policies(match: re.Match[str]) -> str:
    return " or ".join(f"--parents {policy}" for policy in match.groups() if policy)


_OPTIONS = (
    (r'\bparents="(\w+)"(?: or "(\w+)")?', _policies),
    (r"\bparents=\[folder\]", "--search DIR"),
    (r"\b(parents?)=(?=[\s,;:)]|$)", r"--\1"),
    (r'\berrors="zero"', "--salvage"),
)


def in_options(text: str) -> str:
    """What a message says of keywords of Python, said of options."""
    for keyword, option in _OPTIONS:
        text = re.sub(keyword, option, text)
    return text


def print_findings(title: str, findings: Iterable[Finding]) -> None:
    """Print each finding with what it means, which is said once for each rule."""
    findings = list(findings)
    click.echo(f"{title}:" if findings else f"{title}: none")
    explained: set[str] = set()
    for finding in findings:
        word = str(finding.severity)
        click.echo(f"  {colored(word, word)} {finding_place(finding)}")
        print_wrapped("    ", printable(in_options(finding.message)), 4)
        if finding.means and finding.rule not in explained:
            print_wrapped("    ", f"Means: {finding.means}", 4)
            explained.add(finding.rule)


def finding_place(finding: Finding) -> str:
    """The rule that is broken, where, and its section."""
    where = "" if finding.file_offset is None else f" at {finding.file_offset:#x}"
    return f"{finding.rule}{where} [{finding.section}]"


def counted(count: int, thing: str) -> str:
    """So many of a thing, in its plural unless it is one."""
    return (
        f"{count} {thing}" if count == 1 else f"{count} {thing[:-1]}ies" if thing.endswith("y") else f"{count} {thing}s"
    )


def report_lost(disk: VirtualDisk) -> int:
    """Say on standard error what a salvaging command could not read, and of what it is not sure; the exit code that
    this calls for."""
    _report_ranges("lost", disk.lost, f"were lost and are {'the pattern' if any(disk.fill) else 'zeros'}")
    _report_ranges("doubtful", disk.doubtful, "are doubtful: as they lie in the file, perhaps not what was there")
    return 2 if disk.lost or disk.doubtful else 0


def _report_ranges(word: str, ranges: Sequence[DamagedRange], what: str) -> None:
    reasons: dict[str, str] = {}
    for entry in ranges[:_MAX_LISTED]:
        complain(f"{word}: {entry.length:#x} bytes at {entry.disk_offset:#x}: {entry.rule}")
        means = f"{entry.means}; " if entry.means else ""
        reasons.setdefault(entry.rule, f"{means}at {entry.disk_offset:#x} since {entry.reason}")
    for rule, reason in reasons.items():
        complain(f"{rule}: {in_options(reason)}")
    if ranges:
        total = sum(entry.length for entry in ranges)
        complain(f"vhdxreader: {size(total)} in {counted(len(ranges), 'range')} {what}")


def all_findings(disk: VirtualDisk, more: Iterable[Finding] = ()) -> list[Finding]:
    """Those of all images of the chain, and those that a look at its maps gave."""
    return [*(finding for image in disk.images for finding in image.findings), *more]


def report_findings(disk: VirtualDisk, more: Iterable[Finding] = ()) -> None:
    """Say once on standard error what somebody should know of a disk whose bytes are about to be read."""
    for finding in all_findings(disk, more):
        if finding.severity >= Severity.WARNING:
            name, text = finding.filename or disk.name, in_options(str(finding))
            complain(f"vhdxreader: {text}" if f" {name}: " in text else f"vhdxreader: {name}: {text}")


def report_change(disk: VirtualDisk) -> None:
    """Say on standard error that a disk was changed while it was read, where that is allowed."""
    if disk.has_changed():
        complain(f"vhdxreader: warning: {disk.name} was changed while it was read")


def print_wrapped(begin: str, text: str, indent: int) -> None:
    """Print a line; on a terminal in as many as it takes, words whole where they fit."""
    width = terminal_width()
    if width is None or len(begin) + len(text) <= width or width - indent < _NARROW:
        click.echo((begin + text).rstrip())
        return
    for i, line in enumerate(textwrap.wrap(text, width - indent, break_on_hyphens=False)):
        click.echo(begin + line if i == 0 else " " * indent + line)
