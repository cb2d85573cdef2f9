"""The command line on chains: `map`, `info --chain`, `cat`, and the options that say where parents are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from builder import MB, Image, Locator, differencing, dynamic, full, partial, reserved, unmapped

from vhdxreader.cli.app import run

BASE = dynamic(4 * MB, {0: full(), 2: full()}, block_order=[("block", 0), ("block", 2)], name="base")
MIDDLE = differencing(4 * MB, {1: unmapped()}, parent=BASE, parent_path="base.vhdx", name="middle")
CHILD = differencing(4 * MB, {0: partial([0, 1])}, parent=MIDDLE, parent_path="middle.avhdx", name="child")


@pytest.fixture
def folder(tmp_path) -> Path:
    for image, name in ((BASE, "base.vhdx"), (MIDDLE, "middle.avhdx"), (CHILD, "child.avhdx")):
        image.save(tmp_path / name)
    return tmp_path


def asked(capsys, *arguments: object, code: int = 0) -> str:
    assert run([str(argument) for argument in arguments]) == code
    captured = capsys.readouterr()
    assert bool(captured.err) is (code == 1 and "--chain" not in arguments)
    return captured.out or captured.err


def test_map_as_json(folder, capsys):
    child, middle, base = (str(folder / name) for name in ("child.avhdx", "middle.avhdx", "base.vhdx"))
    answer = json.loads(asked(capsys, "map", "--json", child))
    assert (answer["filename"], answer["virtual_size"], answer["error"]) == (child, 4 * MB, None)
    keys = ("disk_offset", "length", "kind", "depth", "filename", "file_offset", "zero", "problem")
    assert answer["extents"] == [
        dict(zip(keys, values, strict=True))
        for values in (
            (0, 1024, "data", 0, child, CHILD.block_offset[0], False, None),
            (1024, MB - 1024, "data", 2, base, BASE.block_offset[0] + 1024, False, None),
            (MB, MB, "zero", 1, middle, None, True, None),
            (2 * MB, MB, "data", 2, base, BASE.block_offset[2], False, None),
            (3 * MB, MB, "absent", 2, base, None, True, None),
        )
    ]


def test_map_as_lines(folder, capsys):
    child = folder / "child.avhdx"
    extents = json.loads(asked(capsys, "map", "--json", child))["extents"]
    lines = asked(capsys, "map", "--jsonl", child).splitlines()
    assert [json.loads(line) for line in lines] == [{"schema": "vhdxreader/extent/1", **one} for one in extents]


@pytest.mark.parametrize("alone", [["--own"], ["--parents", "none"]])
def test_map_of_what_the_image_itself_changed(folder, capsys, alone):
    (folder / "base.vhdx").unlink()  # not needed
    data, absent = json.loads(asked(capsys, "map", "--json", *alone, folder / "child.avhdx"))["extents"]
    assert (data["disk_offset"], data["length"], data["kind"]) == (0, 1024, "data")
    assert absent == {
        "disk_offset": 1024,
        "length": 4 * MB - 1024,
        "kind": "absent",
        "depth": 0,
        "filename": str(folder / "child.avhdx"),
        "file_offset": None,
        "zero": False,
        "problem": None,
    }


def test_map_as_text(folder, capsys):
    lines = [line.split() for line in asked(capsys, "map", folder / "child.avhdx").splitlines()]
    names = [str(folder / name) for name in ("child.avhdx", "middle.avhdx", "base.vhdx")]
    assert lines[1:4] == [[f"{depth}:", name] for depth, name in enumerate(names)]
    assert lines[4] == ["Disk", "offset", "Length", "Bytes", "Kind", "Depth", "File", "offset"]
    assert lines[5:7] == [
        ["0x0", "1", "KiB", "1024", "data", "0", f"{CHILD.block_offset[0]:#x}"],
        ["0x400", "1023", "KiB", str(MB - 1024), "data", "2", f"{BASE.block_offset[0] + 1024:#x}"],
    ]
    assert len(lines) == 10


def test_map_shows_what_cannot_be_read(tmp_path, capsys):
    path = dynamic(2 * MB, {0: reserved(5)}).save(tmp_path / "broken.vhdx")
    broken, absent = json.loads(asked(capsys, "map", "--json", path, code=2))["extents"]
    assert (broken["kind"], broken["zero"], broken["problem"]["rule"]) == ("error", False, "payload.state")
    assert "state 5" in broken["problem"]["message"]
    assert (broken["problem"]["filename"], broken["problem"]["disk_offset"]) == (str(path), 0)
    assert absent["kind"] == "absent"
    assert "state 5" in asked(capsys, "map", path, code=2)


def test_map_of_an_empty_disk(tmp_path, capsys):
    path = dynamic(0).save(tmp_path / "empty.vhdx")
    assert json.loads(asked(capsys, "map", "--json", path))["extents"] == []


def test_map_with_a_parent_missing(folder, capsys):
    (folder / "base.vhdx").unlink()
    message = asked(capsys, "map", folder / "child.avhdx", code=1)
    assert str(folder / "base.vhdx") in message
    assert "give it as --parent, or let --search DIR find it" in message
    assert "=" not in message


def test_info_never_needs_the_parent(folder, capsys):
    (folder / "middle.avhdx").unlink()
    facts = json.loads(asked(capsys, "info", "--json", folder / "child.avhdx"))
    assert facts["disk_type"] == "differencing"
    pairs = [(entry["key"], entry["value"]) for entry in facts["parent_locator"]["entries"]]
    assert pairs == list(CHILD.spec.locator.pairs)
    assert facts["parent_locator"]["relative_path"] == dict(pairs)["relative_path"]
    assert facts["chain"] is None


def test_info_of_a_whole_chain(folder, capsys):
    facts = json.loads(asked(capsys, "info", "--json", "--chain", folder / "child.avhdx"))
    assert facts["chain"]["problem"] is None
    child, middle, base = facts["chain"]["images"]
    assert [member["filename"] for member in (child, middle, base)] == [
        str(folder / name) for name in ("child.avhdx", "middle.avhdx", "base.vhdx")
    ]
    assert child["parent_linkage_guid"] == middle["data_write_guid"] == str(MIDDLE.data_write_guid)
    assert child["parent_matches"] == middle["parent_matches"] == "parent_linkage"
    assert base["parent_linkage_guid"] is None
    text = asked(capsys, "info", "-v", "--chain", folder / "child.avhdx")
    assert text.index("child.avhdx") < text.index("middle.avhdx") < text.index("base.vhdx")
    assert "matches parent_linkage" in text


def test_info_of_a_chain_with_a_missing_member(folder, capsys):
    (folder / "base.vhdx").unlink()
    facts = json.loads(asked(capsys, "info", "--json", "--chain", folder / "child.avhdx", code=1))
    assert [member["parent_matches"] for member in facts["chain"]["images"]] == ["parent_linkage", None]
    assert facts["chain"]["problem"]["rule"] == "parent.not_found"
    assert facts["chain"]["tried"] == [
        {"key": "relative_path", "filename": str(folder / "base.vhdx"), "message": "no such file"}
    ]
    text = asked(capsys, "info", "--chain", folder / "child.avhdx", code=1)
    assert f"{folder / 'base.vhdx'}: no such file" in text


def test_info_of_a_chain_with_a_changed_member(folder, capsys):
    dynamic(4 * MB, name="other").save(folder / "base.vhdx")
    text = asked(capsys, "info", "--chain", folder / "child.avhdx", code=1)
    assert f"DataWriteGuid is not {BASE.data_write_guid}" in text


def test_info_of_a_chain_with_a_corrupt_member(folder, capsys):
    broken = BASE.copy().patch("region1.signature", b"x").patch("region2.signature", b"x")
    broken.save(folder / "base.vhdx")
    text = asked(capsys, "info", "--chain", folder / "child.avhdx", code=2)
    assert "region table" in text


def test_moved_parents_are_given_one_after_another(folder, capsysbinary):
    for name in ("base", "middle"):
        next(folder.glob(f"{name}.*")).rename(folder / f"moved {name}")
    arguments = ["cat", folder / "child.avhdx", "--parent", folder / "moved middle"]
    assert run([str(a) for a in arguments]) == 1
    capsysbinary.readouterr()
    assert run([str(a) for a in [*arguments, "--parent", folder / "moved base"]]) == 0
    assert capsysbinary.readouterr().out == CHILD.expected()


def test_policies(folder, capsys):
    inner = folder / "inner"
    inner.mkdir()
    up = differencing(4 * MB, {}, parent=BASE, locator=Locator.to(BASE.data_write_guid, "..\\base.vhdx"), name="up")
    path = up.save(inner / "child.avhdx")
    asked(capsys, "map", path)
    asked(capsys, "map", path, "--parents", "all")
    said = asked(capsys, "map", path, "--parents", "inside", code=1)
    assert "followed only with --parents relative or --parents all" in said
    assert run(["map", str(path), "--parents", "some"]) == 64


def test_names_from_an_image_cannot_steer_the_terminal(tmp_path, capsys):
    pairs = [*CHILD.spec.locator.pairs, ("\x1b[31mkey", "value\nForged: line")]
    image: Image = differencing(MB, {}, parent=BASE, locator=Locator(pairs), name="bad")
    text = asked(capsys, "info", "--chain", image.save(tmp_path / "child.avhdx"), code=1)
    assert "\x1b" not in text
    assert "\nForged" not in text
