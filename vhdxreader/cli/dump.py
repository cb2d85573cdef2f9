"""`vhdxreader dump`: every field of every structure, as it lies on disk."""

from __future__ import annotations

from typing import Any

import click

from .. import DUMP_SECTIONS, MAX_DUMP_COUNT, DumpNode, dump
from .options import image_argument, json_option
from .output import print_json, printable

_SHOWN_BYTES = 16


@click.command("dump", short_help="Every field of every structure.")
@image_argument
@click.argument("section", type=click.Choice(DUMP_SECTIONS), required=False)
@json_option
@click.option("--first", type=click.IntRange(0), default=0, help="First BAT entry, or first 4 KB sector of the log.")
@click.option(
    "--count",
    type=click.IntRange(1, MAX_DUMP_COUNT),
    default=64,
    show_default=True,
    help="How many BAT entries or log sectors.",
)
def command(image: str, section: str | None, as_json: bool, first: int, count: int) -> int:
    """Show every field of every structure of IMAGE, or of one SECTION: its place, its bytes and what it means.

    Shows what lies on disk: no log is replayed. Works on images that cannot be opened; exits with 2 if a structure
    cannot be read.
    """
    nodes = dump(image, [section] if section else [], first=first, count=count)
    if as_json:
        shown = list(nodes)
        print_json([describe(node) for node in shown])
        return 2 if any(node.problem for node in shown) else 0
    code = 0
    for node in nodes:
        _print(node, 0)
        code = 2 if node.problem else code
    return code


def describe(node: DumpNode) -> dict[str, Any]:
    """A node as plain values; offsets and sizes in bytes."""
    facts: dict[str, Any] = {"name": node.name, "offset": node.offset, "size": node.size}
    if node.bits is not None:
        facts |= {"bit": node.bit, "bits": node.bits}
    if not node.children:
        facts["raw"] = node.raw.hex()
    if node.value is not None:
        facts["value"] = node.value
    for key, text in (("meaning", node.meaning), ("problem", node.problem)):
        if text:
            facts[key] = text
    return facts | ({"fields": [describe(child) for child in node.children]} if node.children else {})


def _print(node: DumpNode, depth: int) -> None:
    place = "" if node.offset is None else f"{node.offset:#012x}"
    name = node.name
    if node.bit is not None and node.bits is not None:
        name += f" (bit {node.bit})" if node.bits == 1 else f" (bits {node.bit}-{node.bit + node.bits - 1})"
    raw = "" if node.children else node.raw[:_SHOWN_BYTES].hex() + ("..." if node.size > _SHOWN_BYTES else "")
    text = f"cannot be read: {node.problem}" if node.problem else node.meaning
    line = f"{place:12}  {'  ' * depth + name:<32}  "
    line += printable(text) if node.children else f"{raw:<{2 * _SHOWN_BYTES + 3}}  {printable(text)}"
    click.echo(line.rstrip())
    for child in node.children:
        _print(child, depth + 1)
