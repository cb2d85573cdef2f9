"""What is silently plausible: lost BAT pages, leaked space, trimmed blocks, files that end with zeros."""

from __future__ import annotations

import io
import json
import os
import random
import struct
from pathlib import Path

import pytest
from builder import GB, KB, MB, Junk, bat_entry, differencing, dynamic, fixed, full, partial, pattern, unmapped, zeroed
from ranged_server import ranged_server

import vhdxreader
from vhdxreader import Severity
from vhdxreader.cli.app import run
from vhdxreader.files.opening import open_source
from vhdxreader.tools.zero_tail import zeros_from

PARENT = dynamic(4 * MB)


def found(image, rule: str) -> list[vhdxreader.Finding]:
    return [finding for finding in vhdxreader.check(image.open()).findings if finding.rule == rule]


def rules(image) -> set[str]:
    return set(vhdxreader.check(image.open()).counts)


# ---- lost BAT pages and leaked space


def pages(kind):
    """A disk of 2,048 blocks, four pages of BAT entries; of each block one byte."""
    return kind(2 * GB, blocks={n: full({0: b"%d" % n}) for n in range(2048)}, junk=Junk.NONE)


def test_a_lost_page_of_a_fixed_disk():
    image = pages(fixed)
    assert rules(image) == set()
    image.patch(image.bat_offset + 4 * KB, bytes(4 * KB))
    (finding,) = found(image, "bat.zero_page")
    assert finding.severity is Severity.WARNING
    assert finding.file_offset == image.bat_offset + 4 * KB
    assert "512 blocks" in finding.message
    assert {"payload.fixed_absent", "file.unused"} <= rules(image)


def test_one_absent_block_of_a_fixed_disk_is_legal():
    image = pages(fixed)
    image.patch(image.block_entry_offset(700), 0)
    assert rules(image) == {"payload.fixed_absent", "file.unused"}


def test_a_fixed_disk_that_was_never_written_to_has_no_space_to_miss():
    image = dynamic(2 * GB, overrides={"file_parameters.flags": 1}, junk=Junk.NONE)
    assert "bat.zero_page" not in rules(image)


def test_a_lost_page_of_a_dynamic_disk_names_the_amount():
    image = pages(dynamic)
    image.patch(image.bat_offset + 4 * KB, bytes(4 * KB))
    (finding,) = found(image, "file.unused")
    assert finding.severity is Severity.INFO
    assert f"{512 * MB:#x} bytes" in finding.message
    assert "; zeros: 1 page of the BAT" in finding.message
    assert rules(image) == {"file.unused"}


def leaking():
    """Blocks 1 and 2 lost their entries; 3 was trimmed and keeps its place."""
    image = dynamic(
        8 * MB, blocks={n: full() for n in range(6)}, junk=Junk.NONE, block_order=[("block", n) for n in range(6)]
    )
    for n in (1, 2):
        image.patch(image.block_entry_offset(n), 0)
    image.patch(image.block_entry_offset(3), bat_entry(3, image.block_offset[3]))
    return image


def test_unused_space_is_listed(tmp_path, capsys):
    image = leaking()
    expected = [(image.block_offset[1], 2 * MB, "unused"), (image.block_offset[3], MB, "trimmed")]
    report = vhdxreader.check(image.open())
    assert [(part.file_offset, part.length, part.kind) for part in report.unused] == expected
    assert (report.unused_size, report.trimmed_size) == (2 * MB, MB)
    path = str(image.save(tmp_path / "disk.vhdx"))
    with vhdxreader.open(path) as disk:
        assert list(vhdxreader.unused_ranges(disk.image)) == list(report.unused)
    assert run(["map", "--unused", "--json", path]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert [(part["file_offset"], part["length"], part["kind"]) for part in facts["unused"]] == expected
    assert facts["extents"] is None
    assert run(["map", "--unused", path]) == 0
    assert f"{image.block_offset[1]:#x}" in capsys.readouterr().out
    assert run(["check", path]) == 0
    assert "Space that no block reads" in capsys.readouterr().out


def test_unused_space_ends_with_the_file():
    image = leaking()
    end = image.file.length
    image.truncate(end + 5 * MB + 17)
    last = vhdxreader.check(image.open()).unused[-1]
    assert (last.file_offset, last.length) == (end, 5 * MB + 17)


def test_a_trimmed_place_that_was_reused():
    image = leaking()
    image.patch(image.block_entry_offset(7), bat_entry(6, image.block_offset[3]))
    (finding,) = found(image, "block.trimmed_shared")
    assert finding.severity is Severity.WARNING
    assert vhdxreader.check(image.open()).trimmed_size == 0


# ---- old content, on request


def read(image, **options) -> bytes:
    with vhdxreader.open(image.open(), **options) as disk:
        return disk.read()


def test_trimmed_blocks_are_zeros_unless_asked_for(tmp_path, capfdbinary):
    image = leaking()
    whole, old = read(image), read(image, trimmed=True)
    assert whole[3 * MB : 4 * MB] == bytes(MB)
    assert old[3 * MB : 4 * MB] == image.file.read(image.block_offset[3], MB) != bytes(MB)
    assert (old[: 3 * MB], old[4 * MB :]) == (whole[: 3 * MB], whole[4 * MB :])
    path = str(image.save(tmp_path / "disk.vhdx"))
    assert run(["cat", path]) == 0
    assert capfdbinary.readouterr() == (whole, b"")
    assert run(["cat", "--trimmed", path]) == 0
    output = capfdbinary.readouterr()
    assert output.out == old
    assert b"payload.trimmed_shown" in output.err
    with vhdxreader.open(path, trimmed=True) as disk:
        kinds = [
            (extent.disk_offset, extent.kind, extent.file_offset) for extent in disk.extents(offset=3 * MB, length=MB)
        ]
    assert kinds == [(3 * MB, "data", image.block_offset[3])]
    assert run(["map", "--trimmed", path]) == 0


@pytest.mark.parametrize("state", [0, 2])
def test_stale_places_in_other_states_are_never_shown(state):
    image = leaking()
    image.patch(image.block_entry_offset(3), bat_entry(state, image.block_offset[3]))
    assert read(image, trimmed=True)[3 * MB : 4 * MB] == bytes(MB)


@pytest.mark.parametrize("word", [bat_entry(6), bat_entry(3)])
def test_a_place_that_somebody_else_names_is_never_shown(word):
    """A present block has it, or two trimmed ones name it."""
    image = leaking()
    image.patch(image.block_entry_offset(7), word | image.block_offset[3])
    assert read(image, trimmed=True)[3 * MB : 4 * MB] == bytes(MB)


@pytest.mark.parametrize("place", [0, MB, 1 << 40])
def test_a_place_that_no_block_can_have_is_never_shown(place):
    image = leaking()
    image.patch(image.block_entry_offset(3), bat_entry(3, place))
    assert read(image, trimmed=True) == read(image)


def test_of_a_childs_trimmed_block_only_its_own_sectors():
    """The rest was never written by the child, and may be anybody's."""
    sectors = {0: pattern("own", 512), 5: pattern("own 5", 512)}
    image = differencing(4 * MB, blocks={1: partial(sectors)}, parent=PARENT)
    with vhdxreader.open(image.open(), parent=PARENT.open()) as disk:
        written = disk.pread(MB, MB)
    image.patch(image.block_entry_offset(1), bat_entry(3, image.block_offset[1]))
    with vhdxreader.open(image.open(), parent=PARENT.open(), trimmed=True) as disk:
        old = disk.pread(MB, MB)
    assert old == written
    assert old[5 * 512 : 6 * 512] == sectors[5]
    assert old[512:1024] == bytes(512)


# ---- files that end with zeros


def in_order(virtual_size: int, blocks):
    order = [("block", n) for n in blocks]
    return dynamic(
        virtual_size, blocks=blocks, block_order=order, junk=Junk.NONE, order=("log", "metadata", "bat", "blocks")
    )


def broken_off(image, start: int):
    """The file from `start` on as a copy leaves it that made the length first."""
    return image.copy().patch(start, bytes(image.file.length - start))


def test_a_copy_that_broke_off():
    image = in_order(16 * MB, {n: full() for n in range(16)})
    assert rules(image) == set()
    cut = broken_off(image, image.block_offset[9] + 40 * KB)
    (finding,) = found(cut, "file.zero_tail")
    assert finding.severity is Severity.INFO
    assert image.block_offset[9] + 36 * KB < finding.file_offset <= image.block_offset[9] + 40 * KB
    assert "6 whole present blocks" in finding.message
    assert rules(cut) == {"file.zero_tail"}


def test_the_rest_of_the_last_block_is_no_tail():
    image = in_order(16 * MB, {n: full() for n in range(16)})
    assert rules(broken_off(image, image.block_offset[15] + 512)) == set()


def test_a_disk_that_was_never_written_to_is_no_broken_copy():
    assert rules(fixed(16 * MB, junk=Junk.NONE)) == set()


def gpt(size: int, backup: bytes = b"EFI PART") -> dict[int, bytes]:
    """The blocks that have a GPT header and its backup."""
    header = struct.pack("<8s24xQ", b"EFI PART", size // 512 - 1).ljust(512, b"\0")
    return {0: full({512: header, 4096: b"x" * 4096}), size // MB - 1: full({MB - 512: backup.ljust(512, b"\0")})}


@pytest.mark.parametrize("at", [40 * KB, 0])
def test_a_backup_gpt_that_is_gone(at):
    """Only inside a block: at its start the zeros may be blocks that were never written to."""
    blocks = {n: full() for n in range(16)} | gpt(16 * MB)
    image = in_order(16 * MB, dict(sorted(blocks.items())))
    assert rules(image) == set()
    cut = broken_off(image, image.block_offset[9] + at)
    assert ("file.broken_off" in rules(cut)) == bool(at)
    assert all(finding.severity is Severity.WARNING for finding in found(cut, "file.broken_off"))


def source_of(size: int, zeros: int) -> io.BytesIO:
    """A file of which so many bytes at the end are zeros."""
    return io.BytesIO(bytes(max(size - zeros - 1, 0)) + b"x" * min(size - zeros, 1) + bytes(zeros))


@pytest.mark.parametrize("size", [0, 1, 4 * KB, 64 * KB, 64 * KB + 1, 300 * KB - 1, 6 * MB, 6 * MB + 4095])
def test_where_the_zeros_begin(size):
    """In steps of 4 KiB, wherever it is, also where the file's length is no multiple of it."""
    chance = random.Random(size)
    tails = {
        0,
        1,
        4 * KB,
        4 * KB + 1,
        size % (4 * KB),
        size - 1,
        size,
        *(chance.randrange(size + 1) for _ in range(40)),
    }
    for zeros in (tail for tail in tails if 0 <= tail <= size):
        with open_source(source_of(size, zeros)) as source:
            expected = min(-(-(size - zeros) // (4 * KB)) * 4 * KB, size)
            assert zeros_from(source) == expected, (size, zeros)


def test_no_more_than_64_MiB_are_read():  # noqa: N802
    with open_source(io.BytesIO(bytes(80 * MB))) as source:
        assert zeros_from(source) == 16 * MB


@pytest.mark.skipif(not hasattr(os, "SEEK_DATA"), reason="the system does not tell where holes are")
def test_holes_at_the_end_of_any_length(tmp_path):
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.write(b"x" * (5 * MB + 1))
        file.seek(512 * GB)
        file.write(bytes(9 * MB))
        file.truncate(2048 * GB)
    with open_source(path) as source:
        assert zeros_from(source) == 5 * MB + 4 * KB


@pytest.mark.parametrize(
    ("zeros", "requests"), [(0, 1), (60 * KB, 1), (300 * KB, 2), (MB, 3), (5 * MB, 4), (6 * MB, 5), (14 * MB, 7)]
)
def test_how_many_requests_zeros_at_the_end_take(zeros, requests):
    """Of 64 KiB, 256 KiB, 1 MiB, and 4 MiB each from there on."""
    with ranged_server() as server:
        url = server.put("/zeros", source_of(16 * MB, zeros).getvalue())
        with open_source(url) as source:
            server.requests.clear()
            assert zeros_from(source) == 16 * MB - zeros // (4 * KB) * 4 * KB
            assert len(server.requests) == requests
            assert server.byte_count <= 5 * zeros + 64 * KB


# ---- no false alarm


@pytest.mark.corpus
def test_whole_real_images_have_none_of_these(corpus):
    for path in Path(corpus).iterdir():
        report = vhdxreader.check(path)
        assert set(report.counts) <= {"log.replayed"}
        assert (report.unused_size, report.trimmed_size) == (0, 0)


def test_what_the_builder_leaves_as_stale_is_no_alarm():
    image = dynamic(8 * MB, blocks={0: full(), 1: unmapped(), 2: zeroed(), 3: full()})
    assert rules(image) == set()
    assert vhdxreader.check(image.open()).trimmed_size == MB
