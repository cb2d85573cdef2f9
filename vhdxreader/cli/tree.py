"""`vhdxreader tree`: the forest of chains in files and folders."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import click

import vhdxreader
from vhdxreader import Forest, ForestNode, ParentState

from .answer import answers, asked_for_json
from .output import colored, printable, short_size

_KEYS = ("paths", "images", "root_count", "orphan_count", "problem_count")
_LOST = (ParentState.MISSING, ParentState.CHANGED)
_SAID = {
    ParentState.MISSING: "its parent is missing",
    ParentState.CHANGED: "its parent was written to since",
    ParentState.DOUBLED: "more than one file could be its parent",
}


@click.command("tree", short_help="Which image is whose parent.")
@click.argument("paths", metavar="DIR|IMAGE...", type=click.Path(exists=True), nargs=-1, required=True)
@click.option("--depth", type=click.IntRange(min=0), metavar="N", help="Look at most N folders down.  [default: 16]")
@answers("tree", *_KEYS)
def command(paths: Sequence[str], depth: int | None) -> int:
    """Show the forest of the images named, and of those in folders and below: who is whose parent, by DataWriteGuid,
    whatever the files are called; which leaf is the newest; which parents are missing, changed or doubled.

    Only headers, log and metadata are read. In a folder every file counts that begins as a VHDX does; symbolic links
    are not followed.
    """
    forest = vhdxreader.chain_forest(paths, **({} if depth is None else {"depth": depth}))
    nodes = list(forest.nodes.values())
    orphans = sum(node.link in _LOST for node in nodes)
    problems = sum(node.member.problem is not None for node in nodes)
    roots = forest.roots()
    answer = asked_for_json()
    if answer is not None:
        counts = {"root_count": len(roots), "orphan_count": orphans, "problem_count": problems}
        answer.give({"paths": vhdxreader.plain(list(paths)), "images": vhdxreader.plain(nodes), **counts})
        return 0
    for root in roots:
        for line in _lines(forest, root):
            click.echo(line)
    click.echo(f"{len(nodes)} images, {len(roots)} trees, {orphans} without their parent, {problems} with a problem")
    return 0


def _lines(forest: Forest, root: ForestNode) -> Iterator[str]:
    """A tree, each image indented below its parent."""
    base = os.path.dirname(os.path.abspath(root.member.filename))
    for depth, node in forest.walk(root):
        name = node.member.filename
        if depth and os.path.dirname(os.path.abspath(name)) == base:
            name = os.path.basename(name)
        yield f"{'   ' * (depth - 1)}{'└─ ' if depth else ''}{printable(name)}  {_about(node)}"


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
