"""What `info` prints for people: first what matters, all else on request.

In: the facts as JSON has them. Out: text.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from vhdxreader import VhdxImage

from .output import counted, in_options, print_findings, print_pairs, short_size, size
from .table import Column

Facts = dict[str, Any]
Pairs = list[tuple[str, str]]

SUMMARY = (
    Column("File", path=True),
    Column("Type"),
    Column("Virtual", right=True),
    Column("File size", right=True, spared=True),
    Column("Log", wrap=True),
    Column("Parent", path=True),
    Column("Findings", wrap=True),
)
_HANDLED = {"replayed": "replayed in memory", "ignored": "ignored: stale", "not_replayable": "not replayable"}
_SEVERITIES = ("error", "warning", "info")


def summary(facts: Facts) -> list[str]:
    """A row of the table that `SUMMARY` heads."""
    sizes = [short_size(facts["virtual_size"]), short_size(facts["file_size"])]
    log = short_log_state(facts["log"])
    return [facts["filename"], facts["disk_type"], *sizes, log, _parent(facts), _count(facts)]


def print_facts(facts: Facts, image: VhdxImage) -> None:
    """What matters first; of findings, those to act on."""
    print_pairs(facts["filename"], _first(facts))
    if facts["chain"] is not None:
        _print_chain(facts["chain"])
    findings = [finding for finding in image.findings if str(finding.severity) != "info"]
    if findings:
        print_findings("Findings", findings)


def print_details(facts: Facts, image: VhdxImage) -> None:
    """Everything."""
    print_pairs(facts["filename"], _first(facts) + _more(facts))
    for header in facts["headers"]:
        print_pairs(f"Header {header['number']} at {header['file_offset']:#x}", _header(header, facts["headers"]))
    print_pairs("Log", _log(facts["log"]))
    tables = [(f"Table {t['number']} at {t['file_offset']:#x}", _table(t)) for t in facts["region_tables"]]
    print_pairs("Region tables", tables)
    print_pairs("Regions", [(r["name"], _place(r)) for r in facts["regions"]])
    print_pairs("Metadata items", [(i["name"], _place(i)) for i in facts["metadata_items"]])
    if facts["parent_locator"] is not None:
        print_pairs("Parent locator", [(e["key"], e["value"]) for e in facts["parent_locator"]["entries"]])
    if facts["chain"] is not None:
        _print_chain(facts["chain"])
    print_findings("Findings", image.findings)


def log_state(log: Facts) -> str:
    """Whether it is dirty, and what was done about it."""
    return log["state"] if log["handling"] == "none" else f"{log['state']}, {_HANDLED[log['handling']]}"


def short_log_state(log: Facts) -> str:
    """The same in fewer words, for a table."""
    return log["state"] if log["handling"] == "none" else f"{log['state']}, {log['handling'].replace('_', ' ')}"


def _first(facts: Facts) -> Pairs:
    pairs = [
        ("Type", facts["disk_type"]),
        ("Virtual size", size(facts["virtual_size"])),
        ("File size", size(facts["file_size"])),
        ("Block size", size(facts["block_size"])),
        ("Log", log_state(facts["log"])),
    ]
    if facts["allocated_block_count"] is not None:
        pairs.insert(4, ("Allocated blocks", f"{facts['allocated_block_count']} of {facts['payload_block_count']}"))
    if facts["lacks_payload"]:
        pairs.append(("Payload", "not there: the file ends with its last structure"))
    if facts["parent_locator"] is not None:
        pairs.append(("Parent", _parent(facts)))
    return [*pairs, ("Findings", f"{_count(facts)}; blocks were not looked at (check does)")]


def _more(facts: Facts) -> Pairs:
    pairs = [
        ("Creator", facts["creator"]),
        ("Blocks", f"{facts['payload_block_count']} ({facts['chunk_ratio']} in a chunk)"),
        ("Logical sector size", size(facts["logical_sector_size"])),
        ("Physical sector size", _known(facts["physical_sector_size"], size)),
        ("Virtual disk ID", _known(facts["virtual_disk_guid"])),
    ]
    if facts["allocated_block_count"] is None:
        pairs.insert(2, ("Allocated blocks", "not counted (--blocks counts them)"))
    return pairs


def _known(value: Any, show: Any = str) -> str:
    return "missing" if value is None else show(value)


def _parent(facts: Facts) -> str:
    """Where the image says that its parent is, or where it was found."""
    locator, chain = facts["parent_locator"], facts["chain"]
    if locator is None:
        return ""
    if chain is not None and len(chain["images"]) > 1:
        return str(chain["images"][1]["filename"])
    named = (locator[key] for key in ("relative_path", "volume_path", "absolute_win32_path"))
    name = next((path for path in named if path), "not named")
    return f"{name} (not open)" if chain is not None else name


def _count(facts: Facts) -> str:
    """How many findings of each severity."""
    counts = Counter(finding["severity"] for finding in facts["findings"])
    plural = {"error": "errors", "warning": "warnings", "info": "info"}
    parts = [f"{counts[word]} {plural[word] if counts[word] > 1 else word}" for word in _SEVERITIES if counts[word]]
    return ", ".join(parts) or "none"


def _header(header: Facts, headers: list[Facts]) -> Pairs:
    if not header["valid"]:
        return [("State", f"not valid: {header['problem']['message']}")]
    if header["current"]:
        state = "current"
    else:
        same = header["sequence_number"] == next(h["sequence_number"] for h in headers if h["current"])
        state = "not current: " + ("identical to the current one" if same else "its SequenceNumber is lower")
    return [
        ("State", state),
        ("SequenceNumber", header["sequence_number"]),
        ("FileWriteGuid", header["file_write_guid"]),
        ("DataWriteGuid", header["data_write_guid"]),
        ("LogGuid", header["log_guid"]),
    ]


def _log(log: Facts) -> Pairs:
    pairs = [("State", log_state(log)), ("Place", _place(log)), ("LogGuid", log["log_guid"])]
    if log["state"] == "clean":
        return pairs
    numbers = "none"
    if log["first_sequence_number"] is not None:
        numbers = f"entries {log['first_sequence_number']} to {log['last_sequence_number']}"
    pairs += [("Valid entries", _known(log["entry_count"])), ("Active sequence", numbers)]
    if log["replayed_length"] is not None:
        sectors, ranges = log["written_sector_count"], log["zeroed_range_count"]
        replayed = (
            f"{counted(sectors, 'sector')} of 4 KiB, {counted(ranges, 'zeroed range')}, {size(log['replayed_length'])}"
        )
        pairs += [
            ("Replayed", replayed),
            ("Changed region tables", ", ".join(map(str, log["changed_region_tables"] or ())) or "none"),
            ("Changed metadata", size(log["changed_metadata_length"] or 0)),
            ("Changed BAT entries", str(log["changed_bat_entry_count"])),
            ("File grown by", size(log["grown_length"] or 0)),
        ]
    return pairs


def _table(table: Facts) -> str:
    if not table["valid"]:
        return f"not valid: {table['problem']['message']}"
    return f"{'current' if table['current'] else 'valid, not used'}, {counted(table['entry_count'], 'entry')}"


def _place(stretch: Facts) -> str:
    flags = "".join(f", {key.replace('_', ' ')}" for key in ("required", "user", "virtual_disk") if stretch.get(key))
    return f"{size(stretch['length'])} at {stretch['file_offset']:#x}{flags}"


def _print_chain(chain: Facts) -> None:
    for member in chain["images"]:
        pairs = [
            ("Type", member["disk_type"]),
            ("Virtual size", size(member["virtual_size"])),
            ("DataWriteGuid", member["data_write_guid"]),
        ]
        linkages = [(key, member[f"{key}_guid"]) for key in ("parent_linkage", "parent_linkage2")]
        pairs += [(key, guid) for key, guid in linkages if guid]
        if member["parent_linkage_guid"] is not None:
            matches = member["parent_matches"]
            pairs.append(("Parent", f"matches {matches}" if matches else "not open"))
        print_pairs(f"Chain {member['depth']}: {member['filename']}", pairs)
    if chain["problem"] is not None:
        tried = [(in_options(t["key"]), f"{t['filename']}: {in_options(t['message'])}") for t in chain["tried"]]
        print_pairs("Missing parent", tried or [("Reason", in_options(chain["problem"]["message"]))])
