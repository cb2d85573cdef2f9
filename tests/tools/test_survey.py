"""Surveys: one record an image, whatever is wrong with it and whatever becomes of the process that looks at it."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import pytest
from builder import MB, differencing, dirty, dynamic, full, hide
from fleet_images import plain_loop
from running import running

import vhdxreader
from vhdxreader import SURVEY_KEYS, SurveyTask
from vhdxreader.cli.app import run
from vhdxreader.tools import survey as survey_module  # not the function of the same name
from vhdxreader.tools import survey_pool, survey_record
from vhdxreader.tools.survey_names import largest_first
from vhdxreader.tools.time_limit import TimeLimitError, time_limit

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
    """Also without what a file takes of its disk, which changes when the system writes what waits in memory."""
    return sorted(
        ({**record, "seconds": None, "allocated_size": None} for record in records),
        key=lambda record: record["filename"],
    )


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


def test_folders_below_that_cannot_be_listed_are_records(farm, monkeypatch):
    listed = os.scandir

    def scandir(path):
        if os.path.basename(path) == "sub":
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert (str(farm / "sub"), 0) in largest_first([farm])
    assert vhdxreader.survey_image(farm / "sub")["error"] is not None
    with pytest.raises(PermissionError):
        largest_first([farm / "sub"])
    assert str(farm / "sub") in dict(largest_first([str(farm / "s*")]))


def test_links_in_a_circle_and_pipes_are_no_images(farm):
    for name in ("one", "two"):  # 2 to the power of 40 ways round
        os.symlink(farm, farm / name)
    os.mkfifo(farm / "pipe.vhdx")
    names = [os.path.relpath(name, farm) for name, _ in largest_first([str(farm / "**" / "*.*vhdx")])]
    assert sorted(name for name in names if "pipe" not in name) == [
        *("base.vhdx", "child.avhdx", "dead.vhdx", "stub.vhdx", "sub/dirty.vhdx", "sub/orphan.avhdx")
    ]
    assert vhdxreader.survey_image(str(farm / "pipe.vhdx"))["error"] is not None


def test_names_that_are_not_utf_8(farm, tmp_path):
    name = os.fsencode(tmp_path) + b"/farm/\xff.vhdx"
    os.rename(farm / "base.vhdx", name)
    record = next(
        r for r in vhdxreader.survey([farm], jobs=1) if r["disk_type"] == "dynamic" and "udcff" in r["filename"]
    )
    assert record["filename"].endswith("/\\udcff.vhdx")
    json.dumps(record).encode()
    again = list(vhdxreader.survey([name], jobs=1, known={record["filename"]: vhdxreader.stamp_of(record)}))
    assert again == []


def test_memory_does_not_grow_with_what_was_done():
    """100,000 names: they are held, and nothing else of an image."""
    names = [f"/nowhere/{n:06}.vhdx" for n in range(100_000)]
    under_way = []

    def run(paths, _task):
        for path in paths:
            under_way.append(path)
            yield under_way.pop(), {}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(survey_module, "largest_first", lambda paths: [(name, 0) for name in paths])
        tracemalloc.start()
        count = sum(1 for _ in vhdxreader.survey(names, run=run))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert count == 100_000
    assert peak < 100_000 * 250


def test_globs_and_largest_first(farm):
    records = list(vhdxreader.survey([str(farm / "**" / "*.avhdx")], jobs=1))
    assert sorted(by_name(records)) == ["child.avhdx", "orphan.avhdx"]
    sizes = [record["file_size"] for record in vhdxreader.survey([farm], jobs=1)]
    assert sizes == sorted(sizes, reverse=True)
    for nowhere in (farm / "nowhere", str(farm / "*.nothing")):
        with pytest.raises(FileNotFoundError):
            list(vhdxreader.survey([nowhere]))


def killed(path, _task):
    """What a fault in a library of the system would do to a process."""
    if "stub" in path:
        os.kill(os.getpid(), signal.SIGKILL)
    return {"filename": path}


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="signals of POSIX")
def test_an_image_that_kills_its_process_loses_nobody_elses_record(farm, monkeypatch):
    monkeypatch.setattr(survey_pool, "survey_image", killed)
    paths = [str(farm / "stub.vhdx"), *(str(path) for path in sorted(farm.rglob("*.?vhdx"))), str(farm / "base.vhdx")]
    results = dict(survey_pool.run_in_pool(paths, SurveyTask(), 2))
    assert set(results) == set(paths)
    assert "killed" in results[paths[0]]
    assert all(results[path] == {"filename": path} for path in paths[1:])


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="signals of POSIX")
def test_a_time_limit():
    with pytest.raises(TimeLimitError), time_limit(0.05):
        time.sleep(20)
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_time_limit_in_a_thread():
    def for_ever() -> str:
        try:
            with time_limit(0.05):
                while True:
                    sum(range(100))
        except TimeLimitError:
            return "stopped"

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(for_ever).result(30) == "stopped"


def test_an_image_that_takes_too_long_is_a_record(farm, monkeypatch):
    monkeypatch.setattr(survey_record, "_facts", lambda *_: time.sleep(20))
    record = vhdxreader.survey_image(str(farm / "base.vhdx"), SurveyTask(seconds=0.05))
    assert record["error"]["message"] == "it took longer than 0.05 s"
    assert record["file_size"] == (farm / "base.vhdx").stat().st_size


CHANGES = {
    "grown": lambda path: os.truncate(path, path.stat().st_size + MB),
    "cut": lambda path: os.truncate(path, MB),
    "replaced": lambda path: os.replace(path.with_name("child.avhdx"), path),
    "removed": os.remove,
}


@pytest.mark.skipif(sys.platform == "win32", reason="what is open stays there")
@pytest.mark.parametrize("change", CHANGES)
def test_an_image_that_changes_meanwhile_is_a_record_that_says_so(farm, monkeypatch, change):
    path, looked = farm / "base.vhdx", survey_record.member_of

    def member_of(source, name):
        member = looked(source, name)
        CHANGES[change](path)
        return member

    monkeypatch.setattr(survey_record, "member_of", member_of)
    record = vhdxreader.survey_image(str(path), SurveyTask(check=True))
    assert record["error"]["rule"] == "file.changed"
    assert "was changed while it was read" in record["error"]["message"]
    assert record["filename"] == str(path)
    known = {record["filename"]: vhdxreader.stamp_of(record)}
    if path.exists():  # and is read again
        assert list(vhdxreader.survey([path], known=known, run=plain_loop))


def test_an_image_that_vanishes_is_a_record(farm):
    records = vhdxreader.survey_image(str(farm / "was here.vhdx"), SurveyTask())
    with pytest.raises(FileNotFoundError) as missing:
        os.stat(farm / "was here.vhdx")
    assert missing.value.strerror in records["error"]["message"]
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


def test_what_is_not_written_over(farm, tmp_path, capsys):
    output = tmp_path / "records.jsonl"
    arguments = ["survey", str(farm / "stub.vhdx"), "-j", "1", "-o"]
    assert run([*arguments, str(tmp_path / "records.txt")]) == 64
    image = tmp_path / "image.jsonl"
    BASE.save(image)
    before = image.read_bytes()
    for options in ([], ["--force"], ["--resume"]):
        assert run([*arguments, str(image), *options]) == 1
    assert image.read_bytes() == before
    output.write_text('{"schema": "vhdxreader/survey/0"}\n')
    assert run([*arguments, str(output)]) == 1
    assert "--force" in capsys.readouterr().err
    assert run([*arguments, str(output), "--resume"]) == 1
    assert "line 1: no record of vhdxreader/survey/1" in capsys.readouterr().err
    assert output.read_text() == '{"schema": "vhdxreader/survey/0"}\n'
    fcntl = pytest.importorskip("fcntl")
    with open(output) as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert run([*arguments, str(output), "--force"]) == 1
    assert "another survey is writing it" in capsys.readouterr().err
    assert run([*arguments, str(output), "--force"]) == 1
    assert len(output.read_text().splitlines()) == 1


def workers(parent: int) -> set[int]:
    """The processes that it began and that have not ended."""
    with open(f"/proc/{parent}/task/{parent}/children") as children:
        return set(map(int, children.read().split()))


def are_gone(processes) -> bool:
    for _ in range(600):
        if not any(os.path.exists(f"/proc/{process}/fd/0") for process in processes):
            return True
        time.sleep(0.1)
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
@pytest.mark.parametrize("how", ["killed", "nobody reads"])
def test_no_process_outlives_a_survey(farm, how):
    huge = differencing(4 * MB, {}, parent=BASE, parent_path="base.vhdx", name="huge")
    for n in range(200):
        huge.save(farm / f"{n}.avhdx")
    arguments = [sys.executable, "-m", "vhdxreader", "survey", str(farm), "-j", "2", "--deep", "--hash", "sha256"]
    with running(arguments, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline()
        begun = workers(process.pid)
        assert len(begun) >= 2
        if how == "killed":
            process.kill()
        process.stdout.close()
        assert process.wait(60) == (-signal.SIGKILL if how == "killed" else -signal.SIGPIPE)
    assert are_gone(begun)


@pytest.mark.skipif(not hasattr(signal, "SIGINT"), reason="signals of POSIX")
def test_an_interrupted_survey_goes_on(farm, tmp_path):
    output = tmp_path / "records.jsonl"
    for n in range(40):
        BASE.save(farm / f"{n}.vhdx")
    arguments = [sys.executable, "-m", "vhdxreader", "survey", str(farm), "-o", str(output), "-j", "1", "--resume"]
    with running([*arguments, "--deep", "--hash", "sha256,md5"]) as process:
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
