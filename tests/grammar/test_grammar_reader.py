"""What the reader knows of the format by itself is what the grammar says: constants, BAT arithmetic, packed words."""

from __future__ import annotations

import random
import re
from io import BytesIO
from pathlib import Path

import pytest
from builder import ITEM_GUIDS, MB, TB, Item, dynamic
from grammar_tools import BUILT, grammar, types
from hypothesis import given
from hypothesis import strategies as st
from kaitaistruct import KaitaiStream, ValidationNotEqualError
from vhdxreader._generated.vhdx import Vhdx

import vhdxreader
from vhdxreader import spec
from vhdxreader.format.block_geometry import Geometry
from vhdxreader.format.log_descriptors import Descriptors, data_sectors_are_good

WORDS = [1 << bit for bit in range(64)] + [random.Random(7).getrandbits(64) for _ in range(200)]


def size_of(structure: type) -> int:
    """How many bytes the fields of a structure take."""
    kind = types(grammar())["_".join(re.findall("[A-Z][a-z]+", structure.__name__)).lower()]
    stream = KaitaiStream(BytesIO(kind["seq"][0].get("contents", "").encode("ascii") + bytes(8192)))
    structure(stream)
    return int(stream.pos())


@pytest.mark.parametrize(
    ("structure", "signature"),
    [
        (Vhdx.FileTypeIdentifier, spec.IDENTIFIER_SIGNATURE),
        (Vhdx.Header, spec.HEADER_SIGNATURE),
        (Vhdx.RegionTable, spec.REGION_TABLE_SIGNATURE),
        (Vhdx.MetadataTable, spec.METADATA_SIGNATURE),
        (Vhdx.LogEntryHeader, spec.LOG_ENTRY_SIGNATURE),
        (Vhdx.LogZeroDescriptor, spec.ZERO_DESCRIPTOR_SIGNATURE),
        (Vhdx.LogDataDescriptor, spec.DATA_DESCRIPTOR_SIGNATURE),
        (Vhdx.LogDataSector, spec.DATA_SECTOR_SIGNATURE),
    ],
)
def test_signature(structure, signature):
    assert has_signature(structure, signature)
    for i in range(len(signature)):
        assert not has_signature(structure, signature[:i] + bytes([signature[i] ^ 0x20]) + signature[i + 1 :])


def has_signature(structure: type, signature: bytes) -> bool:
    """Whether the structure is one; of what has two copies, or what may be torn, a wrong one can be looked at."""
    try:
        return getattr(structure.from_bytes(signature + bytes(8192)), "is_magic_ok", True)
    except ValidationNotEqualError:
        return False


def test_places_and_sizes():
    kinds = types(grammar())
    root, metadata = kinds["vhdx"]["instances"], kinds["metadata_region"]["instances"]
    for i in (0, 1):
        header, table = root[f"header_{i + 1}"], root[f"region_table_{i + 1}"]
        assert (header["pos"], header["size"]) == (spec.HEADER_OFFSETS[i], spec.HEADER_SIZE)
        assert (table["pos"], table["size"]) == (spec.REGION_TABLE_OFFSETS[i], spec.REGION_TABLE_SIZE)
    assert (metadata["table"]["pos"], metadata["table"]["size"]) == (0, spec.METADATA_TABLE_SIZE)
    creator = kinds["file_type_identifier"]["instances"]["raw_creator"]
    assert creator["pos"] + creator["size"] == spec.IDENTIFIER_SIZE
    reserved = kinds["header"]["instances"]["reserved"]
    assert size_of(Vhdx.Header) == reserved["pos"] == spec.HEADER_SIZE - reserved["size"]
    assert size_of(Vhdx.RegionTable) == spec.REGION_TABLE_HEADER_SIZE
    assert size_of(Vhdx.RegionTableEntry) == spec.REGION_ENTRY_SIZE
    assert size_of(Vhdx.MetadataTable) == spec.METADATA_TABLE_HEADER_SIZE
    assert size_of(Vhdx.MetadataTableEntry) == spec.METADATA_ENTRY_SIZE
    assert size_of(Vhdx.ParentLocatorItem) == spec.LOCATOR_HEADER_SIZE
    assert size_of(Vhdx.ParentLocatorEntry) == spec.LOCATOR_ENTRY_SIZE
    assert size_of(Vhdx.BatPayloadEntry) == size_of(Vhdx.BatSectorBitmapEntry) == spec.BAT_ENTRY_SIZE
    assert size_of(Vhdx.LogEntryHeader) == spec.LOG_ENTRY_HEADER_SIZE
    assert size_of(Vhdx.LogZeroDescriptor) == size_of(Vhdx.LogDataDescriptor) == spec.LOG_DESCRIPTOR_SIZE
    assert size_of(Vhdx.LogDataSector) == spec.LOG_SECTOR_SIZE
    assert kinds["bat_sector_bitmap_entry"]["instances"]["bitmap"]["size"] == spec.SECTOR_BITMAP_SIZE
    assert spec.SECTORS_PER_BITMAP == 8 * spec.SECTOR_BITMAP_SIZE


KINDS = {
    "BAT": spec.REGION_BAT,
    "metadata": spec.REGION_METADATA,
    "file parameters": spec.ITEM_FILE_PARAMETERS,
    "virtual disk size": spec.ITEM_VIRTUAL_DISK_SIZE,
    "virtual disk ID": spec.ITEM_VIRTUAL_DISK_ID,
    "logical sector size": spec.ITEM_LOGICAL_SECTOR_SIZE,
    "physical sector size": spec.ITEM_PHYSICAL_SECTOR_SIZE,
    "parent locator": spec.ITEM_PARENT_LOCATOR,
    "locator": spec.LOCATOR_VHDX,
}
REGIONS = {"BAT", "metadata"}
ITEMS = {*KINDS} - REGIONS - {"locator"}


@pytest.mark.parametrize(("structure", "known"), [(Vhdx.RegionTableEntry, REGIONS), (Vhdx.MetadataTableEntry, ITEMS)])
def test_kinds(structure, known):
    for kind, guid in KINDS.items():
        expected = kind if kind in known else "unknown"
        assert structure.from_bytes(guid.bytes_le + bytes(16)).kind == expected
        for i in range(16):
            wrong = bytearray(guid.bytes_le)
            wrong[i] ^= 1
            assert structure.from_bytes(wrong + bytes(16)).kind == "unknown"


@pytest.mark.parametrize("guid", KINDS.values(), ids=KINDS)
def test_an_item_of_a_user_is_none_of_the_known_ones(guid):
    assert Vhdx.MetadataTableEntry.from_bytes(guid.bytes_le + bytes(8) + b"\1" + bytes(7)).kind == "user item"


def test_locator_type():
    for guid in KINDS.values():
        assert Vhdx.ParentLocatorItem.from_bytes(guid.bytes_le + bytes(4)).is_vhdx == (guid == spec.LOCATOR_VHDX)


def test_states():
    def members(states, prefix=""):
        return {state.name.upper().removeprefix(prefix): state.value for state in states}

    assert members(Vhdx.PayloadState) == members(spec.PayloadState)
    assert members(Vhdx.SectorBitmapState, "BITMAP_") == members(spec.BitmapState)


@pytest.mark.parametrize("structure", [Vhdx.BatPayloadEntry, Vhdx.BatSectorBitmapEntry])
def test_layout_of_a_bat_entry(structure):
    assert spec.STATE_MASK | spec.RESERVED_MASK | spec.FILE_OFFSET_MASK == (1 << 64) - 1
    for word in WORDS:
        entry = structure.from_bytes(word.to_bytes(8, "little"))
        assert int(entry.state) == word & spec.STATE_MASK
        assert entry.reserved == (word & spec.RESERVED_MASK) >> 3
        assert entry.ofs_block == word & spec.FILE_OFFSET_MASK
        assert entry.file_offset_mb == entry.ofs_block // spec.MB


def test_limits_of_tables():
    for structure, size, most, at, width in (
        (Vhdx.RegionTable, spec.REGION_TABLE_SIZE, spec.MAX_REGION_ENTRIES, 8, 4),
        (Vhdx.MetadataTable, spec.METADATA_TABLE_SIZE, spec.MAX_METADATA_ENTRIES, 10, 2),
    ):
        for count, listed in ((most, True), (most + 1, False)):
            data = bytes(at) + count.to_bytes(width, "little")
            table = structure.from_bytes(data.ljust(size, b"\0"))
            assert (table.entries is not None) == listed
            assert not listed or len(table.entries) == most


@pytest.mark.parametrize(
    ("block_size", "sector_size", "virtual_size", "fine"),
    [
        (spec.MIN_BLOCK_SIZE, 512, spec.MAX_VIRTUAL_DISK_SIZE, True),
        (spec.MAX_BLOCK_SIZE, 4096, spec.MAX_VIRTUAL_DISK_SIZE, True),
        (spec.MIN_BLOCK_SIZE // 2, 512, TB, False),
        (spec.MAX_BLOCK_SIZE * 2, 512, TB, False),
        (MB, 1024, TB, False),
        (MB, 512, spec.MAX_VIRTUAL_DISK_SIZE + MB, False),
    ],
)
def test_limits_of_the_geometry(block_size, sector_size, virtual_size, fine):
    data = {
        "file_parameters": block_size.to_bytes(4, "little") + bytes(4),
        "logical_sector_size": sector_size.to_bytes(4, "little"),
        "virtual_disk_size": virtual_size.to_bytes(8, "little"),
    }
    image = dynamic(MB, item_data=data, extra_items=[Item("user", ITEM_GUIDS["virtual_disk_size"], bytes(8), flags=1)])
    metadata = Vhdx.MetadataRegion.from_bytes(image.file.read(image.metadata_offset, MB))
    assert metadata.is_geometry_ok == fine


def test_entries_behind_an_empty_table_are_none():
    """A search reads one entry at least: it must not be one that the table does not count."""
    image = dynamic(MB)
    region = image.file.read(image.metadata_offset, MB)
    items = ("file_parameters", "virtual_disk_size", "virtual_disk_id", "logical_sector_size", "physical_sector_size")
    for count, are_there in ((5, True), (0, False)):
        metadata = Vhdx.MetadataRegion.from_bytes(region[:10] + count.to_bytes(2, "little") + region[12:])
        assert metadata.is_geometry_ok == are_there
        assert {getattr(metadata, name) is not None for name in items} == {are_there}
    table = image.file.read(spec.REGION_TABLE_OFFSETS[0], spec.REGION_TABLE_SIZE)
    search = Vhdx.RegionTable.from_bytes(table[:8] + bytes(4) + table[12:]).search
    assert not search.has_bat
    assert not search.has_metadata


@given(
    block_shift=st.integers(20, 28),
    sector_size=st.sampled_from(spec.SECTOR_SIZES),
    sectors=st.integers(1, spec.MAX_VIRTUAL_DISK_SIZE // 4096),
    has_parent=st.booleans(),
    data=st.data(),
)
def test_geometry(block_shift, sector_size, sectors, has_parent, data):
    geometry = Geometry(sectors * sector_size, 1 << block_shift, sector_size, has_parent)
    bat = Vhdx.Bat(5 * MB, sectors * sector_size, 1 << block_shift, sector_size, has_parent, KaitaiStream(BytesIO()))
    assert bat.num_payload_blocks == geometry.payload_blocks
    assert bat.num_chunks == geometry.bitmap_blocks
    assert bat.chunk_ratio == geometry.chunk_ratio
    number = data.draw(st.integers(0, bat.num_chunks - 1))
    chunk = Vhdx.BatChunk(number, KaitaiStream(BytesIO()), bat)
    assert chunk.ofs_chunk == 5 * MB + 8 * geometry.payload_index(chunk.first_block)
    assert chunk.ofs_sector_bitmap_entry == 5 * MB + 8 * geometry.bitmap_index(number)
    last = Vhdx.BatChunk(bat.num_chunks - 1, KaitaiStream(BytesIO()), bat)
    assert last.first_block + last.num_payload_blocks == geometry.payload_blocks
    end = last.ofs_chunk + 8 * last.num_payload_blocks + 8 * last.has_sector_bitmap_entry
    assert has_parent or end == 5 * MB + 8 * geometry.entries
    assert not has_parent or last.ofs_sector_bitmap_entry + 8 == 5 * MB + 8 * geometry.entries


@pytest.mark.parametrize("name", ["every_state", "child", "many_chunks"])
def test_every_entry_of_a_bat(name, tmp_path):
    compare_bats(BUILT[name]().save(tmp_path / "disk.vhdx"))


@pytest.mark.corpus
@pytest.mark.parametrize("name", ["swap", "iotest-dynamic-1G"])
def test_every_entry_of_a_real_bat(name, corpus):
    compare_bats(corpus / f"{name}.vhdx")


def compare_bats(path: Path) -> None:
    with vhdxreader.open(path, parents=None) as disk, Vhdx.from_file(path) as decoded:
        bat, geometry = disk.image.bat, disk.image.geometry
        for chunk in decoded.block_allocation_table.chunks:
            for i, block in enumerate(chunk.payload_blocks):
                entry, word = block.entry, bat.payload(chunk.first_block + i)
                assert block.block_number == chunk.first_block + i
                assert (int(entry.state), entry.ofs_block) == (word & spec.STATE_MASK, word & spec.FILE_OFFSET_MASK)
            if chunk.has_sector_bitmap_entry:
                word, entry = bat.word(geometry.bitmap_index(chunk.chunk_number)), chunk.sector_bitmap_block
                assert (int(entry.state), entry.ofs_block) == (word & spec.STATE_MASK, word & spec.FILE_OFFSET_MASK)


def test_descriptors_and_data_sectors():
    """The log's packed words are what the grammar finds in them."""
    rng = random.Random(11)
    signatures = [rng.choice([spec.ZERO_DESCRIPTOR_SIGNATURE, spec.DATA_DESCRIPTOR_SIGNATURE]) for _ in range(200)]
    raw = b"".join(signature + rng.randbytes(spec.LOG_DESCRIPTOR_SIZE - 4) for signature in signatures)
    found = Descriptors.unpack(memoryview(raw))
    data = found.data_indexes()
    for i in range(len(found)):
        is_data = i in data
        body = Vhdx.LogDescriptor.from_bytes(raw[i * 32 : i * 32 + 32]).body
        assert is_data == isinstance(body, Vhdx.LogDataDescriptor)
        assert found.offsets[i] == body.ofs_file
        if is_data:
            assert found.edges(i) == body.leading_bytes + body.trailing_bytes
            assert len(body.leading_bytes) == spec.LEADING_BYTES
            assert len(body.trailing_bytes) == spec.TRAILING_BYTES
        else:
            assert found.lengths[i] == body.len_zero
    for number in WORDS:
        sector = b"data" + (number >> 32).to_bytes(4, "little") + bytes(4084) + (number % 2**32).to_bytes(4, "little")
        assert Vhdx.LogDataSector.from_bytes(sector).sequence_number == number
        assert data_sectors_are_good(memoryview(sector), number)
        assert not data_sectors_are_good(memoryview(sector), number ^ 1 << 63)
