"""What `survey --forest` prints: the trees, and what should be known of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import click

from vhdxreader import Fleet, ForestMember, Merge

from .output import printable, short_size
from .tree import print_forest

_SHOWN = 20  # of each kind; `examine_fleet` has all


def print_fleet(fleet: Fleet) -> None:
    """Print a fleet's forest, and under it what stands out."""
    print_forest(fleet.forest)
    _print("files that have several names", [_joined(group) for group in fleet.names])
    _print("sets of copies (one DataWriteGuid)", [_joined(group) for group in fleet.copies])
    _print("VirtualDiskIds that several trees share", [_joined(group) for group in fleet.shared_ids])
    _print("chains that could be merged", [_about(merge) for merge in fleet.merges])
    known = [merge for merge in fleet.merges if merge.least is not None]
    if known:
        click.echo(f"Merging {len(known)} of them would give back {_gain(known)}")


def _print(what: str, lines: Sequence[str]) -> None:
    if lines:
        click.echo(f"{len(lines)} {what}:")
        for line in lines[:_SHOWN]:
            click.echo(f"   {line}")
        if len(lines) > _SHOWN:
            click.echo(f"   and {len(lines) - _SHOWN} more")


def _joined(group: Iterable[ForestMember]) -> str:
    return ", ".join(printable(member.filename) for member in group)


def _about(merge: Merge) -> str:
    gain = "not known (--check tells)" if merge.least is None else _gain([merge])
    return f"{printable(merge.files[-1].filename)} and {len(merge.files) - 1} below it: {gain}"


def _gain(merges: Iterable[Merge]) -> str:
    least, most = (sum(sizes) for sizes in zip(*((merge.least or 0, merge.most or 0) for merge in merges), strict=True))
    return short_size(least) if least == most else f"{short_size(least)} to {short_size(most)}"
