"""Parents that were renamed and moved are found by their DataWriteGuid, in the folders that the caller names."""

from __future__ import annotations

import json

import pytest
from builder import MB, differencing, dynamic, full

import vhdxreader
from vhdxreader.cli.app import run

BASE = dynamic(4 * MB, {0: full()}, name="search base")
MIDDLE = differencing(4 * MB, {1: full()}, parent=BASE, parent_path="base.vhdx", name="search middle")
LEAF = differencing(4 * MB, {2: full()}, parent=MIDDLE, parent_path="middle.avhdx", name="search leaf")


@pytest.fixture
def leaf(tmp_path):
    (tmp_path / "away" / "deep").mkdir(parents=True)
    MIDDLE.save(tmp_path / "away" / "renamed.bin")
    BASE.save(tmp_path / "away" / "deep" / "other.vhdx")
    dynamic(4 * MB, name="stranger").save(tmp_path / "away" / "base.vhdx")
    (tmp_path / "away" / "broken.vhdx").write_bytes(b"vhdxfile")
    return LEAF.save(tmp_path / "leaf.avhdx")


def test_the_whole_chain(leaf, tmp_path):
    with pytest.raises(vhdxreader.ParentNotFoundError):
        vhdxreader.open(leaf)
    with vhdxreader.open(leaf, parents=[tmp_path / "away"]) as disk:
        assert disk.read() == LEAF.expected()
        assert [image.parent_found_by for image in disk.images] == ["search", "search", None]


def test_where_the_child_says_comes_first(leaf, tmp_path):
    MIDDLE.save(tmp_path / "middle.avhdx")
    with vhdxreader.open(leaf, parents=[str(tmp_path / "away")]) as disk:
        assert disk.images[1].name == str(tmp_path / "middle.avhdx")
        assert [image.parent_found_by for image in disk.images] == ["relative_path", "search", None]


def test_what_is_not_there_is_not_invented(leaf, tmp_path):
    (tmp_path / "away" / "deep" / "other.vhdx").unlink()
    with pytest.raises(vhdxreader.ParentMismatchError):
        vhdxreader.open(leaf, parents=[tmp_path / "away"])
    with pytest.raises(FileNotFoundError):
        vhdxreader.open(leaf, parents=[tmp_path / "nowhere"])


def test_on_the_command_line(leaf, tmp_path, capsys):
    assert run(["convert", str(leaf), str(tmp_path / "out.raw"), "--search", str(tmp_path / "away")]) == 0
    assert (tmp_path / "out.raw").read_bytes() == LEAF.expected()
    assert run(["info", str(leaf), "--chain", "--json", "--search", str(tmp_path / "away")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [image["parent_found_by"] for image in found["chain"]["images"]] == ["search", "search", None]
    assert run(["check", str(leaf), "--search", str(tmp_path / "away")]) == 0
    assert run(["cat", str(leaf), "--search", str(tmp_path / "nowhere")]) == 64
