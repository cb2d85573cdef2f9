"""Whether a file is the parent that a child names, before a byte of it is served [2.2.4, 2.6.2.6].

In: a child, and a file that may be its parent. Out: the file's current header, a finding, or why it is not taken.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable
from typing import Any, Protocol

from ..errors import Finding, UnreadableError, VhdxError
from ..files.source import Source
from ..format import header as headers
from ..format.header import Header
from ..format.metadata import Metadata
from ..format.parent_locator import ParentLocator
from ..format.rules import Findings, finding
from ..format.salvaged_copies import salvage_header
from .parent_problems import NotTakenError


class Member(Protocol):
    """A file of a chain, as far as it takes to find its parent; None is what it does not say, or no longer can."""

    identity: Hashable
    findings: tuple[Finding, ...]
    parent: Any

    @property
    def name(self) -> str: ...
    @property
    def path(self) -> str | None: ...
    @property
    def is_remote(self) -> bool: ...
    @property
    def neighbour(self) -> Callable[[str], Source | None]: ...
    @property
    def parent_locator(self) -> ParentLocator | None: ...
    @property
    def metadata(self) -> Metadata | None: ...
    def close(self) -> None: ...


def current_header(source: Source, *, salvage: bool) -> Header:
    """The current header, of a file of which nothing is known or may be shown yet."""
    findings = Findings(strict=not salvage)
    try:
        copies = headers.read_headers(source)
        header = headers.choose_current(copies, findings) if salvage or headers.is_vhdx(source) else None
        if header is None and salvage:
            header = salvage_header(source, copies, findings)
    except UnreadableError as error:
        raise NotTakenError(os.strerror(error.errno or 0) if error.errno else "it cannot be read") from None
    except VhdxError as error:
        rule = "" if error.rule is None else f" (rule {error.rule})"
        raise NotTakenError(f"it has no current header{rule}") from None
    except OSError as error:
        raise NotTakenError(error.strerror or "it cannot be read") from None
    if header is None:
        raise NotTakenError("it is not a VHDX file")
    return header


def check_linkage(child: Member, locator: ParentLocator | None, header: Header, *, any_linkage: bool) -> Finding | None:
    """A finding where the parent does not match and that does not matter."""
    if locator is None:
        reason = "the child does not say which its parent is"
        # The caller, who knew the geometry, knows the parent.
        any_linkage = any_linkage or (child.metadata is not None and not child.metadata.items)
    elif locator.accepts(header.data_write_guid):
        return None
    else:
        also = "" if locator.linkage2 is None else f" or {locator.linkage2}"
        reason = f"its DataWriteGuid is not {locator.linkage}{also}: another disk, or changed since the child was made"
    if not any_linkage:
        raise NotTakenError(reason, mismatch=True)
    return finding("parent.mismatch", f"the parent is taken as asked, but {reason}", filename=child.name)


def check_sector_size(child: Member, parent: Member) -> None:
    """Sectors of one size, without which a sector bitmap would mean nothing in the parent."""
    if child.metadata is None or parent.metadata is None:
        return
    ours, other = child.metadata.logical_sector_size, parent.metadata.logical_sector_size
    if ours != other:
        raise NotTakenError(f"its logical sector size is {other}, the child's {ours}", mismatch=True)
