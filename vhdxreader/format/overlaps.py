"""Stretches of the file, and which of them overlap."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from .rules import Findings


class Span(NamedTuple):
    """The bytes from `start` up to `end`, which belong to `name`; `known` if a read may need them.

    `origin` is the file offset of whatever says so.
    """

    start: int
    end: int
    name: str
    known: bool
    origin: int


def overlapping(spans: Iterable[Span]) -> Iterator[tuple[Span, Span]]:
    """For each span that overlaps an earlier one (by start), it and the earlier one that reaches furthest."""
    furthest: Span | None = None
    for span in sorted(spans):
        if span.start == span.end:
            continue
        if furthest is not None and span.start < furthest.end:
            yield span, furthest
        if furthest is None or span.end > furthest.end:
            furthest = span


def report_overlaps(spans: Iterable[Span], rule: str, findings: Findings) -> None:
    """A breach of `rule` where known spans overlap each other, of `rule`_unknown where an unknown one is involved."""
    spans = list(spans)
    known_pairs = overlapping(span for span in spans if span.known)
    other_pairs = (pair for pair in overlapping(spans) if not (pair[0].known and pair[1].known))
    for rule_id, pairs in ((rule, known_pairs), (f"{rule}_unknown", other_pairs)):
        for span, other in pairs:
            findings.add(rule_id, f"{span.name} at {span.start:#x} overlaps {other.name}", span.origin)


def collision(spans: Iterable[Span], start: int, end: int) -> Span | None:
    """The first of `spans` that has a byte of the stretch from `start` up to `end`."""
    return next((span for span in spans if start < span.end and span.start < end), None)
