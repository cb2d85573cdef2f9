"""Cases of images whose log must be replayed before anything is read."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace

import builder
from builder import KB, MB, Image, Log, full

from .case import BLOCKS, REPLAY, Case, dynamic


def cases() -> Iterator[Case]:
    yield from replayed()
    yield from unusable()


def refused(name: str, why: str, section: str, make: Callable[[], Image]) -> Case:
    return Case(name, why, section, make, refused=why)


def replayed() -> Iterator[Case]:
    hidden: dict[str, Callable[[Image], list[tuple[int, int]]]] = {
        "bat": lambda image: [(image.bat_offset, 4 * KB)],
        "metadata": lambda image: [(image.metadata_offset, 4 * KB), (image.metadata_offset + 64 * KB, 4 * KB)],
        "payload": lambda image: [(image.block_offset[2], 64 * KB)],
        "all": lambda image: [
            (image.bat_offset, 4 * KB),
            (image.metadata_offset, 4 * KB),
            (image.block_offset[0], 8 * KB),
        ],
    }
    for what, ranges in hidden.items():
        for per_entry in (1, 100):
            for at in (0, 512 * KB, MB - 8 * KB):
                name = f"log-{what}-{per_entry}-at-{at // KB}k"
                text = f"the log restores {what}, {per_entry} updates an entry, from {at} of the ring on"
                make = dirty(ranges, per_entry=per_entry, at=at)
                yield Case(name, text, "2.3.3", make, disk=clean, either=REPLAY)
    for first in (2**32 - 1, 2**32, 2**63):
        make = dirty(hidden["payload"], per_entry=1, first=first)
        yield Case(
            f"log-sequence-{first}", f"entries numbered from {first}", "2.3.1.1", make, disk=clean, either=REPLAY
        )
    for pages in (1, 16):
        text = f"a zero descriptor over {pages} pages of payload"
        yield Case(f"log-zero-{pages}", text, "2.3.1.2", zeroing(pages), disk=zeroed_disk(pages), either=REPLAY)


def dirty(ranges: Callable[[Image], list[tuple[int, int]]], **how: int) -> Callable[[], Image]:
    def make() -> Image:
        image = dynamic()()
        return builder.dirty(*builder.hide(image, *ranges(image)), **how)

    return make


def clean(_: Image) -> Image:
    """What replay restores: the disk as it was before its parts were hidden."""
    return dynamic()()


def zeroing(pages: int) -> Callable[[], Image]:
    def make() -> Image:
        image = dynamic()()
        return builder.dirty(image, [builder.Zero(image.block_offset[0], pages * 4 * KB)])

    return make


def zeroed_disk(pages: int) -> Callable[[Image], Image]:
    """Block 0 without its first pages."""

    def disk(image: Image) -> Image:
        kept = dynamic()().expected(0, MB)[pages * 4 * KB :]
        return replace(image, spec=replace(image.spec, log=Log(), blocks={**BLOCKS, 0: full({pages * 4 * KB: kept})}))

    return disk


def unusable() -> Iterator[Case]:
    def payload(image: Image) -> list[tuple[int, int]]:
        return [(image.block_offset[2], 8 * KB)]

    for field, value in {
        "signature": b"logf", "checksum": 1, "entry_length": 0, "sequence_number": 0, "descriptor_count": 500,
        "log_guid": uuid.UUID(int=1), "tail": 8 * KB,
    }.items():  # fmt: skip
        why = f"the only entry of a log to replay has a wrong {field}"
        section = "2.3.3" if field == "tail" else "2.3.1.1"
        yield refused(f"log-only-{field}", why, section, with_damage(dirty(payload), **{field: value}))
    for field in ("desc[0].signature", "desc[0].sequence_number", "data[0].signature", "data[0].high", "data[0].low"):
        value = b"xxxx" if field.endswith("signature") else 12345
        why = f"the only entry of a log to replay has a wrong {field}"
        yield refused(
            f"log-only-{field.replace('[0].', '-')}",
            why,
            "2.3.1.3" if field.startswith("desc") else "2.3.1.4",
            with_damage(dirty(payload), **{field: value}),
        )
    why = "the file is shorter than FlushedFileOffset says"
    yield refused("log-flushed-past-end", why, "2.3.3", with_damage(dirty(payload), flushed_file_offset=1024 * MB))
    make = dirty(payload)
    yield refused(
        "log-empty",
        "a log to replay has no entries",
        "2.3.3",
        lambda: builder.with_log(make(), builder.Log(MB, guid=builder.LOG_GUID)),
    )
    yield refused(
        "log-version",
        "LogVersion is 1 and a log needs replay",
        "2.2.2",
        lambda: patch_headers(make(), "log_version", 1),
    )


def with_damage(make: Callable[[], Image], **fields: object) -> Callable[[], Image]:
    """The image with fields of its only log entry changed; checksums are right, but where they are the point."""

    def damaged() -> Image:
        image = make()
        log = image.spec.log
        return builder.with_log(image, replace(log, entries=builder.damaged(log.entries, 0, **fields)))

    return damaged


def patch_headers(image: Image, field: str, value: int) -> Image:
    for n in (1, 2):
        image.patch(f"header{n}.{field}", value)
    return image.fix_checksums("header1", "header2")
