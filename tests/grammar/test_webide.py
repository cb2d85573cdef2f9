"""The grammar as the Web IDE shows it: same compiler in debug mode, same runtime, in a browser, on our own page.

WEBIDE_PICTURES=docs/images keeps a picture of each page.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from builder import KB
from grammar_tools import BUILT, CORPUS, GRAMMAR, ROOT, need, node, number

WEBIDE = ROOT / "tests" / "grammar" / "webide"
BAT = "blockAllocationTable"
CHUNK = f"{BAT}/chunks/0"
BLOCKS = f"{CHUNK}/payloadBlocks"
BITMAP = f"{CHUNK}/sectorBitmapBlock"
BAT_BLOCKS = (BAT, f"{BAT}/chunks", CHUNK, BLOCKS)
SECTOR = "log/sectors/1"
DESCRIPTOR = f"{SECTOR}/entry/descriptors/0"

# What is clicked open, in this order; a name is an image of `BUILT`, or stands for a real one.
OPEN: Mapping[str, tuple[str, ...]] = {
    "first": (),
    "windows": ("metadata", *BAT_BLOCKS, f"{BLOCKS}/0", f"{BLOCKS}/0/data"),
    "dirty": (
        "log", "log/sectors", SECTOR, f"{SECTOR}/entry", f"{SECTOR}/entry/descriptors", DESCRIPTOR,
        f"{DESCRIPTOR}/body", f"{DESCRIPTOR}/body/target",
    ),
    "child": (
        "metadata", "metadata/parentLocator", "metadata/parentLocator/entries", *BAT_BLOCKS,
        BITMAP, f"{BITMAP}/bitmap",
    ),
    "broken_header": ("identifier", "metadata", *BAT_BLOCKS),
    "junk_tables": ("metadata",),
    "truncated": ("header1",),
    "cut_in_block": (*BAT_BLOCKS, f"{BLOCKS}/9", f"{BLOCKS}/9/data", f"{BLOCKS}/0", f"{BLOCKS}/0/data"),
    "largest": (
        BAT, f"{BAT}/chunks", f"{BAT}/chunks/10000-16383", f"{BAT}/chunks/16300-16383", f"{BAT}/chunks/16383",
        f"{BAT}/chunks/16383/payloadBlocks",
    ),
}  # fmt: skip
REAL = {"first": "swap", "windows": "swap", "dirty": "vhdx-log-replay"}


@dataclass(frozen=True)
class Page:
    """What stands on the page: the text of each node by its path, and the bytes of the one clicked last."""

    status: str
    text: Mapping[str, str]
    bytes: str
    made: int


class Pages(dict[str, Page]):
    def __missing__(self, name: str) -> Page:
        need(False, f"the image {REAL[name]} of ../shared/corpus")
        raise KeyError(name)


@pytest.fixture(scope="module")
def pages(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pages:
    """Each image in the browser, all in one run of it."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    need(chromium, "Chromium")
    need((WEBIDE / "node_modules" / "playwright-core").is_dir(), "`npm ci` in tests/grammar/webide/")
    folder = tmp_path_factory.mktemp("webide")
    pictures = Path(os.environ.get("WEBIDE_PICTURES", folder)).resolve()
    corpus = request.getfixturevalue("corpus") if CORPUS.is_dir() else None
    names = [name for name in OPEN if name not in REAL or corpus]
    images = [
        {
            "image": str(
                corpus / f"{REAL[name]}.vhdx" if name in REAL else BUILT[name]().save(folder / f"{name}.vhdx")
            ),
            "open": OPEN[name],
            "screenshot": str(pictures / f"web-ide-{name.replace('_', '-')}.png"),
        }
        for name in names
    ]
    work = json.dumps({"grammar": str(GRAMMAR), "images": images})
    results = json.loads(node(WEBIDE / "drive.js", str(chromium), stdin=work))
    return Pages(
        (name, Page(r["status"], {line["path"]: line["text"] for line in r["lines"]}, r["bytes"], r["made"]))
        for name, r in zip(names, results, strict=True)
    )


def test_every_image_opens(pages):
    assert {page.status for page in pages.values()} == {"ready"}


@pytest.mark.corpus
def test_before_anything_is_opened_the_tree_tells_what_the_image_is(pages):
    text = pages["first"].text
    assert list(text) == [
        "identifier", BAT, "currentHeader", "currentHeaderNumber", "currentRegionTable", "currentRegionTableNumber",
        "header1", "header2", "layout", "log", "metadata", "regionTable1", "regionTable2",
    ]  # fmt: skip
    assert text["identifier"].endswith(": Microsoft Windows 10.0.14393.0")
    assert text["metadata"].endswith(": disk of 10240 MiB, blocks of 32 MiB, dynamic")
    assert text[BAT].endswith(": 320 blocks of 32 MiB in 3 chunks")
    assert text["regionTable1"].endswith(": signature ok: true; BAT at 0x300000; metadata at 0x200000")
    assert text["currentRegionTable"].partition(": ")[2] == text["regionTable1"].partition(": ")[2]


@pytest.mark.corpus
def test_the_current_header_stands_on_a_line_of_its_own(pages, corpus):
    for name, waits in (("windows", "false"), ("dirty", "true")):
        data, text = (corpus / f"{REAL[name]}.vhdx").read_bytes(), pages[name].text
        numbers = [number(data, at + 8, "Q") for at in (64 * KB, 128 * KB)]
        for i in (1, 2):
            assert text[f"header{i}"] == (
                f"header{i} [Header]: sequence number {numbers[i - 1]}, log to replay: {waits}, signature ok: true"
            )
        assert f"sequence number {max(numbers)}, " in text["currentHeader"]
        assert text["currentHeaderNumber"].endswith(f" = {1 + numbers.index(max(numbers))}")


@pytest.mark.corpus
def test_metadata_items_are_readable(pages):
    text = {path: text.partition(": ")[2] for path, text in pages["windows"].text.items()}
    assert text["metadata/virtualDiskSize"] == "10240 MiB"
    assert text["metadata/logicalSectorSize"] == "512 bytes"
    built = BUILT["broken_header"]()
    text = {path: text.partition(": ")[2] for path, text in pages["broken_header"].text.items()}
    assert text["metadata/virtualDiskId"] == str(built.disk_id)
    assert text["metadata/fileParameters"] == "blocks of 1 MiB, dynamic"
    assert text["metadata/virtualDiskSize"] == f"{built.size >> 20} MiB"
    assert text["metadata/physicalSectorSize"] == "4096 bytes"


def test_blocks_have_numbers_and_states_and_only_present_ones_places(pages):
    built = BUILT["broken_header"]()
    names = ["NOT_PRESENT", "UNDEFINED", "ZERO", "UNMAPPED", "", "", "FULLY_PRESENT"]
    for n in range(11):
        place = f" at MiB {built.block_offset[n] >> 20}" if n in built.block_offset else ""
        expected = f"{n} [PayloadBlock]: block {n}: {names[built.spec.block(n).state]}{place}"
        assert pages["broken_header"].text[f"{BLOCKS}/{n}"] == expected


@pytest.mark.corpus
def test_a_payload_block_is_a_range_of_bytes_that_is_not_loaded(pages):
    page = pages["windows"]
    assert page.bytes.startswith("33554432 bytes at 0x400000\n")
    assert page.made < 5000


def test_differencing_shows_parent_and_sector_bitmap(pages):
    built, text = BUILT["child"](), pages["child"].text
    assert text["metadata"].endswith(", differencing")
    linkage = f"parent_linkage = {{{built.spec.parent.data_write_guid}}}"
    assert text["metadata/parentLocator/entries/0"].endswith(linkage)
    assert text["metadata/parentLocator/entries/1"].endswith(r"relative_path = ..\bases\parent disk.vhdx")
    assert text[f"{BLOCKS}/2"].endswith(f"PARTIALLY_PRESENT at MiB {built.block_offset[2] >> 20}")
    assert text[BITMAP].endswith(f": BITMAP_PRESENT at MiB {built.bitmap_offset[0] >> 20}")
    assert pages["child"].bytes.startswith(f"1048576 bytes at 0x{built.bitmap_offset[0]:x}\n")


@pytest.mark.corpus
def test_log_sectors_show_entries_descriptors_and_targets(pages, corpus):
    data, text = (corpus / f"{REAL['dirty']}.vhdx").read_bytes(), pages["dirty"].text
    header = max((64 * KB, 128 * KB), key=lambda at: number(data, at + 8, "Q"))
    log, log_guid = number(data, header + 72, "Q"), data[header + 48 : header + 64]
    guid = uuid.UUID(bytes_le=log_guid)
    assert text["log"] == f"log [LogRegion]: to replay: true, log GUID {guid}, 256 sectors"
    kinds = {b"loge": "entry", b"data": "data sector"}
    for i in range(256):
        at = log + i * 4 * KB
        kind = kinds.get(data[at : at + 4], "other")
        shown = text[f"log/sectors/{i}"]
        assert shown.startswith(f"{i} [LogSector]: {kind} ")
        if kind == "entry":
            low, high, count = (number(data, at + field, "I") for field in (16, 20, 24))
            session = "current" if data[at + 32 : at + 48] == log_guid else "other"
            assert shown.endswith(f" sequence 0x{high:X}:0x{low:X}, log GUID {session}, {count} descriptors")
    target = number(data, log + 4 * KB + 64 + 16, "Q")
    assert text[DESCRIPTOR].endswith(f": 4096 bytes at 0x{target:X}")
    assert pages["dirty"].bytes.startswith(f"4096 bytes at 0x{target:x}\n")


def test_a_bad_copy_leaves_the_rest_usable(pages):
    text = pages["broken_header"].text
    assert text["header1"].endswith("sequence number 7, log to replay: false, signature ok: true")
    assert text["currentHeader"].partition(": ")[2] == text["header1"].partition(": ")[2]
    assert text["header2"].endswith("signature ok: false")
    text = pages["junk_tables"].text
    assert text["regionTable1"] == "regionTable1 [RegionTable]: signature ok: false; <no value>"
    assert text["currentRegionTableNumber"].endswith(" = 2")
    assert text["metadata/virtualDiskSize"].endswith(f": {BUILT['junk_tables']().size >> 20} MiB")
    assert pages["junk_tables"].made < 1500


def test_a_truncated_file_shows_what_is_there_and_why_the_rest_is_not(pages):
    text = pages["truncated"].text
    assert text["header1"].endswith("sequence number 7, log to replay: false, signature ok: true")
    assert text["header1/version"] == "version = 0x1 = 1"
    assert text["regionTable1"].endswith("⚠ requested 65536 bytes, but only 8192 bytes available")
    assert "⚠" in text[BAT]
    assert "⚠" in text["metadata"]


def test_a_block_that_the_file_cuts_is_none_and_not_its_beginning(pages):
    built, page = BUILT["cut_in_block"](), pages["cut_in_block"]
    assert max(built.block_offset, key=lambda n: built.block_offset[n]) == 0
    assert page.text[f"{BLOCKS}/0/isInFile"] == "isInFile = false"
    assert page.text[f"{BLOCKS}/0/data"] == "data = <no value>"
    assert page.text[f"{BLOCKS}/9/isInFile"] == "isInFile = true"
    assert "⚠" not in "".join(page.text.values())


def test_the_largest_disk_opens_with_its_chunks_in_groups(pages):
    page = pages["largest"]
    assert page.text[BAT].endswith(": 2097152 blocks of 32 MiB in 16384 chunks")
    place = BUILT["largest"]().block_offset[2**21 - 1]
    entry = page.text[f"{BAT}/chunks/16383/payloadBlocks/127"]
    assert entry == f"127 [PayloadBlock]: block {2**21 - 1}: FULLY_PRESENT at MiB {place >> 20}"
    assert page.text[f"{BAT}/chunks/16383/firstBlock"].endswith(f" = {2**21 - 128}")
    assert page.made < 100_000  # 16384 chunks, but only the opened one's entries: the disk has 2 million
