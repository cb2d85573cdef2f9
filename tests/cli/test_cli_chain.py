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
    assert json.loads(asked(capsys, "map", "--json", child)) == [
        {
            "start": 0,
            "length": 1024,
            "depth": 0,
            "present": True,
            "zero": False,
            "data": True,
            "offset": CHILD.block_offset[0],
            "filename": child,
            "state": "data",
        },
        {
            "start": 1024,
            "length": MB - 1024,
            "depth": 2,
            "present": True,
            "zero": False,
            "data": True,
            "offset": BASE.block_offset[0] + 1024,
            "filename": base,
            "state": "data",
        },
        {
            "start": MB,
            "length": MB,
            "depth": 1,
            "present": True,
            "zero": True,
            "data": False,
            "filename": middle,
            "state": "zero",
        },
        {
            "start": 2 * MB,
            "length": MB,
            "depth": 2,
            "present": True,
            "zero": False,
            "data": True,
            "offset": BASE.block_offset[2],
            "filename": base,
            "state": "data",
        },
        {
            "start": 3 * MB,
            "length": MB,
            "depth": 2,
            "present": False,
            "zero": True,
            "data": False,
            "filename": base,
            "state": "absent",
        },
    ]


@pytest.mark.parametrize("alone", [["--own"], ["--parents", "none"]])
def test_map_of_what_the_image_itself_changed(folder, capsys, alone):
    (folder / "base.vhdx").unlink()  # not needed
    data, absent = json.loads(asked(capsys, "map", "--json", *alone, folder / "child.avhdx"))
    assert (data["start"], data["length"], data["state"]) == (0, 1024, "data")
    assert absent == {
        "start": 1024,
        "length": 4 * MB - 1024,
        "depth": 0,
        "present": False,
        "zero": False,
        "data": False,
        "filename": str(folder / "child.avhdx"),
        "state": "absent",
    }


def test_map_as_text(folder, capsys):
    lines = asked(capsys, "map", folder / "child.avhdx").splitlines()
    assert lines[0].split() == ["Offset", "Length", "State", "Depth", "File", "offset", "File"]
    assert [line.split() for line in lines[1:3]] == [
        ["0x0", "0x400", "data", "0", f"{CHILD.block_offset[0]:#x}", str(folder / "child.avhdx")],
        ["0x400", "0xffc00", "data", "2", f"{BASE.block_offset[0] + 1024:#x}", str(folder / "base.vhdx")],
    ]
    assert len(lines) == 6


def test_map_shows_what_cannot_be_read(tmp_path, capsys):
    path = dynamic(2 * MB, {0: reserved(5)}).save(tmp_path / "broken.vhdx")
    broken, absent = json.loads(asked(capsys, "map", "--json", path, code=2))
    assert broken["state"] == "error"
    assert "state 5" in broken["error"]
    assert not any(broken[key] for key in ("present", "zero", "data"))
    assert absent["state"] == "absent"
    assert "state 5" in asked(capsys, "map", path, code=2)


def test_map_of_an_empty_disk(tmp_path, capsys):
    path = dynamic(0).save(tmp_path / "empty.vhdx")
    assert json.loads(asked(capsys, "map", "--json", path)) == []


def test_map_with_a_parent_missing(folder, capsys):
    (folder / "base.vhdx").unlink()
    message = asked(capsys, "map", folder / "child.avhdx", code=1)
    assert str(folder / "base.vhdx") in message
    assert "--parent" in message


def test_info_never_needs_the_parent(folder, capsys):
    (folder / "middle.avhdx").unlink()
    facts = json.loads(asked(capsys, "info", "--json", folder / "child.avhdx"))
    assert facts["disk_type"] == "differencing"
    assert facts["parent_locator"] == dict(CHILD.spec.locator.pairs)
    assert "chain" not in facts


def test_info_of_a_whole_chain(folder, capsys):
    facts = json.loads(asked(capsys, "info", "--json", "--chain", folder / "child.avhdx"))
    assert facts["chain"]["error"] is None
    child, middle, base = facts["chain"]["members"]
    assert [member["filename"] for member in (child, middle, base)] == [
        str(folder / name) for name in ("child.avhdx", "middle.avhdx", "base.vhdx")
    ]
    assert child["parent_linkage"] == middle["data_write_guid"] == str(MIDDLE.data_write_guid)
    assert child["parent_matches"] == middle["parent_matches"] == "parent_linkage"
    assert "parent_linkage" not in base
    text = asked(capsys, "info", "--chain", folder / "child.avhdx")
    assert text.index("child.avhdx") < text.index("middle.avhdx") < text.index("base.vhdx")
    assert "matches parent_linkage" in text


def test_info_of_a_chain_with_a_missing_member(folder, capsys):
    (folder / "base.vhdx").unlink()
    facts = json.loads(asked(capsys, "info", "--json", "--chain", folder / "child.avhdx", code=1))
    assert [member["parent_matches"] for member in facts["chain"]["members"]] == ["parent_linkage", None]
    assert facts["chain"]["error"]["tried"] == [
        {"key": "relative_path", "place": str(folder / "base.vhdx"), "reason": "no such file"}
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
    assert "outside" in asked(capsys, "map", path, "--parents", "inside", code=1)
    assert run(["map", str(path), "--parents", "some"]) == 64


def test_names_from_an_image_cannot_steer_the_terminal(tmp_path, capsys):
    pairs = [*CHILD.spec.locator.pairs, ("\x1b[31mkey", "value\nForged: line")]
    image: Image = differencing(MB, {}, parent=BASE, locator=Locator(pairs), name="bad")
    text = asked(capsys, "info", "--chain", image.save(tmp_path / "child.avhdx"), code=1)
    assert "\x1b" not in text
    assert "\nForged" not in text
