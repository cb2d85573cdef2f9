"""`check` follows the chain: whatever keeps `cat` from reading an image is found; what was not looked at is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from builder import MB, Image, Locator, differencing, dynamic, full, partial

import vhdxreader
from vhdxreader.cli.app import run

BASE = dynamic(4 * MB, blocks={0: full(), 1: full()}, name="base")
MIDDLE = differencing(4 * MB, blocks={1: full()}, parent=BASE, name="middle")


def to(parent: Image, path: str) -> Locator:
    return Locator.to(parent.spec.data_write_guid or parent.spec.guid("data_write"), path)


@pytest.fixture
def chain(tmp_path) -> Path:
    """The leaf of a chain of three."""
    base = BASE.save(tmp_path / "base.vhdx")
    with vhdxreader.open(base) as disk:
        linkage = disk.image.header.data_write_guid
    middle = differencing(
        4 * MB, blocks={1: full()}, parent=BASE, name="middle", locator=Locator.to(linkage, "base.vhdx")
    ).save(tmp_path / "middle.avhdx")
    with vhdxreader.open(middle) as disk:
        linkage = disk.image.header.data_write_guid
    leaf = differencing(4 * MB, blocks={2: partial([0])}, parent=MIDDLE, locator=Locator.to(linkage, "middle.avhdx"))
    return leaf.save(tmp_path / "leaf.avhdx")


def checked(path: Path, **options) -> tuple[str | None, list[tuple[str, str]]]:
    """The parent's state, and what was found, in which file."""
    report = vhdxreader.check(path, **options)
    found = [(Path(f.filename or "").name, f.rule) for one in (report, *report.parents) for f in one.findings]
    return report.parent_state, found


def read(path: Path) -> int:
    """The code of a command that reads all of it."""
    return run(["convert", "--force", str(path), str(path.with_suffix(".raw"))])


def test_a_whole_chain(chain):
    report = vhdxreader.check(chain, deep=True)
    assert [Path(one.name).name for one in report.parents] == ["middle.avhdx", "base.vhdx"]
    assert [one.parent_state for one in report.parents] == [None, None]  # told by the first one's
    assert [one.allocated_blocks for one in (report, *report.parents)] == [1, 1, 2]
    assert (report.parent_state, report.worst) == ("found", None)
    assert run(["check", str(chain)]) == read(chain) == 0


@pytest.mark.parametrize(
    ("break_it", "state", "found", "code"),
    [
        (lambda folder: (folder / "middle.avhdx").unlink(), "missing", ("leaf.avhdx", "parent.not_found"), 1),
        (lambda folder: (folder / "base.vhdx").unlink(), "found", ("middle.avhdx", "parent.not_found"), 1),
        (
            lambda folder: dynamic(4 * MB, name="other").save(folder / "middle.avhdx"),
            "mismatch",
            ("leaf.avhdx", "parent.mismatch"),
            1,
        ),
        (
            lambda folder: BASE.copy().patch(BASE.block_entry_offset(0), 5).save(folder / "base.vhdx"),
            "found",
            ("base.vhdx", "payload.state"),
            2,
        ),
        (
            lambda folder: BASE.copy().patch(BASE.metadata_offset, bytes(4096)).save(folder / "base.vhdx"),
            "found",
            ("base.vhdx", "metadata_table.signature"),
            2,
        ),
        (
            lambda folder: BASE.copy().flip(64 * 1024 + 9).save(folder / "base.vhdx"),
            "found",
            ("base.vhdx", "header.checksum"),
            3,
        ),
    ],
    ids=["parent missing", "grandparent missing", "mismatch", "damaged block", "no metadata", "bad header copy"],
)
def test_what_is_wrong_with_a_parent(break_it, state, found, code, chain, capsys):
    break_it(chain.parent)
    assert checked(chain)[0] == state
    assert found in checked(chain)[1]
    assert run(["check", str(chain)]) == code
    text = capsys.readouterr().out
    assert found[1] in text
    assert (read(chain) == 0) == (code == 3)
    assert checked(chain, parents=None) == ("not_looked_at", [])
    assert run(["check", "--own", str(chain)]) == 0
    assert "not looked at" in capsys.readouterr().out


def test_a_circle_ends(tmp_path):
    """Two images that name each other as the parent."""
    one = differencing(4 * MB, parent=BASE, name="one")
    path = one.save(tmp_path / "one.vhdx")
    with vhdxreader.open(path, parents=None) as disk:
        guid = disk.image.header.data_write_guid
    differencing(4 * MB, parent=BASE, name="one", locator=Locator.to(guid, "one.vhdx"), data_write_guid=guid).save(path)
    state, found = checked(path)
    assert (state, found) == ("mismatch", [("one.vhdx", "parent.mismatch")])
    assert run(["check", str(path)]) == read(path) == 1


def test_a_parent_that_is_given(chain, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    moved = chain.rename(tmp_path / "elsewhere" / "leaf.avhdx")
    assert checked(moved)[0] == "missing"
    assert checked(moved, parent=tmp_path / "middle.avhdx") == ("found", [])
    assert run(["check", str(moved), "--parent", str(tmp_path / "middle.avhdx")]) == 0


def test_a_file_object_has_no_folder(chain):
    with chain.open("rb") as file:
        assert checked(file) == ("not_looked_at", [])
        assert checked(file, parent=chain.parent / "middle.avhdx")[0] == "found"


def test_what_was_not_looked_at_is_null(tmp_path, capsys):
    """A BAT that is not whole had no allocated blocks."""
    image = dynamic(4 * MB, blocks={0: full()}, order=("log", "metadata", "blocks", "bat", "junk"))
    path = image.truncate(image.bat_offset + 8).save(tmp_path / "disk.vhdx")
    assert run(["check", "--json", str(path)]) == 2
    facts = json.loads(capsys.readouterr().out)
    assert (facts["allocated_block_count"], facts["bitmap_block_count"], facts["unused_size"]) == (None, None, None)
    assert facts["payload_block_count"] == 4
    assert facts["parent_state"] == "none"
    run(["check", str(path)])
    assert "Allocated blocks:      not known" in capsys.readouterr().out


def test_json_of_a_chain(chain, capsys):
    run(["check", "--json", str(chain)])
    facts = json.loads(capsys.readouterr().out)
    assert [Path(parent["filename"]).name for parent in facts["parents"]] == ["middle.avhdx", "base.vhdx"]
    assert (facts["parent_state"], facts["changed"]) == ("found", False)
