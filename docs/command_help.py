"""What `--help` says of each command, in pieces: for the site's pages and for the man pages.

The pieces are taken where click hands them to its formatter, so that nothing which `--help` shows can be missing, and
nothing can be worded in another way.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import click

from vhdxreader.cli.app import app

PROGRAM = "vhdxreader"


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Text, to be set in lines of any length unless it is `verbatim`."""

    text: str
    verbatim: bool


@dataclass(slots=True)
class Section:
    """What stands under one heading; the first has none."""

    heading: str
    paragraphs: list[Paragraph] = field(default_factory=list)
    definitions: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class CommandHelp:
    """One command: `name` is empty for the program itself."""

    name: str
    summary: str
    usage: str
    sections: list[Section]

    @property
    def path(self) -> str:
        """How it is called, without arguments."""
        return f"{PROGRAM} {self.name}".rstrip()


def all_help() -> Iterator[CommandHelp]:
    """The program, then each of its commands."""
    parent = click.Context(app, info_name=PROGRAM, **app.context_settings)
    yield _help_of("", app, parent)
    for name in app.list_commands(parent):
        command = app.get_command(parent, name)
        assert command is not None
        yield _help_of(name, command, click.Context(command, info_name=name, parent=parent))


def _help_of(name: str, command: click.Command, context: click.Context) -> CommandHelp:
    seen = _Seen()
    command.format_help(context, seen)
    summary = command.short_help or inspect.cleandoc(command.help or "").partition("\n")[0]
    return CommandHelp(name, summary.rstrip("."), seen.usage, seen.sections)


class _Seen(click.HelpFormatter):
    """A formatter that keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.usage = ""
        self.sections = [Section("")]

    def write_usage(self, prog: str, args: str = "", *_: object) -> None:
        self.usage = f"{prog} {args}"

    def write_heading(self, heading: str) -> None:
        self.sections.append(Section(heading))

    def write_text(self, text: str) -> None:
        for piece in inspect.cleandoc(text).split("\n\n"):
            verbatim = piece.startswith(("\b\n", "    "))
            self.sections[-1].paragraphs.append(
                Paragraph(_lines(piece) if verbatim else " ".join(piece.split()), verbatim)
            )

    def write_dl(self, rows: Sequence[tuple[str, str]], *_: object) -> None:
        self.sections[-1].definitions += rows


def _lines(piece: str) -> str:
    return inspect.cleandoc(piece.removeprefix("\b\n"))
