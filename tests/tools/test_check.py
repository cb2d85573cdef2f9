"""`check` and `vhdxreader check`: what is found on real, qemu-made and hostile images, statistics, bounds, codes."""

from __future__ import annotations

import json
import struct
import subprocess
import tracemalloc
from pathlib import Path

import pytest
from builder import (
    GB,
    KB,
    LOG_GUID,
    MB,
    TB,
    Image,
    Junk,
    Log,
    Region,
    bat_entry,
    differencing,
    dirty,
    dynamic,
    fixed,
    full,
    hide,
    partial,
    with_log,
)

import vhdxreader
from vhdxreader.cli.app import run
from vhdxreader.errors import Severity
from vhdxreader.tools.check import KEPT_FINDINGS

# What `check` prints of each real image, and why. Windows' own writers leave nothing to say.
CORPUS_FINDINGS = {
    "swap.vhdx": {},
    "iotest-dynamic-1G.vhdx": {},
    "vhdx-log-replay.vhdx": {"log.replayed": 1},  # it is the sample of an image that was not closed
}

# qemu leaves the Required bit of both regions clear, whatever it makes.
QEMU = {"region.not_required": 2}
QEMU_FINDINGS = {
    "-o subformat=dynamic": (100 * MB, QEMU),
    "-o subformat=dynamic,block_size=1M": (10 * MB, QEMU),
    "-o log_size=4M,block_size=256M": (64 * TB, QEMU),
    "": (0, QEMU),  # a disk of no bytes
    # A fixed disk's blocks are ZERO and have no space until they are written.
    "-o subformat=fixed": (10 * MB, {**QEMU, "payload.fixed_absent": 1}),
    # Otherwise they have, and the file ends with the disk, of which the last block of 8 MiB has only 2.
    "-o subformat=fixed,block_state_zero=off": (10 * MB, {**QEMU, "payload.short_last": 1}),
}


def counts(report: vhdxreader.Report) -> dict[str, int]:
    """What a report counts by rule, but for space that belongs to nothing, which most damage leaves."""
    return {rule: count for rule, count in report.counts.items() if rule != "file.unused"}


@pytest.mark.corpus
@pytest.mark.parametrize("name", CORPUS_FINDINGS)
def test_real_images(name, corpus):
    report = vhdxreader.check(corpus / name, deep=True)
    assert counts(report) == CORPUS_FINDINGS[name]
    assert report.before_replay == ()
    assert report.unused_size == 0


@pytest.mark.witness
@pytest.mark.parametrize("options", QEMU_FINDINGS)
def test_images_of_qemu(options, tmp_path, witness, qemu):
    path = tmp_path / "made.vhdx"
    size, expected = QEMU_FINDINGS[options]
    subprocess.run([witness("qemu-img"), "create", "-q", "-f", "vhdx", *options.split(), path, str(size)], check=True)
    report = vhdxreader.check(path, deep=True)
    assert counts(report) == expected
    assert report.worst is Severity.INFO
    if size:
        qemu.write(path, (7, MB, 3 * MB))
        report = vhdxreader.check(path, deep=True)
        assert counts(report) == expected
        assert report.allocated_blocks


# ---- statistics


def test_statistics_of_a_dynamic_disk():
    image = dynamic(9 * MB + 512, blocks={0: full(), 5: full(), 9: full()}, junk=Junk.NONE, pad_last_block=True)
    report = vhdxreader.check(image.open(), deep=True)
    assert (report.disk_type, report.virtual_size, report.block_size) == ("dynamic", 9 * MB + 512, MB)
    assert (report.payload_blocks, report.allocated_blocks, report.bitmap_blocks) == (10, 3, 0)
    assert report.unused_size == 0
    assert report.read_size == 2 * MB + 512  # of the last block what belongs to the disk
    assert report.file_size == image.file.length
    assert vhdxreader.check(image.open()).read_size is None


def test_statistics_of_a_differencing_disk():
    parent = dynamic(9 * MB)
    image = differencing(9 * MB, blocks={0: partial([0]), 1: full()}, parent=parent)
    report = vhdxreader.check(image.open(), deep=True)
    assert (report.disk_type, report.allocated_blocks, report.bitmap_blocks) == ("differencing", 2, 1)
    assert report.read_size == 3 * MB


def test_unused_space_is_what_nothing_claims():
    image = dynamic(4 * MB, blocks={0: full(), 1: full()}, extra_regions=[Region("more", LOG_GUID, 3 * MB)])
    image.patch(image.block_entry_offset(0), 0)
    assert vhdxreader.check(image.open()).unused_size == MB
    image.truncate(image.file.length + 5 * MB)
    assert vhdxreader.check(image.open()).unused_size == 6 * MB


def test_unneeded_bitmap_block_takes_its_space():
    image = differencing(4 * MB, blocks={0: full()}, parent=dynamic(4 * MB), bitmap_states={0: 6})
    report = vhdxreader.check(image.open())
    assert (report.bitmap_blocks, report.unused_size, report.findings) == (1, 0, ())


# ---- going on behind errors


def test_all_findings_and_not_only_the_first():
    image = dynamic(
        6 * MB,
        blocks={0: full(), 1: full(), 3: full()},
        overrides={
            "header.version": 2,
            "region.bat.required": 0,
            "virtual_disk_size.size": 6 * MB - 1,
            "block[1]": bat_entry(4),
            "block[2]": bat_entry(6, TB),
            "block[4]": bat_entry(6, 2 * MB),
        },
        without={"virtual_disk_id"},
    )
    image.flip(64 * KB + 8).flip(256 * KB + 16).patch(0, b"x")
    assert counts(vhdxreader.check(image.open())) == {
        "identifier.damaged": 1,
        "header.checksum": 1,
        "header.version": 1,
        "region_table.checksum": 1,
        "region.not_required": 1,
        "item.missing_unneeded": 1,
        "virtual_disk_size.value": 1,
        "payload.state": 1,
        "payload.past_end": 1,
        "payload.overlap": 1,
    }


def test_blocks_are_checked_without_any_valid_header():
    image = dynamic(4 * MB, blocks={0: full(), 1: full()}, overrides={"block[1]": bat_entry(5)})
    image.flip(64 * KB + 8).flip(128 * KB + 8)
    report = vhdxreader.check(image.open())
    assert counts(report) == {
        "header.checksum": 2,
        "header.none_valid": 1,
        "header.unproven": 1,
        "payload.state": 1,
    }
    assert report.is_corrupt


def test_what_replay_repairs_is_told_apart():
    good = dynamic(4 * MB, blocks={0: full(), 1: full()})
    _, updates = hide(good, (good.bat_offset, 64))
    stale = good.copy().patch(good.block_entry_offset(1), bat_entry(5)).patch(good.metadata_offset + 12, b"\1")
    report = vhdxreader.check(dirty(stale, updates).open())
    assert counts(report) == {"log.replayed": 1, "metadata_table.reserved": 1}
    assert [finding.rule for finding in report.before_replay] == ["payload.state"]
    assert report.allocated_blocks == 2


def test_log_that_cannot_be_replayed_leaves_the_stale_state():
    image = with_log(dynamic(4 * MB, blocks={0: full()}), Log(guid=LOG_GUID))
    report = vhdxreader.check(image.open())
    assert counts(report) == {"log.no_sequence": 1}
    assert (report.allocated_blocks, report.before_replay) == (1, ())


@pytest.mark.parametrize(
    "content", [b"", b"v", b"vhdxfile", bytes(5 * MB), b"vhdxfile" + bytes(5 * MB)], ids=lambda c: f"{len(c)}{c[:1]}"
)
def test_files_with_nothing_in_them(content, tmp_path):
    path = tmp_path / "empty.vhdx"
    path.write_bytes(content)
    report = vhdxreader.check(path)
    assert report.is_vhdx == content.startswith(b"vhdxfile")
    assert report.worst is Severity.ERROR
    assert report.virtual_size is None
    if not report.is_vhdx:
        assert list(report.counts) == ["identifier.signature"]


def test_what_is_no_fault_of_the_image_raises(tmp_path):
    with pytest.raises(FileNotFoundError):
        vhdxreader.check(tmp_path / "none.vhdx")
    with pytest.raises(IsADirectoryError):
        vhdxreader.check(tmp_path)
    with pytest.raises(TypeError):
        vhdxreader.check(17)


def test_a_file_object_is_given_back_as_it_was():
    file = dynamic(4 * MB, blocks={0: full()}).open()
    file.seek(77)
    vhdxreader.check(file, deep=True)
    assert file.tell() == 77


# ---- blocks against each other


def shared(first: int, second: int, block_size: int = 2 * MB) -> dict[str, int]:
    entries = {"block[0]": bat_entry(6, first), "block[1]": bat_entry(6, second)}
    image = dynamic(2 * block_size, block_size=block_size, overrides=entries).truncate(32 * MB)
    return counts(vhdxreader.check(image.open()))


@pytest.mark.parametrize("first", range(8 * MB, 18 * MB, MB))
def test_every_overlap_of_two_blocks_is_found(first):
    second = 12 * MB
    overlap = abs(first - second) < 2 * MB
    assert shared(first, second) == ({"block.shared": 1} if overlap else {})


def test_large_blocks_over_each_other():
    assert shared(8 * MB, 8 * MB, 16 * MB) == {"block.shared": 1}
    assert shared(8 * MB, 15 * MB, 8 * MB) == {"block.shared": 1}
    assert shared(8 * MB, 16 * MB, 8 * MB) == {}


def test_block_on_an_unknown_region():
    image = dynamic(4 * MB, blocks={0: full()}, extra_regions=[Region("more", LOG_GUID)])
    image.patch(image.block_entry_offset(1), bat_entry(6, image.region_offset["more"]))
    assert counts(vhdxreader.check(image.open())) == {"region.unknown": 1, "block.shared": 1, "file.zero_tail": 1}


def test_bitmap_block_on_a_payload_block():
    image = differencing(4 * MB, blocks={0: full(), 1: partial([0])}, parent=dynamic(4 * MB))
    image.patch(image.bitmap_entry_offset(0), bat_entry(6, image.block_offset[0]))
    assert counts(vhdxreader.check(image.open())) == {"block.shared": 1}


def test_needed_bitmap_is_missed_behind_pages_of_nothing():
    """With 4096-byte sectors the bitmap's entry lies 32 767 empty entries behind the block's."""
    parent = dynamic(4 * MB, sector_size=4096)
    image = differencing(4 * MB, blocks={0: partial([0])}, parent=parent, sector_size=4096, bitmap_states={0: 0})
    report = vhdxreader.check(image.open())
    assert counts(report) == {"bitmap.not_present": 1}
    assert report.findings[0].file_offset == image.bitmap_entry_offset(0)


# ---- bounds


def test_hostile_table_of_bad_entries():
    count = 100_000
    image = dynamic(count * MB)
    image.file.write(image.bat_offset, struct.pack("<Q", 5 | 1 << 3) * 100_024)
    tracemalloc.start()
    report = vhdxreader.check(image.open())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert report.counts == {"payload.state": count, "bat.reserved": 100_024, "bitmap.unexpected": 24}
    assert len(report.findings) == 2 * KEPT_FINDINGS + 24
    assert peak < 8 * MB


def test_largest_disk_with_smallest_blocks():
    """Over 67 million entries, all of them holes but the last: read in pages."""
    image = dynamic(64 * TB, blocks={64 * MB - 1: full(), 0: full()})
    calls = []
    report = vhdxreader.check(image.open(), progress=lambda done, total: calls.append((done, total)))
    assert (report.allocated_blocks, report.findings) == (2, ())
    entries = 64 * MB + (64 * MB - 1) // 4096
    assert calls == sorted(calls)
    assert calls[-1] == (entries, entries)


def test_file_longer_than_any_disk_needs():
    image = dynamic(4 * MB, overrides={"block[0]": bat_entry(6, 200 * TB), "block[1]": bat_entry(6, 200 * TB)})
    image.truncate(1 << 63)
    report = vhdxreader.check(image.open())
    assert counts(report) == {"file.untracked": 1}
    assert report.allocated_blocks == 2


# ---- the command


def saved(tmp_path: Path, image: Image) -> str:
    return str(image.save(tmp_path / "disk.vhdx"))


@pytest.mark.parametrize(
    ("code", "make"),
    [
        (0, lambda: dynamic(4 * MB, blocks={0: full()})),
        (0, lambda: fixed(4 * MB, overrides={"region.bat.required": 0})),  # INFO
        (1, lambda: dynamic(4 * MB).patch(0, b"x" * MB)),
        (1, lambda: dynamic(4 * MB, overrides={"header.version": 2})),
        (2, lambda: dynamic(4 * MB, overrides={"header.version": 2, "block[0]": 5})),
        (2, lambda: dynamic(4 * MB).flip(64 * KB + 9).flip(128 * KB + 9)),
        (2, lambda: dynamic(4 * MB, blocks={0: full()}, overrides={"block[0]": 5})),
        (2, lambda: with_log(dynamic(4 * MB), Log(guid=LOG_GUID))),
        (3, lambda: dynamic(4 * MB).flip(64 * KB + 9)),
        (3, lambda: dirty(dynamic(4 * MB), [])),
    ],
)
def test_exit_codes(code, make, tmp_path, capsys):
    path = saved(tmp_path, make())
    assert run(["check", path]) == code
    assert run(["check", path, "--json", "--deep"]) == code
    output = capsys.readouterr()
    assert output.err == ""
    assert path in output.out


@pytest.mark.parametrize("arguments", [["--depp"], ["--json=x"], ["--deep=1"], []])
def test_mistyped_use_never_looks_like_a_corrupt_image(arguments, tmp_path, capsys):
    path = [saved(tmp_path, dynamic(4 * MB))] if arguments else []
    assert run(["check", *path, *arguments]) == 64
    assert capsys.readouterr().out == ""


def test_unreadable_file(tmp_path, capsys):
    assert run(["check", str(tmp_path / "none")]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("vhdxreader: ")


def test_json(tmp_path, capsys):
    image = dynamic(4 * MB, blocks={0: full()}, overrides={"block[1]": 5})
    run(["check", "--json", saved(tmp_path, image)])
    facts = json.loads(capsys.readouterr().out)
    assert facts["findings"] == [
        {
            "severity": "error",
            "rule": "payload.state",
            "section": "2.5.1.1",
            "message": "payload block 1 has the unknown state 5",
            "means": "the block is lost",
            "filename": facts["filename"],
            "file_offset": image.block_entry_offset(1),
            "disk_offset": None,
        }
    ]
    assert (facts["worst"], facts["finding_counts"], facts["before_replay"]) == ("error", {"payload.state": 1}, [])
    assert (facts["virtual_size"], facts["allocated_block_count"], facts["unused_size"]) == (4 * MB, 1, 0)


def test_text_counts_what_it_does_not_list(tmp_path, capsys):
    image = dynamic(GB)
    image.file.write(image.bat_offset, struct.pack("<Q", 5) * 1024)
    assert run(["check", saved(tmp_path, image)]) == 2
    text = capsys.readouterr().out
    assert text.count("error payload.state") == KEPT_FINDINGS
    assert f"{1024 - KEPT_FINDINGS} more of payload.state" in text
    assert text.count("Means: the block is lost") == 1


def test_names_cannot_steer_a_terminal(tmp_path, capsys):
    path = dynamic(4 * MB, overrides={"block[0]": 5}).save(tmp_path / "\x1b[31m.vhdx")
    run(["check", str(path)])
    assert "\x1b" not in capsys.readouterr().out


def test_shared_blocks_are_read_once():
    """A table that names one place a thousand times costs no more than the file has."""
    image = dynamic(64 * MB, blocks={0: full()}, junk=Junk.NONE)
    word = bat_entry(6, image.block_offset[0])
    for n in range(1, 64):
        image.patch(image.block_entry_offset(n), word)
    report = vhdxreader.check(image.open(), deep=True)
    assert report.read_size == MB
    assert report.counts["block.shared"] == 63


def test_log_state(corpus):
    headless = with_log(dynamic(MB), Log(MB, [], LOG_GUID))
    files = (corpus / "swap.vhdx", corpus / "vhdx-log-replay.vhdx", headless.open())
    logs = [vhdxreader.check(file).log for file in files]
    assert [(log.state, log.handling) for log in logs] == [
        ("clean", "none"),
        ("dirty", "replayed"),
        ("dirty", "not_replayable"),
    ]
