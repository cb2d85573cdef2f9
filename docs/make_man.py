"""Writes a man page for every command, from what its `--help` says: make_man.py FOLDER."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from command_help import PROGRAM, CommandHelp, Section, all_help

from vhdxreader import __version__


def main() -> None:
    """Run as a command."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    pages = list(all_help())
    for one in pages:
        others = [other for other in pages if other is not one]
        (folder / f"{_title(one)}.1").write_text(page(one, others), encoding="utf-8")


def page(one: CommandHelp, others: list[CommandHelp]) -> str:
    """The page, in the macros of man(7)."""
    lines = [
        f'.TH "{_title(one).upper()}" "1" "" "{PROGRAM} {__version__}" "User Commands"',
        *(".SH NAME", rf"{_text(_title(one))} \- {_text(one.summary)}"),
        *(".SH SYNOPSIS", rf"\fB{_text(one.path)}\fR{_text(one.usage.removeprefix(one.path))}"),
        *(line for section in one.sections for line in _section(section)),
        *(".SH SEE ALSO", ", ".join(rf"\fB{_text(_title(other))}\fR(1)" for other in others)),
    ]
    return "\n".join(lines) + "\n"


def _title(one: CommandHelp) -> str:
    return one.path.replace(" ", "-")


def _section(section: Section) -> Iterator[str]:
    yield f".SH {_text(section.heading or 'Description').upper()}"
    for paragraph in section.paragraphs:
        if paragraph.verbatim:
            yield from (".PP", ".RS 4", ".nf", *map(_text, paragraph.text.splitlines()), ".fi", ".RE")
        else:
            yield from (".PP", _text(paragraph.text))
    for term, text in section.definitions:
        yield from (".TP", rf"\fB{_text(term)}\fR", _text(text))


def _text(text: str) -> str:
    """Text that roff takes as it is: its own signs escaped, none that begins a line taken for a request."""
    text = re.sub(r"[\\-]", lambda sign: {"\\": r"\(rs", "-": r"\-"}[sign[0]], text)
    return rf"\&{text}" if text.startswith((".", "'")) else text


if __name__ == "__main__":
    main()
