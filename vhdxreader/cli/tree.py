"""`vhdxreader tree`: the forest of chains in files and folders."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import click

import vhdxreader
from vhdxreader import Forest, ForestNode, ParentState

from .answer import answers, asked_for_json
from .grouped import GroupedCommand
from .output import colored, counted, printable, short_size, terminal_width
from .table import shortened

_KEYS = ("paths", "images", "root_count", "orphan_count", "problem_count")
_MIN_NAME = 16  # columns
_LOST = (ParentState.MISSING, ParentState.CHANGED)
_SAID = {
    ParentState.MISSING: "its parent is not among these",
    ParentState.CHANGED: "its parent was written to since",
    ParentState.DOUBLED: "more than one file could be its parent",
}


@click.command("tree", cls=GroupedCommand)
@click.argument("paths", metavar="PATH|URL|GLOB...", nargs=-1, required=True)
@click.option("--depth", type=click.IntRange(min=0), metavar="N", help="Look at most N folders down.  [default: 16]")
@answers("tree", *_KEYS)
def command(paths: Sequence[str], depth: int | None) -> int:
    """Show the forest of the images in PATH and below, at URL, or matched by GLOB: who is whose parent, by
    DataWriteGuid, whatever the files are called; which leaf is the newest; which parents are missing, changed or
    doubled.

    Only headers, log and metadata are read. In a folder every file counts that begins as a VHDX does, in one on a
    server every file that is named as images are; symbolic links are not followed.
    """
    forest = vhdxreader.chain_forest(paths, **({} if depth is None else {"depth": depth}))
    answer = asked_for_json()
    if answer is None:
        print_forest(forest)
        return 0
    images = vhdxreader.plain(list(forest.nodes.values()))
    named = [vhdxreader.plain(vhdxreader.without_secrets(path)) for path in paths]
    answer.give({"paths": named, "images": images, **_counts(forest)})
    return 0


def print_forest(forest: Forest) -> None:
    """Print all trees, and how many there are of what."""
    for root in forest.roots():
        for line in _lines(forest, root):
            click.echo(line)
    counts = _counts(forest)
    click.echo(
        f"{counted(len(forest.nodes), 'image')}, {counted(counts['root_count'], 'tree')},"
        f" {counts['orphan_count']} without their parent,"
        f" {counts['problem_count']} with a problem"
    )


def _counts(forest: Forest) -> dict[str, int]:
    nodes = forest.nodes.values()
    return {
        "root_count": len(forest.roots()),
        "orphan_count": sum(node.link in _LOST for node in nodes),
        "problem_count": sum(node.member.problem is not None for node in nodes),
    }


def _lines(forest: Forest, root: ForestNode) -> Iterator[str]:
    """A tree, each image indented below its parent."""
    width = terminal_width()
    base = os.path.dirname(os.path.abspath(root.member.filename))
    nodes = list(forest.walk(root))
    for begin, (depth, node) in zip(_branches([depth for depth, _ in nodes]), nodes, strict=True):
        name = node.member.filename
        if depth and os.path.dirname(os.path.abspath(name)) == base:
            name = os.path.basename(name)
        about = _about(node)
        room = len(printable(name)) if width is None else width - len(begin) - len(click.unstyle(about)) - 2
        yield f"{begin}{shortened(printable(name), max(room, _MIN_NAME))}  {about}"


def _branches(depths: Sequence[int]) -> list[str]:
    """What stands before each image of a tree: lines to its parent, and past it to those that still come."""
    branches, coming = [], set[int]()  # depths at which a line goes on below
    for depth in reversed(depths):
        passing = "".join("│  " if level in coming else "   " for level in range(1, depth))
        branches.append(f"{passing}{'├─ ' if depth in coming else '└─ '}" if depth else "")
        coming = {level for level in coming if level < depth} | {depth}
    return branches[::-1]


def _about(node: ForestNode) -> str:
    member = node.member
    facts = [str(member.disk_type or "unknown")]
    facts += [short_size(member.virtual_size)] if member.virtual_size is not None else []
    facts += [f"file {short_size(member.file_size)}"] if member.file_size is not None else []
    facts += [colored("dirty", "dirty")] if member.dirty else []
    facts += [colored(_SAID[node.link], "warning")] if node.link in _SAID else []
    facts += ["newest leaf"] if node.newest else []
    facts += [colored(f"error: {printable(member.problem)}", "error")] if member.problem else []
    return ", ".join(facts)
