"""The command line on dirty images: `log`, `info`, and `--log` on every command that opens an image."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import UUID

import pytest
from builder import (
    KB,
    LOG_GUID,
    MB,
    Data,
    Image,
    Log,
    Zero,
    damaged,
    differencing,
    dynamic,
    full,
    partial,
    pattern,
    run,
    with_log,
)
from dirty_images import IMAGE, NEW, OLD, SECTOR, SIZE, target, wet, write

from vhdxreader.cli.app import run as vhdxreader

PARENT = dynamic(8 * MB, {0: full()}, name="parent")
CHILD = differencing(8 * MB, {1: full(), 2: partial([0])}, parent=PARENT, name="child")
END = CHILD.file.length


def listed() -> Image:
    """A log with an entry of every kind, and descriptors that hit everything there is."""
    page = pattern("page", SECTOR)
    everywhere = [
        Data(192 * KB, page),
        Data(256 * KB, page),
        Zero(320 * KB, 4 * KB),
        Data(CHILD.metadata_offset, page),
        Zero(CHILD.bat_offset, 8 * KB),
        Data(CHILD.block_offset[1] + 64 * KB, page),
        Data(CHILD.bitmap_offset[0], page),
        Zero(CHILD.junk_offset or END, 4 * KB),
        Zero(CHILD.metadata_offset, 1 << 50),
    ]
    entries = run([[], everywhere, [Data(CHILD.bat_offset, page)]], first=7, tail=4 * KB, flushed=END, last=END)
    bad = run([[Data(CHILD.bat_offset, page)]], at=256 * KB, first=90, flushed=END, last=END)
    foreign = run([[]], at=512 * KB, first=95, guid=CHILD.disk_id, flushed=END, last=END)
    header = run([[Zero(0, 4 * KB)]], at=768 * KB, first=99, flushed=END, last=END)
    entries = [*entries, *damaged(bad, 0, checksum=1), *foreign, *header]
    return with_log(CHILD, Log(MB, entries, LOG_GUID))


def asked(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> str:
    assert vhdxreader([str(argument) for argument in arguments]) == code
    captured = capsys.readouterr()
    return captured.err if code else captured.out


def test_log_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = listed().save(tmp_path / "a.vhdx")
    before = path.read_bytes()
    facts = json.loads(asked(capsys, "log", "--json", path))
    assert path.read_bytes() == before
    entries = facts.pop("entries")
    assert facts["filename"] == str(path)
    known = ("state", "handling", "log_guid", "file_offset", "length", "first_sequence_number", "last_sequence_number")
    assert [facts["log"][key] for key in (*known, "entry_count", "replayed_length")] == [
        *("dirty", "ignored", str(LOG_GUID), CHILD.log_offset, MB, "8", "9", 3, None),
    ]
    assert [(e["log_offset"], int(e["sequence_number"]), e["valid"], e["roles"]) for e in entries] == [
        (0, 7, True, ["applied"]),
        (4 * KB, 8, True, ["replayed", "tail"]),
        (4 * KB + 24 * KB, 9, True, ["replayed", "head"]),
        (256 * KB, 90, False, []),
        (512 * KB, 95, False, []),
        (768 * KB, 99, False, []),
    ]
    problems = [(entry["problem"]["message"], entry["problem"]["rule"]) for entry in entries[3:]]
    assert "checksum" in problems[0][0]
    assert str(CHILD.disk_id) in problems[1][0]
    assert problems[2] == ("a descriptor targets something below the region tables", "log.target_header")
    hits = [(d["kind"], d["file_offset"], d["length"], d["targets"]) for d in entries[1]["descriptors"]]
    assert hits[:7] == [
        ("data", 192 * KB, SECTOR, ["region table 1"]),
        ("data", 256 * KB, SECTOR, ["region table 2"]),
        ("zero", 320 * KB, SECTOR, ["header section"]),
        ("data", CHILD.metadata_offset, SECTOR, ["metadata region"]),
        ("zero", CHILD.bat_offset, 8 * KB, ["BAT region"]),
        ("data", CHILD.block_offset[1] + 64 * KB, SECTOR, ["payload block 1"]),
        ("data", CHILD.bitmap_offset[0], SECTOR, ["sector bitmap block 0"]),
    ]
    assert hits[7][3] in (["unused space"], ["beyond the end of the file"])
    assert hits[8][3][-1] == "beyond the end of the file"
    assert {"metadata region", "BAT region", "payload block 1", "payload block 2", "sector bitmap block 0"} < set(
        hits[8][3]
    )
    assert [d["targets"] for d in entries[3]["descriptors"]] == [["BAT region"]]
    assert [d["targets"] for d in entries[5]["descriptors"]] == [["header section"]]


def test_log_as_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = asked(capsys, "log", listed().save(tmp_path / "a.vhdx")).splitlines()
    assert "dirty" in lines[0]
    assert str(LOG_GUID) in lines[0]
    assert [line.rpartition(": ")[2] for line in lines if line.startswith("Entry")][:3] == [
        "applied",
        "replayed, tail",
        "replayed, head",
    ]
    assert sum(line.startswith("  ") for line in lines) == 12
    assert any(line.split() == ["data", "0x1000", "at", f"{192 * KB:#x}", "region", "table", "1"] for line in lines)


def test_log_of_images_that_do_not_open(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a sequence; without structures; without a log; without a header; no VHDX."""
    lost = run([[write(1)], [write(2)]], tail=512 * KB, flushed=SIZE, last=SIZE)
    path = wet(lost).save(tmp_path / "lost.vhdx")
    asked(capsys, "info", path, code=1)
    assert "No valid sequence" in asked(capsys, "log", path)
    facts = json.loads(asked(capsys, "log", "--json", path))
    assert (facts["log"]["handling"], facts["log"]["first_sequence_number"]) == ("not_replayable", None)
    assert [entry["valid"] for entry in facts["entries"]] == [True, True]

    hollow = wet(lost).copy()
    for offset in (192 * KB, 256 * KB, hollow.metadata_offset):
        hollow.patch(offset, bytes(64 * KB))
    facts = json.loads(asked(capsys, "log", "--json", hollow.save(tmp_path / "hollow.vhdx")))
    assert [d["targets"] for entry in facts["entries"] for d in entry["descriptors"]] == [["unused space"]] * 2

    away = wet(lost).patch("header1.log_offset", SIZE).patch("header2.log_offset", SIZE).fix_checksums()
    assert "header.log_past_end" in asked(capsys, "log", away.save(tmp_path / "away.vhdx"), code=2)
    headless = wet(lost).flip(64 * KB).flip(128 * KB)
    assert "header.none_valid" in asked(capsys, "log", headless.save(tmp_path / "headless.vhdx"), code=2)
    (tmp_path / "no.vhdx").write_bytes(b"no VHDX" * 100000)
    assert "identifier.signature" in asked(capsys, "log", tmp_path / "no.vhdx", code=1)
    asked(capsys, "log", tmp_path / "missing.vhdx", code=1)


def test_log_of_a_clean_image(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its stale entries are listed, and none of them counts."""
    image = with_log(IMAGE, Log(MB, run([[write(1)]], flushed=SIZE, last=SIZE)))
    facts = json.loads(asked(capsys, "log", "--json", image.save(tmp_path / "a.vhdx")))
    assert (facts["log"]["state"], facts["log"]["handling"]) == ("clean", "none")
    (entry,) = facts["entries"]
    assert (entry["valid"], entry["problem"]["message"]) == (False, f"its LogGuid is {LOG_GUID}")


def test_the_log_in_info(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    groups = [[write(1)], [write(2), Zero(target(3), MB)], [Zero(IMAGE.bat_offset, SECTOR)]]
    path = wet(run(groups, first=5, tail=8 * KB, flushed=SIZE, last=SIZE + MB)).save(tmp_path / "a.vhdx")
    log = json.loads(asked(capsys, "info", "--json", path))["log"]
    assert log == {
        "state": "dirty",
        "handling": "replayed",
        "log_guid": str(LOG_GUID),
        "file_offset": IMAGE.log_offset,
        "length": MB,
        "entry_count": 3,
        "first_sequence_number": "6",
        "last_sequence_number": "7",
        "written_sector_count": 1,
        "zeroed_range_count": 2,
        "replayed_length": 2 * SECTOR + MB,
        "changed_region_tables": [],
        "changed_metadata_length": 0,
        "changed_bat_entry_count": 16,
        "grown_length": MB,
    }
    text = asked(capsys, "info", path)
    assert "dirty, replayed in memory" in text
    assert "warning log.replayed" in text
    stale = asked(capsys, "info", "--log", "ignore", path)
    assert "dirty, ignored" in stale
    assert "error log.ignored" in stale
    assert "log.dirty" in asked(capsys, "info", "--log", "refuse", path, code=1)
    clean = json.loads(asked(capsys, "info", "--json", IMAGE.save(tmp_path / "b.vhdx")))["log"]
    assert clean.keys() == log.keys()
    assert (clean["state"], clean["handling"], clean["log_guid"]) == ("clean", "none", str(UUID(int=0)))
    assert not any(value for key, value in clean.items() if key.startswith(("changed", "replayed", "entry")))


@pytest.mark.parametrize("command", ["cat", "info", "map"])
def test_every_command_that_opens_an_image_takes_the_option(
    command: str, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    path = wet(run([[write(1)]], flushed=SIZE, last=SIZE)).save(tmp_path / "a.vhdx")
    assert vhdxreader([command, "--log", "refuse", str(path)]) == 1
    assert vhdxreader([command, "--log", "maybe", str(path)]) == 64
    assert vhdxreader([command, "--log", "ignore", str(path)]) == 0
    if command == "cat":
        capsysbinary.readouterr()
        for how, wanted in (("replay", NEW), ("ignore", OLD)):
            assert vhdxreader(["cat", "--log", how, "--offset", "1M", "--length", "4K", str(path)]) == 0
            assert capsysbinary.readouterr().out == wanted


def test_targets_among_two_thousand_regions_take_no_product_of_both_counts():
    """Each descriptor asks for the structures that it hits, and an image can have 2,045 unknown ones in one place."""
    from vhdxreader.format.overlaps import Span
    from vhdxreader.tools.log_listing import _MAX_NAMED, _segments

    spans = [Span(i * 10, i * 10 + 1000, f"region {i}", True, 0) for i in range(2000)]
    starts, covers = _segments(spans)
    assert max(map(len, covers)) == _MAX_NAMED + 1
    assert len(starts) <= 2 * len(spans) + 1
    assert covers[starts.index(0)] == [0]
    assert covers[starts.index(50)] == list(range(6))
    assert covers[-1] == []
