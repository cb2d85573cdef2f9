"""`vhdxreader log`: every entry that the log holds, valid or not, and what it would change."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

import vhdxreader
from vhdxreader import LogListing

from .answer import answers, asked_for_json
from .grouped import GroupedCommand
from .options import image_argument
from .output import print_wrapped, printable, short_size, size
from .source import source_of


@click.command("log", cls=GroupedCommand)
@image_argument
@answers("log", "filename", "log", "entries")
def command(image: str) -> None:
    """List the entries in IMAGE's log, by ascending offset, with their descriptors and what these target.

    Shown is what lies on disk, also of an image that does not open: no log is replayed. Entries of the active sequence
    are marked: applied (before its tail: no longer needed), replayed, tail, head.
    """
    with vhdxreader.read_log(source_of(image)) as log:
        answer = asked_for_json()
        if answer is None:
            for line in _text_lines(log):
                print_wrapped("", printable(line), 6)
        else:
            answer.give_list(log.to_dict(), "entries", _entries(log), "log_entry")


def _entries(log: LogListing) -> Iterator[dict[str, Any]]:
    for examined in log.examined:
        descriptors = (update.to_dict() for update in log.updates(examined))
        yield {**log.entry_to_dict(examined), "descriptors": descriptors}


def _text_lines(log: LogListing) -> Iterator[str]:
    header = log.header
    state = "dirty" if header.has_log else "clean"
    yield f"{log.name}: {state} log of {size(header.log_length)} at {header.log_offset:#x}, LogGuid {header.log_guid}"
    if header.has_log and log.active is None:
        yield "No valid sequence: there is nothing that could be replayed."
    for examined in log.examined:
        entry = examined.entry
        roles = ", ".join(log.roles.get(entry.log_offset, ()))
        state = f"not valid: {examined.problem}" if examined.problem else roles or "not in the active sequence"
        place = f"{short_size(entry.length)} at {entry.log_offset:#x} of the log, tail {entry.tail:#x}"
        yield f"Entry {entry.sequence_number}, {place}: {state}"
        for update in log.updates(examined):
            yield f"  {update.kind:<8}{update.length:>#12x} at {update.file_offset:#14x}  {', '.join(update.targets)}"
