"""Blocks that share space in the file, of all files of an opened disk: what a reader of single blocks cannot see.

In: an opened disk. Out: findings. Reads every BAT of the chain, no payload.
"""

from __future__ import annotations

from ..disk.image import VhdxImage
from ..disk.virtual_disk import VirtualDisk
from ..errors import Finding
from ..format.rules import Findings
from .block_check import walk_image

_KEPT = 100  # of each file
_RULE = "block.shared"


def shared_blocks(disk: VirtualDisk) -> tuple[Finding, ...]:
    """The findings on blocks that lie on another block or an unknown region, at most 100 of each file.

    What one of two such blocks reads as may be the other's data [2.4].
    """
    return tuple(finding for image in disk.images for finding in _of_image(image))


def _of_image(image: VhdxImage) -> list[Finding]:
    findings = Findings(strict=False, keep=_KEPT, filename=image.name)
    walk_image(image, findings)
    return [finding for finding in findings if finding.rule == _RULE]
