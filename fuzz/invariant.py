"""What must hold for every file whatsoever: the invariant that both fuzzers and a test assert."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any, BinaryIO

import vhdxreader
from vhdxreader.errors import Severity
from vhdxreader.format.rules import RULES, Effect

OpenFile = Callable[[], BinaryIO]

_MAX_READ = 1 << 18
_MAX_MAPPED = 1 << 26
_REFUSED = (vhdxreader.VhdxError,)


def exercise(open_file: OpenFile, open_parent: OpenFile, rng: random.Random) -> str:
    """Do all that can be done with one file; what came of opening it. Raises `AssertionError` for a broken invariant.

    Any other exception than those that are caught here is a bug as well.
    """
    outcome = _check_agrees_with_open(open_file)
    for options in ({"parents": None}, {"parents": None, "log": "ignore"}, {"parent": open_parent(), "parents": None}):
        try:
            disk = vhdxreader.open(open_file(), **options)
        except _REFUSED as error:
            str(error)
            _salvage(open_file, options, rng)
            continue
        with disk, vhdxreader.open(open_file(), **options, errors="zero") as salvaged:
            disk.image.log_changes()
            for offset, size in _ranges(rng, disk.size):
                _read(disk, salvaged, offset, size)
    return outcome


def _salvage(open_file: OpenFile, options: Mapping[str, Any], rng: random.Random) -> None:
    """What is refused is salvaged or refused again, and then it reads without an error."""
    try:
        salvaged = vhdxreader.open(open_file(), **options, errors="zero")
    except _REFUSED as error:
        str(error)
        return
    with salvaged:
        for offset, size in _ranges(rng, salvaged.size):
            assert len(salvaged.pread(size, offset)) == max(min(size, salvaged.size - offset), 0)
        list(islice(salvaged.extents(), 10_000))


def _check_agrees_with_open(open_file: OpenFile) -> str:
    """`check` finds the rule for which `open` refuses the image, and none that should have refused it, did it not."""
    report = vhdxreader.check(open_file(), deep=True)
    refusing = {rule for rule in report.counts if RULES[rule].effect is Effect.REFUSE}
    assert all(finding.severity in Severity for finding in report.findings)
    try:
        vhdxreader.open(open_file(), parents=None).close()
    except vhdxreader.VhdxError as error:
        outcome = error.rule
    else:
        outcome = "opened"
    assert outcome in (refusing or {"opened"}), f"open: {outcome}; check: {dict(report.counts)}"
    return outcome


def _ranges(rng: random.Random, size: int) -> Iterable[tuple[int, int]]:
    yield 0, _MAX_READ
    yield max(size - 700, 0), 4096
    for _ in range(3):
        yield rng.randrange(size + 1), rng.choice([1, 511, 4096, 70_000, _MAX_READ])


def _read(disk: vhdxreader.VirtualDisk, salvaged: vhdxreader.VirtualDisk, offset: int, size: int) -> None:
    """A read is whole or an error, an error where the map says so; salvaged, it differs only where it was lost."""
    wanted = max(min(size, disk.size - offset), 0)
    extents = list(islice(disk.extents(offset=offset, length=wanted), 10_000))
    assert sum(extent.length for extent in extents) == wanted or len(extents) == 10_000
    broken = [e for e in extents if e.error is not None or (e.kind is vhdxreader.Kind.ABSENT and not e.zero)]
    rest = salvaged.pread(size, offset)
    assert len(rest) == wanted
    try:
        data = disk.pread(size, offset)
    except (vhdxreader.CorruptImageError, vhdxreader.ParentNotFoundError):
        data = None
    assert (data is None) == bool(broken), f"the map has {extents}"
    if data is None:
        damaged = (*salvaged.lost, *salvaged.doubtful)
        assert any(entry.disk_offset < offset + wanted and offset < entry.end for entry in damaged)
    else:
        assert data == rest
