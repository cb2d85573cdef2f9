"""`vhdxreader info`: what an image says of itself."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from typing import Any

import click

from .. import (
    Chain,
    Copy,
    CorruptImageError,
    Header,
    ParentError,
    ParentLocator,
    RegionTable,
    TruncatedImageError,
    VhdxImage,
    lacks_payload,
    open_chain,
)
from .options import json_option, opens_image
from .output import print_json, print_pairs, size


@click.command("info", short_help="What an image is: type, sizes, headers, log.")
@opens_image
@json_option
@click.option("--blocks", is_flag=True, help="Count the allocated payload blocks; this reads the whole BAT.")
@click.option("--chain", "with_chain", is_flag=True, help="Show the parents, too; exits with 1 if one is missing.")
def command(image: str, as_json: bool, blocks: bool, with_chain: bool, **how: Any) -> int:
    """Show what IMAGE is: type, sizes, both headers, log state, regions, metadata, findings.

    Its parents are looked for only with --chain.
    """
    if not with_chain:
        how |= {"parent": None, "parents": None}
    with closing(_open(image, how)) as chain:
        changed = sum(member.has_changed() for member in chain.opened)  # not any(): each gets its finding
        facts = describe(chain.opened[0], count_blocks=blocks)
        if with_chain:
            facts["chain"] = describe_chain(chain)
    if as_json:
        print_json(facts)
    else:
        _print_text(facts)
    if chain.error is None:
        return 1 if changed else 0
    return 2 if isinstance(chain.error, CorruptImageError) else 1


def _open(image: str, how: dict[str, Any]) -> Chain:
    """Of a dirty image's skeleton, whose log cannot be replayed without the payload, the state before that."""
    try:
        return open_chain(image, **how)
    except TruncatedImageError as error:
        if error.rule != "log.flushed_file_offset":
            raise
        chain = open_chain(image, **how | {"log": "ignore"})
        if lacks_payload(chain.opened[0]):
            return chain
        chain.close()
        raise


def describe(image: VhdxImage, *, count_blocks: bool = False) -> dict[str, Any]:
    """All that `info` shows, as plain values; sizes and offsets in bytes."""
    metadata, geometry = image.metadata, image.geometry
    facts: dict[str, Any] = {
        "filename": image.name,
        "format": "vhdx",
        "creator": image.creator,
        "lacks_payload": lacks_payload(image),
        "disk_type": metadata.disk_type,
        "virtual_size": image.size,
        "file_size": image.file_size,
        "block_size": metadata.block_size,
        "logical_sector_size": metadata.logical_sector_size,
        "physical_sector_size": metadata.physical_sector_size,
        "virtual_disk_id": _text(metadata.virtual_disk_id),
        "payload_blocks": geometry.payload_blocks,
        "chunk_ratio": geometry.chunk_ratio,
        "headers": [_header(copy, image.header) for copy in image.headers],
        "log": _log(image),
        "region_tables": [_region_table(copy, image.region_table) for copy in image.region_tables],
        "regions": [
            {"name": r.name, "guid": str(r.guid), "offset": r.offset, "length": r.length, "required": r.required}
            for r in image.region_table.regions
        ],
        "metadata_items": [
            {
                "name": item.name,
                "item_id": str(item.item_id),
                "offset": item.offset,
                "length": item.length,
                "is_user": item.is_user,
                "is_virtual_disk": item.is_virtual_disk,
                "is_required": item.is_required,
            }
            for item in metadata.items
        ],
        "parent_locator": None if image.parent_locator is None else dict(image.parent_locator.entries),
        "findings": [
            {
                "severity": finding.severity.name,
                "rule": finding.rule,
                "section": finding.section,
                "offset": finding.file_offset,
                "message": finding.message,
            }
            for finding in image.findings
        ],
    }
    if count_blocks:
        facts["allocated_blocks"] = image.allocated_blocks()
    return facts


def describe_chain(chain: Chain) -> dict[str, Any]:
    """The members of a chain, child first, and what is wrong with the parent that ends it, None if nothing is."""
    error, members = chain.error, []
    for depth, image in enumerate(chain.opened):
        member: dict[str, Any] = {
            "depth": depth,
            "filename": image.name,
            "disk_type": image.metadata.disk_type,
            "virtual_size": image.size,
            "data_write_guid": str(image.header.data_write_guid),
        }
        if image.parent_locator is not None:
            member["parent_linkage"] = str(image.parent_locator.linkage)
            member["parent_linkage2"] = _text(image.parent_locator.linkage2)
            member["parent_matches"] = _matches(image.parent_locator, image.parent)
        members.append(member)
    if error is None:
        return {"members": members, "error": None}
    tried = [tried._asdict() for tried in error.tried] if isinstance(error, ParentError) else []
    return {"members": members, "error": {"rule": error.rule, "message": str(error), "tried": tried}}


def _matches(locator: ParentLocator, parent: VhdxImage | None) -> str | None:
    """The key whose GUID the parent has; None if there is no parent."""
    if parent is None:
        return None
    return "parent_linkage" if parent.header.data_write_guid == locator.linkage else "parent_linkage2"


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _log(image: VhdxImage) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "state": "dirty" if image.header.has_log else "clean",
        "guid": str(image.header.log_guid),
        "offset": image.header.log_offset,
        "length": image.header.log_length,
    }
    log, changes = image.log, image.log_changes()
    if log is None:
        return facts
    numbers = [entry.sequence_number for entry in log.active.to_replay] if log.active else []
    facts |= {
        "replayed": log.is_replayed,
        "entries": len(log.entries),
        "active_sequence": {"first": numbers[0], "last": numbers[-1]} if numbers else None,
        "sectors": log.sectors,
        "ranges": log.ranges,
        "bytes": log.bytes,
    }
    return facts if changes is None else {**facts, "changes": asdict(changes)}


def _header(copy: Copy[Header], current: Header) -> dict[str, Any]:
    facts: dict[str, Any] = {"number": copy.number, "offset": copy.offset, "current": copy.value is current}
    header = copy.value
    if header is None:
        return {**facts, "valid": False, "reason": copy.problem}
    if header is not current:
        older = header.sequence_number < current.sequence_number
        facts["reason"] = "its SequenceNumber is lower" if older else "identical to the current one"
    return {
        **facts,
        "valid": True,
        "sequence_number": header.sequence_number,
        "file_write_guid": str(header.file_write_guid),
        "data_write_guid": str(header.data_write_guid),
        "log_guid": str(header.log_guid),
        "log_version": header.log_version,
        "version": header.version,
        "log_offset": header.log_offset,
        "log_length": header.log_length,
        "checksum": header.checksum,
    }


def _region_table(copy: Copy[RegionTable], used: RegionTable) -> dict[str, Any]:
    facts = {"number": copy.number, "offset": copy.offset, "used": copy.value is used, "valid": copy.value is not None}
    if copy.value is None:
        return {**facts, "reason": copy.problem}
    return {**facts, "entries": copy.value.entry_count, "checksum": copy.value.checksum}


def _print_text(facts: dict[str, Any]) -> None:
    disk = [
        ("Creator", facts["creator"]),
        ("Type", facts["disk_type"]),
        ("Virtual size", size(facts["virtual_size"])),
        ("File size", size(facts["file_size"])),
        ("Block size", size(facts["block_size"])),
        ("Blocks", f"{facts['payload_blocks']} ({facts['chunk_ratio']} in a chunk)"),
        ("Logical sector size", size(facts["logical_sector_size"])),
        ("Physical sector size", _or_missing(facts["physical_sector_size"], size)),
        ("Virtual disk ID", _or_missing(facts["virtual_disk_id"])),
    ]
    if "allocated_blocks" in facts:
        disk.insert(6, ("Allocated blocks", str(facts["allocated_blocks"])))
    if facts["lacks_payload"]:
        disk.append(("Payload", "not there: the file ends with its last structure"))
    print_pairs(facts["filename"], disk)
    for header in facts["headers"]:
        print_pairs(f"Header {header['number']} at {header['offset']:#x}", _header_pairs(header))
    print_pairs("Log", _log_pairs(facts["log"]))
    tables = [(f"Table {t['number']} at {t['offset']:#x}", _table_state(t)) for t in facts["region_tables"]]
    regions = [(r["name"], f"{size(r['length'])} at {r['offset']:#x}{_flags(r)}") for r in facts["regions"]]
    print_pairs("Region tables", tables)
    print_pairs("Regions", regions)
    items = [(i["name"], f"{size(i['length'])} at {i['offset']:#x}{_flags(i)}") for i in facts["metadata_items"]]
    print_pairs("Metadata items", items)
    if facts["parent_locator"] is not None:
        print_pairs("Parent locator", list(facts["parent_locator"].items()))
    if "chain" in facts:
        _print_chain(facts["chain"])
    print_pairs("Findings", [(f["severity"], _finding_text(f)) for f in facts["findings"]])


def _print_chain(chain: dict[str, Any]) -> None:
    for member in chain["members"]:
        pairs = [
            ("Type", member["disk_type"]),
            ("Virtual size", size(member["virtual_size"])),
            ("DataWriteGuid", member["data_write_guid"]),
        ]
        if "parent_linkage" in member:
            pairs += [(key, member[key]) for key in ("parent_linkage", "parent_linkage2") if member[key]]
            pairs.append(("Parent", f"matches {member['parent_matches']}" if member["parent_matches"] else "not open"))
        print_pairs(f"Chain {member['depth']}: {member['filename']}", pairs)
    if chain["error"] is not None:
        tried = [(tried["key"], f"{tried['place']}: {tried['reason']}") for tried in chain["error"]["tried"]]
        print_pairs("Missing parent", tried or [("Reason", chain["error"]["message"])])


def _log_pairs(log: dict[str, Any]) -> list[tuple[str, str]]:
    place = f"{size(log['length'])} at {log['offset']:#x}"
    pairs = [("State", log["state"]), ("Place", place), ("LogGuid", log["guid"])]
    if log["state"] == "clean":
        return pairs
    active, changes = log["active_sequence"], log.get("changes")
    numbers = f"entries {active['first']} to {active['last']}" if active else "none"
    pairs[0] = (
        "State",
        f"dirty, {'replayed in memory' if log['replayed'] else 'not replayed: this is the stale state'}",
    )
    pairs += [("Valid entries", str(log["entries"])), ("Active sequence", numbers)]
    if changes:
        replayed = f"{log['sectors']} sectors of 4 KB, {log['ranges']} zeroed ranges, {size(log['bytes'])}"
        tables = ", ".join(map(str, changes["region_tables"])) or "none"
        pairs += [
            ("Replayed", replayed),
            ("Changed region tables", tables),
            ("Changed metadata", size(changes["metadata_bytes"])),
            ("Changed BAT entries", str(changes["bat_entries"])),
            ("File grown by", size(changes["grown"])),
        ]
    return pairs


def _or_missing(value: Any, show: Any = str) -> str:
    return "missing" if value is None else show(value)


def _header_pairs(header: dict[str, Any]) -> list[tuple[str, str]]:
    state = "current" if header["current"] else f"not current: {header['reason']}"
    pairs = [("State", state)]
    if header["valid"]:
        pairs += [
            ("SequenceNumber", str(header["sequence_number"])),
            ("FileWriteGuid", header["file_write_guid"]),
            ("DataWriteGuid", header["data_write_guid"]),
            ("LogGuid", header["log_guid"]),
        ]
    return pairs


def _table_state(table: dict[str, Any]) -> str:
    if not table["valid"]:
        return f"not valid: {table['reason']}"
    return f"{'used' if table['used'] else 'valid, not used'}, {table['entries']} entries"


def _flags(entry: dict[str, Any]) -> str:
    names = {"required": "required", "is_required": "required", "is_user": "user", "is_virtual_disk": "virtual disk"}
    return "".join(f", {name}" for key, name in names.items() if entry.get(key))


def _finding_text(finding: dict[str, Any]) -> str:
    where = "" if finding["offset"] is None else f" at {finding['offset']:#x}"
    return f"{finding['rule']}{where}: {finding['message']} [{finding['section']}]"
