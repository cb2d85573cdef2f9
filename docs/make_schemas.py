"""Writes docs/schemas/*.json and docs/json.md; with --check says what of them is not as it would be written."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from schema_parts import (
    Schema,
    array,
    checksum,
    command,
    decimal,
    flag,
    guid,
    item,
    maybe,
    number,
    obj,
    one_of,
    ref,
    said,
    text,
)

_FILENAME = text("Path or name of the image.")
_FILE_OFFSET = number("Byte in the file.")
_DISK_OFFSET = number("Byte in the virtual disk.")
_LENGTH = number("Bytes.")
_SEVERITY = one_of(
    "How much it matters: of no concern, worth a look, data lost or not to be trusted.", *("info", "warning", "error")
)
_DISK_TYPE = one_of("What kind of virtual disk it is.", "fixed", "dynamic", "differencing")
_VIRTUAL_SIZE = number("Bytes of the virtual disk.")
_FILE_SIZE = number("Bytes of the file, without what the replay of its log adds.")
_BLOCK_SIZE = number("Bytes of a payload block.")
_FINDINGS = array(ref("problem"), "What deviates from the specification, and was tolerated.")
_CHANGED = flag("Whether the file was seen to change meanwhile.")
_PROBLEM = maybe(ref("problem", "What is wrong; null where nothing is."))
_COPY = {
    "number": said({"enum": [1, 2]}, "Which copy."),
    "file_offset": _FILE_OFFSET,
    "valid": flag("Whether it can be used; if not, what it holds is null."),
    "problem": _PROBLEM,
    "current": flag("Whether it is the one in use."),
}

DEFS: Schema = {
    "problem": obj(
        "What is wrong: a finding, an error, a reason.",
        severity=_SEVERITY,
        rule=maybe(text("Stable name of the rule that is broken.")),
        section=maybe(text("Section of [MS-VHDX].")),
        message=text("What is wrong, and what was expected."),
        means=maybe(text("What that means for the data.")),
        filename=maybe(text("The file that it is wrong with.")),
        file_offset=maybe(number("Where, in that file.")),
        disk_offset=maybe(number("Where, in the virtual disk.")),
    ),
    "log": obj(
        "The log, and what was done about it.",
        state=one_of("Whether there is something to replay.", "clean", "dirty"),
        handling=one_of(
            "What was done about it; ignored: what is shown is the state before.",
            *("none", "replayed", "ignored", "not_replayable"),
        ),
        log_guid=guid("LogGuid of the current header; nil if the log is clean."),
        file_offset=_FILE_OFFSET,
        length=_LENGTH,
        entry_count=maybe(number("Valid entries; null where the log is clean and was not looked at.")),
        first_sequence_number=maybe(decimal("SequenceNumber of the first entry to replay.")),
        last_sequence_number=maybe(decimal("SequenceNumber of the last entry to replay.")),
        written_sector_count=maybe(number("Sectors of 4 KiB of the file that its replay writes.")),
        zeroed_range_count=maybe(number("Ranges of the file that its replay zeroes.")),
        replayed_length=maybe(number("Bytes of both together.")),
        changed_region_tables=maybe(
            array(said({"enum": [1, 2]}, ""), "Numbers of the region tables that replay changes.")
        ),
        changed_metadata_length=maybe(number("Bytes of the metadata region that replay changes.")),
        changed_bat_entry_count=maybe(number("BAT entries that replay changes.")),
        grown_length=maybe(number("Bytes by which the file is longer after replay.")),
    ),
    "header": obj(
        "A copy of the header.",
        **_COPY,
        sequence_number=maybe(decimal("SequenceNumber.")),
        file_write_guid=maybe(guid("FileWriteGuid.")),
        data_write_guid=maybe(guid("DataWriteGuid: by it a child knows its parent.")),
        log_guid=maybe(guid("LogGuid: nil, or what entries to replay carry.")),
        log_version=maybe(number("LogVersion.")),
        format_version=maybe(number("Version.")),
        log_file_offset=maybe(number("LogOffset: where the log is in the file.")),
        log_length=maybe(number("LogLength.")),
        checksum=maybe(checksum("Checksum.")),
    ),
    "region_table": obj(
        "A copy of the region table.",
        **_COPY,
        entry_count=maybe(number("Entries that it says it has.")),
        checksum=maybe(checksum("Checksum.")),
    ),
    "region": obj(
        "An entry of the region table.",
        name=text("BAT, metadata, or the GUID of an unknown region."),
        region_guid=guid("Its GUID."),
        file_offset=_FILE_OFFSET,
        length=_LENGTH,
        required=flag("Whether a reader must know it."),
    ),
    "metadata_item": obj(
        "An entry of the metadata table.",
        name=text("Its name in the specification, or its GUID."),
        item_guid=guid("Its GUID."),
        file_offset=_FILE_OFFSET,
        length=_LENGTH,
        user=flag("IsUser."),
        virtual_disk=flag("IsVirtualDisk."),
        required=flag("IsRequired."),
    ),
    "parent_locator": obj(
        "What a differencing image says of its parent; paths are not to be trusted.",
        parent_linkage_guid=guid("DataWriteGuid of the parent."),
        parent_linkage2_guid=maybe(guid("Another one that it may have.")),
        relative_path=maybe(text("Path from the image's folder.")),
        volume_path=maybe(text("Path on a volume.")),
        absolute_win32_path=maybe(text("Absolute path.")),
        entries=array(obj("", key=text("Key."), value=text("Value.")), "All pairs, as they are."),
    ),
    "chain": obj(
        "The files of the chain.",
        images=array(ref("chain_image"), "Those that could be opened, child first."),
        tried=array(
            obj("", key=text("The locator's key, or the option."), filename=text("Path."), message=text("Why not.")),
            "Where the parent that is missing was looked for.",
        ),
        problem=maybe(ref("problem", "Why there is no further parent where one should be.")),
    ),
    "chain_image": obj(
        "A file of the chain.",
        depth=number("0 for the image itself, 1 for its parent, and so on."),
        filename=_FILENAME,
        disk_type=_DISK_TYPE,
        virtual_size=_VIRTUAL_SIZE,
        data_write_guid=guid("DataWriteGuid of its current header."),
        parent_linkage_guid=maybe(guid("The DataWriteGuid that its parent must have; null if it has no parent.")),
        parent_linkage2_guid=maybe(guid("Another one that it may have.")),
        parent_matches=maybe(
            one_of("By which key its parent is known; null if that is not open.", "parent_linkage", "parent_linkage2")
        ),
        parent_found_by=maybe(text("How its parent was found: a key of the locator, or the option that gave it.")),
    ),
    "range": obj(
        "A stretch of the file that no block reads.",
        file_offset=_FILE_OFFSET,
        length=_LENGTH,
        kind=one_of("What has it: nothing, or a block that was trimmed and keeps its place.", "unused", "trimmed"),
    ),
    "disk_range": obj("A stretch of the virtual disk.", disk_offset=_DISK_OFFSET, length=_LENGTH),
    "digests": said(
        {"type": "object", "additionalProperties": {"type": "string", "pattern": "^[0-9a-f]+$"}},
        "Digests in hexadecimal, by algorithm.",
    ),
    "block_digest": obj(
        "The digest of a payload block.",
        block=number("Its number."),
        disk_offset=_DISK_OFFSET,
        length=_LENGTH,
        digest=text("The digest, in hexadecimal.", pattern="^[0-9a-f]+$"),
        zero=flag("Whether it is known to be zeros without a look at them."),
    ),
    "file_use": obj(
        "What a file takes.",
        filename=_FILENAME,
        file_size=number("Bytes of the file."),
        allocated_size=maybe(number("Bytes that it takes on disk; less where it has holes.")),
        shared_size=maybe(number("Bytes of these that the file system keeps once for it and for others.")),
    ),
    "partition": obj(
        "A partition.",
        number=number("Its number, as Linux counts."),
        disk_offset=_DISK_OFFSET,
        length=_LENGTH,
        type=text("Its type: a GUID in a GPT, two hexadecimal digits in an MBR."),
        type_name=maybe(text("What that stands for.")),
        partition_guid=maybe(guid("Its own GUID, in a GPT.")),
        name=maybe(text("Its name, in a GPT.")),
        bootable=flag("Whether it is marked as bootable."),
        extended=flag("Whether it is an extended partition, which holds others."),
        volume=maybe(text("What it holds, by its signature.")),
    ),
    "tree_image": obj(
        "An image of a forest.",
        filename=_FILENAME,
        modified_time=maybe(said({"type": "number"}, "When the file was changed last, in seconds since 1970.")),
        file_size=maybe(number("Bytes of the file.")),
        disk_type=maybe(_DISK_TYPE),
        virtual_size=maybe(_VIRTUAL_SIZE),
        log_state=maybe(one_of("Whether it has a log to replay.", "clean", "dirty")),
        data_write_guid=maybe(guid("DataWriteGuid of its current header.")),
        virtual_disk_guid=maybe(guid("Virtual Disk ID.")),
        parent=maybe(text("The file that is its parent.")),
        parent_state=one_of(
            "What is known of its parent.", "none", "found", "doubled", "changed", "missing", "unknown"
        ),
        parent_linkage_guid=maybe(guid("The DataWriteGuid that its parent must have.")),
        candidates=array({"type": "string"}, "Other files that have it, the first 16."),
        candidate_count=number("How many have it."),
        children=array({"type": "string"}, "The files whose parent it is."),
        newest=flag("Whether it is the leaf of its tree that was written last."),
        problem=_PROBLEM,
    ),
    "extent": obj(
        "A stretch of the virtual disk that comes from one place.",
        disk_offset=_DISK_OFFSET,
        length=_LENGTH,
        kind=one_of(
            "In the file; zeros; in no file (zeros, or in a parent that is not open); cannot be read.",
            *("data", "zero", "absent", "error"),
        ),
        depth=number("Which file of the chain says so: 0 is the image itself."),
        filename=text("That file."),
        file_offset=maybe(number("Where in that file; null unless the kind is data.")),
        zero=flag("Whether it reads as zeros without a look at any file."),
        problem=_PROBLEM,
    ),
    "lost": obj(
        "A stretch that cannot be read, and was filled.",
        disk_offset=_DISK_OFFSET,
        length=_LENGTH,
        depth=number("Which file of the chain does not hold it."),
        problem=ref("problem", "Why, at its start."),
    ),
    "log_entry": obj(
        "What begins as a log entry does.",
        log_offset=number("Byte in the log."),
        file_offset=_FILE_OFFSET,
        length=_LENGTH,
        valid=flag("Whether it is an entry of this log."),
        problem=_PROBLEM,
        roles=array(
            one_of("Its part in the active sequence.", "applied", "replayed", "tail", "head"),
            "None of them if it is not in the active sequence.",
        ),
        sequence_number=decimal("SequenceNumber."),
        log_guid=guid("LogGuid."),
        tail_log_offset=number("Tail: the first entry to replay, as byte in the log."),
        flushed_file_offset=number("FlushedFileOffset: bytes that the file had at least."),
        last_file_offset=number("LastFileOffset: bytes that the file must have."),
        descriptor_count=number("DescriptorCount."),
        checksum=checksum("Checksum."),
        descriptors=array(ref("descriptor"), "What it writes; none where they are not all there."),
    ),
    "descriptor": obj(
        "What a log entry writes.",
        kind=one_of("Other bytes, zeros, or what is not known.", "data", "zero", "unknown"),
        file_offset=_FILE_OFFSET,
        length=_LENGTH,
        targets=array({"type": "string"}, "What lies there."),
    ),
    "structure": obj(
        "A structure or a field, as it lies on disk.",
        name=text("Its name in the grammar."),
        file_offset=maybe(_FILE_OFFSET),
        length=_LENGTH,
        first_bit=maybe(number("Of a field of bits, the lowest one.")),
        bit_count=maybe(number("Of a field of bits, how many.")),
        raw=maybe(
            text("Its bytes, in hexadecimal, 4096 of them at most; null if it has fields.", pattern="^([0-9a-f]{2})*$")
        ),
        value=said({"type": ["integer", "boolean", "string", "null"]}, "A field's value; null if it has none."),
        meaning=maybe(text("What that means.")),
        problem=_PROBLEM,
        fields=array(ref("structure"), "What it is made of."),
    ),
}

DEFS["report"] = obj(
    "What was found to be wrong with a file of a chain.",
    filename=_FILENAME,
    format=maybe(one_of("What it is; null if it is no VHDX.", "vhdx")),
    worst=maybe({**_SEVERITY, "description": "The highest severity of any finding; null if there is none."}),
    disk_type=maybe(_DISK_TYPE),
    virtual_size=maybe(_VIRTUAL_SIZE),
    file_size=_FILE_SIZE,
    block_size=maybe(_BLOCK_SIZE),
    payload_block_count=maybe(number("Payload blocks of the virtual disk.")),
    allocated_block_count=maybe(number("Of these, how many have space in the file.")),
    bitmap_block_count=maybe(number("Sector bitmap blocks.")),
    unused_size=maybe(number("Bytes of the file that belong to nothing, in whole MiB.")),
    trimmed_size=maybe(number("Bytes of trimmed blocks that keep their place.")),
    unused=maybe(
        array(ref("range"), "What no block reads of the file, the first ranges of it; map --unused lists all.")
    ),
    read_size=maybe(number("Bytes of blocks that were read; null without --deep.")),
    log=maybe(ref("log")),
    finding_counts=said(
        {"type": "object", "additionalProperties": {"type": "integer", "minimum": 1}},
        "How often each rule is broken; of one rule, 100 findings are listed at most.",
    ),
    findings=array(ref("problem"), "What is wrong with the image as it is after the replay of its log."),
    before_replay=array(ref("problem"), "What is wrong on disk, but no longer after the replay."),
    changed=_CHANGED,
    parent_state=maybe(
        one_of(
            "What was found of its parent; unknown: it is too broken to say which file that is.",
            *("none", "found", "missing", "mismatch", "unknown", "not_looked_at"),
        )
    ),
    parents=array(ref("report"), "The reports on its ancestors, the parent first."),
)

DEFS["record_file"] = obj(
    "A file of the chain, as it was before it was read.",
    depth=number("0 for the image, 1 for its parent, and so on."),
    filename=text("Its path, links resolved; the name of what has no path."),
    file_size=_FILE_SIZE,
    modified_ns=maybe(number("When it was changed, in nanoseconds since 1970.")),
    inode=maybe(number("Its number in its file system.")),
    device=maybe(number("The number of its file system.")),
    disk_type=_DISK_TYPE,
    data_write_guid=guid("DataWriteGuid of its current header."),
    log=ref("log"),
    digests=maybe(ref("digests", "Of the whole file; null where none are asked for.")),
)
DEFS["record_image"] = obj(
    "An image that was read; null is what is not known of one that did not open.",
    filename=text("As it was given."),
    virtual_size=maybe(_VIRTUAL_SIZE),
    partition=maybe(number("The partition that was read; null for the whole disk.")),
    disk_offset=maybe(number("Where on the disk begins what was read.")),
    length=maybe(number("Bytes of the disk or partition.")),
    changed=maybe(flag("Whether a change of a file was seen meanwhile.")),
    digests=maybe(ref("digests", "Of the disk or partition, where the command made them.")),
    error=maybe(ref("problem", "Why it was not read, or not to its end.")),
    files=array(ref("record_file"), "Those of the chain, child first."),
    findings=array(ref("problem"), "Of all files of the chain."),
    lost=array(ref("lost"), "What could not be read, and counts as zeros."),
    doubtful=array(ref("lost"), "What is there, but perhaps not in its place."),
)
DEFS["record_output"] = obj(
    "What was written.",
    filename=maybe(text("Its path, links resolved; null for standard output.")),
    length=maybe(number("Bytes; null of what cannot be read again, as a pipe.")),
    digests=maybe(ref("digests", "Of these bytes; null where not all were written.")),
)

SCHEMAS: dict[str, Schema] = {
    "info": command(
        "info",
        "What an image says of itself: `vhdxreader info --json`.",
        DEFS,
        filename=_FILENAME,
        format=one_of("What it is.", "vhdx"),
        creator=text("Creator of the file type identifier: what wrote the image."),
        disk_type=_DISK_TYPE,
        virtual_size=_VIRTUAL_SIZE,
        file_size=_FILE_SIZE,
        block_size=_BLOCK_SIZE,
        logical_sector_size=number("Bytes of a logical sector."),
        physical_sector_size=maybe(number("Bytes of a physical sector; null where the item is missing.")),
        virtual_disk_guid=maybe(guid("Virtual Disk ID; null where the item is missing.")),
        lacks_payload=flag("Whether the file ends with its last structure, though blocks should lie behind."),
        payload_block_count=number("Payload blocks of the virtual disk."),
        allocated_block_count=maybe(number("Of these, how many have space in the file; null without --blocks.")),
        chunk_ratio=number("Payload blocks in a chunk."),
        log=ref("log"),
        headers=array(ref("header"), "Both."),
        region_tables=array(ref("region_table"), "Both."),
        regions=array(ref("region"), "Of the region table in use."),
        metadata_items=array(ref("metadata_item"), "Of the metadata table."),
        parent_locator=maybe(ref("parent_locator", "Null unless the image is differencing.")),
        findings=_FINDINGS,
        chain=maybe(ref("chain", "Null without --chain.")),
        changed=_CHANGED,
    ),
    "check": command(
        "check",
        "All that is wrong with an image: `vhdxreader check --json`.",
        DEFS,
        **DEFS["report"]["properties"],
    ),
    "map": command(
        "map",
        "Where each part of the virtual disk comes from: `vhdxreader map --json`.",
        DEFS,
        filename=_FILENAME,
        virtual_size=_VIRTUAL_SIZE,
        extents=maybe(array(ref("extent"), "In order, without gaps; null with --unused.")),
        unused=maybe(array(ref("range"), "What no block reads of the file; null without --unused.")),
    ),
    "log": command(
        "log",
        "Every entry of the log, as it lies on disk: `vhdxreader log --json`.",
        DEFS,
        filename=_FILENAME,
        log=ref("log"),
        entries=array(ref("log_entry"), "By their place in the log."),
    ),
    "dump": command(
        "dump",
        "Every field of every structure, as it lies on disk: `vhdxreader dump --json`.",
        DEFS,
        filename=_FILENAME,
        structures=array(ref("structure"), "One after another."),
    ),
    "convert": command(
        "convert",
        "What was converted: `vhdxreader convert --json`.",
        DEFS,
        filename=_FILENAME,
        target=text("What was written."),
        virtual_size=_VIRTUAL_SIZE,
        findings=array(ref("problem"), "Of all files of the chain."),
        changed=_CHANGED,
        lost=maybe(array(ref("lost"), "What could not be read; null without --salvage.")),
        doubtful=maybe(array(ref("lost"), "What is there, but perhaps not in its place; null without --salvage.")),
    ),
    "skeleton": command(
        "skeleton",
        "What was copied: `vhdxreader skeleton --json`.",
        DEFS,
        filename=_FILENAME,
        target=text("What was written."),
        file_size=number("Bytes of it."),
        last_structure=text("The structure with which it ends."),
    ),
    "record": command(
        "record",
        "What was done with images: `--record FILE.json` of `convert`, `hash` and `cat`.",
        DEFS,
        python_version=text("Version of Python."),
        system=text("The system, and its version."),
        command=text("The command that ran."),
        arguments=array({"type": "string"}, "All that it was given."),
        working_directory=text("The folder from which relative names count."),
        started=text("When, in UTC, as RFC 3339 has it."),
        ended=text("When, in UTC, as RFC 3339 has it."),
        images=array(ref("record_image"), "What was read; an image that was read in two states is there twice."),
        output=maybe(ref("record_output", "Null where nothing was written.")),
        result=one_of("How it ended.", "done", "failed", "interrupted"),
        exit_code=maybe(number("What the command ended with.")),
    ),
    "report": command(
        "report",
        "What was written: `vhdxreader report --json`.",
        DEFS,
        filename=_FILENAME,
        target=text("The page that was written."),
    ),
    "images": command(
        "images",
        "The answers for several images, each as for one: `--json` with more than one IMAGE.",
        DEFS,
        images=array(said({"type": "object", "required": ["schema", "error"]}, ""), "One for each image, in order."),
    ),
    "hash": command(
        "hash",
        "Digests of the virtual disk: `vhdxreader hash --json`.",
        DEFS,
        filename=_FILENAME,
        partition=maybe(number("The partition that is meant; null for the whole disk.")),
        virtual_size=number("Bytes that were hashed."),
        digests=maybe(ref("digests", "Of the disk; null with --blocks.")),
        before_replay=maybe(ref("digests", "Of the disk before the replay of its log; null without --log both.")),
        file_digests=maybe(ref("digests", "Of the image's file; null without --file.")),
        expected_digests=maybe(array(ref("digests"), "What the list has; null without --verify.")),
        verified=maybe(flag("Whether the digests are those of the list; null without --verify.")),
        findings=maybe(_FINDINGS),
        salvaged=maybe(flag("Whether some of the bytes are lost or doubtful.")),
        lost=maybe(array(ref("lost"), "What could not be read, and counts as zeros.")),
        doubtful=maybe(array(ref("lost"), "What is there, but perhaps not in its place.")),
        blocks=maybe(array(ref("block_digest"), "One for each payload block; null without --blocks.")),
    ),
    "compare": command(
        "compare",
        "Whether two disks are the same: `vhdxreader compare --json`.",
        DEFS,
        filenames=array({"type": "string"}, "Both."),
        partition=maybe(number("The partition that is meant; null for the whole disk.")),
        equal=flag("Whether they are the same."),
        virtual_sizes=array(
            {"type": ["integer", "null"]}, "Bytes of each; null of a stream that was not read to its end."
        ),
        first_disk_offset=maybe(number("The first byte that differs.")),
        differing_byte_count=number("Bytes that differ."),
        range_count=number("Ranges in which they lie."),
        ranges=maybe(array(ref("disk_range"), "These ranges, 65 536 at most; null without --ranges.")),
    ),
    "measure": command(
        "measure",
        "What a copy needs, and what the image takes: `vhdxreader measure --json`.",
        DEFS,
        filename=_FILENAME,
        format=text("The format of the copy."),
        virtual_size=_VIRTUAL_SIZE,
        required_size=number("Bytes that a copy takes."),
        fully_allocated_size=number("Bytes that it takes without holes."),
        files=array(ref("file_use"), "Those of the chain, child first."),
    ),
    "partitions": command(
        "partitions",
        "The partition table: `vhdxreader partitions --json`.",
        DEFS,
        filename=_FILENAME,
        scheme=one_of("Which kind of table.", "gpt", "mbr", "none"),
        sector_size=number("Bytes of a sector."),
        disk_guid=maybe(guid("The disk's GUID, in a GPT.")),
        disk_signature=maybe(text("The disk's signature, in an MBR.", pattern="^[0-9a-f]{8}$")),
        volume=maybe(text("What the whole disk holds, where there is no table.")),
        partitions=array(ref("partition"), "By their numbers."),
        findings=array(ref("problem"), "What is wrong with the table, and was tolerated."),
    ),
    "tree": command(
        "tree",
        "Which image is whose parent: `vhdxreader tree --json`.",
        DEFS,
        paths=array({"type": "string"}, "What was asked for."),
        images=array(ref("tree_image"), "In the order in which they were found."),
        root_count=number("Trees."),
        orphan_count=number("Images without their parent."),
        problem_count=number("Images with a problem."),
    ),
    "survey": command(
        "survey",
        "A line of `vhdxreader survey`: one image.",
        DEFS,
        filename=_FILENAME,
        file_size=maybe(number("Bytes of the file.")),
        modified_ns=maybe(number("When it was changed, in nanoseconds since 1970.")),
        inode=maybe(number("Its number in its file system.")),
        file_version=maybe(text("What its server tells versions of a remote file apart by.")),
        device=maybe(number("The number of its file system.")),
        allocated_size=maybe(number("Bytes that the file system gave it.")),
        disk_type=maybe(_DISK_TYPE),
        virtual_size=maybe(_VIRTUAL_SIZE),
        block_size=maybe(number("Bytes of a payload block.")),
        log_state=maybe(one_of("Whether it has a log to replay.", "clean", "dirty")),
        data_write_guid=maybe(guid("DataWriteGuid of its current header.")),
        virtual_disk_guid=maybe(guid("Of the virtual disk.")),
        parent_linkage_guid=maybe(guid("DataWriteGuid that its parent has.")),
        parent_linkage2_guid=maybe(guid("Another that its parent may have.")),
        relative_path=maybe(text("Where the image says that its parent is.")),
        allocated_block_count=maybe(number("Payload blocks with space in the file; null without --check.")),
        worst=maybe(one_of("The worst severity of the findings; null without --check.", "info", "warning", "error")),
        finding_counts=maybe(said({"type": "object"}, "How often each rule is broken; null without --check.")),
        findings=maybe(array(ref("problem"), "Five of each rule at most; null without --check.")),
        digests=maybe(ref("digests", "Of the disk; null without --hash.")),
        seconds=maybe(said({"type": "number"}, "How long it took.")),
    ),
    "range": item("range", "A line of `vhdxreader map --unused --jsonl`.", DEFS, "range"),
    "block_digest": item("block_digest", "A line of `vhdxreader hash --blocks --jsonl`.", DEFS, "block_digest"),
    "extent": item("extent", "A line of `vhdxreader map --jsonl`.", DEFS, "extent"),
    "log_entry": item("log_entry", "A line of `vhdxreader log --jsonl`.", DEFS, "log_entry"),
    "structure": item("structure", "A line of `vhdxreader dump --jsonl`.", DEFS, "structure"),
}


def pages() -> dict[Path, str]:
    """All files that are written, with their text."""
    from schema_page import page

    folder = Path(__file__).parent
    files = {
        folder / "schemas" / f"{name}.json": json.dumps(schema, indent=2) + "\n" for name, schema in SCHEMAS.items()
    }
    return {**files, folder / "json.md": page(SCHEMAS, DEFS)}


def main() -> int:
    """Run as a command."""
    stale = {path: text for path, text in pages().items() if not path.exists() or path.read_text("utf-8") != text}
    for path, content in stale.items():
        if sys.argv[1:] == ["--check"]:
            sys.stderr.write(f"{path.name} is not as docs/make_schemas.py writes it: run make schemas\n")
        else:
            path.write_text(content, encoding="utf-8")
    return bool(stale) and sys.argv[1:] == ["--check"]


if __name__ == "__main__":
    sys.exit(main())
