"""What the page on one image says, found by the tools that the commands use.

In: an image, whatever is wrong with it. Out: plain values for a template; every list in it has a bound.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from itertools import islice
from typing import Any, TypeVar

from ...disk.chain import Parents, Policy
from ...disk.chain_facts import member_to_dict
from ...disk.opening import open as open_disk
from ...disk.virtual_disk import VirtualDisk
from ...errors import Finding, Severity, VhdxError, problem_to_dict
from ...files.opening import PathOrFile
from ...format.log_replay import Log
from ..allocation import DiskCell, disk_cells, file_cells, total_parts
from ..check import Report, check
from ..custody import file_facts
from ..dump import DumpNode, dump
from .drawing import draw_disk, draw_file, draw_order

T = TypeVar("T")
Progress = Callable[[int, int], object]

_CELLS = 768
_MOST_FILES = 64  # of a chain; each has a row, and findings
_MOST_ROWS = 200  # structures, partitions, ranges
_MOST_RULES = 100  # of a file
_PLACES = 5  # at which a rule is broken
_FIELDS = 12  # of a structure
_STRUCTURES = ("header", "region", "metadata", "locator")


def image_facts(
    file: PathOrFile,
    *,
    parent: Parents,
    parents: Policy,
    log: Log,
    deep: bool,
    digests: Sequence[str],
    progress: Progress | None,
) -> dict[str, Any]:
    """All values that `image.html` takes. Raises `OSError` where the file cannot be opened."""
    report = check(file, parent=parent, parents=parents, deep=deep, progress=progress)
    facts: dict[str, Any] = {
        "report": report.to_dict(),
        "made": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
        "deep": deep,
        "log_option": log,
        "verdict": _verdict(report),
        "findings": [_grouped(one.name, one.findings, one.counts) for one in _family(report)],
        "before_replay": _grouped(report.name, report.before_replay, {}),
        "structures": _structures(file) if report.is_vhdx else [],
        "disk": None,
        "refusal": None,
    }
    if not report.is_vhdx:
        return facts
    with ExitStack() as stack:
        disk, refusal = _open(file, parent=parent, parents=parents, log=log)
        facts["refusal"] = None if refusal is None else problem_to_dict(refusal)
        if disk is not None:
            facts["disk"] = _disk_facts(stack.enter_context(disk), digests)
    return facts


def _open(file: PathOrFile, **how: Any) -> tuple[VirtualDisk | None, Exception | None]:
    """The disk, or what can be salvaged of it and why it is refused."""
    try:
        return open_disk(file, **how), None
    except VhdxError as error:
        refusal = error
    try:
        return open_disk(file, **how | {"errors": "zero"}), refusal
    except VhdxError:
        return None, refusal


def _disk_facts(disk: VirtualDisk, digests: Sequence[str]) -> dict[str, Any]:
    """What takes an open disk: the image's own words, the chain, the pictures, partitions."""
    cells, own = disk_cells(disk, _CELLS), file_cells(disk.image, _CELLS)
    members = list(enumerate(disk.images[:_MOST_FILES]))
    return {
        "image": disk.image.to_dict(),
        "chain": [member_to_dict(depth, image) for depth, image in members],
        "chain_count": len(disk.images),
        "files": [file_facts(depth, image, digests) for depth, image in members],
        "cells": {"length": cells[0].length, "exact": all(cell.exact for cell in cells), "parts": total_parts(cells)},
        "file_cells": {"length": own[0].length, "parts": total_parts(own)},
        "order": _order(cells),
        "disk_picture": draw_disk(cells),
        "file_picture": draw_file(own),
        "order_picture": draw_order(cells, disk.image.file_size),
        **_partitions(disk),
    }


def _order(cells: Sequence[DiskCell]) -> dict[str, int]:
    """How the image's own data lie in its file."""
    return {
        "extent_count": sum(cell.extents for cell in cells),
        "jump_count": sum(cell.jumps for cell in cells),
        "data_length": sum(cell.data.get(0, 0) for cell in cells),
    }


def _partitions(disk: VirtualDisk) -> dict[str, Any]:
    try:
        table = disk.partitions()
    except (VhdxError, OSError) as error:
        return {"partition_table": None, "partition_problem": problem_to_dict(error)}
    facts = table.to_dict()
    facts["partition_count"] = len(facts["partitions"])
    facts["partitions"] = facts["partitions"][:_MOST_ROWS]
    facts["findings"] = facts["findings"][:_PLACES]
    return {"partition_table": facts, "partition_problem": None}


def _family(report: Report) -> Sequence[Report]:
    return (report, *report.parents)[:_MOST_FILES]


def _grouped(filename: str, findings: Sequence[Finding], counts: Mapping[str, int]) -> dict[str, Any]:
    """Findings of a file by their rules, the gravest first, each with the first places where it is broken."""
    rules: dict[str, list[Finding]] = {}
    for finding in findings:
        rules.setdefault(finding.rule, []).append(finding)
    ordered = sorted(rules.values(), key=lambda group: -group[0].severity)
    groups = [
        {
            "severity": str(group[0].severity),
            "rule": group[0].rule,
            "section": group[0].section,
            "means": group[0].means,
            "count": counts.get(group[0].rule, len(group)),
            "places": [{"file_offset": one.file_offset, "message": one.message} for one in group[:_PLACES]],
        }
        for group in ordered[:_MOST_RULES]
    ]
    return {"filename": filename, "groups": groups, "rule_count": len(ordered)}


def _structures(file: PathOrFile) -> list[dict[str, Any]]:
    """Structures as they lie on disk, by the order in which they are found."""
    try:
        return [_structure(node) for node in islice(dump(file, _STRUCTURES), _MOST_ROWS)]
    except VhdxError as error:
        return [{"name": "structures", "problem": error.message, "file_offset": None, "length": 0, "meaning": ""}]


def _structure(node: DumpNode) -> dict[str, Any]:
    return {
        "name": node.name,
        "file_offset": node.file_offset,
        "length": node.size,
        "meaning": node.meaning,
        "problem": node.problem,
        "fields": list(_fields(node)),
    }


def _fields(node: DumpNode) -> Iterator[tuple[str, str]]:
    """Names and values of a structure's fields that say something."""
    named = ((child.name, child.meaning or str(child.value or "")) for child in node.children)
    return islice((field for field in named if field[1] not in ("", "zeros") and field != ("reserved", "0")), _FIELDS)


def _verdict(report: Report) -> dict[str, str]:
    """The page's first sentence, and how grave it is."""
    worst = report.worst
    if not report.is_vhdx:
        return {"severity": "error", "text": "This is no VHDX image."}
    if report.changed:
        return {
            "severity": "warning",
            "text": "The image was changed while it was read: nothing here is of one moment.",
        }
    if report.is_corrupt:
        return {"severity": "error", "text": "The image is damaged: some of it cannot be read, or cannot be trusted."}
    if worst is Severity.ERROR:
        return {"severity": "error", "text": "The disk cannot be read in full; the image itself is not damaged."}
    if worst is Severity.WARNING:
        return {"severity": "warning", "text": "The disk can be read; something about the image should be known."}
    return {"severity": "none", "text": "No damage was found."}
