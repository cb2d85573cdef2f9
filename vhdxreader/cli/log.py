"""`vhdxreader log`: every entry that the log holds, valid or not, and what it would change."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import click

from .. import ExaminedEntry, LogListing, LogUpdate, read_log
from .options import image_argument, json_option
from .output import printable, size


@click.command("log", short_help="Every entry of the log.")
@image_argument
@json_option
def command(image: str, as_json: bool) -> None:
    """List the entries in IMAGE's log, by ascending offset, with their descriptors and what these target.

    Shown is what lies on disk, also of an image that does not open: no log is replayed. Entries of the active sequence
    are marked: applied (before its tail: no longer needed), replayed, tail, head.
    """
    with read_log(image) as log:
        sys.stdout.writelines(_json_lines(log) if as_json else _text_lines(log))


def describe(log: LogListing) -> dict[str, Any]:
    """The log as plain values, without its entries; offsets and lengths in bytes."""
    header = log.header
    return {
        "filename": log.name,
        "state": "dirty" if header.has_log else "clean",
        "log_guid": str(header.log_guid),
        "offset": header.log_offset,
        "length": header.log_length,
        "active_sequence": [entry.sequence_number for entry in log.active.to_replay] if log.active else None,
    }


def describe_entry(log: LogListing, examined: ExaminedEntry) -> dict[str, Any]:
    """An entry as plain values, without its descriptors. `offset` and `tail` count from the log's start."""
    entry = examined.entry
    return {
        "offset": entry.offset,
        "file_offset": log.header.log_offset + entry.offset,
        "valid": not examined.problem,
        "problem": examined.problem or None,
        "rule": examined.rule or None,
        "roles": [] if examined.problem else list(log.roles.get(entry.offset, ())),
        "sequence_number": entry.sequence_number,
        "length": entry.length,
        "tail": entry.tail,
        "log_guid": str(entry.log_guid),
        "flushed_file_offset": entry.flushed_file_offset,
        "last_file_offset": entry.last_file_offset,
        "descriptor_count": entry.descriptor_count,
        "checksum": entry.checksum,
    }


def _describe_update(update: LogUpdate) -> dict[str, Any]:
    return {
        "kind": update.kind,
        "file_offset": update.offset,
        "length": update.length,
        "targets": list(update.targets),
    }


def _json_lines(log: LogListing) -> Iterator[str]:
    """Piece by piece: a log can hold millions of descriptors."""
    yield json.dumps(describe(log))[:-1] + ', "entries": ['
    for i, examined in enumerate(log.examined):
        yield ("," if i else "") + "\n" + json.dumps(describe_entry(log, examined))[:-1] + ', "descriptors": ['
        for k, update in enumerate(log.updates(examined)):
            yield ("," if k else "") + "\n  " + json.dumps(_describe_update(update))
        yield "]}"
    yield "]}\n"


def _text_lines(log: LogListing) -> Iterator[str]:
    header = log.header
    yield f"{printable(log.name)}: {'dirty' if header.has_log else 'clean'} log of {size(header.log_length)}"
    yield f" at {header.log_offset:#x}, LogGuid {header.log_guid}\n"
    if header.has_log and log.active is None:
        yield "No valid sequence: there is nothing that could be replayed.\n"
    for examined in log.examined:
        entry = examined.entry
        roles = ", ".join(log.roles.get(entry.offset, ()))
        state = f"not valid: {examined.problem}" if examined.problem else roles or "not in the active sequence"
        place = f"{entry.length:#x} bytes at {entry.offset:#x}, tail {entry.tail:#x}"
        yield f"Entry {entry.sequence_number}, {place}: {state}\n"
        for update in log.updates(examined):
            yield f"  {update.kind:<8}{update.length:>#12x} at {update.offset:#14x}  {', '.join(update.targets)}\n"
