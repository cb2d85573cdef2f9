"""All that an image says of itself as JSON has it.

In: an opened image. Out: plain values; sizes and places in bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..format.structure_copies import Copy
from ..plain_values import plain

if TYPE_CHECKING:
    from .image import VhdxImage


def image_to_dict(image: VhdxImage, *, count_blocks: bool = False) -> dict[str, Any]:
    """What `VhdxImage.to_dict` gives."""
    metadata, geometry = image.metadata, image.geometry
    facts = {
        "filename": image.name,
        "format": "vhdx",
        "creator": image.creator,
        "disk_type": metadata.disk_type,
        "virtual_size": image.size,
        "file_size": image.file_size,
        "block_size": metadata.block_size,
        "logical_sector_size": metadata.logical_sector_size,
        "physical_sector_size": metadata.physical_sector_size,
        "virtual_disk_guid": metadata.virtual_disk_id,
        "payload_block_count": geometry.payload_blocks,
        "allocated_block_count": image.allocated_blocks() if count_blocks else None,
        "chunk_ratio": geometry.chunk_ratio,
        "log": image.log_summary(),
        "headers": _copies(image.headers, image.header, image.name),
        "region_tables": _copies(image.region_tables, image.region_table, image.name),
        "regions": image.region_table.regions,
        "metadata_items": metadata.items,
        "parent_locator": image.parent_locator,
        "findings": image.findings,
    }
    return {key: plain(value) for key, value in facts.items()}


def _copies(copies: tuple[Copy[Any], Copy[Any]], current: Any, filename: str) -> list[dict[str, Any]]:
    """Both, with the same keys, of which those of one that is not valid are None."""
    blank = dict.fromkeys(current.to_dict())
    return [
        copy.to_dict(filename)
        | {"current": copy.value is current}
        | (blank if copy.value is None else copy.value.to_dict())
        for copy in copies
    ]
