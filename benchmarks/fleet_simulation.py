"""The formula of docs/scale.md held against a Dask cluster on this machine, on which images only seem to be looked at.

.venv/bin/python benchmarks/fleet_simulation.py     # needs the extra `fleet`

Each "image" waits for its requests, some of which fail and are tried again, and then computes for a while. What is real
is all else: the survey, the cluster, the messages. Ends with 1 where formula and cluster are more than 20 % apart.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from fleet_images import local_cluster

import vhdxreader
from vhdxreader.integrations.dask import dask_cluster
from vhdxreader.tools import survey as survey_module

PAUSE = 0.1  # seconds before a request is tried again, as `files/transport.py` has it
ALLOWED = 0.2


@dataclass(frozen=True)
class Load:
    """Seconds of processor and rounds of requests an image, seconds a round, and the share of rounds that fail."""

    cpu: float
    rounds: int
    latency: float
    failing: float

    def seconds(self) -> float:
        """How long one image takes, if nobody else computes."""
        return self.cpu + self.rounds * (self.latency + self.failing / (1 - self.failing) * (self.latency + PAUSE))


def images_a_second(load: Load, workers: int, threads: int, scheduler: float) -> float:
    """The formula: a worker has as many images under way as it has threads, but computes one at a time; the scheduler
    hands out no more than it can."""
    computing = 1 / load.cpu if load.cpu else float("inf")
    return min(workers * min(threads / load.seconds(), computing), scheduler)


def look(load: Load, path: str, _task: Any) -> dict[str, Any]:
    """What `survey_image` would cost."""
    chance = random.Random(path)
    for _ in range(load.rounds):
        time.sleep(load.latency)
        while chance.random() < load.failing:
            time.sleep(PAUSE + load.latency)
    end = time.thread_time() + load.cpu
    while time.thread_time() < end:
        pass
    return {"filename": path}


NOTHING = Load(0.0, 0, 0.0, 0.0)
LOADS = (Load(0.0, 4, 0.5, 0.0), Load(0.002, 4, 0.5, 0.1), Load(0.0, 1, 0.01, 0.0))


@contextmanager
def simulated(load: Load, count: int) -> Iterator[list[str]]:
    """The names of images that are not there, while they only seem to be looked at."""
    names = [f"image {number}" for number in range(count)]
    before = vhdxreader.survey_image, survey_module.largest_first
    vhdxreader.survey_image = partial(look, load)
    survey_module.largest_first = lambda paths: [(path, 0) for path in paths]
    try:
        yield names
    finally:
        vhdxreader.survey_image, survey_module.largest_first = before


def measured(load: Load, address: str, under_way: int, rounds: int) -> float:
    """Images a second on a cluster while all its threads have one, so without its start and end."""
    count = under_way * (rounds + 2)
    with simulated(load, count) as names, dask_cluster(address) as run:
        arrivals = [time.monotonic() for _ in vhdxreader.survey(names, run=run)]
    assert len(arrivals) == count
    return under_way * rounds / (arrivals[-under_way] - arrivals[under_way])


def compared(load: Load, address: str, workers: int, threads: int) -> float:
    """How far formula and cluster are apart, as a part. What the scheduler can do is measured before and after, since a
    machine may have other work."""
    slots = workers * threads
    before = measured(NOTHING, address, slots, 160 // slots)
    found = measured(load, address, slots, 6 if load.seconds() > 1 else 160 // slots)
    scheduler = 2 / (1 / before + 1 / measured(NOTHING, address, slots, 160 // slots))
    expected = images_a_second(load, workers, threads, scheduler)
    print(
        f"{workers} workers of {threads} threads, {load}: {expected:.1f} images/s by the formula"
        f" (scheduler {scheduler:.0f}), {found:.1f} measured: {found / expected - 1:+.0%}",
        flush=True,
    )
    return abs(found / expected - 1)


def main() -> int:
    """Hold the formula against clusters."""
    worst = 0.0
    for workers, threads in ((1, 4), (2, 4), (2, 8)):
        with local_cluster(workers, threads) as address:
            measured(NOTHING, address, 4, 10)  # all is imported now
            worst = max(worst, *(compared(load, address, workers, threads) for load in LOADS))
    return int(worst > ALLOWED)


if __name__ == "__main__":
    sys.exit(main())
