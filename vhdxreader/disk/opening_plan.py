"""What opening an image will read, told to its source at once: of a remote one, all of it comes in one batch.

In: a source and its current header. Out: nothing but a hint; what is wrong is found by who reads it.
"""

from __future__ import annotations

from .. import spec
from ..files.source import Source
from ..format import region_table as regions
from ..format.header import Header

_BEGINNING = 128 * spec.KB  # of the metadata region, with its items, and of the BAT


def plan_opening(source: Source, header: Header | None) -> None:
    """Announce the log, where it is to be replayed, the metadata, and the BAT's first pages."""
    ranges = []
    if header is not None and header.has_log and header.log_is_in_place(source.size):
        ranges.append((header.log_offset, header.log_offset + header.log_length))
    table = next((copy.value for copy in regions.read_region_tables(source) if copy.value is not None), None)
    for region in () if table is None else table.regions:
        if region.is_known:
            ranges.append((region.file_offset, region.file_offset + min(region.length, _BEGINNING)))
    source.will_read(ranges)
