"""What a salvaging read gives of an image that breaks a rule: one answer for each rule that refuses an image or a read.

Also for those of a damage that only salvage meets. A rule that is not here costs nothing.
"""

from __future__ import annotations

from enum import Enum


class Salvage(Enum):
    """How much of the virtual disk there is. What is lost is listed in `lost`, what is doubtful in `doubtful`."""

    ALL = "everything"
    DOUBTFUL = "everything, all of it doubtful"
    PARTLY_DOUBTFUL = "everything; what it concerns is doubtful"
    LOST = "the rest; what it concerns is lost"
    GEOMETRY = "nothing, unless the geometry is given: then everything, all of it doubtful"
    NOTHING = "nothing"


_RULES = {
    Salvage.ALL: "identifier.damaged header.none_valid header.same_sequence region_table.none_valid"
    " virtual_disk_size.value",
    Salvage.DOUBTFUL: "header.unproven header.version header.log_version header.log_location header.log_past_end"
    " log.no_sequence log.too_many_ranges log.unreadable"
    " region_table.unproven region_table.entry_count region.duplicate region.location region.overlap"
    " region.unknown_required item.duplicate item.overlap item.unknown_required metadata.given",
    Salvage.PARTLY_DOUBTFUL: "log.ignored payload.partially_present block.shared",
    Salvage.LOST: "log.flushed_file_offset region.past_end bat.too_small parent_locator.missing parent_locator.type"
    " parent_locator.entry_count parent_locator.strings parent_locator.location parent_locator.text"
    " parent_locator.duplicate parent_locator.linkage parent.not_found parent.permission parent.mismatch"
    " parent.depth parent.absent payload.state payload.past_end payload.overlap bitmap.not_present bitmap.past_end"
    " bitmap.overlap file.skeleton file.unreadable",
    Salvage.GEOMETRY: "region.missing metadata.truncated metadata_table.signature metadata_table.entry_count"
    " item.location item.missing item.length file_parameters.block_size virtual_disk_size.limit"
    " logical_sector_size.value",
    Salvage.NOTHING: "identifier.signature header.both_truncated region_table.both_truncated log.dirty"
    " parent.unexpected",
}

SALVAGE: dict[str, Salvage] = {rule: salvage for salvage, rules in _RULES.items() for rule in rules.split()}
