"""What a user writes, as mypy --strict and pyright see it: every type is the one that the user would name.

Checked, not run: `make types`, and pyright in CI. `assert_type` fails where a public signature became Any.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import assert_type

import vhdxreader


def first_sector(path: Path) -> bytes:
    with vhdxreader.open(path) as disk:
        assert_type(disk, vhdxreader.VirtualDisk)
        assert_type(disk.read(512), bytes)
        assert_type(disk.image, vhdxreader.VhdxImage)
        return disk.pread(512, 0)


def holes(disk: vhdxreader.VirtualDisk) -> int:
    return sum(extent.length for extent in disk.extents() if extent.kind is vhdxreader.Kind.ABSENT)


def as_any_file(path: str) -> io.RawIOBase:
    return vhdxreader.open(path, log="replay", errors="zero")


def problems(path: Path) -> list[str]:
    report = vhdxreader.check(path)
    assert_type(report, vhdxreader.Report)
    return [f.message for f in report.findings if f.severity is vhdxreader.Severity.ERROR]


def why_not(path: Path) -> str | None:
    try:
        first_sector(path)
    except vhdxreader.ParentNotFoundError as error:
        return str(error)
    except vhdxreader.VhdxError as error:
        return f"{error.rule} at {error.file_offset}: {error.message}"
    return None


def is_one(path: Path) -> bool:
    return vhdxreader.is_vhdx(path)
