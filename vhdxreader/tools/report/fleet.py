"""`fleet_page(fleet)`: a survey's forest on one page, and what should be known of it.

In: what `examine_fleet` tells. Out: HTML of a bounded size; no file is looked at.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from ...disk.needed_files import named_files
from ...files.opening import AnyPath
from ...files.writing import WholeFile, write_all_at
from ..fleet import Fleet, Merge
from ..forest import Forest, ForestNode, ParentState
from .html import render

_MOST_ROWS = 200  # of a table
_MOST_IMAGES = 2000  # of the forest
_MOST_DEPTH = 40  # that is drawn
_SAID = {
    ParentState.MISSING: "its parent is missing",
    ParentState.CHANGED: "its parent was written to since",
    ParentState.DOUBLED: "more than one file could be its parent",
    ParentState.UNKNOWN: "too broken to say who its parent is",
}


def fleet_page(fleet: Fleet) -> str:
    """One HTML page: how many images of what kind, which have a problem or no parent, copies, shared identities, what
    merging would give back, and the forest. It needs no script and no network; of long lists it has the beginning.

    Raises `ImportError` without jinja2 (`pip install vhdxreader[report]`).
    """
    nodes = list(fleet.forest.nodes.values())
    problems = [node for node in nodes if node.member.problem is not None]
    return render(
        "fleet.html",
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
        counts=_counts(nodes),
        problems=_table(problems, len(problems)),
        orphans=_table(fleet.orphans, len(fleet.orphans)),
        doubled=_table(fleet.doubled, len(fleet.doubled)),
        groups=[
            ("Files with several names", "One file: a device and an inode.", _table(fleet.names, len(fleet.names))),
            ("Copies", "Several files with one DataWriteGuid.", _table(fleet.copies, len(fleet.copies))),
            (
                "Shared identities",
                "Trees that are not of one chain, but have one VirtualDiskId.",
                _table(fleet.shared_ids, len(fleet.shared_ids)),
            ),
        ],
        merges=_table(fleet.merges, len(fleet.merges)),
        gain=_gain(fleet.merges),
        forest=_table(_lines(fleet.forest), len(nodes), _MOST_IMAGES),
        said=_SAID,
    )


def write_fleet_report(fleet: Fleet, target: AnyPath, *, overwrite: bool = False) -> None:
    """Write the page to a file, which is there whole or not at all; never over an image of the fleet, or one that
    these name as their parent.

    Raises what `fleet_page` does, and `FileExistsError` where `target` is there and without `overwrite`.
    """
    page = fleet_page(fleet)
    local = [node.member for node in fleet.forest.nodes.values() if node.member.identity is not None]
    protected = {member.identity for member in local}
    protected = protected.union(*(named_files(member.locator, member.filename) for member in local))
    with WholeFile(target, overwrite=overwrite, protected=protected) as output:
        write_all_at(output.fd, memoryview(page.encode()), 0)


def _table(rows: Iterable[Any], count: int, most: int = _MOST_ROWS) -> dict[str, Any]:
    return {"rows": list(islice(rows, most)), "count": count}


def _counts(nodes: Sequence[ForestNode]) -> dict[str, Any]:
    return {
        "images": len(nodes),
        "size": sum(node.member.file_size or 0 for node in nodes),
        "kinds": Counter(str(node.member.disk_type or "unknown") for node in nodes).most_common(),
        "dirty": sum(bool(node.member.dirty) for node in nodes),
        "problems": sum(node.member.problem is not None for node in nodes),
    }


def _gain(merges: Sequence[Merge]) -> dict[str, int]:
    known = [merge for merge in merges if merge.least is not None]
    sizes = {"least": sum(merge.least or 0 for merge in known), "most": sum(merge.most or 0 for merge in known)}
    return {"count": len(known), **sizes}


def _lines(forest: Forest) -> Iterator[tuple[int, ForestNode]]:
    """Each image with how deep it is drawn."""
    for root in forest.roots():
        for depth, node in forest.walk(root):
            yield min(depth, _MOST_DEPTH), node
