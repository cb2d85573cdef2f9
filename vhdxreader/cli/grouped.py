"""A command whose `--help` shows first the options of its own, then those that it shares, by what they are for."""

from __future__ import annotations

import click

_SHARED = {
    "Parents and log": ("parent", "parents", "folders", "ignore_mismatch", "log"),
    "Packed images and records": ("max_temp", "record_path", "record_digests"),
    "Damaged or changing images": ("errors", "fill", "geometry", "trimmed", "changing"),
    "Output": ("json", "jsonl", "progress", "quiet"),
}
_OWN = "Options"
_HEADING = {name: heading for heading, names in _SHARED.items() for name in names}


class GroupedCommand(click.Command):
    """What every command is."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options under their headings."""
        groups: dict[str, list[tuple[str, str]]] = {heading: [] for heading in (_OWN, *_SHARED)}
        for option in self.get_params(ctx):
            record = option.get_help_record(ctx)
            if record is not None and isinstance(option, click.Option):
                groups[_HEADING.get(option.name or "", _OWN)].append(record)
        for heading, records in groups.items():
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)
