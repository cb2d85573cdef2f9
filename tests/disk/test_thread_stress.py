"""Nothing that threads share is torn: BAT pages, bitmap pages, replayed places and descriptors, under many switches.

More pages are asked for than each cache holds, so that every read makes one and drops another. On a build without a
lock the threads really run at once; elsewhere they are switched every microsecond.
"""

from __future__ import annotations

import random
import sys
import sysconfig
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from builder import GB, MB, differencing, dirty, dynamic, full, hide, partial

import vhdxreader

THREADS = 8
READS = 200


@pytest.fixture(autouse=True)
def many_switches():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def in_threads(work) -> None:
    """`work(random)` in all threads at once; what it raises is raised."""
    ready = threading.Barrier(THREADS)

    def run(seed: int) -> None:
        ready.wait()
        work(random.Random(seed))

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(run, range(THREADS)))


def read_at_random(disk, expected, rng) -> None:
    for _ in range(READS):
        place, skip, size = rng.choice(list(expected)), rng.randrange(2048), rng.choice([16, 512, 4096])
        assert disk.pread(size, place + skip) == expected[place][skip : skip + size]


def images():
    """Two hundred pages of the BAT; a bitmap of two hundred pages over a parent; a log that moves blocks."""
    pages = {page * 4096: full(f"page {page}".encode()) for page in range(0, 200, 7)}
    yield "BAT pages", dynamic(800 * GB, pages), [page * 4096 * MB for page in range(200)]
    size = 256 * MB
    parent = dynamic(size, {n: full(f"parent {n}".encode()) for n in range(0, 200, 5)})
    blocks = {n: partial(range(n % 3, 2048, 3)) for n in range(0, 200, 2)}
    yield "bitmaps", differencing(size, blocks, parent=parent), [n * MB + 4096 * (n % 9) for n in range(200)]
    whole = dynamic(64 * MB, {n: full(f"block {n}".encode()) for n in range(0, 60, 3)})
    stale, updates = hide(whole, *((whole.block_entry_offset(n), 8) for n in range(0, 60, 3)))
    yield "replayed places", dirty(stale, updates), [n * MB for n in range(60)]


@pytest.mark.parametrize("source", ["path", "file object"])
@pytest.mark.parametrize(("image", "places"), [case[1:] for case in images()], ids=[case[0] for case in images()])
def test_reads_of_one_disk(image, places, source, tmp_path):
    path = image.save(tmp_path / "disk.vhdx")
    expected = {place: image.expected(place, 8192) for place in places}  # before there are threads
    if image.spec.parent is not None:
        image.spec.parent.save(tmp_path / "parent.vhdx")
    with path.open("rb") as file:
        given = {"parent": tmp_path / "parent.vhdx"} if image.spec.parent is not None else {}
        with vhdxreader.open(path if source == "path" else file, **given) as disk:
            in_threads(lambda rng: read_at_random(disk, expected, rng))


def test_opening_and_closing_beside_reads(tmp_path):
    """Descriptor numbers come and go; each thread's disk reads its own file."""
    made = [dynamic(4 * MB, {0: full(f"disk {n}".encode())}) for n in range(THREADS)]
    paths = [image.save(tmp_path / f"{n}.vhdx") for n, image in enumerate(made)]

    def work(rng) -> None:
        for _ in range(60):
            n = rng.randrange(THREADS)
            with vhdxreader.open(paths[n]) as disk:
                assert disk.pread(4096, 512) == made[n].expected(512, 4096)

    in_threads(work)


@pytest.mark.skipif(not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="this Python has its lock")
def test_this_package_does_not_bring_the_lock_back():
    assert not sys._is_gil_enabled()
