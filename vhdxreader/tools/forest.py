"""The forest of chains in a set of images: who is whose parent, by DataWriteGuid, whatever the files are called.

In: paths of images and folders. Out: frozen members, linked to each other. Of each file only headers, log and metadata
are read.
"""

from __future__ import annotations

import os
import posixpath
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import chain, islice
from typing import Any
from urllib.parse import unquote
from uuid import UUID

from ..disk.folder_search import MAX_DEPTH
from ..disk.parent_search import NamedPolicy, places
from ..disk.structures import read_structures
from ..errors import Severity, VhdxError
from ..files.descriptors import file_identity, real_path
from ..files.opening import is_url, open_source, without_secrets
from ..files.source import Source
from ..format.log_replay import LogMode
from ..format.parent_locator import ParentLocator
from ..format.rules import Findings
from ..plain_values import plain
from .survey_names import named_images

_POLICY: NamedPolicy = "relative"
_MAX_CANDIDATES = 16  # that a node names: of a thousand copies, each child would name all


Place = Callable[[str, "ParentLocator | None"], str]
"""Where a file is, or, with its locator, where it says that its parent is; empty if it does not."""


class ParentState(StrEnum):
    """What is known of an image's parent."""

    NONE = "none"  # it has none
    FOUND = "found"
    DOUBLED = "doubled"  # more than one file has the DataWriteGuid; the one where the child says, else the first
    CHANGED = "changed"  # the file is where the child says, but was written to since the child was made
    MISSING = "missing"
    UNKNOWN = "unknown"  # the image is too broken to say


@dataclass(frozen=True, slots=True)
class ForestMember:
    """One image of a forest; None is what could not be found out. `problem` says what is wrong with it: the first error
    that is met in headers, log and metadata."""

    filename: str
    modified: float | None = None  # seconds since 1970
    file_size: int | None = None
    disk_type: str | None = None
    virtual_size: int | None = None
    dirty: bool | None = None  # whether it has a log to replay
    data_write_guid: UUID | None = None
    virtual_disk_id: UUID | None = None
    locator: ParentLocator | None = None
    problem: str | None = None
    identity: Hashable | None = None  # device and inode
    block_size: int | None = None
    allocated_blocks: int | None = None  # payload blocks with space in the file; only a check counts them


@dataclass(frozen=True, slots=True)
class ForestNode:
    """A member and its place in the forest: `candidates` are the first 16 of the `candidate_count` others that have the
    parent's DataWriteGuid. `newest` is the leaf of its tree that was written last."""

    member: ForestMember
    link: ParentState
    parent: ForestMember | None
    candidates: tuple[ForestMember, ...]
    candidate_count: int
    children: tuple[ForestMember, ...]
    newest: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        member, locator = self.member, self.member.locator
        return {
            "filename": plain(member.filename),
            "modified_time": member.modified,
            "file_size": member.file_size,
            "disk_type": plain(member.disk_type),
            "virtual_size": member.virtual_size,
            "log_state": None if member.dirty is None else "dirty" if member.dirty else "clean",
            "data_write_guid": plain(member.data_write_guid),
            "virtual_disk_guid": plain(member.virtual_disk_id),
            "parent": None if self.parent is None else plain(self.parent.filename),
            "parent_state": str(self.link),
            "parent_linkage_guid": None if locator is None else plain(locator.linkage),
            "candidates": [plain(one.filename) for one in self.candidates],
            "candidate_count": self.candidate_count,
            "children": [plain(one.filename) for one in self.children],
            "newest": self.newest,
            "problem": plain(_problem(member)),
        }


@dataclass(frozen=True, slots=True)
class Forest:
    """All images, by filename in the order in which they were found."""

    nodes: dict[str, ForestNode]

    def roots(self) -> list[ForestNode]:
        """Where trees begin: bases, images whose parent is not here, and one of each circle."""
        roots, seen = [], set[str]()
        for node in sorted(self.nodes.values(), key=lambda node: node.parent is not None):
            if node.member.filename not in seen:
                roots.append(node)
                seen.update(below.member.filename for _, below in self.walk(node))
        return roots

    def walk(self, root: ForestNode) -> Iterator[tuple[int, ForestNode]]:
        """A tree from its root on, each with its depth; none comes twice, also where links run in a circle."""
        seen: set[str] = set()
        pending = [(0, root)]
        while pending:
            depth, node = pending.pop()
            if node.member.filename not in seen:
                seen.add(node.member.filename)
                yield depth, node
                pending += [(depth + 1, self.nodes[child.filename]) for child in reversed(node.children)]


def chain_forest(paths: Iterable[str | os.PathLike[str]], *, depth: int = MAX_DEPTH) -> Forest:
    """The forest of the images named by path, URL or glob, and of those in the folders named, at most `depth` folders
    down.

    In a folder all regular files count that begin with the signature, whatever they are called; symbolic links are not
    followed. Of a folder on a server those count that have an image's name. Never raises for what is wrong with an
    image, or for one that cannot be read. Raises `OSError` for a path that is not there.
    """
    members = map(read_member, named_images(paths, depth))
    return link_members(list({member.filename: member for member in members}.values()))


def _problem(member: ForestMember) -> VhdxError | None:
    if member.problem is None:
        return None
    problem = VhdxError(member.problem)
    problem.filename = member.filename
    return problem


def read_member(path: str) -> ForestMember:
    """What an image says of itself and of its parent; a URL is named without its secrets."""
    member = ForestMember(without_secrets(path))
    try:
        if not is_url(path):
            member = _described(member, os.stat(path))  # also one that cannot be opened
        with open_source(path) as source:
            return _described(member_of(source, member.filename), source.status())
    except OSError as error:
        return replace(member, problem=error.strerror or str(error))


def _described(member: ForestMember, status: os.stat_result | None) -> ForestMember:
    """With what the system says of its file."""
    if status is None:
        return member
    size = status.st_size if member.file_size is None else member.file_size
    return replace(member, modified=status.st_mtime, file_size=size, identity=file_identity(status))


def member_of(source: Source, path: str) -> ForestMember:
    """What an image says of itself and of its parent; `OSError` where it cannot be read."""
    findings = Findings(strict=False, keep=1)
    found = read_structures(source, findings, LogMode.REPLAY)
    if not found.is_vhdx:
        return ForestMember(path, file_size=source.size, problem="it is no VHDX file")
    header, metadata = found.header, found.metadata
    return ForestMember(
        path,
        file_size=source.size,
        disk_type=None if metadata is None else metadata.disk_type,
        virtual_size=None if metadata is None else metadata.virtual_disk_size,
        dirty=None if header is None else header.has_log,
        data_write_guid=None if header is None else header.data_write_guid,
        virtual_disk_id=None if metadata is None else metadata.virtual_disk_id,
        locator=found.parent_locator,
        problem=next((finding.message for finding in findings if finding.severity is Severity.ERROR), None),
        block_size=None if metadata is None else metadata.block_size,
    )


def link_members(members: Sequence[ForestMember], place: Place | None = None) -> Forest:
    """The forest of these members. `place` says how places are compared, by paths of this system unless it is given."""
    place = place or _real_place
    by_guid = _files_by_guid(members)
    by_place = {place(member.filename, None): member for member in members}
    links = {member.filename: _link(member, by_guid, by_place, place) for member in members}
    children: dict[str, list[ForestMember]] = defaultdict(list)
    for member in members:
        parent = links[member.filename][1]
        if parent is not None:
            children[parent.filename].append(member)
    nodes = {
        member.filename: ForestNode(member, *links[member.filename], tuple(children[member.filename]), False)
        for member in members
    }
    return _with_newest(Forest(nodes))


def _files_by_guid(members: Iterable[ForestMember]) -> Mapping[UUID, Sequence[ForestMember]]:
    """Members by DataWriteGuid; of a file with several names the first."""
    by_guid: dict[UUID, list[ForestMember]] = defaultdict(list)
    seen = set()
    for member in members:
        if member.data_write_guid is not None and (member.identity is None or member.identity not in seen):
            seen.add(member.identity)
            by_guid[member.data_write_guid].append(member)
    return by_guid


def lexical_place(filename: str, locator: ParentLocator | None) -> str:
    """As `Place`, by names alone: the files may be on another machine, and of another system."""
    name = filename.replace("\\", "/")
    if locator is not None:
        if locator.relative_path is None:
            return ""
        name = posixpath.join(posixpath.dirname(name), locator.relative_path.replace("\\", "/"))
    return posixpath.normpath(unquote(name) if "://" in filename else name)


def _real_place(filename: str, locator: ParentLocator | None) -> str:
    if is_url(filename):
        return lexical_place(filename, locator)
    if locator is None:
        return real_path(filename)
    found = next(places(locator, filename, _POLICY), None)
    return real_path(found.path) if found and found.key == "relative_path" and found.reason is None else ""


def _link(
    member: ForestMember,
    by_guid: Mapping[UUID, Sequence[ForestMember]],
    by_place: Mapping[str, ForestMember],
    place: Place,
) -> tuple[ParentState, ForestMember | None, tuple[ForestMember, ...], int]:
    """What is known of the parent, which member it is, and which could be it: some, and how many."""
    if member.locator is None:
        known = member.disk_type is not None and member.disk_type != "differencing"
        return (ParentState.NONE if known else ParentState.UNKNOWN), None, (), 0
    named = by_place.get(place(member.filename, member.locator))
    linkages = dict.fromkeys(guid for guid in (member.locator.linkage, member.locator.linkage2) if guid is not None)
    count = sum(len(by_guid.get(guid, ())) for guid in linkages) - (member.data_write_guid in linkages)
    if not count:
        return (ParentState.MISSING if named is None else ParentState.CHANGED), None, (), 0
    found = chain.from_iterable(by_guid.get(guid, ()) for guid in linkages)
    others = (one for one in found if one is not member and (one.identity or one) != member.identity)
    candidates = tuple(islice(others, _MAX_CANDIDATES))
    is_right = named is not None and named is not member and named.data_write_guid in linkages
    parent = named if is_right else candidates[0]
    return (ParentState.FOUND if count == 1 else ParentState.DOUBLED), parent, candidates, count


def _with_newest(forest: Forest) -> Forest:
    newest = set()
    for root in forest.roots():
        leaves = [node.member for _, node in forest.walk(root) if not node.children]
        if len(leaves) > 1 or root.children:
            newest.add(max(leaves, key=lambda member: member.modified or 0, default=root.member).filename)
    return Forest({name: replace(node, newest=name in newest) for name, node in forest.nodes.items()})
