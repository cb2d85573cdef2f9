"""`dump`: every field at its place with its bytes, also of images that cannot be opened."""

from __future__ import annotations

import json

import pytest
from builder import ITEM_GUIDS, KB, MB, Item, Locator, differencing, dynamic
from grammar_tools import BUILT

from vhdxreader import DUMP_SECTIONS, MAX_DUMP_COUNT, NotVhdxError, dump
from vhdxreader.cli.app import run

# Fields that the builder writes as one word and the grammar shows bit by bit.
BITS = {"required", "flags"}
MINE = ITEM_GUIDS["virtual_disk_size"]  # an item of a user may have any GUID


def leaves(nodes):
    for node in nodes:
        yield from leaves(node.children) if node.children else [node]


@pytest.mark.parametrize("name", ["every_state", "child", "fixed_4k"])
def test_every_field_of_the_builder_is_shown_with_its_bytes(name):
    image = BUILT[name]()
    shown = list(leaves(dump(image.open(), ["header", "region", "metadata", "locator"])))
    places = {(node.file_offset, node.size) for node in shown}
    wanted = {key: field for key, field in image.fields.items() if key.rpartition(".")[2] not in BITS}
    assert not {key for key, field in wanted.items() if (field.offset, field.size) not in places}
    for node in shown:
        assert node.raw == image.file.read(node.file_offset or 0, node.size)
        assert not node.problem
        if type(node.value) is int and node.bits is None:
            assert node.value == int.from_bytes(node.raw, "little")


def test_bits_say_where_they_are():
    image = dynamic(MB, extra_items=[Item("mine", MINE, b"bytes of a user", flags=0b101)])
    entries = [node for node in dump(image.open(), ["metadata"]) if node.name.startswith("entry")]
    (mine,) = [entry for entry in entries if entry.meaning == "user item"]
    bits = {node.name: (node.value, node.bit, node.bits) for node in mine.children if node.bits is not None}
    assert bits == {
        "is_user": (True, 0, 1),
        "is_virtual_disk": (False, 1, 1),
        "is_required": (True, 2, 1),
        "reserved": (0, 3, 29),
    }
    (data,) = [node for node in dump(image.open(), ["metadata"]) if node.raw == b"bytes of a user"]
    assert data.file_offset == image.item_offset["mine"]


def test_bat_by_range():
    image = BUILT["child"]()
    for first, count in ((0, 64), (2, 3), (19, 5), (MAX_DUMP_COUNT, 5)):
        shown = list(dump(image.open(), ["bat"], first=first, count=count))
        # a differencing disk has the last chunk's sector bitmap entry, 4096 entries further on
        assert [node.file_offset for node in shown] == [
            image.bat_offset + 8 * i for i in range(first, min(first + count, image.spec.geometry.bat_entries))
        ]
    names = ["not_present", "undefined", "zero", "unmapped", "", "", "fully_present", "partially_present"]
    for n, node in enumerate(dump(image.open(), ["bat"], count=20)):
        block = image.spec.block(n)
        place = f" at {image.block_offset[n]:#x}" if block.state > 5 else ""
        stale = f", stale offset {image.junk_offset:#x}" if block.state in (1, 2, 3) else ""
        assert (node.name, node.meaning) == (f"payload block {n}", names[block.state] + place + stale)
    (bitmap,) = dump(image.open(), ["bat"], first=image.spec.geometry.bitmap_index(0), count=1)
    assert (bitmap.name, bitmap.meaning) == ("sector bitmap block 0", f"present at {image.bitmap_offset[0]:#x}")


def test_log_by_range():
    image = BUILT["dirty_log"]()
    log = image.spec.log
    sectors = {node.file_offset: node for node in dump(image.open(), ["log"], count=256)}
    assert len(sectors) == 256
    for ring_offset, entry in log.entries:
        node = sectors[image.log_offset + ring_offset]
        assert f"entry {entry.sequence} with {len(entry.descriptors)} descriptors" in node.meaning
        assert node.meaning.endswith(", the current header's LogGuid")
        shown = [child.meaning for child in node.children if child.name.startswith("descriptor")]
        for i in range(1, entry.descriptor_sectors):
            further = sectors[image.log_offset + (ring_offset + i * 4 * KB) % log.length]
            shown += [child.meaning for child in further.children]
        assert shown == [
            f"{'4 KiB' if hasattr(update, 'data') else hex(update.length) + ' zeros'} at {update.offset:#x}"
            for update in entry.descriptors
        ]
        at = ring_offset + entry.descriptor_sectors * 4 * KB
        for i in range(len(entry.data)):
            assert (
                sectors[image.log_offset + (at + i * 4 * KB) % log.length].meaning == f"data of entry {entry.sequence}"
            )
    assert [node.name for node in dump(image.open(), ["log"], first=255, count=9)] == ["log sector 255"]


def test_locator_shows_keys_and_values():
    image = BUILT["child"]()
    entries = [node for node in dump(image.open(), ["locator"]) if node.name.startswith("entry")]
    assert [node.meaning for node in entries] == [f"{key} = {value}" for key, value in image.spec.locator.pairs]


def test_a_locator_whose_strings_overlap_is_cut_short():
    pairs = [(f"key{i}", "x" * 100) for i in range(200)]
    overrides = {f"parent_locator.entry{i}.value_length": 0xFFFE for i in range(200)}
    image = differencing(MB, parent=dynamic(MB), locator=Locator(pairs), overrides=overrides)
    *_, last = dump(image.open(), ["locator"])
    assert last.problem == "the strings have more bytes than the item"


@pytest.mark.parametrize("section", DUMP_SECTIONS)
@pytest.mark.parametrize("name", ["truncated", "broken_header", "junk_tables", "cut_in_block"])
def test_a_damaged_image_shows_what_is_left(name, section, tmp_path, capsys):
    path = BUILT[name]().save(tmp_path / "disk.vhdx")
    code = run(["dump", str(path), section])
    printed = capsys.readouterr().out
    unreadable = name == "truncated" and section in ("region", "metadata", "bat", "log")
    assert code == (2 if unreadable else 0)
    assert ("cannot be read: " in printed) == unreadable
    if name == "broken_header" and section == "header":
        assert "not valid: its signature is" in printed
        assert "valid, current" in printed


@pytest.mark.parametrize("name", [*BUILT])
def test_json_has_the_same_nodes(name, tmp_path, capsys):
    path = BUILT[name]().save(tmp_path / "disk.vhdx")
    run(["dump", str(path), "--json"])
    shown = json.loads(capsys.readouterr().out)["structures"]
    nodes = list(dump(path))

    def same(facts, node):
        assert (facts["name"], facts["file_offset"], facts["length"]) == (node.name, node.file_offset, node.size)
        value = node.value
        if node.name == "checksum":
            value = f"0x{value:08x}"
        assert facts["value"] == (str(value) if node.name == "sequence_number" else value)
        assert (facts["problem"] or {}).get("message", "") == node.problem
        assert len(facts["fields"]) == len(node.children)
        for inner, child in zip(facts["fields"], node.children, strict=True):
            same(inner, child)
        assert facts["raw"] is None if node.children else bytes.fromhex(facts["raw"]) == node.raw

    assert len(shown) == len(nodes)
    for facts, node in zip(shown, nodes, strict=True):
        same(facts, node)


def test_text_from_the_image_does_not_steer_the_terminal(tmp_path, capsys):
    run(["dump", str(dynamic(MB, creator="red \x1b[31m\nline").save(tmp_path / "disk.vhdx")), "header"])
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert "red \\x1b[31m\\nline" in printed


def test_what_is_no_vhdx_is_refused(tmp_path, capsys):
    path = tmp_path / "disk.vhdx"
    path.write_bytes(bytes(MB))
    with pytest.raises(NotVhdxError):
        next(dump(path))
    assert run(["dump", str(path)]) == 1
    assert "does not begin with" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["--count", str(MAX_DUMP_COUNT + 1)], ["--count", "0"], ["--first", "-1"], ["blocks"]]
)
def test_wrong_usage(arguments, tmp_path):
    assert run(["dump", str(dynamic(MB).save(tmp_path / "disk.vhdx")), *arguments]) == 64
