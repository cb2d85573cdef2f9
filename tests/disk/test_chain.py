"""Reads over chains of every kind, held against the builder's model; and who opens and closes what."""

from __future__ import annotations

import gc
import io
import os
import random
import sys
import uuid
import warnings
from functools import partial as partial_call
from itertools import pairwise
from pathlib import Path

import pytest
from builder import (
    JUNK,
    KB,
    MB,
    Image,
    Locator,
    MustFail,
    bat_entry,
    differencing,
    dirty,
    dynamic,
    fixed,
    full,
    not_present,
    partial,
    reserved,
    undefined,
    unmapped,
    zeroed,
)

import vhdxreader
from vhdxreader import (
    CorruptImageError,
    NotVhdxError,
    ParentError,
    ParentMismatchError,
    ParentNotFoundError,
    TruncatedImageError,
)


def save(folder: Path, *images: Image) -> Path:
    """Child first; a parent's name is what its child's locator says."""
    path = images[0].save(folder / "child.avhdx")
    for child, parent in pairwise(images):
        parent.save(folder / dict(child.spec.locator.pairs)["relative_path"])
    return path


def in_memory(*images: Image) -> vhdxreader.VirtualDisk:
    """Child first, with nothing on disk."""
    rest = iter(images[1:])
    return vhdxreader.open(images[0].open(), parents=lambda _: next(rest).open())


def chain(*makers) -> list[Image]:
    """Images oldest first from functions of the parent and its name; gives them child first."""
    images: list[Image] = []
    for number, make in enumerate(makers):
        images.insert(0, make(images[0] if images else None, f"{number - 1}.vhdx"))
    return images


def check_reads(images: list[Image], disk: vhdxreader.VirtualDisk, *, reads: int = 2000, seed: int = 7) -> None:
    """The whole disk and random ranges, by size and by place."""
    want = images[0].expected()
    assert JUNK not in want
    assert disk.pread(disk.size, 0) == want
    rng = random.Random(seed)
    sizes = [1, 7, 511, 512, 513, 4 * KB, 64 * KB + 3, MB + 1]
    for _ in range(reads):
        offset = rng.randrange(len(want))
        if rng.random() < 0.5:
            offset = max(offset // 512 * 512 + rng.randrange(-2, 3), 0)
        length = rng.choice(sizes)
        assert disk.pread(length, offset) == want[offset : offset + length], (offset, length)


def some(rng: random.Random, count: int, share: float) -> list[int]:
    return [sector for sector in range(count) if rng.random() < share]


# ---- against the model


def test_three_generations_with_different_block_sizes(tmp_path):
    rng = random.Random(1)
    images = chain(
        lambda _, __: dynamic(
            70 * MB, {0: full(), 1: full(), 4: zeroed(), 17: full(), 34: full()}, block_size=2 * MB, name="old"
        ),
        lambda parent, name: differencing(
            70 * MB,
            {
                1: partial(some(rng, 2048, 0.5)),
                3: full(),
                5: unmapped(),
                34: partial(range(1024)),
                35: undefined(),
                69: partial([0, 1, 2047]),
            },
            parent=parent,
            parent_path=name,
            name="mid",
        ),
        lambda parent, name: differencing(
            70 * MB,
            {0: partial(some(rng, 65536, 0.01)), 2: partial([0, 12287])},
            block_size=32 * MB,
            parent=parent,
            parent_path=name,
            name="new",
        ),
    )
    with vhdxreader.open(save(tmp_path, *images)) as disk:
        check_reads(images, disk)


def test_twelve_generations_of_one_sector_each(tmp_path):
    def generation(number: int):
        def make(parent: Image | None, name: str) -> Image:
            if parent is None:
                return dynamic(3 * MB, {0: full(), 1: full()}, name="g0")
            sector = 2048 - 6 + number  # across a block's border
            blocks = {sector // 2048: partial([sector % 2048])}
            return differencing(3 * MB, blocks, parent=parent, parent_path=name, name=f"g{number}")

        return make

    images = chain(*(generation(number) for number in range(13)))
    with vhdxreader.open(save(tmp_path, *images)) as disk:
        assert [image.parent for image in disk.images] == [*disk.images[1:], None]
        check_reads(images, disk)
        depths = {extent.disk_offset // 512: extent.depth for extent in disk.extents() if extent.length == 512}
        assert depths == {2048 - 6 + number: 12 - number for number in range(1, 13)}


def test_two_hundred_generations(request):
    request.addfinalizer(partial_call(sys.setrecursionlimit, sys.getrecursionlimit()))
    sys.setrecursionlimit(5000)  # for the model

    def generation(number: int):
        def make(parent: Image | None, name: str) -> Image:
            if parent is None:
                return dynamic(MB, {0: full()}, name="g0")
            return differencing(MB, {0: partial([number * 5])}, parent=parent, parent_path=name, name=f"g{number}")

        return make

    images = chain(*(generation(number) for number in range(200)))
    with in_memory(*images) as disk:
        assert len(disk.images) == 200
        check_reads(images, disk, reads=50)


PATTERNS = {
    "alternating": range(0, 2048, 2),
    "alternating from the second": range(1, 2048, 2),
    "runs": [sector for start in range(0, 2048, 100) for sector in range(start, min(start + 37, 2048))],
    "long runs": range(100, 1900),
    "first": [0],
    "last": [2047],
    "all": range(2048),
    "none": [],
    "around a word": [*range(63, 66), *range(127, 200), *range(256, 320)],
    "random": some(random.Random(3), 2048, 0.5),
    "sparse": some(random.Random(4), 2048, 0.005),
}


@pytest.mark.parametrize("name", PATTERNS)
def test_bitmaps(name):
    images = chain(
        lambda _, __: dynamic(4 * MB, {0: full(), 2: full()}, name="old"),
        lambda parent, path: differencing(
            4 * MB,
            {0: partial(PATTERNS[name]), 1: partial(PATTERNS[name]), 3: full()},
            parent=parent,
            parent_path=path,
            name="new",
        ),
    )
    with in_memory(*images) as disk:
        check_reads(images, disk, reads=500)


def test_4096_byte_sectors():
    rng = random.Random(5)
    images = chain(
        lambda _, __: dynamic(9 * MB, {0: full(), 1: full()}, sector_size=4096, block_size=8 * MB, name="old"),
        lambda parent, path: differencing(
            9 * MB - 4096,
            {0: partial(some(rng, 2048, 0.4)), 1: partial([0, 254])},
            block_size=8 * MB,
            sector_size=4096,
            parent=parent,
            parent_path=path,
            name="new",
        ),
    )
    with in_memory(*images) as disk:
        check_reads(images, disk)


def test_second_chunk_has_its_own_bitmap():
    blocks = {0: partial([0]), 4095: partial([2047]), 4096: partial([0, 2]), 8191: partial(range(0, 2048, 3))}
    images = chain(
        lambda _, __: dynamic(8 << 30, {0: full(), 4095: full(), 4096: full(), 8191: full()}, name="old"),
        lambda parent, path: differencing(8 << 30, blocks, parent=parent, parent_path=path, name="new"),
    )
    with in_memory(*images) as disk:
        for block in blocks:
            want = images[0].expected(block * MB, MB)
            assert JUNK not in want
            assert disk.pread(MB, block * MB) == want
        assert disk.pread(2 * MB, 4095 * MB) == images[0].expected(4095 * MB, 2 * MB)


def test_every_state_in_child_and_parent():
    states = [not_present, undefined, zeroed, unmapped, full, lambda: partial(range(0, 2048, 3))]
    old = chain(
        lambda _, __: dynamic(36 * MB, {n: full() for n in range(36)}, name="oldest"),
        lambda parent, path: differencing(
            36 * MB, {n: states[n // 6]() for n in range(36)}, parent=parent, parent_path=path, name="old"
        ),
    )
    child = differencing(
        36 * MB, {n: states[n % 6]() for n in range(36)}, parent=old[0], parent_path="1.vhdx", name="new"
    )
    with in_memory(child, *old) as disk:
        check_reads([child, *old], disk)


@pytest.mark.parametrize("child_size", [5 * MB, 7 * MB + 512, 12 * MB, 12 * MB + 512])
@pytest.mark.parametrize("parent_size", [7 * MB, 9 * MB - 512])
def test_child_larger_or_smaller_than_its_parent(child_size, parent_size):
    images = chain(
        lambda _, __: dynamic(20 * MB, {n: full() for n in range(20)}, name="oldest"),
        lambda parent, path: differencing(
            parent_size, {1: partial([5]), 6: partial([3])}, parent=parent, parent_path=path, name="old"
        ),
        lambda parent, path: differencing(
            child_size, {0: full(), 4: partial([1])}, block_size=MB, parent=parent, parent_path=path, name="new"
        ),
    )
    with in_memory(*images) as disk:
        assert disk.size == child_size
        check_reads(images, disk, reads=500)


def test_partial_block_at_the_end_of_a_parent_that_ends_in_it():
    images = chain(
        lambda _, __: dynamic(MB + 3 * 512, {0: full(), 1: full()}, name="old"),
        lambda parent, path: differencing(
            2 * MB, {1: partial([1, 3, 5, 2047])}, parent=parent, parent_path=path, name="new"
        ),
    )
    with in_memory(*images) as disk:
        check_reads(images, disk, reads=500)


def test_bitmap_is_not_looked_at_for_full_blocks():
    """Its bits are junk there, and a chunk without a bitmap is fine."""
    images = chain(
        lambda _, __: dynamic(2 * MB, {0: full(), 1: full()}, name="old"),
        lambda parent, path: differencing(
            2 * MB, {0: full()}, bitmap_states={0: 3}, parent=parent, parent_path=path, name="new"
        ),
    )
    with in_memory(*images) as disk:
        check_reads(images, disk, reads=100)


def test_stream_over_a_chain_reads_like_a_raw_file(tmp_path):
    images = chain(
        lambda _, __: dynamic(3 * MB, {0: full(), 2: full()}, name="old"),
        lambda parent, path: differencing(
            3 * MB, {0: partial(range(0, 2048, 7)), 1: full()}, parent=parent, parent_path=path, name="new"
        ),
    )
    raw = io.BytesIO(images[0].expected())
    with vhdxreader.open(save(tmp_path, *images)) as disk:
        rng = random.Random(2)
        for _ in range(200):
            offset, length = rng.randrange(3 * MB), rng.choice([1, 512, 5000, MB])
            assert disk.seek(offset) == raw.seek(offset)
            assert disk.read(length) == raw.read(length)
            assert disk.tell() == raw.tell()


# ---- blocks and bitmaps that cannot be read


def two(blocks, **more) -> list[Image]:
    return chain(
        lambda _, __: dynamic(4 * MB, {n: full() for n in range(4)}, name="old"),
        lambda parent, path: differencing(4 * MB, blocks, parent=parent, parent_path=path, name="new", **more),
    )


def first_bad(image: Image, offset: int, length: int) -> int:
    """The first offset of the range that must not be read, or its end."""
    try:
        image.reread(offset, length)
    except MustFail as must:
        return must.offset
    return offset + length


def check_against_the_file(images: list[Image], rule: str, error: type[Exception]) -> None:
    """Whatever the model can read of the child as it is now is read; the rest fails by this rule."""
    failed = 0
    with in_memory(*images) as disk:
        for offset in range(0, disk.size, 128 * KB):
            bad = first_bad(images[0], offset, 128 * KB)
            assert disk.pread(bad - offset, offset) == images[0].reread(offset, bad - offset)
            if bad < offset + 128 * KB:
                failed += 1
                with pytest.raises(error) as caught:
                    disk.pread(128 * KB, offset)
                assert caught.value.rule == rule
    assert failed


@pytest.mark.parametrize("state", range(6))
def test_bitmap_block_that_is_needed_but_not_present(state):
    images = two({0: partial([1]), 2: full()}, bitmap_states={0: state})
    check_against_the_file(images, "bitmap.not_present", CorruptImageError)


@pytest.mark.parametrize("where", ["header section", "log", "bat", "metadata"])
def test_bitmap_block_on_another_structure(where):
    images = two({0: partial([1]), 2: full()})
    offset = 0 if where == "header section" else images[0].region_offset[where]
    images[0].patch(images[0].bitmap_entry_offset(0), bat_entry(6, offset).to_bytes(8, "little"))
    check_against_the_file(images, "bitmap.overlap", CorruptImageError)


@pytest.mark.parametrize("left", [0, 1, 100, 256 + 64])
def test_bitmap_block_past_the_end_of_the_file(left):
    blocks = {0: full(), 1: partial(range(0, 2048, 3)), 2: full()}
    order = [("block", 0), ("block", 1), ("block", 2), ("bitmap", 0)]
    images = two(blocks, block_order=order)
    images[0].truncate(images[0].bitmap_offset[0] + left)
    check_against_the_file(images, "bitmap.past_end", TruncatedImageError)


def test_bitmap_block_far_past_the_end_of_the_file():
    images = two({0: partial([1]), 2: full()})
    images[0].patch(images[0].bitmap_entry_offset(0), bat_entry(6, 1 << 50).to_bytes(8, "little"))
    check_against_the_file(images, "bitmap.past_end", TruncatedImageError)


@pytest.mark.parametrize("where", ["header section", "log", "bat", "metadata"])
def test_partial_block_on_another_structure(where):
    images = two({0: partial([1]), 2: full()})
    offset = 0 if where == "header section" else images[0].region_offset[where]
    images[0].patch(images[0].block_entry_offset(0), bat_entry(7, offset).to_bytes(8, "little"))
    check_against_the_file(images, "payload.overlap", CorruptImageError)


def test_partial_block_past_the_end_of_the_file_loses_only_its_own_sectors():
    images = two({0: partial([5, 700, 2000])}, block_order=[("bitmap", 0), ("block", 0)])
    images[0].truncate(images[0].block_offset[0] + 600 * 512)
    check_against_the_file(images, "payload.past_end", TruncatedImageError)


def test_reserved_state_in_a_parent_names_the_parent(tmp_path):
    images = chain(
        lambda _, __: dynamic(2 * MB, {0: reserved(4), 1: full()}, name="old"),
        lambda parent, path: differencing(2 * MB, {1: full()}, parent=parent, parent_path=path, name="new"),
    )
    with vhdxreader.open(save(tmp_path, *images)) as disk:
        with pytest.raises(CorruptImageError, match=r"0\.vhdx") as caught:
            disk.read(1)
        assert caught.value.rule == "payload.state"
        disk.seek(MB)
        assert disk.read() == images[0].expected(MB)


def test_partially_present_block_without_a_parent():
    with vhdxreader.open(dynamic(MB, {0: partial([1])}).open()) as disk, pytest.raises(CorruptImageError) as caught:
        disk.read()
    assert caught.value.rule == "payload.partially_present"


# ---- a parent that is not there


def test_without_parents_own_data_is_read_and_the_rest_is_an_error(tmp_path):
    images = two({0: partial([1, 2]), 1: full(), 2: zeroed()})
    path = images[0].save(tmp_path / "alone.avhdx")
    with vhdxreader.open(path, parents=None) as disk:
        assert disk.image.parent is None
        assert disk.images == (disk.image,)
        assert disk.pread(1024, 512) == images[0].expected(512, 1024)
        assert disk.pread(2 * MB, MB) == images[0].expected(MB, 2 * MB)
        for offset, length in ((0, 1), (512, 1025), (3 * MB, MB), (2 * MB, MB + 1)):
            with pytest.raises(ParentNotFoundError) as caught:
                disk.pread(length, offset)
            assert isinstance(caught.value, FileNotFoundError)
            assert caught.value.rule == "parent.absent"
            assert str(path) in str(caught.value)


def test_image_reads_its_own_file_only(tmp_path):
    images = two({0: full()})
    with vhdxreader.open(save(tmp_path, *images)) as disk:
        assert disk.image.pread(MB, 0) == images[0].expected(0, MB)
        with pytest.raises(ParentNotFoundError):
            disk.image.pread(1, MB)
        assert disk.images[1].pread(4 * MB, 0) == images[1].expected()


def test_explicit_parent_with_no_policy_for_its_own_parents(tmp_path):
    images = chain(
        lambda _, __: dynamic(3 * MB, {n: full() for n in range(3)}, name="oldest"),
        lambda parent, path: differencing(3 * MB, {1: full()}, parent=parent, parent_path=path, name="old"),
        lambda parent, path: differencing(3 * MB, {0: full()}, parent=parent, parent_path=path, name="new"),
    )
    save(tmp_path, *images)
    with vhdxreader.open(tmp_path / "child.avhdx", parent=tmp_path / "1.vhdx", parents=None) as disk:
        assert len(disk.images) == 2
        assert disk.pread(2 * MB, 0) == images[0].expected(0, 2 * MB)
        with pytest.raises(ParentNotFoundError, match=r"1\.vhdx"):
            disk.pread(1, 2 * MB)


# ---- who opens and who closes


def test_given_path_given_file_and_given_disk(tmp_path):
    images = two({0: partial([1])})
    child = images[0].save(tmp_path / "a.avhdx")
    moved = images[1].save(tmp_path / "elsewhere.vhdx")
    want = images[0].expected()
    with vhdxreader.open(child, parent=moved) as disk:
        assert disk.read() == want
        assert disk.images[1].path == str(moved)
    with vhdxreader.open(child, parent=os.fsencode(moved)) as disk:
        assert disk.read() == want
    with moved.open("rb") as file:
        with vhdxreader.open(child, parent=file) as disk:
            assert disk.read() == want
        assert not file.closed
    with vhdxreader.open(moved) as base:
        with vhdxreader.open(child, parent=base) as disk:
            assert disk.read() == want
            assert disk.images == (disk.image, base.image)
            assert disk.image.parent is base.image
        assert base.read() == images[1].expected()  # still open
    with pytest.raises(ValueError, match="closed"):
        vhdxreader.open(child, parent=base)


def test_parents_given_one_after_another(tmp_path):
    images = chain(
        lambda _, __: dynamic(3 * MB, {n: full() for n in range(3)}, name="oldest"),
        lambda parent, path: differencing(3 * MB, {1: full()}, parent=parent, parent_path=path, name="old"),
        lambda parent, path: differencing(3 * MB, {0: full()}, parent=parent, parent_path=path, name="new"),
    )
    child, *given = [image.save(tmp_path / f"moved {n}") for n, image in enumerate(images)]
    for parents in ("relative", None):
        with vhdxreader.open(child, parent=given, parents=parents) as disk:
            assert disk.read() == images[0].expected()
    with vhdxreader.open(given[1]) as oldest, vhdxreader.open(child, parent=(given[0], oldest)) as disk:
        assert disk.read() == images[0].expected()
    with pytest.raises(ParentMismatchError, match="no parent"):
        vhdxreader.open(child, parent=[*given, child])
    with pytest.raises(ParentMismatchError):
        vhdxreader.open(child, parent=given[::-1])
    with vhdxreader.open(given[0], parent=given[1]) as old, pytest.raises(ValueError, match="last"):
        vhdxreader.open(child, parent=[old, given[1]])
    with vhdxreader.open(child, parent=[], parents=None) as disk:
        assert disk.images == (disk.image,)


def test_children_share_an_opened_parent_with_parents_of_its_own():
    images = chain(
        lambda _, __: dynamic(2 * MB, {0: full()}, name="oldest"),
        lambda parent, path: differencing(2 * MB, {1: full()}, parent=parent, parent_path=path, name="old"),
    )
    children = [
        differencing(2 * MB, {0: partial([n])}, parent=images[0], parent_path="1.vhdx", name=f"new {n}")
        for n in range(3)
    ]
    with in_memory(*images) as base:
        disks = [vhdxreader.open(child.open(), parent=base) for child in children]
        for disk, child in zip(disks, children, strict=True):
            assert disk.read() == child.expected()
            assert len(disk.images) == 3
            disk.close()
        assert base.read() == images[0].expected()


def open_descriptors() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts descriptors in /proc")
def test_nothing_stays_open_whatever_happens(tmp_path):
    images = chain(
        lambda _, __: dynamic(2 * MB, {0: full()}, name="oldest"),
        lambda parent, path: differencing(2 * MB, {1: full()}, parent=parent, parent_path=path, name="old"),
        lambda parent, path: differencing(2 * MB, {}, parent=parent, parent_path=path, name="new"),
    )
    path = save(tmp_path, *images)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        before = open_descriptors()
        with vhdxreader.open(path):
            assert open_descriptors() == before + 3
        assert open_descriptors() == before
        images[2].patch("header2.data_write_guid", uuid.uuid4()).fix_checksums().save(tmp_path / "0.vhdx")
        with pytest.raises(ParentMismatchError):
            vhdxreader.open(path)
        images[2].patch("region1.signature", b"x").patch("region2.signature", b"x").save(tmp_path / "0.vhdx")
        with pytest.raises(ParentError):
            vhdxreader.open(path)
        assert open_descriptors() == before


def test_parent_that_matches_but_is_corrupt_is_named(tmp_path):
    images = two({0: full()})
    images[1].patch("region1.signature", b"x").patch("region2.signature", b"x")
    with pytest.raises(CorruptImageError, match=r"parent .*0\.vhdx") as caught:
        vhdxreader.open(save(tmp_path, *images))
    assert caught.value.rule == "region_table.none_valid"


def test_wrong_arguments():
    with pytest.raises(ValueError, match="parents"):
        vhdxreader.open(dynamic(MB).open(), parents="some")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        vhdxreader.open(two({})[0].open(), parent=5)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        vhdxreader.open(two({})[0].open(), parents=lambda _: 5)  # type: ignore[arg-type,return-value]
    with pytest.raises(ParentMismatchError, match="no parent"):
        vhdxreader.open(dynamic(MB).open(), parent=dynamic(MB).open())
    with pytest.raises(NotVhdxError):
        vhdxreader.open(io.BytesIO(b"nothing"), parents=lambda _: None)


def test_callable_that_raises_is_heard():
    def refuse(locator: vhdxreader.ParentLocator) -> None:
        raise RuntimeError(locator.relative_path)

    with pytest.raises(RuntimeError, match=r"0\.vhdx"):
        vhdxreader.open(two({})[0].open(), parents=refuse)


def test_callable_that_finds_nothing():
    with pytest.raises(ParentNotFoundError, match="parents="):
        vhdxreader.open(two({})[0].open(), parents=lambda _: None)


# ---- what makes a file the parent


def linked(parent: Image, *more: tuple[str, str], linkage: uuid.UUID | None = None, **kwargs) -> Image:
    pairs = [("parent_linkage", f"{{{linkage or parent.data_write_guid}}}"), ("relative_path", "0.vhdx"), *more]
    return differencing(2 * MB, {0: full()}, parent=parent, locator=Locator(pairs), name="new", **kwargs)


def test_linkage_by_the_second_guid():
    parent = dynamic(2 * MB, {1: full()})
    other = uuid.uuid5(uuid.NAMESPACE_DNS, "other")
    with in_memory(linked(parent, ("parent_linkage2", str(parent.data_write_guid)), linkage=other), parent) as disk:
        assert disk.read() == parent_after_child(parent, disk)


def parent_after_child(parent: Image, disk: vhdxreader.VirtualDisk) -> bytes:
    return disk.image.pread(MB, 0) + parent.expected(MB)


@pytest.mark.parametrize("given", ["path", "file", "disk", "policy"])
def test_wrong_guid(tmp_path, given):
    parent = dynamic(2 * MB, {1: full()})
    other = uuid.uuid5(uuid.NAMESPACE_DNS, "other")
    child = linked(parent, linkage=other).save(tmp_path / "child.avhdx")
    path = parent.save(tmp_path / "0.vhdx")
    with vhdxreader.open(path) as base:
        arguments = {"path": path, "file": parent.open(), "disk": base, "policy": None}
        with pytest.raises(ParentMismatchError) as caught:
            vhdxreader.open(child, parent=arguments[given])
    assert str(other) in str(caught.value)
    assert str(parent.data_write_guid) not in str(caught.value)
    assert "0.vhdx" in str(caught.value) or given == "file"


def test_linkage_is_compared_with_the_current_header():
    """The older header's DataWriteGuid does not count, though it was right once: the parent was modified."""
    parent = dynamic(2 * MB, {1: full()})
    older = parent.spec.guid("older data write")
    with pytest.raises(ParentMismatchError):
        in_memory(linked(parent, linkage=older), parent)
    in_memory(linked(parent), parent).close()


def test_other_sector_size():
    parent = dynamic(2 * MB, {1: full()}, sector_size=4096)
    for given in (parent.open(), vhdxreader.open(parent.open())):
        with pytest.raises(ParentMismatchError, match="4096"):
            vhdxreader.open(linked(parent).open(), parent=given)


def test_parent_may_be_fixed():
    parent = fixed(2 * MB, {1: full()})
    child = linked(parent)
    with in_memory(child, parent) as disk:
        assert disk.read() == child.expected()


def test_file_that_is_no_vhdx(tmp_path):
    child = linked(dynamic(2 * MB)).save(tmp_path / "child.avhdx")
    (tmp_path / "0.vhdx").write_bytes(b"root:secret:0:0" * 1000)
    with pytest.raises(ParentNotFoundError, match="not a VHDX") as caught:
        vhdxreader.open(child)
    assert "secret" not in str(caught.value)


def test_depth_guard():
    images: list[Image] = [dynamic(MB, name="g0")]
    for number in range(1, 257):
        images.insert(0, differencing(MB, parent=images[0], name=f"g{number}", metadata_length=MB))
    with in_memory(*images[1:]) as disk:
        assert len(disk.images) == 256
        assert disk.read() == bytes(MB)
        with pytest.raises(ParentError, match="256"):
            vhdxreader.open(images[0].open(), parent=disk)
    with pytest.raises(ParentError, match="256"):
        in_memory(*images)


def test_dirty_parent_needs_its_log(tmp_path):
    """A member with a log to replay is opened like the child itself is."""
    images = two({0: full()})
    dirty(images[1], []).save(tmp_path / "0.vhdx")
    child = images[0].save(tmp_path / "child.avhdx")
    try:
        expected = vhdxreader.open(tmp_path / "0.vhdx")
    except vhdxreader.DirtyLogError:
        with pytest.raises(vhdxreader.DirtyLogError, match=r"0\.vhdx"):
            vhdxreader.open(child)
    else:
        expected.close()
        with vhdxreader.open(child) as disk:
            assert disk.read() == images[0].expected()
