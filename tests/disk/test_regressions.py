"""What the popular readers get wrong, each a test of ours: we assert our result; what installed peers do is printed.

Run with -s (or see the report of a failure) for what they say. They change; none of this asserts anything of them.
"""

from __future__ import annotations

import gc
import shutil
import subprocess
import warnings
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from builder import (
    GB,
    KB,
    LOG_GUID,
    MB,
    Data,
    Image,
    Item,
    Log,
    LogEntry,
    MustFail,
    differencing,
    dirty,
    dynamic,
    fixed,
    full,
    hide,
    partial,
    reserved,
    undefined,
    unmapped,
    with_log,
    zeroed,
)

import vhdxreader
from vhdxreader import CorruptImageError, Kind, ParentMismatchError, TruncatedImageError

# ---- the peers, as far as they are installed


def qemu(paths: list[Path], offset: int, length: int) -> bytes:
    program = shutil.which("qemu-img")
    if program is None or len(paths) > 1:
        raise NotImplementedError("not installed, or has no differencing disks")
    out = paths[0].with_suffix(".part")
    options = ["bs=512", f"skip={offset // 512}", f"count={(offset + length) // 512}"]
    done = subprocess.run(
        [program, "dd", "-f", "vhdx", "-O", "raw", *options, f"if={paths[0]}", f"of={out}"], capture_output=True
    )
    if done.returncode:
        raise OSError(done.stderr.decode(errors="replace").strip().splitlines()[-1])
    return out.read_bytes()[offset % 512 :][:length]


def seven_zip(paths: list[Path], offset: int, length: int) -> bytes:
    program = shutil.which("7zz")
    if program is None or offset + length > 64 * MB:
        raise NotImplementedError("not installed, or would have to extract too much")
    done = subprocess.run([program, "e", "-so", paths[0]], capture_output=True)
    if done.returncode:
        raise OSError(f"exit code {done.returncode}, after {len(done.stdout)} bytes")
    return done.stdout[offset : offset + length]


def libvhdi(paths: list[Path], offset: int, length: int) -> bytes:
    try:
        import pyvhdi
    except ImportError:
        raise NotImplementedError("not installed") from None
    files = [pyvhdi.file() for _ in paths]
    for file, path in zip(files, paths, strict=True):
        file.open(str(path))
    for child, parent in pairwise(files):
        child.set_parent(parent)
    return files[0].read_buffer_at_offset(length, offset)


def dissect(paths: list[Path], offset: int, length: int) -> bytes:
    try:
        from dissect.hypervisor.disk.vhdx import VHDX
    except ImportError:
        raise NotImplementedError("not installed") from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it closes no file
        problem = ""
        try:
            stream = VHDX(paths[0])
            stream.seek(offset)
            data = stream.read(length)
            del stream
        except Exception as error:  # noqa: BLE001  # whatever it is, it is only reported
            problem = repr(error)
        gc.collect()
    if problem:
        raise RuntimeError(problem)
    return data


PEERS: dict[str, Callable[[list[Path], int, int], bytes]] = {
    "qemu-img": qemu,
    "7zz": seven_zip,
    "libvhdi": libvhdi,
    "dissect.hypervisor": dissect,
}


def said(peer: str, paths: list[Path], offset: int, wanted: bytes | None, length: int) -> str:
    try:
        data = PEERS[peer](paths, offset, length)
    except NotImplementedError as reason:
        return str(reason)
    except Exception as error:  # noqa: BLE001  whatever a peer raises
        return f"{type(error).__name__}: {error}"
    if wanted is None:
        return f"{len(data)} bytes where nothing can be right"
    return "right" if data == wanted else f"wrong, {len(data)} of {length} bytes"


@pytest.fixture
def ask(tmp_path) -> Iterator[Callable[..., None]]:
    """`ask(images, offset, wanted)` prints what each peer reads there; None where a read must fail."""

    def ask_all(images: list[Image], offset: int, wanted: bytes | None, length: int | None = None) -> None:
        names = ["child.vhdx", "parent.vhdx"][-len(images) :]
        paths = [image.save(tmp_path / name) for image, name in zip(images, names, strict=True)]
        for peer in PEERS:
            print(f"{peer}: {said(peer, paths, offset, wanted, length or len(wanted or b''))}")

    return ask_all


def opened(*images: Image) -> vhdxreader.VirtualDisk:
    rest = iter(images[1:])
    return vhdxreader.open(images[0].open(), parents=lambda _: next(rest).open())


def reads(ask, images: list[Image], offset: int, length: int) -> None:
    """We read what was asked for of the builder."""
    wanted = images[0].expected(offset, length)
    ask(images, offset, wanted)
    with opened(*images) as disk:
        assert disk.pread(length, offset) == wanted


def fails(ask, images: list[Image], offset: int, length: int, error: type[Exception], rule: str) -> None:
    """We raise this for the range, which no reader can give right."""
    with pytest.raises(MustFail):
        images[0].reread(offset, length)
    ask(images, offset, None, length)
    with opened(*images) as disk, pytest.raises(error) as caught:
        disk.pread(length, offset)
    assert caught.value.rule == rule


# ---- dissect.hypervisor


def test_read_that_starts_in_a_block_and_crosses_its_end(ask):
    reads(ask, [dynamic(4 * MB, blocks={0: full(), 1: full(), 2: full()})], MB - 700, 2 * MB)


@pytest.mark.parametrize("state", [4, 5])
def test_reserved_states_do_not_shift_later_data(ask, state):
    image = dynamic(4 * MB, blocks={0: full(), 1: reserved(state), 2: full()})
    fails(ask, [image], 512, 2 * MB, CorruptImageError, "payload.state")
    reads(ask, [image], 2 * MB, MB)


def test_truncation_does_not_shift_later_data(ask):
    order = [("block", n) for n in (0, 2, 1)]
    image = dynamic(4 * MB, blocks={0: full(), 1: full(), 2: full()}, block_order=order)
    image.truncate(image.file.length - 4 * KB)
    fails(ask, [image], MB, 2 * MB, TruncatedImageError, "payload.past_end")
    reads(ask, [image], 2 * MB, MB)


def test_partial_block_read_from_any_sector(ask):
    parent = dynamic(4 * MB, blocks={1: full()})
    child = differencing(4 * MB, blocks={1: partial([0, 3, 5, 6, 11])}, parent=parent)
    for first in range(12):
        reads(ask, [child, parent], MB + 512 * first, 3 * 512)


@pytest.mark.parametrize("flags", [0, 1, 2, 3])
def test_unknown_optional_metadata_item(ask, flags):
    reads(ask, [dynamic(4 * MB, blocks={0: full()}, extra_items=[Item("more", LOG_GUID, b"text", flags)])], 0, MB)


def test_corrupt_header_with_the_greater_sequence_number(ask):
    """Its log is that of a disk of long ago; only the checksum tells."""
    image = dynamic(4 * MB, blocks={0: full()})
    stale = dirty(image, hide(image, (image.bat_offset, 64))[1])
    image = stale.replayed().patch("header1.log_guid", bytes(16)).fix_checksums("header1")
    image.patch("header2.sequence_number", 1 << 60)
    reads(ask, [image], 0, MB)
    with opened(image) as disk:
        assert (disk.image.header.sequence_number, disk.image.header.has_log) == (7, False)


def test_another_disk_is_not_taken_for_the_parent(ask):
    parent, other = dynamic(4 * MB, blocks={0: full()}), dynamic(4 * MB, blocks={0: full()}, name="other")
    child = differencing(4 * MB, blocks={1: full()}, parent=parent)
    ask([child, other], 0, None, 512)
    with pytest.raises(ParentMismatchError):
        opened(child, other)


def test_second_region_table_serves(ask):
    """VirtualBox never looks at it either, and 7-Zip's fallback to it is broken."""
    image = dynamic(4 * MB, blocks={0: full()})
    reads(ask, [image.flip(192 * KB + 100).flip(192 * KB + 30)], 0, MB)


# ---- libvhdi


def test_fixed_disk_over_4_gb(ask):
    """Behind the first chunk the BAT has a sector bitmap entry in fixed disks, too."""
    blocks = {n: zeroed() for n in range(5 * 1024)} | {n: full() for n in (4095, 4096, 4097, 5119)}
    image = fixed(5 * GB, blocks=blocks)
    for n in (4095, 4096, 5119):
        reads(ask, [image], n * MB, MB)


@pytest.mark.parametrize("block", [undefined(), zeroed(), unmapped()], ids=["UNDEFINED", "ZERO", "UNMAPPED"])
def test_states_1_to_3_of_a_child_hide_the_parent(ask, block):
    parent = dynamic(4 * MB, blocks={0: full(), 1: full()})
    child = differencing(4 * MB, blocks={0: block}, parent=parent)
    reads(ask, [child, parent], 0, 2 * MB)
    assert not any(child.expected(0, MB))


def test_missing_sector_bitmap(ask):
    parent = dynamic(4 * MB, blocks={0: full()})
    child = differencing(4 * MB, blocks={0: partial([0])}, parent=parent, bitmap_states={0: 0})
    fails(ask, [child, parent], 0, 512, CorruptImageError, "bitmap.not_present")


@pytest.mark.parametrize("offset", [64 * KB, 128 * KB, 192 * KB, 256 * KB], ids=lambda offset: f"{offset // KB} KB")
def test_one_bad_header_or_region_table(ask, offset):
    """7-Zip refuses the file for one bad header, too."""
    reads(ask, [dynamic(4 * MB, blocks={0: full()}).flip(offset + 9)], 0, MB)


# ---- qemu


def test_sectors_of_4096_bytes(ask):
    reads(ask, [dynamic(4 * MB, blocks={0: full(), 2: full()}, sector_size=4096)], 0, 4 * MB)


def half_replayed() -> Image:
    image = dynamic(4 * MB, blocks={0: full(), 2: full()})
    stale, updates = hide(image, (image.bat_offset, 4 * KB))
    return dirty(stale, updates)


def test_dirty_image_opened_for_reading_only(ask):
    """7-Zip extracts it with an error, dissect and libvhdi give the stale state in silence: none of them replays."""
    image = half_replayed()
    wanted = image.replayed().reread(0, 4 * MB)
    assert wanted != image.reread(0, 4 * MB)
    ask([image], 0, wanted)
    with opened(image) as disk:
        assert disk.read() == wanted
        assert [finding.rule for finding in disk.image.findings] == ["log.replayed"]


def test_stale_log_entries_are_not_replayed(ask):
    """Behind the head lies an entry of an earlier round, and before the tail are entries applied long ago."""
    image = dynamic(4 * MB, blocks={0: full(), 2: full()})
    entries = [
        (0, LogEntry(5, 0, descriptors=[Data(image.bat_offset, b"\5" * 4 * KB)])),
        (8 * KB, LogEntry(6, 8 * KB)),
        (64 * KB, LogEntry(3, 64 * KB, descriptors=[Data(image.bat_offset, b"\4" * 4 * KB)])),
    ]
    image = with_log(image, Log(entries=entries, guid=LOG_GUID))
    wanted = image.reread(0, 4 * MB)
    ask([image], 0, wanted)
    with opened(image) as disk:
        assert disk.read() == wanted


def test_fixed_image_over_4_gb_with_a_partial_last_block(ask):
    """qemu's own: it counts one BAT entry too many, and then does not open what it made."""
    last = 4096
    blocks = {n: zeroed() for n in range(last)} | {last: full()}
    reads(ask, [fixed(4 * GB + 512 * KB, blocks=blocks, pad_last_block=False)], last * MB, 512 * KB)


def test_map_has_an_extent_for_each_kind():
    image = dynamic(5 * MB, blocks={0: full(), 1: zeroed(), 3: full()})
    with opened(image) as disk:
        found = [(e.disk_offset, e.length, e.kind, e.file_offset) for e in disk.extents()]
    assert found == [
        (0, MB, Kind.DATA, image.block_offset[0]),
        (MB, MB, Kind.ZERO, None),
        (2 * MB, MB, Kind.ABSENT, None),
        (3 * MB, MB, Kind.DATA, image.block_offset[3]),
        (4 * MB, MB, Kind.ABSENT, None),
    ]


# ---- 7-Zip


@pytest.mark.parametrize("sectors", [1, 3, 2049])
def test_odd_number_of_sectors(ask, sectors):
    blocks = {n: full() for n in range(-(-sectors // 2048))}
    reads(ask, [dynamic(sectors * 512, blocks=blocks)], 0, sectors * 512)


# ---- all of them


def test_child_larger_than_its_parent(ask):
    """Behind the parent's end the child's absent blocks and sectors are zeros."""
    parent = dynamic(2 * MB + 512, blocks={1: full(), 2: full()})
    child = differencing(5 * MB, blocks={0: full(), 2: partial([0, 2, 4]), 3: partial([7])}, parent=parent)
    reads(ask, [child, parent], 0, 5 * MB)


# ---- VirtualBox


def test_two_different_headers_of_the_same_sequence_number(ask):
    """It takes the second in silence; by the letter there is no current one."""
    image = dynamic(4 * MB, blocks={0: full()}, sequence_numbers=(8, 8))
    image.patch("header1.data_write_guid", LOG_GUID).fix_checksums("header1")
    ask([image], 0, None, 512)
    with pytest.raises(CorruptImageError) as caught:
        opened(image)
    assert caught.value.rule == "header.same_sequence"
