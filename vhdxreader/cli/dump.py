"""`vhdxreader dump`: every field of every structure, as it lies on disk."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator

import click

import vhdxreader
from vhdxreader import DUMP_SECTIONS, MAX_DUMP_COUNT, DumpNode

from .answer import answers, asked_for_json
from .grouped import GroupedCommand
from .options import image_argument
from .output import printable, terminal_width
from .source import source_of

_WIDE = 120  # columns of a terminal that has room for 16 bytes and what they mean


@click.command("dump", cls=GroupedCommand)
@image_argument
@click.argument("section", type=click.Choice(DUMP_SECTIONS), required=False)
@answers("dump", "filename", "structures")
@click.option(
    "--first", type=click.IntRange(0), default=0, metavar="N", help="First BAT entry, or first 4 KiB sector of the log."
)
@click.option(
    "--count",
    type=click.IntRange(1, MAX_DUMP_COUNT),
    default=64,
    metavar="N",
    show_default=True,
    help="How many BAT entries or log sectors.",
)
def command(image: str, section: str | None, first: int, count: int) -> int:
    """Show every field of every structure of IMAGE, or of one SECTION: its place, its bytes and what it means.

    Shows what lies on disk: no log is replayed. Works on images that cannot be opened; exits with 2 if a structure
    cannot be read.
    """
    seen = _Seen(vhdxreader.dump(source_of(image), [section] if section else [], first=first, count=count))
    answer = asked_for_json()
    if answer is None:
        _print_text(seen)
    else:
        facts = {"filename": vhdxreader.plain(image)}
        answer.give_list(facts, "structures", (node.to_dict() for node in seen), "structure")
    return 2 if seen.problem else 0


class _Seen:
    """Nodes, and whether there was one among them that cannot be read."""

    def __init__(self, nodes: Iterable[DumpNode]) -> None:
        self.problem = False
        self._nodes = nodes

    def __iter__(self) -> Iterator[DumpNode]:
        for node in self._nodes:
            self.problem = self.problem or bool(node.problem)
            yield node


def _print_text(nodes: Iterable[DumpNode]) -> None:
    width = terminal_width()
    shown_bytes, name_width = (16, 32) if width is None or width >= _WIDE else (6, 24)
    for node in nodes:
        for line in _lines(node, 0, shown_bytes, name_width, width):
            click.echo(line)


def _lines(node: DumpNode, depth: int, shown_bytes: int, name_width: int, width: int | None) -> Iterator[str]:
    """A node and those below it; what it means goes on under its beginning where a terminal's line is too short."""
    place = "" if node.file_offset is None else f"{node.file_offset:#x}"
    name = node.name
    if node.bit is not None and node.bits is not None:
        name += f" (bit {node.bit})" if node.bits == 1 else f" (bits {node.bit}-{node.bit + node.bits - 1})"
    raw = "" if node.children else node.raw[:shown_bytes].hex() + ("..." if node.size > shown_bytes else "")
    begin = f"{place:12}  {'  ' * depth + name:<{name_width}}  "
    begin += "" if node.children else f"{raw:<{2 * shown_bytes + 3}}  "
    text = printable(f"cannot be read: {node.problem}" if node.problem else node.meaning)
    if width is None or len(begin) + len(text) <= width:
        yield (begin + text).rstrip()
    else:  # the meaning gets lines of its own: a GUID, say, is not broken
        indent = " " * (len(place.ljust(12)) + 2 * depth + 4)
        yield begin.rstrip()
        yield from textwrap.wrap(text, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)
    for child in node.children:
        yield from _lines(child, depth + 1, shown_bytes, name_width, width)
