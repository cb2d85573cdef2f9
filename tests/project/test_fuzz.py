"""A short run of the structure-aware fuzzer, the same each time; and the images that once broke its invariant."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest
from builder import MB, Image, bat_entry, differencing, dynamic, full, partial

pytest.importorskip("resource", reason="the fuzzer limits its memory by a call that only POSIX has")
sys.path.insert(0, str(Path(__file__).parents[2] / "fuzz"))

from invariant import exercise
from mutate import run

PARENT = dynamic(4 * MB, blocks={0: full()})


def test_fixed_seed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where an image that breaks the invariant would be written
    outcomes = run(7, executions=400)
    assert sum(outcomes.values()) == 400
    assert outcomes["opened"] > 50
    assert len(outcomes) > 15


def bitmap_that_begins_behind_the_end() -> Image:
    """It broke no rule by name: a read of nothing behind the end was an error of its own."""
    overrides = {"bitmap[0]": bat_entry(6, 1 << 50)}
    return differencing(4 * MB, blocks={0: partial([0])}, parent=PARENT, overrides=overrides)


def table_whose_second_page_begins_behind_the_end() -> Image:
    """The same of the BAT: entry 4096 and all behind it."""
    image = dynamic(5000 * MB, blocks={0: full()}, order=("log", "metadata", "blocks", "bat"))
    return image.truncate(image.bat_offset + 4 * 4096)


@pytest.mark.parametrize("make", [bitmap_that_begins_behind_the_end, table_whose_second_page_begins_behind_the_end])
def test_what_fuzzing_found(make):
    assert exercise(make().open, PARENT.open, random.Random(0)) == "opened"
