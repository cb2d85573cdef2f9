"""A record of each of very many images: facts, findings, log, links to parents, and digests if they are asked for.

In: paths, folders, globs. Out: plain dicts of the schema `vhdxreader/survey/1`, one an image, whatever is wrong with
it. Images are looked at by a pool of processes: see `survey_pool`.
"""

from __future__ import annotations

import glob
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any
from uuid import UUID

from ..disk.folder_search import find_images
from ..disk.opening import open as open_disk
from ..errors import Finding, VhdxError, problem_to_dict
from ..format.parent_locator import ParentLocator
from ..plain_values import plain
from .check import KEPT_FINDINGS, check
from .digests import hash_disk
from .forest import Forest, ForestMember, link_members, read_member
from .survey_pool import run_in_pool

Progress = Callable[[int, int, Mapping[str, Any]], object]  # images done, of all, and the last one's record

_STAMP = ("file_size", "modified_ns", "inode")
SURVEY_KEYS = (
    *("filename", *_STAMP, "allocated_size", "disk_type", "virtual_size", "log_state", "data_write_guid"),
    *("virtual_disk_guid", "parent_linkage_guid", "parent_linkage2_guid", "relative_path", "allocated_block_count"),
    *("worst", "finding_counts", "findings", "digests", "seconds", "error"),
)


@dataclass(frozen=True, slots=True)
class SurveyTask:
    """What is to be found out of each image. `seconds` is the time limit for one, None for none."""

    check: bool = False
    deep: bool = False
    algorithms: tuple[str, ...] = ()
    seconds: float | None = None


def survey(
    paths: Iterable[str | os.PathLike[str]],
    task: SurveyTask = SurveyTask(),  # frozen
    *,
    jobs: int | None = None,
    known: Mapping[str, tuple[Any, ...]] | None = None,
    progress: Progress | None = None,
) -> Iterator[dict[str, Any]]:
    """The records of all images named, in folders named, or matched by a glob; the largest first, as they are done.

    `jobs` processes work at once, as many as there are processors unless said otherwise; memory grows with them, and by
    a path for each image. Images whose stamp (`stamp_of` a record) is in `known` are left out. A bad image, one that is
    gone, not for this user, takes too long or kills its process gives a record with an `error`. Raises `OSError` for a
    path that is not there.
    """
    files = [path for path, stamp in _largest_first(paths) if known is None or known.get(path) != stamp]
    results = run_in_pool(files, task, jobs or os.cpu_count() or 1)
    for done, (path, result) in enumerate(results, 1):
        record = result if isinstance(result, dict) else _failed(path, result)
        if progress is not None:
            progress(done, len(files), record)
        yield record


def stamp_of(record: Mapping[str, Any]) -> tuple[Any, ...]:
    """What differs as a rule where an image was changed since its record was made."""
    return tuple(record[key] for key in _STAMP)


def survey_image(path: str, task: SurveyTask) -> dict[str, Any]:
    """The record of one image. Never raises for what is wrong with it."""
    begin = time.monotonic()
    record = _new(path)
    try:
        status = os.stat(path)
        record |= _stamp(status)
        record["allocated_size"] = getattr(status, "st_blocks", 0) * 512 if hasattr(status, "st_blocks") else None
        record |= _facts(read_member(path))
        if task.check or task.deep:
            record |= _checked(path, task)
        if task.algorithms:
            with open_disk(path) as disk:
                record["digests"] = hash_disk(disk, task.algorithms)
    except (VhdxError, OSError, ValueError) as error:
        record["error"] = _problem(error, path)
    record["seconds"] = round(time.monotonic() - begin, 4)
    return {key: plain(value) for key, value in record.items()}


def forest_of(records: Iterable[Mapping[str, Any]]) -> Forest:
    """The forest of the images that records are of."""
    return link_members([_member(record) for record in records])


def _member(record: Mapping[str, Any]) -> ForestMember:
    guids = {key: None if record[key] is None else UUID(record[key]) for key in record if key.endswith("_guid")}
    linkage = guids["parent_linkage_guid"]
    locator = None
    if linkage is not None:
        locator = ParentLocator((), linkage, guids["parent_linkage2_guid"], record["relative_path"], None, None)
    return ForestMember(
        record["filename"],
        None if record["modified_ns"] is None else record["modified_ns"] / 1e9,
        record["file_size"],
        record["disk_type"],
        record["virtual_size"],
        None if record["log_state"] is None else record["log_state"] == "dirty",
        guids["data_write_guid"],
        guids["virtual_disk_guid"],
        locator,
        None if record["error"] is None else record["error"]["message"],
    )


def _largest_first(paths: Iterable[str | os.PathLike[str]]) -> list[tuple[str, tuple[Any, ...]]]:
    """Each image once, with its stamp."""
    found: dict[str, tuple[Any, ...]] = {}
    for path in paths:
        text = str(os.fspath(path))
        names = glob.glob(text, recursive=True) if glob.has_magic(text) and not os.path.exists(text) else [text]
        for image in chain.from_iterable(map(find_images, names)):
            found[image] = _stamp_now(image)
    return sorted(found.items(), key=lambda item: -(item[1][0] or 0))


def _stamp_now(path: str) -> tuple[Any, ...]:
    try:
        return tuple(_stamp(os.stat(path)).values())
    except OSError:  # gone already: its record says so
        return (None, None, None)


def _stamp(status: os.stat_result) -> dict[str, int]:
    return dict(zip(_STAMP, (status.st_size, status.st_mtime_ns, status.st_ino), strict=True))


def _facts(member: ForestMember) -> dict[str, Any]:
    locator = member.locator
    facts: dict[str, Any] = {
        "disk_type": member.disk_type,
        "virtual_size": member.virtual_size,
        "log_state": None if member.dirty is None else "dirty" if member.dirty else "clean",
        "data_write_guid": member.data_write_guid,
        "virtual_disk_guid": member.virtual_disk_id,
        "parent_linkage_guid": None if locator is None else locator.linkage,
        "parent_linkage2_guid": None if locator is None else locator.linkage2,
        "relative_path": None if locator is None else locator.relative_path,
    }
    if member.problem is not None:
        facts["error"] = _problem(VhdxError(member.problem), member.filename)
    return facts


def _checked(path: str, task: SurveyTask) -> dict[str, Any]:
    report = check(path, deep=task.deep, parents=None)
    return {
        "allocated_block_count": report.allocated_blocks,
        "worst": report.worst,
        "finding_counts": report.counts,
        "findings": _short(report.findings),
    }


def _short(findings: Iterable[Finding]) -> list[Finding]:
    """As many of each rule as a record of thousands can hold."""
    kept: dict[str, int] = {}
    short = []
    for finding in findings:
        kept[finding.rule] = kept.get(finding.rule, 0) + 1
        if kept[finding.rule] <= KEPT_FINDINGS // 20:
            short.append(finding)
    return short


def _new(path: str) -> dict[str, Any]:
    return {**dict.fromkeys(SURVEY_KEYS), "filename": path}


def _failed(path: str, reason: str) -> dict[str, Any]:
    """The record of an image of which nothing came back."""
    record = _new(path)
    names = dict(zip(_STAMP, _stamp_now(path), strict=True))
    return {key: plain(value) for key, value in {**record, **names, "error": _problem(OSError(reason), path)}.items()}


def _problem(error: Exception, path: str) -> dict[str, Any]:
    problem = problem_to_dict(error)
    return problem | {"filename": problem.get("filename") or path}
