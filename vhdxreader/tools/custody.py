"""What tells one file from all others, for whoever must account for it later.

In: an opened image. Out: plain values.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from ..disk.image import VhdxImage
from ..plain_values import plain
from .digests import hash_file


def file_facts(depth: int, image: VhdxImage, digests: Sequence[str] = ()) -> dict[str, Any]:
    """What tells one file of a chain, as JSON has it: its place, size, time of change, inode, log, and the digests that
    are asked for, for which all of it is read. None is what a file without a path does not have."""
    status = None if image.path is None else os.stat(image.path)
    facts = {
        "depth": depth,
        "filename": image.name if image.path is None else os.path.realpath(image.path),
        "file_size": image.file_size,
        "modified_ns": None if status is None else status.st_mtime_ns,
        "inode": None if status is None else status.st_ino,
        "device": None if status is None else status.st_dev,
        "disk_type": image.metadata.disk_type,
        "data_write_guid": image.header.data_write_guid,
        "log": image.log_summary(),
        "digests": hash_file(image.source, digests) if digests else None,
    }
    return {key: plain(value) for key, value in facts.items()}
