"""The files of a chain as JSON has them: who is whose parent, and by which key.

In: an opened chain. Out: plain values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..plain_values import plain

if TYPE_CHECKING:
    from .chain import Chain
    from .image import VhdxImage


def chain_to_dict(chain: Chain) -> dict[str, Any]:
    """What `Chain.to_dict` gives."""
    return {
        "images": [member_to_dict(depth, image) for depth, image in enumerate((*chain.opened, *chain.borrowed))],
        "tried": [
            {"key": tried.key, "filename": plain(tried.filename), "message": plain(tried.message)}
            for tried in getattr(chain.error, "tried", ())
        ],
        "problem": plain(chain.error),
    }


def member_to_dict(depth: int, image: VhdxImage) -> dict[str, Any]:
    """One file of a chain, `depth` files from the child."""
    locator, parent, matches = image.parent_locator, image.parent, None
    if locator is not None and parent is not None and locator.accepts(parent.header.data_write_guid):
        first = parent.header.data_write_guid == locator.linkage
        matches = "parent_linkage" if first else "parent_linkage2"
    facts = {
        "depth": depth,
        "filename": image.name,
        "disk_type": image.metadata.disk_type,
        "virtual_size": image.size,
        "data_write_guid": image.header.data_write_guid,
        "parent_linkage_guid": None if locator is None else locator.linkage,
        "parent_linkage2_guid": None if locator is None else locator.linkage2,
        "parent_matches": matches,
        "parent_found_by": image.parent_found_by,
    }
    return {key: plain(value) for key, value in facts.items()}
