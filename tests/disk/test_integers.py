"""Every public function takes integers of other libraries, which wrap in silence, as it takes an int."""

from __future__ import annotations

import dataclasses
import inspect
import io
import itertools
import json
import re
import struct
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from builder import GB, MB, Junk, dirty, dynamic, full, hide
from integers import Index, Wrapping

import vhdxreader

try:
    import fsspec
except ImportError:
    fsspec = None
try:
    import numpy
except ImportError:
    numpy = None

GEOMETRY = vhdxreader.Geometry(64 * GB, MB, 512, True)
MBR = (bytes(446) + struct.pack("<4xB3xII", 0x83, 2, 500_000)).ljust(510, b"\0") + b"\x55\xaa"
BLOCKS = 300
NUMBERS = itertools.count()
KINDS = "VirtualDisk", "VhdxImage", "PartitionStream"

# What takes no integer from a caller: protocols that the caller fulfils, and errors, which only the package raises.
NOT_TAKEN = r"BinaryFile\.|\w+Error\.__init__|\w+\.truncate"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("integers")
    image = dynamic(BLOCKS * MB, {0: full(MBR), 1: full(), BLOCKS - 1: full()}, junk=Junk.NONE)
    clean = image.save(folder / "clean.vhdx")
    with_log = dirty(*hide(image, (image.bat_offset, 4096))).save(folder / "dirty.vhdx")
    (folder / "empty").mkdir()
    (folder / "below").mkdir()
    image.save(folder / "below" / "inner.vhdx")
    with (
        vhdxreader.open(clean) as disk,
        vhdxreader.open(with_log) as replayed,
        disk.partition(1) as part,
        vhdxreader.open_source(clean) as by_path,
        vhdxreader.open_source(io.BytesIO(clean.read_bytes())) as by_object,
        vhdxreader.open_source(by_path) as borrowed,
        remote_sources(clean.read_bytes()) as remote,
    ):
        sources = [by_path, by_object, borrowed, replayed.image.source, *remote]
        yield SimpleNamespace(
            folder=folder, path=clean, sources=sources, VirtualDisk=disk, VhdxImage=disk.image, PartitionStream=part
        )


@contextmanager
def remote_sources(data):
    """One, or none where fsspec is not installed."""
    if fsspec is None:
        yield []
        return
    fsspec.filesystem("memory").pipe_file("/integers.vhdx", data)
    with vhdxreader.open_source("memory://integers.vhdx") as source:
        yield [source]


def into(method, offset):
    buffer = memoryview(bytearray(10_000))
    return method(buffer, offset), bytes(buffer)


def many(source, offset):
    buffers = [memoryview(bytearray(10_000)) for _ in range(2)]
    source.read_many([(buffers[0], offset), (buffers[1], 0)])
    return [bytes(buffer) for buffer in buffers]


def sought(stream, offset, whence=0):
    return stream.seek(offset, whence), stream.read(5)


def copied(disk, **options):
    target = io.BytesIO()
    vhdxreader.copy_range(disk, target, **options)
    return target.getvalue()


def unpacked(size):
    with vhdxreader.open_unpacked(io.BytesIO(bytes(60_000)), max_size=size) as source:
        return source.size


def skeleton(files, size):
    return vhdxreader.write_skeleton(files.path, str(files.folder / "new"), max_size=size)


def recorded(files, length):
    path = files.folder / f"{next(NUMBERS)}.json"
    with vhdxreader.CustodyRecord(path, command="test") as record:
        record.add_output(files.path, length)
    return json.loads(path.read_text())["output"]


def counted(extent_length):
    cell = vhdxreader.DiskCell(0, 1 << 40)
    extent = vhdxreader.Extent(0, 1 << 40, vhdxreader.Kind.ZERO, None, None, 0)
    for _ in range(2):
        cell.add(extent, extent_length)
    return cell.to_dict()


def each(call):
    """The same of every kind of source."""
    return lambda files, n: [call(source, n) for source in files.sources]


# "function parameter": a value that soon wraps, and what the function gives for it.
CALLS = {
    "Geometry.checked virtual_disk_size": (60_000, lambda _, n: vhdxreader.Geometry.checked(n, MB, 512, False).entries),
    "Geometry.checked block_size": (MB, lambda _, n: vhdxreader.Geometry.checked(64 * GB, n, 512, False).entries),
    "Geometry.checked sector_size": (512, lambda _, n: vhdxreader.Geometry.checked(64 * GB, MB, n, True).entries),
    "Geometry.payload_index block": (65_535, lambda _, n: GEOMETRY.payload_index(n)),
    "Geometry.bitmap_index chunk": (200, lambda _, n: GEOMETRY.bitmap_index(n)),
    "Geometry.block_at index": (60_000, lambda _, n: GEOMETRY.block_at(n)),
    "Geometry.block_name index": (60_000, lambda _, n: GEOMETRY.block_name(n)),
    "Header.log_is_in_place file_size": (4 * MB, lambda files, n: files.VhdxImage.header.log_is_in_place(n)),
    "DiskCell.add length": (200, lambda _, n: counted(n)),
    "CustodyRecord.add_output length": (60_000, recorded),
    "VirtualDisk.partition number": (1, lambda files, n: files.VirtualDisk.partition(n).size),
    "chain_forest depth": (1, lambda files, n: sorted(vhdxreader.chain_forest([files.folder], depth=n).nodes)),
    "copy_range offset": (60_000, lambda files, n: copied(files.VirtualDisk, offset=n, length=10_000)),
    "copy_range length": (60_000, lambda files, n: copied(files.VirtualDisk, offset=10_000, length=n)),
    "disk_cells most": (200, lambda files, n: vhdxreader.disk_cells(files.VirtualDisk, n)),
    "file_cells most": (200, lambda files, n: vhdxreader.file_cells(files.VhdxImage, n)),
    "dump first": (200, lambda files, n: list(vhdxreader.dump(files.path, ["bat"], first=n))),
    "dump count": (200, lambda files, n: list(vhdxreader.dump(files.path, ["bat"], first=60, count=n))),
    "find_images depth": (1, lambda files, n: list(vhdxreader.find_images(str(files.folder), n))),
    "named_images depth": (1, lambda files, n: vhdxreader.named_images([files.folder], n)),
    "hash_file length": (60_000, lambda files, n: vhdxreader.hash_file(files.path, ["md5"], length=n)),
    "open_unpacked max_size": (60_000, lambda _, n: unpacked(n)),
    "short_size value": (60_000, lambda _, n: vhdxreader.short_size(n)),
    "survey jobs": (1, lambda files, n: list(vhdxreader.survey([files.folder / "empty"], jobs=n))),
    "write_skeleton max_size": (60_000, skeleton),
    "Source.read_at offset": (60_000, each(lambda source, n: source.read_at(n, 10_000))),
    "Source.read_at size": (60_000, each(lambda source, n: source.read_at(10_000, n))),
    "Source.read_into offset": (60_000, each(lambda source, n: into(source.read_into, n))),
    "Source.read_many parts": (60_000, each(many)),
    "Source.will_read ranges": (60_000, each(lambda source, n: source.will_read([(n, 100_000), (0, n)]))),
    "Source.holds offset": (60_000, each(lambda source, n: source.holds(n, 10_000))),
    "Source.holds length": (60_000, each(lambda source, n: source.holds(10_000, n))),
    "Source.holds_all offset": (60_000, each(lambda source, n: source.holds_all(n, 1 << 30))),
    "Source.holds_all length": (60_000, each(lambda source, n: source.holds_all(source.whole_end - 10_000, n))),
    "Source.data_ranges start": (60_000, each(lambda source, n: list(source.data_ranges(n, 100_000)))),
    "Source.data_ranges end": (60_000, each(lambda source, n: list(source.data_ranges(0, n)))),
    "Source.file_of offset": (60_000, each(lambda source, n: source.file_of(n, 1 << 30))),
    "Source.file_of size": (60_000, each(lambda source, n: source.file_of(source.size - 10_000, n))),
}
for kind in KINDS:
    of = lambda files, kind=kind: getattr(files, kind)  # noqa: E731
    CALLS |= {
        f"{kind}.pread size": (60_000, lambda files, n, of=of: of(files).pread(n, 10_000)),
        f"{kind}.pread offset": (60_000, lambda files, n, of=of: of(files).pread(10_000, n)),
        f"{kind}.preadinto offset": (60_000, lambda files, n, of=of: into(of(files).preadinto, n)),
        f"{kind}.extents offset": (60_000, lambda files, n, of=of: list(of(files).extents(offset=n))),
        f"{kind}.extents length": (60_000, lambda files, n, of=of: list(of(files).extents(offset=10_000, length=n))),
    }
    if kind != "VhdxImage":
        CALLS |= {
            f"{kind}.read size": (60_000, lambda files, n, of=of: (of(files).seek(10_000), of(files).read(n))),
            f"{kind}.seek offset": (60_000, lambda files, n, of=of: sought(of(files), n)),
            f"{kind}.seek whence": (1, lambda files, n, of=of: (of(files).seek(10_000), sought(of(files), 10, n))),
        }


def public_integers():
    """Each parameter of a public function or method that is an integer, or may be."""
    for name in vhdxreader.__all__:
        thing = getattr(vhdxreader, name)
        if not inspect.isclass(thing):
            yield from integers_of(name, thing)
            continue
        for method, function in inspect.getmembers(thing, inspect.isroutine):
            made_here = dataclasses.is_dataclass(thing) and method == "__init__"
            if not made_here and (method == "__init__" or not method.startswith("_")):
                yield from integers_of(f"{name}.{method}", function)


def integers_of(name, function):
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # no function, or one of C
        return
    for parameter in parameters:
        kind = str(parameter.annotation)
        if re.search(r"\bint\b", kind) and "Callable" not in kind and not re.match(NOT_TAKEN, name):
            yield f"{name} {parameter.name}"


def test_every_public_integer_is_tried():
    assert set(public_integers()) == set(CALLS)


@pytest.mark.parametrize("name", CALLS)
def test_every_integer_is_one(name, files):
    if name == "Source.will_read ranges" and fsspec is None:
        pytest.skip("a hint that only a remote source heeds")
    value, call = CALLS[name]
    wanted = call(files, value)
    for same in others(value):
        assert call(files, same) == wanted, same
    for no_integer in (float(value), str(value)):
        with pytest.raises(TypeError):
            call(files, no_integer)


@pytest.mark.parametrize("bad", [1.0, "1"])
def test_every_source_takes_integers_only(bad, files):
    """Also one that has no use for them, as any has on a system without `preadv`."""
    for source in files.sources:
        for arguments in ((bad, 1), (1, bad)):
            for method in (source.file_of, source.holds, source.holds_all, source.read_at):
                with pytest.raises(TypeError):
                    method(*arguments)


def others(value):
    """The same integer of other types, the narrowest that holds it among them."""
    widths = [bits for bits in (8, 16, 32, 64) if value < 1 << bits]
    yield Index(value)
    yield from (Wrapping(value, bits) for bits in (widths[0], 64))
    if numpy is not None:
        yield from (getattr(numpy, f"uint{bits}")(value) for bits in widths)
