"""Opening an image together with its parents, each found and verified before a byte of it is served [2.6.2.6].

In: a path or file object, and where parents may come from. Out: a `Chain` of opened images.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar, cast, get_args

from .. import spec
from ..errors import Finding, VhdxError, untraced
from ..files.opening import PathOrFile, open_regular, open_source
from ..files.source import Source
from ..format.block_geometry import Geometry
from ..format.header import Header
from ..format.log_replay import Log
from ..format.parent_locator import ParentLocator
from ..format.rules import Findings, breach
from .image import VhdxImage
from .parent_problems import NotTakenError, opened, parent_error
from .parent_search import SEARCH_KEY, NamedPolicy, Place, folder_beside, neighbours, places
from .parent_verification import Member, check_linkage, check_sector_size, current_header
from .virtual_disk import VirtualDisk

if TYPE_CHECKING:
    from ..files.beneath import Beneath
    from .folder_search import FolderSearch

Parent: TypeAlias = "PathOrFile | VirtualDisk"
Parents: TypeAlias = "Parent | Sequence[Parent] | None"
Folders: TypeAlias = "list[str | os.PathLike[str]] | tuple[str | os.PathLike[str], ...]"
Policy: TypeAlias = "NamedPolicy | Folders | Callable[[ParentLocator], Parent | None] | None"

M = TypeVar("M", bound=Member)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Chain:
    """The files of a chain that could be opened, child first.

    Whoever asked for it closes `opened`; `borrowed`, behind them, are those of a disk that was given as the parent.
    `error` says why there is no further parent where one should be; None for a whole chain, and for one that was not to
    be followed.
    """

    opened: tuple[VhdxImage, ...]
    borrowed: tuple[VhdxImage, ...]
    error: VhdxError | None

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it: the files, child first, and what is wrong with the parent that should follow."""
        from .chain_facts import chain_to_dict

        return chain_to_dict(self)

    def close(self) -> None:
        """Close what was opened."""
        for image in self.opened:
            image.close()

    def discard(self) -> None:
        """Close what was opened, where nobody but the caller has it."""
        for image in self.opened:
            image.discard()


def open_chain(
    file: PathOrFile,
    *,
    parent: Parents = None,
    parents: Policy = "relative",
    log: Log = "replay",
    salvage: bool = False,
    geometry: Geometry | None = None,
    ignore_mismatch: bool = False,
) -> Chain:
    """As much of a chain as can be opened; see `vhdxreader.open`, whose `errors="zero"` is `salvage`.

    Raises only what is wrong with the child itself, or with the arguments.
    """
    open_image = partial(VhdxImage, log=log, salvage=salvage)
    opened, borrowed, error = follow_chain(
        file,
        parent,
        parents,
        open_image,
        open_child=partial(open_image, geometry=geometry),
        salvage=salvage,
        ignore_mismatch=ignore_mismatch,
    )
    return Chain(tuple(opened), borrowed, error)


def follow_chain(
    file: PathOrFile,
    parent: Parents,
    parents: Policy,
    open_image: Callable[[Source], M],
    *,
    open_child: Callable[[Source], M] | None = None,
    salvage: bool = False,
    ignore_mismatch: bool = False,
) -> tuple[list[M], tuple[VhdxImage, ...], VhdxError | None]:
    """The files of a chain, each opened by `open_image`, the first by `open_child`, child first; those of a disk that
    was given as a parent; and why there is no further parent where one should be."""
    if not (parents is None or callable(parents) or isinstance(parents, (list, tuple))) and (
        parents not in get_args(NamedPolicy)
    ):
        raise ValueError(f"parents is {parents!r}, expected {get_args(NamedPolicy)}, None, folders or a callable")
    given = _in_order(parent)
    if any(isinstance(disk, VirtualDisk) for disk in given[:-1]):
        raise ValueError("a disk given as the parent brings its own parents and must come last")
    opener = _Opener(parents, open_image, salvage=salvage, ignore_mismatch=ignore_mismatch)
    try:
        error = opener.run(file, given, open_child or open_image)
    except BaseException:
        for image in opener.opened:
            image.close()
        raise
    return opener.opened, opener.borrowed, error


def _in_order(parent: Parents) -> list[Parent]:
    if parent is None:
        return []
    return list(parent) if isinstance(parent, (list, tuple)) else [cast("Parent", parent)]


class _Opener(Generic[M]):
    """Opens the files of one chain, one after another."""

    def __init__(
        self, policy: Policy, open_image: Callable[[Source], M], *, salvage: bool, ignore_mismatch: bool
    ) -> None:
        self.opened: list[M] = []
        self.borrowed: tuple[VhdxImage, ...] = ()
        self._folders = _folder_search(policy) if isinstance(policy, (list, tuple)) else None
        self._policy = "relative" if isinstance(policy, (list, tuple)) else policy
        self._open_image = open_image
        self._salvage = salvage
        self._ignore_mismatch = ignore_mismatch
        self._inside: Beneath | None = None  # the folder that is not to be left, if one is not
        self._folder: tuple[str, ...] = ()  # of the last file, from that of a remote child
        self._identities: set[Hashable] = set()
        self._given: list[Parent] = []  # those that follow

    def run(self, file: PathOrFile, given: Sequence[Parent], open_child: Callable[[Source], M]) -> VhdxError | None:
        """Open the child, then its ancestors; why that ended before the chain's end, if it did."""
        outer, child = sys.exception(), self._open_first(file, open_child)
        if child.path is not None and self._policy == "inside":
            self._inside = _beneath(os.path.dirname(os.path.abspath(child.path)))
        try:
            self._given = list(given)
            while self._given:
                self._follow(self.opened[-1], self._given.pop(0))
            while self._policy is not None and not self.borrowed and self.opened[-1].parent_locator is not None:
                self._follow(self.opened[-1], None)
        except VhdxError as error:
            return untraced(error, outer)
        return None

    def _follow(self, child: M, given: Parent | None) -> None:
        """Open the parent of `child`: the one `given`, or the first place that serves."""
        if child.metadata is None or not child.metadata.has_parent:
            raise breach("parent.unexpected", f"{child.name} has no parent, but one was given", None, child.name)
        locator = child.parent_locator
        self._check_depth(1)
        if given is not None:
            self._settle(child, locator, "parent=", given)
        elif locator is None:
            return
        elif callable(self._policy):
            self._settle(child, locator, "parents=", self._policy(locator))
        elif self._policy is not None:
            self._search(child, locator, self._policy)

    def _settle(self, child: M, locator: ParentLocator | None, key: str, given: Parent | None) -> None:
        """Take what the caller gave."""
        outer = sys.exception()
        try:
            if given is None:
                raise NotTakenError("nothing was given", found=False)
            file = given if isinstance(given, VirtualDisk) else opened(lambda: open_source(given))
            self._take(child, locator, file, any_linkage=self._ignore_mismatch and key == "parent=")
        except NotTakenError as problem:
            problems = [(Place(key, _name(given)), untraced(problem, outer))]
        else:
            _note_found(child, key)
            return
        raise parent_error(child.name, problems, self._advice(locator) if problems[0][1].mismatch else "")

    def _advice(self, locator: ParentLocator | None) -> str:
        """What to do about a file that was given and is not the parent."""
        for later in self._given:
            with suppress(NotTakenError, OSError):
                if locator is not None and locator.accepts(_header_of(later).data_write_guid):
                    return f"{_name(later)} is its parent: give them in their order, the parent first"
        return "give the one that it was made from, or let parents=[folder] find it"

    def _search(self, child: M, locator: ParentLocator, policy: NamedPolicy) -> None:
        """Take the first place of the locator that serves."""
        outer, problems = sys.exception(), []
        for place in self._places(child, locator, policy):
            try:
                if place.reason is not None:
                    raise NotTakenError(place.reason, found=False)
                self._take(child, locator, self._open_found(child, place))
            except NotTakenError as problem:
                problems.append((place, untraced(problem, outer)))
            else:
                _note_found(child, place.key)
                if place.other_case:
                    _add_finding(
                        child, "parent.name_case", f"{place.key} differs in case from the name found, {place.path}"
                    )
                if place.key == SEARCH_KEY:
                    self._note_others(child, locator, place.path)
                return
        raise parent_error(child.name, problems, "give it as parent=, or let parents=[folder] find it")

    def _note_others(self, child: M, locator: ParentLocator, taken: str) -> None:
        """Say which other files would do: they need not have the same data."""
        assert self._folders is not None
        others = self._folders.others(locator, taken)
        if others:
            more = f" and {len(others) - 1} more" if len(others) > 1 else ""
            message = f"{taken} is taken for the parent, but {others[0]}{more} has its DataWriteGuid, too"
            _add_finding(child, "parent.ambiguous", f"{message}; give the right one as parent=")

    def _open_found(self, child: M, place: Place) -> Source:
        """What is at a place that the image names."""
        if not child.is_remote or place.key == SEARCH_KEY:
            open_it = open_regular if self._inside is None else self._inside.open
            return opened(lambda: open_it(place.path))
        source = opened(lambda: child.neighbour(place.path))
        if source is None:
            raise NotTakenError("the child is a file object and has no folder", found=False)
        self._folder = folder_beside(self._folder, place.path)
        return source

    def _places(self, child: M, locator: ParentLocator, policy: NamedPolicy) -> Iterator[Place]:
        if child.is_remote:
            yield from neighbours(locator, self._folder, policy)
        else:
            yield from places(locator, child.path, policy, self._inside)
        if self._folders is not None:
            yield from self._folders.places(locator)

    def _take(
        self, child: M, locator: ParentLocator | None, file: VirtualDisk | Source, *, any_linkage: bool = False
    ) -> None:
        """Make `file` the parent of `child`, or raise `NotTakenError`; with `any_linkage` also one that does not match
        the locator, with a finding."""
        if isinstance(file, VirtualDisk):
            if file.closed:
                raise ValueError("the disk given as the parent is closed")
            for image in file.images:
                self._reject_cycle(image.identity)
            mismatch = check_linkage(child, locator, file.image.header, any_linkage=any_linkage)
            check_sector_size(child, file.image)
            self._check_depth(len(file.images))
            self.borrowed = file.images
            child.parent = file.image
        else:
            child.parent, mismatch = self._open_parent(child, locator, file, any_linkage=any_linkage)
        if isinstance(child.parent, VhdxImage):
            child.parent.mismatch = mismatch
        child.findings += () if mismatch is None else (mismatch,)

    def _open_parent(
        self, child: M, locator: ParentLocator | None, source: Source, *, any_linkage: bool
    ) -> tuple[M, Finding | None]:
        try:
            self._reject_cycle(source.identity)
            header = current_header(source, salvage=self._salvage)
            mismatch = check_linkage(child, locator, header, any_linkage=any_linkage)
            image = self._open_verified(source)
            check_sector_size(child, image)
        except BaseException:
            source.discard()
            raise
        return self._adopt(image), mismatch

    def _open_verified(self, source: Source) -> M:
        """The image in a file that is the parent, so that what is wrong with it may be said."""
        try:
            return self._open_image(source)
        except VhdxError as error:
            error.message = f"parent {source.name}: {error.message}"
            error.filename = error.filename or source.name
            raise

    def _open_first(self, file: PathOrFile, open_child: Callable[[Source], M]) -> M:
        source = open_source(file)
        try:
            return self._adopt(open_child(source))
        except BaseException as error:
            source.discard()
            if isinstance(error, VhdxError):
                error.filename = error.filename or source.name
            raise

    def _adopt(self, image: M) -> M:
        self.opened.append(image)
        self._identities.add(image.identity)
        return image

    def _reject_cycle(self, identity: Hashable) -> None:
        if identity in self._identities:
            raise NotTakenError("it is in the chain already, which would be a cycle", mismatch=True)

    def _check_depth(self, more: int) -> None:
        if len(self.opened) + more > spec.MAX_CHAIN_LENGTH:
            name = self.opened[0].name
            message = f"{name}: the chain has more than {spec.MAX_CHAIN_LENGTH} files"
            raise breach("parent.depth", message, None, name)


def _folder_search(folders: Folders) -> FolderSearch:
    from .folder_search import FolderSearch

    return FolderSearch(folders)


def _beneath(folder: str) -> Beneath:
    from ..files.beneath import Beneath

    return Beneath(folder)


def _note_found(child: object, key: str) -> None:
    if isinstance(child, VhdxImage):
        child.parent_found_by = key.removesuffix("=")


def _name(given: Parent | None) -> str:
    if given is None:
        return ""
    if isinstance(given, (str, bytes, os.PathLike)):
        return os.fsdecode(given)
    return str(getattr(given, "name", None) or f"<{type(given).__name__}>")


def _header_of(given: Parent) -> Header:
    """Of a file that the caller gave, which is not opened for more."""
    if isinstance(given, VirtualDisk):
        return given.image.header
    source = opened(lambda: open_source(given))
    try:
        return current_header(source, salvage=False)
    finally:
        source.discard()


def _add_finding(child: Member, rule: str, message: str) -> None:
    findings = Findings(filename=child.name)
    findings.add(rule, message)
    child.findings += tuple(findings)
