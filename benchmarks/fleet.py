"""A fleet of images surveyed in every way there is: the same records each time, and how long each takes beside a loop.

.venv/bin/python benchmarks/fleet.py [IMAGES]        # needs the extra `fleet`; the table of docs/fleets.md
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterable
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from fleet_images import STUB, build_fleet, kill_or_survey, local_cluster, plain_loop
from ranged_server import RangedServer, ranged_server

import vhdxreader
from vhdxreader.integrations.dask import dask_cluster
from vhdxreader.tools import survey_pool

TASK = vhdxreader.SurveyTask(check=True)
SLOW, SLOWER = 0.005, 0.105  # seconds a request, by HTTP
SOME = 100  # images, with both
OF_A_FILE = (
    *("filename", "modified_ns", "inode", "device", "allocated_size", "file_version"),
    *("seconds", "error", "findings"),
)

Record = dict[str, Any]


def in_order(records: Iterable[Record]) -> list[Record]:
    """What must be the same whoever found it."""
    return sorted(({**record, "seconds": None} for record in records), key=lambda record: record["filename"])


def timed(name: str, folder: Path, **how: Any) -> list[Record]:
    """The records, and a line that says how fast they came."""
    begin = time.monotonic()
    records = in_order(vhdxreader.survey([folder], TASK, **how))
    seconds = time.monotonic() - begin
    print(f"{name:28} {len(records):5} records, {len(records) / seconds:7.1f} images/s")
    return records


def every_way(folder: Path) -> None:
    """A loop, processes, a cluster; a worker killed in the middle; and a survey that was stopped, and went on."""
    expected = timed("a plain loop", folder, run=plain_loop)
    for jobs in (1, 2):
        assert timed(f"{jobs} processes", folder, jobs=jobs) == expected
    begin = time.monotonic()
    with local_cluster() as address:
        print(f"{'start of a Dask cluster':28} {time.monotonic() - begin:5.1f} s")
        with dask_cluster(address) as run:
            assert timed("Dask, 2 workers", folder, run=run) == expected
    resumed(folder, expected)
    killed(folder, expected)


def resumed(folder: Path, expected: list[Record]) -> None:
    """The records of a survey that was stopped, and of what was left."""
    records = vhdxreader.survey([folder], TASK, jobs=2)
    first = [next(records) for _ in range(len(expected) // 3)]
    records.close()
    known = {record["filename"]: vhdxreader.stamp_of(record) for record in first}
    rest = list(vhdxreader.survey([folder], TASK, jobs=2, known=known))
    assert in_order([*first, *rest]) == expected
    print(f"{'stopped and resumed':28} {len(first)} + {len(rest)} records, the same")


def killed(folder: Path, expected: list[Record]) -> None:
    """A file in the middle kills whoever looks at it: the pool's process, or the cluster's worker."""
    stub = folder / "vm004" / "stub.vhdx"
    stub.write_bytes(STUB)
    survey_image, survey_pool.survey_image = survey_pool.survey_image, kill_or_survey
    check_killed("2 processes, one killed", timed("2 processes, one killed", folder, jobs=2), stub, expected)
    survey_pool.survey_image = survey_image
    vhdxreader.survey_image, before = kill_or_survey, vhdxreader.survey_image
    with local_cluster() as address, dask_cluster(address) as run:
        vhdxreader.survey_image = kill_or_survey
        check_killed("Dask", timed("Dask, workers killed", folder, run=run), stub, expected)
    vhdxreader.survey_image = before
    stub.unlink()


def check_killed(name: str, records: list[Record], stub: Path, expected: list[Record]) -> None:
    """All records are the same but that of the stub, which says what it did."""
    dead = [record for record in records if record["filename"] == str(stub)]
    assert len(dead) == 1, name
    print(f"{'':28} {dead[0]['error']['message']}")
    assert [record for record in records if record not in dead] == expected, name


def by_http(folder: Path) -> None:
    """Requests, rounds of them, bytes and processor time an image, from a local server that is slow."""
    with ranged_server() as server:
        urls = {served(server, folder, path): str(path) for path in sorted(folder.rglob("*.*vhdx"))}
        some = dict(list(urls.items())[:SOME])
        surveyed(server, SLOW, urls)
        rounds = (surveyed(server, SLOWER, some) - surveyed(server, SLOW, some)) / (SLOWER - SLOW) / len(some)
    print(f"one after another, an image waits for {rounds:.2f} requests")


def served(server: RangedServer, folder: Path, path: Path) -> str:
    """The URL of a file; its bytes are not held in memory."""
    with path.open("rb") as file:
        return server.put(f"/{path.relative_to(folder).as_posix()}", mmap(file.fileno(), 0, access=ACCESS_READ))


def surveyed(server: RangedServer, delay: float, urls: dict[str, str]) -> float:
    """Survey them, hold the records against those of the files, say what it took, and give back the seconds."""
    server.delay = delay
    server.requests.clear()
    cpu, begin = time.process_time(), time.monotonic()
    records = dict(plain_loop(urls, TASK))
    cpu, seconds = time.process_time() - cpu, time.monotonic() - begin
    tell(server, delay, len(urls), cpu, seconds)
    for url, record in records.items():
        check_remote(record, vhdxreader.survey_image(urls[url], TASK))
    return seconds


def tell(server: RangedServer, delay: float, count: int, cpu: float, seconds: float) -> None:
    """Say what a survey by HTTP took."""
    print(
        f"by HTTP, {count} images, {delay * 1000:g} ms a request: {len(server.requests) / count:.2f} requests,"
        f" {server.byte_count / count / 2**20:.2f} MiB, {cpu / count * 1000:.1f} ms of processor (server and client),"
        f" {count / seconds:.1f} images/s"
    )


def check_remote(record: Record, local: Record) -> None:
    """The same record, but for what a file system says."""
    own = dict.fromkeys(OF_A_FILE)
    assert {**record, **own} == {**local, **own}, (record, local)
    assert (record["error"] is None) == (local["error"] is None)


def main() -> None:
    """Build, survey, compare."""
    size = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    with tempfile.TemporaryDirectory() as scratch:
        folder = build_fleet(Path(scratch), size)
        by_http(folder)
        every_way(folder)


if __name__ == "__main__":
    main()
