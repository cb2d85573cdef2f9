"""What a forest tells of a fleet: lost parents, copies, files with two names, and what merging would give back.

In: a forest of images, from anywhere. Out: frozen lists of members. No file is looked at.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ..plain_values import plain
from .forest import Forest, ForestMember, ForestNode, ParentState

Group = tuple[ForestMember, ...]


@dataclass(frozen=True, slots=True)
class Merge:
    """Images of which each is the only child of the one before it, oldest first, and how many bytes of files it would
    give back to merge them into the oldest.

    None where not every image was checked, has the same block size and is sound. With n blocks in each file and V on
    the disk, the oldest would have between max(n) and min(sum(n), V) blocks: which of them are the same blocks only the
    BATs tell. So it is the size of all files but the oldest, less (that number - its own n) * block size.
    """

    files: Group
    least: int | None
    most: int | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"filenames": _names(self.files), "least_size": self.least, "most_size": self.most}


@dataclass(frozen=True, slots=True)
class Fleet:
    """A forest, and what should be known of it.

    `orphans` are images whose parent is missing or was written to since, `doubled` those of which more than one file
    could be the parent. The members of a group of `names` are one file, those of `copies` files of one DataWriteGuid,
    and those of `shared_ids` the roots of several trees with one VirtualDiskId.
    """

    forest: Forest
    orphans: tuple[ForestNode, ...]
    doubled: tuple[ForestNode, ...]
    names: tuple[Group, ...]
    copies: tuple[Group, ...]
    shared_ids: tuple[Group, ...]
    merges: tuple[Merge, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "orphans": [plain(node.member.filename) for node in self.orphans],
            "doubled": [plain(node.member.filename) for node in self.doubled],
            "names": [_names(group) for group in self.names],
            "copies": [_names(group) for group in self.copies],
            "shared_ids": [_names(group) for group in self.shared_ids],
            "merges": plain(self.merges),
        }


def examine_fleet(forest: Forest) -> Fleet:
    """What should be known of a forest."""
    nodes = forest.nodes.values()
    files = [group[0] for group in _grouped((node.member for node in nodes), _file)]
    merges = (_merge(run) for run in _runs(forest))
    return Fleet(
        forest,
        tuple(node for node in nodes if node.link in (ParentState.MISSING, ParentState.CHANGED)),
        tuple(node for node in nodes if node.link is ParentState.DOUBLED),
        _several(_grouped((node.member for node in nodes), lambda member: member.identity)),
        _several(_grouped(files, lambda member: member.data_write_guid)),
        _several(_grouped(_different_roots(forest), lambda member: member.virtual_disk_id)),
        tuple(sorted(merges, key=lambda merge: -(merge.least or 0))),
    )


def _grouped(members: Iterable[ForestMember], key: Callable[[ForestMember], Hashable]) -> list[Group]:
    """Members with the same key, None left out, in the order in which they come."""
    groups: dict[Hashable, list[ForestMember]] = defaultdict(list)
    for member in members:
        if (value := key(member)) is not None:
            groups[value].append(member)
    return [tuple(group) for group in groups.values()]


def _several(groups: Iterable[Group]) -> tuple[Group, ...]:
    return tuple(group for group in groups if len(group) > 1)


def _file(member: ForestMember) -> Hashable:
    return member.filename if member.identity is None else member.identity


def _different_roots(forest: Forest) -> Iterator[ForestMember]:
    """Where trees begin, but of copies of one file only the first."""
    seen = set()
    for root in forest.roots():
        if root.member.data_write_guid not in seen:
            seen.add(root.member.data_write_guid)
            yield root.member


def _runs(forest: Forest) -> Iterator[Group]:
    """Images in the order in which each is the only child of the one before it, two at least."""
    nodes = forest.nodes
    follows = {node.children[0].filename for node in nodes.values() if _is_only_child(forest, node)}
    for node in nodes.values():
        if node.member.filename in follows:
            continue
        run = [node.member]
        while _is_only_child(forest, nodes[run[-1].filename]):
            run.append(nodes[run[-1].filename].children[0])
        if len(run) > 1:
            yield tuple(run)


def _is_only_child(forest: Forest, parent: ForestNode) -> bool:
    """Whether an image has one child, which has no other parent."""
    return len(parent.children) == 1 and forest.nodes[parent.children[0].filename].link is ParentState.FOUND


def _merge(files: Group) -> Merge:
    sizes = {member.block_size for member in files}
    blocks = [member.allocated_blocks for member in files]
    block_size = sizes.pop()
    if sizes or not block_size or None in blocks or any(member.problem for member in files):
        return Merge(files, None, None)
    counts = [count for count in blocks if count is not None]
    on_disk = max(-(-(member.virtual_size or 0) // block_size) for member in files)
    given = sum(member.file_size or 0 for member in files[1:])
    most_blocks, least_blocks = min(sum(counts), on_disk), max(counts)
    return Merge(
        files,
        max(given - (most_blocks - counts[0]) * block_size, 0),
        max(given - (least_blocks - counts[0]) * block_size, 0),
    )


def _names(group: Group) -> list[str]:
    return [plain(member.filename) for member in group]
