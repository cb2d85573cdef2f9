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
    for asked in (["--chain"], []):  # which the folder says, too
        assert run(["info", str(leaf), "--json", "--search", str(tmp_path / "away"), *asked]) == 0
        found = json.loads(capsys.readouterr().out)
        assert [image["parent_found_by"] for image in found["chain"]["images"]] == ["search", "search", None]
    assert run(["check", str(leaf), "--search", str(tmp_path / "away")]) == 0
    assert run(["cat", str(leaf), "--search", str(tmp_path / "nowhere")]) == 64


def test_two_files_with_the_parents_guid(leaf, tmp_path, capsys):
    """Their data may differ; hard links of one file are one."""
    folder = tmp_path / "away"
    (folder / "link").hardlink_to(folder / "renamed.bin")

    def rules():
        with vhdxreader.open(leaf, parents=[folder, str(folder)]) as disk:
            return {finding.rule for image in disk.images for finding in image.findings}

    assert "parent.ambiguous" not in rules()
    other = differencing(4 * MB, parent=BASE, data_write_guid=MIDDLE.data_write_guid)
    changed = other.save(folder / "z.vhdx")
    with vhdxreader.open(leaf, parents=[folder]) as disk:
        (found,) = (finding for finding in disk.image.findings if finding.rule == "parent.ambiguous")
    assert found.severity is vhdxreader.Severity.WARNING
    assert str(changed) in found.message
    assert run(["cat", str(leaf), "--search", str(folder), "--length", "1"]) == 0
    assert f"{changed} has its DataWriteGuid, too; give the right one as --parent" in capsys.readouterr().err
    given = folder / "renamed.bin"
    assert run(["cat", str(leaf), "--search", str(folder), "--parent", str(given), "--length", "1"]) == 0
    assert "DataWriteGuid" not in capsys.readouterr().err
