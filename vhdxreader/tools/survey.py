"""A record of each of very many images, and the forest of their chains.

In: paths, folders, globs and URLs. Out: the records of `survey_record`, as they are done by the processes of
`survey_pool`, or by whatever else runs them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from operator import index
from typing import Any
from uuid import UUID

from ..files.opening import without_secrets
from ..format.parent_locator import ParentLocator
from ..plain_values import plain
from .forest import Forest, ForestMember, lexical_place, link_members
from .survey_names import Named, largest_first
from .survey_pool import run_in_pool
from .survey_record import Result, SurveyTask, failed_record, stamp_now

Runner = Callable[[Iterable[str], SurveyTask], Iterator[Result]]
_ASKED_AT_ONCE = 16  # servers, for the stamps of URLs


@dataclass(frozen=True, slots=True)
class SurveyProgress:
    """How far a survey is: images and bytes of their files, which are done, and of how many. Sizes that only a server
    knows are not in it."""

    image_count: int
    images_done: int = 0
    total_size: int = 0
    size_done: int = 0


def survey(
    paths: Iterable[str | os.PathLike[str]],
    task: SurveyTask = SurveyTask(),  # noqa: B008  # it is frozen
    *,
    jobs: int | None = None,
    run: Runner | None = None,
    known: Mapping[str, tuple[Any, ...]] | None = None,
    progress: Callable[[SurveyProgress, Mapping[str, Any]], object] | None = None,
) -> Generator[dict[str, Any], None, None]:
    """The records of all images named, in folders named, or matched by a glob, by path or URL; the largest first, as
    they are done.

    `jobs` processes work at once, as many as there are processors unless said otherwise; memory grows with them, and by
    a path for each image. They import the program that asks anew: as with all of `multiprocessing`, it needs `if
    __name__ == "__main__":`. `run` has them done elsewhere, as by `integrations.dask.dask_cluster`. Images whose stamp
    (`stamp_of` a record) is in `known`, by the record's filename, are left out. A bad image, one that is gone, not for
    this user, takes too long or kills its process gives a record with an `error`, and so does a folder below one that
    was named that cannot be listed. `progress` is called after each. Raises `OSError` for a path that is not there.
    """
    images = largest_first(paths)
    if known:
        images = [image for image, same in zip(images, _are_known(images, known), strict=True) if not same]
    sizes = dict(images)
    names = (name for name, _ in images)
    results = run_in_pool(names, task, index(jobs or os.cpu_count() or 1)) if run is None else run(names, task)
    so_far = SurveyProgress(len(images), total_size=sum(sizes.values()))
    for path, result in results:
        record = result if isinstance(result, dict) else failed_record(path, result)
        so_far = _advanced(so_far, sizes[path])
        if progress is not None:
            progress(so_far, record)
        yield record


def forest_of(records: Iterable[Mapping[str, Any]]) -> Forest:
    """The forest of the images that records are of. Looks at no file."""
    return link_members([_member(record) for record in records], lexical_place)


def _advanced(so_far: SurveyProgress, size: int) -> SurveyProgress:
    return SurveyProgress(so_far.image_count, so_far.images_done + 1, so_far.total_size, so_far.size_done + size)


def _are_known(images: Iterable[Named], known: Mapping[str, tuple[Any, ...]]) -> Iterator[bool]:
    """Of each image whether it is as it was; servers are asked several at a time."""
    with ThreadPoolExecutor(_ASKED_AT_ONCE) as pool:
        yield from pool.map(lambda image: _is_known(image[0], known), images, chunksize=1)


def _is_known(path: str, known: Mapping[str, tuple[Any, ...]]) -> bool:
    stamp = known.get(plain(without_secrets(path)))
    return stamp is not None and any(stamp) and stamp == stamp_now(path)


def _member(record: Mapping[str, Any]) -> ForestMember:
    guids = {key: None if record[key] is None else UUID(record[key]) for key in record if key.endswith("_guid")}
    linkage = guids["parent_linkage_guid"]
    locator = None
    if linkage is not None:
        locator = ParentLocator((), linkage, guids["parent_linkage2_guid"], record["relative_path"], None, None)
    return ForestMember(
        record["filename"],
        modified=None if record["modified_ns"] is None else record["modified_ns"] / 1e9,
        file_size=record["file_size"],
        disk_type=record["disk_type"],
        virtual_size=record["virtual_size"],
        dirty=None if record["log_state"] is None else record["log_state"] == "dirty",
        data_write_guid=guids["data_write_guid"],
        virtual_disk_id=guids["virtual_disk_guid"],
        locator=locator,
        problem=None if record["error"] is None else record["error"]["message"],
        identity=_identity(record),
        block_size=record["block_size"],
        allocated_blocks=record["allocated_block_count"],
    )


def _identity(record: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """What no other file has; None for a remote one, whose server tells no such thing."""
    return None if record["inode"] is None else (record["device"], record["inode"])
