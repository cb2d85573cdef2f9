"""One case of the suite: an image by the independent builder, and what the specification makes of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import builder
from builder import MB, Image, Junk, full

SIZE = 3 * MB + 4096  # ends within a block, on a sector of either size
BLOCKS = {0: full(), 2: full(), 3: full()}
STEP = 16 * MB
PLAIN = Junk.SECTORS  # one thing at a time: sectors that are absent hold junk, and cases of their own have the rest

SECTOR_SIZE = "2.6.2.4: a reader may refuse a sector size that it does not support"
REPLAY = "2.3.3: a reader that cannot replay a log must refuse"


@dataclass(frozen=True)
class Case:
    """`make` gives the image. `refused` says why a reader must not give data for the whole disk; without it the
    disk must be that of `disk` (the builder's model of the image, if none is given), or of `other`. With `either` it
    may be refused as well: the text says why.

    `parents` are further files by name, which the image names in its locator.
    """

    name: str
    tests: str
    section: str
    make: Callable[[], Image]
    refused: str = ""
    either: str = ""
    disk: Callable[[Image], Image] | None = None
    other: Callable[[Image], Image] | None = None
    parents: Mapping[str, Callable[[], Image]] = field(default_factory=dict)

    def expected(self, image: Image) -> dict[str, str | int]:
        """The manifest's entry: outcome, and why or the disk's size and SHA-256 (`or_sha256`: that of `other`)."""
        if self.refused:
            return {"outcome": "refused", "why": self.refused}
        digest = disk_digest(self.disk(image) if self.disk else image)
        if self.other:
            digest["or_sha256"] = disk_digest(self.other(image))["sha256"]
        return {"outcome": "either", "why": self.either, **digest} if self.either else {"outcome": "disk", **digest}


def disk_digest(image: Image) -> dict[str, str | int]:
    """Size and SHA-256 of the virtual disk, by the builder's model of what was asked for."""
    digest = hashlib.sha256()
    for at in range(0, image.size, STEP):
        digest.update(image.expected(at, STEP))
    return {"size": image.size, "sha256": digest.hexdigest()}


def built(make: Callable[..., Image], **spec: object) -> Callable[[], Image]:
    """What `make`, a function of the builder's, makes of it, plain if nothing else is said."""
    return lambda: make(**{"junk": PLAIN, **spec})


def dynamic(**changes: object) -> Callable[[], Image]:
    """A small dynamic disk; `changes` are fields of the builder's `Spec`."""
    return built(builder.dynamic, **{"virtual_size": SIZE, "blocks": BLOCKS, **changes})


def overridden(**fields: object) -> Callable[[], Image]:
    """The same with other values in some fields, named as the builder names them: `header1__version=2`."""
    return dynamic(overrides={name.replace("__", "."): value for name, value in fields.items()})


def altered(change: Callable[[Image], object], **changes: object) -> Callable[[], Image]:
    """The same, changed after it was built."""

    def make() -> Image:
        image = dynamic(**changes)()
        change(image)
        return image

    return make
