"""The shape of a format test: a valid image, one thing changed, the exact error or the exact findings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import builder
import pytest
from builder import MB, Image, full

import vhdxreader
from vhdxreader import Severity, VhdxError

INFO, WARNING, ERROR = Severity.INFO, Severity.WARNING, Severity.ERROR

SIZE = 3 * MB + 1536
BLOCKS = {0: full(), 2: full(), 3: full()}


def valid(**changes) -> Image:
    """An image without any finding; `changes` are fields of the builder's `Spec`."""
    return builder.dynamic(**{"virtual_size": SIZE, "blocks": BLOCKS, **changes})


def broken(**changes) -> Image:
    """`valid` with other values in some fields, named as the builder names them: `header1__version=2`."""
    return valid(overrides={name.replace("__", "."): value for name, value in changes.items()})


@dataclass(frozen=True)
class Case:
    """`make` gives the image. It is refused with `error`, or it reads and has a finding of severity `finding`.

    `at` is the file offset that is named, `says` are words of the message, `also` are rules of further findings
    that follow from the same change. `check` must come to the same result, without raising.
    """

    rule: str
    make: Callable[[], Image]
    error: type[VhdxError] | None = None
    finding: Severity | None = None
    at: int | Callable[[Image], int] | None = None
    says: str = ""
    also: tuple[tuple[str, Severity], ...] = ()

    def check(self) -> None:
        image = self.make()
        if self.error is not None:
            self.check_refusal(image)
        else:
            self.check_finding(image)
        found = self.pick(image, vhdxreader.check(image.open()).findings)
        assert found.severity is (self.finding or ERROR)

    def check_refusal(self, image: Image) -> None:
        with pytest.raises(VhdxError) as caught:
            vhdxreader.open(image.open())
        assert type(caught.value) is self.error
        self.pick(image, [caught.value])

    def check_finding(self, image: Image) -> None:
        with vhdxreader.open(image.open()) as disk:
            found = sorted((finding.rule, finding.severity) for finding in disk.image.findings)
            assert found == sorted([(self.rule, self.finding), *self.also])
            self.pick(image, disk.image.findings)
            assert disk.read() == image.expected()

    def pick(self, image: Image, found):
        """The error or finding of this rule, which must say what is wrong, where, and by which section."""
        matching = [one for one in found if one.rule == self.rule]
        assert matching, [str(one) for one in found]
        one, at = matching[0], self.at(image) if callable(self.at) else self.at
        assert self.says in one.message
        assert one.section
        assert at in (None, one.file_offset)
        return one


def parametrize(cases: list[Case]):
    """Run a test once for each case, under the name of its rule."""
    return pytest.mark.parametrize("case", cases, ids=lambda case: case.rule)
