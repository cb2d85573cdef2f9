"""The record of one image of a survey: facts, log, links to parents, and findings and digests if they are asked for.

In: a path or URL, and what is asked. Out: a plain dict of the schema `vhdxreader/survey/1`, whatever is wrong.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from ..disk.opening import open as open_disk
from ..errors import Finding, VhdxError, problem_to_dict
from ..files.opening import AnyPath, is_url, open_source, without_secrets
from ..files.source import Source
from ..format.stamp import changed_error
from ..plain_values import plain
from .check import KEPT_FINDINGS, check
from .digests import hash_disk
from .forest import ForestMember, member_of
from .time_limit import TimeLimitError, time_limit

Result = tuple[str, "dict[str, Any] | str"]  # a path with its record, or the reason why there is none

_STAMP = ("file_size", "modified_ns", "inode", "file_version")
SURVEY_KEYS = (
    *("filename", *_STAMP, "device", "allocated_size", "disk_type", "virtual_size", "block_size", "log_state"),
    *("data_write_guid", "virtual_disk_guid", "parent_linkage_guid", "parent_linkage2_guid", "relative_path"),
    *("allocated_block_count", "worst", "finding_counts", "findings", "digests", "seconds", "error"),
)
_KEPT_OF_A_RULE = KEPT_FINDINGS // 20  # a report of thousands of images holds no more


@dataclass(frozen=True, slots=True)
class SurveyTask:
    """What is to be found out of each image. `seconds` is the time limit for one, None for none."""

    check: bool = False
    deep: bool = False
    algorithms: tuple[str, ...] = ()
    seconds: float | None = None


def survey_image(path: AnyPath, task: SurveyTask = SurveyTask()) -> dict[str, Any]:  # it is frozen
    """The record of one image, by path or URL. Never raises for what is wrong with it, nor if it takes too long."""
    begin, path = time.monotonic(), os.fsdecode(path)
    record: dict[str, Any] = dict.fromkeys(SURVEY_KEYS)
    record["filename"] = without_secrets(path)
    try:
        with time_limit(task.seconds):
            record |= _file_facts(path)  # also of a file that cannot be opened
            with open_source(path) as source, _unchanged(source, path):
                record |= _status_facts(source.status())
                record |= _facts(source, path, task)
    except (VhdxError, OSError, ValueError) as error:
        record["error"] = _problem(error, record["filename"])
    except MemoryError:
        record["error"] = _problem(OSError("there was not enough memory"), record["filename"])
    except TimeLimitError:
        record["error"] = _problem(TimeoutError(f"it took longer than {task.seconds:g} s"), record["filename"])
    record["seconds"] = round(time.monotonic() - begin, 4)
    return {key: plain(value) for key, value in record.items()}


def failed_record(path: str, reason: str) -> dict[str, Any]:
    """The record of an image of which nothing came back."""
    record = dict.fromkeys(SURVEY_KEYS) | {"filename": without_secrets(path)}
    with suppress(OSError):
        record |= _file_facts(path)
    return {key: plain(value) for key, value in record.items()} | {"error": _problem(OSError(reason), path)}


def stamp_of(record: Mapping[str, Any]) -> tuple[Any, ...]:
    """What differs as a rule where an image was changed since its record was made: its size, time of change, inode, and
    what the server of a remote one tells its versions apart by."""
    return tuple(record.get(key) for key in _STAMP)


def stamp_now(path: str) -> tuple[Any, ...]:
    """What `stamp_of` a record of this moment would be; for a URL, its server is asked. None of it where it is gone."""
    try:
        if not is_url(path):
            return stamp_of(_file_facts(path))
        with open_source(path) as source:
            return stamp_of({"file_size": source.size, "file_version": source.version})
    except OSError:
        return stamp_of({})


@contextmanager
def _unchanged(source: Source, path: str) -> Iterator[None]:
    """`ImageChangedError` where a file was written to, replaced or removed meanwhile, also instead of what was found to
    be wrong with it. Of a remote one, its source says so."""
    before = stamp_of(_status_facts(source.status()))
    try:
        yield
    except VhdxError as error:
        if _file_stamp(path) != before:
            raise changed_error(without_secrets(path)) from error
        raise
    if _file_stamp(path) != before:
        raise changed_error(without_secrets(path))


def _file_stamp(path: str) -> tuple[Any, ...] | None:
    try:
        return stamp_of(_file_facts(path))
    except OSError:
        return None


def _file_facts(path: str) -> dict[str, Any]:
    """What the file system says of it; nothing for a URL."""
    return _status_facts(None if is_url(path) else os.stat(path))


def _status_facts(status: os.stat_result | None) -> dict[str, Any]:
    if status is None:
        return {}
    return {
        "file_size": status.st_size,
        "modified_ns": status.st_mtime_ns,
        "inode": status.st_ino,
        "device": status.st_dev,
        "allocated_size": status.st_blocks * 512 if hasattr(status, "st_blocks") else None,
    }


def _facts(source: Source, path: str, task: SurveyTask) -> dict[str, Any]:
    member = member_of(source, path)
    facts = _member_facts(member) | {"file_size": source.size, "file_version": source.version}
    if task.check or task.deep:
        report = check(source, deep=task.deep, parents=None)
        facts |= {
            "allocated_block_count": report.allocated_blocks,
            "worst": report.worst,
            "finding_counts": report.counts,
            "findings": _short(report.findings),
        }
    if task.algorithms and member.problem is None:
        with open_disk(source) as disk:
            facts["digests"] = hash_disk(disk, task.algorithms)
    return facts


def _member_facts(member: ForestMember) -> dict[str, Any]:
    locator = member.locator
    return {
        "disk_type": member.disk_type,
        "virtual_size": member.virtual_size,
        "block_size": member.block_size,
        "log_state": None if member.dirty is None else "dirty" if member.dirty else "clean",
        "data_write_guid": member.data_write_guid,
        "virtual_disk_guid": member.virtual_disk_id,
        "parent_linkage_guid": None if locator is None else locator.linkage,
        "parent_linkage2_guid": None if locator is None else locator.linkage2,
        "relative_path": None if locator is None else locator.relative_path,
        "error": None if member.problem is None else _problem(VhdxError(member.problem), member.filename),
    }


def _short(findings: Iterable[Finding]) -> list[Finding]:
    """A few of each rule."""
    kept: dict[str, int] = {}
    short = []
    for finding in findings:
        kept[finding.rule] = kept.get(finding.rule, 0) + 1
        if kept[finding.rule] <= _KEPT_OF_A_RULE:
            short.append(finding)
    return short


def _problem(error: Exception, path: str) -> dict[str, Any]:
    problem = problem_to_dict(error)
    return problem | {"filename": problem.get("filename") or path}
