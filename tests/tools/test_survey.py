"""Surveys: one record an image, whatever is wrong with it and whatever becomes of the process that looks at it."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from builder import MB, differencing, dirty, dynamic, full, hide

import vhdxreader
from vhdxreader import SURVEY_KEYS, SurveyTask
from vhdxreader.cli.app import run
from vhdxreader.tools import survey_pool

BASE = dynamic(4 * MB, {0: full(), 1: full(), 2: full()}, name="survey base")
CHILD = differencing(4 * MB, {1: full()}, parent=BASE, parent_path="base.vhdx", name="survey child")
ORPHAN = differencing(4 * MB, {}, parent=dynamic(4 * MB, name="gone"), parent_path="gone.vhdx", name="survey orphan")


@pytest.fixture
def farm(tmp_path):
    folder = tmp_path / "farm"
    (folder / "sub").mkdir(parents=True)
    BASE.save(folder / "base.vhdx")
    CHILD.save(folder / "child.avhdx")
    ORPHAN.save(folder / "sub" / "orphan.avhdx")
    dirty(*hide(BASE, (BASE.bat_offset, 4096))).save(folder / "sub" / "dirty.vhdx")
    BASE.copy().patch("header1.signature", b"dead").patch("header2.signature", b"dead").save(folder / "dead.vhdx")
    (folder / "stub.vhdx").write_bytes(b"vhdxfile")
    (folder / "text.txt").write_text("no image")
    return folder


def by_name(records) -> dict[str, dict]:
    return {os.path.basename(record["filename"]): record for record in records}


def without_time(records) -> list[dict]:
    return sorted(({**record, "seconds": None} for record in records), key=lambda record: record["filename"])


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_record_for_each_image(farm, jobs):
    task = SurveyTask(check=True, algorithms=("sha256",))
    records = list(vhdxreader.survey([farm], task, jobs=jobs))
    found = by_name(records)
    assert sorted(found) == ["base.vhdx", "child.avhdx", "dead.vhdx", "dirty.vhdx", "orphan.avhdx", "stub.vhdx"]
    assert all(list(record) == list(SURVEY_KEYS) for record in records)
    json.dumps(records)
    base = found["base.vhdx"]
    assert (base["disk_type"], base["virtual_size"], base["log_state"], base["error"]) == (
        "dynamic",
        4 * MB,
        "clean",
        None,
    )
    assert base["digests"] == {"sha256": hashlib.sha256(BASE.expected()).hexdigest()}
    assert base["allocated_block_count"] == 3
    assert base["data_write_guid"] == str(BASE.data_write_guid) == found["child.avhdx"]["parent_linkage_guid"]
    assert found["dirty.vhdx"]["log_state"] == "dirty"
    assert found["dirty.vhdx"]["digests"] == base["digests"]
    assert found["orphan.avhdx"]["error"]["rule"] == "parent.not_found"
    assert "no valid header" in found["dead.vhdx"]["error"]["message"]
    assert found["stub.vhdx"]["error"] is not None


def test_one_process_and_two_give_the_same(farm):
    task = SurveyTask(check=True)
    one, two = (list(vhdxreader.survey([farm], task, jobs=jobs)) for jobs in (1, 2))
    assert without_time(one) == without_time(two)


def test_globs_and_largest_first(farm):
    records = list(vhdxreader.survey([str(farm / "**" / "*.avhdx")], jobs=1))
    assert sorted(by_name(records)) == ["child.avhdx", "orphan.avhdx"]
    sizes = [record["file_size"] for record in vhdxreader.survey([farm], jobs=1)]
    assert sizes == sorted(sizes, reverse=True)
    with pytest.raises(FileNotFoundError):
        list(vhdxreader.survey([farm / "nowhere"]))


def killed(path, _task):
    """What a fault in a library of the system would do to a process."""
    if "stub" in path:
        os.kill(os.getpid(), signal.SIGKILL)
    return {"filename": path}


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="signals of POSIX")
def test_an_image_that_kills_its_process_loses_nobody_elses_record(farm, monkeypatch):
    monkeypatch.setattr(survey_pool, "_work", killed)
    paths = [str(farm / "stub.vhdx"), *(str(path) for path in sorted(farm.rglob("*.?vhdx"))), str(farm / "base.vhdx")]
    results = dict(survey_pool.run_in_pool(paths, SurveyTask(), 2))
    assert set(results) == set(paths)
    assert "killed" in results[paths[0]]
    assert all(results[path] == {"filename": path} for path in paths[1:])


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="signals of POSIX")
def test_a_time_limit():
    with pytest.raises(survey_pool._TimeLimitError), survey_pool._limited(0.05):
        time.sleep(20)
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_an_image_that_vanishes_is_a_record(farm):
    records = vhdxreader.survey_image(str(farm / "was here.vhdx"), SurveyTask())
    assert "No such file" in records["error"]["message"]
    assert records["file_size"] is None


def test_the_forest_of_records(farm):
    forest = vhdxreader.forest_of(vhdxreader.survey([farm], jobs=1))
    states = {os.path.basename(name): str(node.link) for name, node in forest.nodes.items()}
    assert states["child.avhdx"] == "doubled"  # the dirty copy of its parent has the same DataWriteGuid
    assert states["orphan.avhdx"] == "missing"
    assert os.path.basename(forest.nodes[str(farm / "child.avhdx")].parent.filename) == "base.vhdx"


# ---- the command


def test_output_and_resume(farm, tmp_path, capsys):
    output = tmp_path / "records.jsonl"
    arguments = ["survey", str(farm), "-o", str(output), "-j", "1", "--resume"]
    assert run(arguments) == 1
    first = [json.loads(line) for line in output.read_text().splitlines()]
    assert len(first) == 6
    assert {record["schema"] for record in first} == {"vhdxreader/survey/1"}
    with open(output, "a") as file:
        file.write('{"filename": "torn')  # as after a kill
    CHILD.save(farm / "new.avhdx")
    os.utime(farm / "base.vhdx", (1, 1))
    assert run([*arguments, "--summary", "--forest"]) == 0
    second = [json.loads(line) for line in output.read_text().splitlines()]
    assert second[:6] == first
    assert sorted(os.path.basename(record["filename"]) for record in second[6:]) == ["base.vhdx", "new.avhdx"]
    shown = capsys.readouterr().out
    assert "2 images" in shown
    assert "7 images" in shown
    assert run(["survey", str(farm), "--resume"]) == 64


@pytest.mark.skipif(not hasattr(signal, "SIGINT"), reason="signals of POSIX")
def test_an_interrupted_survey_goes_on(farm, tmp_path):
    output = tmp_path / "records.jsonl"
    for n in range(40):
        BASE.save(farm / f"{n}.vhdx")
    arguments = [sys.executable, "-m", "vhdxreader", "survey", str(farm), "-o", str(output), "-j", "1", "--resume"]
    with subprocess.Popen([*arguments, "--deep", "--hash", "sha256,md5"]) as process:
        while process.poll() is None and (not output.exists() or output.read_bytes().count(b"\n") < 3):
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    begun = output.read_bytes().count(b"\n")
    assert 3 <= begun < 46
    assert subprocess.run(arguments, check=False).returncode == 1
    names = [json.loads(line)["filename"] for line in output.read_text().splitlines()]
    assert len(names) == len(set(names)) == 46


def test_parquet(farm, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    output = tmp_path / "records.parquet"
    assert run(["survey", str(farm), "-o", str(output), "-j", "1", "--check"]) == 1
    table = parquet.read_table(output).to_pylist()
    assert len(table) == 6
    base = next(row for row in table if row["filename"].endswith("base.vhdx"))
    assert (base["virtual_size"], base["allocated_block_count"]) == (4 * MB, 3)
