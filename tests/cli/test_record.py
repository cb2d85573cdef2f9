"""`--record`: an account of what was done, whole and true, also of what failed."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import pytest
from builder import MB, differencing, dynamic, full, reserved
from running import running
from test_schemas import held

import vhdxreader
from vhdxreader.cli.app import run

SIZE = 8 * MB


@pytest.fixture
def chain(tmp_path):
    base = dynamic(SIZE, {0: full(), 3: full()}, name="base")
    child = differencing(SIZE, {1: full()}, parent=base, parent_path="base.vhdx", name="child")
    return child, child.save(tmp_path / "child.avhdx"), base.save(tmp_path / "base.vhdx")


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def recorded(path):
    return held(path.read_text("utf-8"))


def test_convert(chain, tmp_path):
    image, child, parent = chain
    target, record = tmp_path / "disk.raw", tmp_path / "record.json"
    arguments = ["convert", str(child), str(target), "--record", str(record), "--record-digest", "md5"]
    begin = datetime.now().timestamp()
    assert run(arguments) == 0
    facts = recorded(record)
    assert (facts["command"], facts["arguments"], facts["result"]) == ("convert", arguments, "done")
    assert (facts["exit_code"], facts["error"]) == (0, None)
    started, ended = (datetime.fromisoformat(facts[key]).timestamp() for key in ("started", "ended"))
    assert begin - 1 <= started <= ended <= datetime.now().timestamp() + 1
    (read,) = facts["images"]
    assert (read["length"], read["changed"], read["lost"]) == (SIZE, False, [])
    for path, file in zip((child, parent), read["files"], strict=True):
        status = os.stat(path)
        assert (file["filename"], file["file_size"]) == (str(path), status.st_size)
        assert (file["modified_ns"], file["inode"]) == (status.st_mtime_ns, status.st_ino)
        assert file["digests"] == {"md5": hashlib.md5(path.read_bytes()).hexdigest()}
        assert file["log"]["state"] == "clean"
    expected = hashlib.md5(image.expected(0, SIZE)).hexdigest()
    assert facts["output"] == {"filename": str(target), "length": SIZE, "digests": {"md5": expected}}


def test_cat(chain, tmp_path, capfdbinary):
    image, child, _ = chain
    record = tmp_path / "record.json"
    assert run(["cat", str(child), "--offset", "512", "--length", "2M", "--record", str(record)]) == 0
    wanted = image.expected(512, 2 * MB)
    assert capfdbinary.readouterr().out == wanted
    assert recorded(record)["output"] == {
        "filename": None,
        "length": 2 * MB,
        "digests": {"sha256": sha256(wanted)},
    }


def test_hash_of_several_of_which_some_fail(chain, tmp_path):
    image, child, _ = chain
    bad = dynamic(SIZE, {0: full(), 1: reserved(5)}).save(tmp_path / "bad.vhdx")
    record = tmp_path / "record.json"
    assert run(["hash", str(child), str(bad), str(tmp_path / "none.vhdx"), "--record", str(record)]) == 2
    facts = recorded(record)
    good, broken, missing = facts["images"]
    assert good["digests"] == {"sha256": sha256(image.expected(0, SIZE))}
    assert (good["error"], broken["digests"], missing["files"]) == (None, None, [])
    assert broken["error"]["rule"] == "payload.state"
    assert missing["error"]["filename"] == str(tmp_path / "none.vhdx")
    assert (facts["result"], facts["exit_code"], facts["output"]) == ("failed", 2, None)


def test_a_failure_is_recorded_and_no_digest_of_a_part(tmp_path):
    bad = dynamic(SIZE, {0: full(), 5: reserved(5)}).save(tmp_path / "bad.vhdx")
    for name, command in {"cat": ["cat", bad], "convert": ["convert", bad, tmp_path / "out.raw"]}.items():
        record = tmp_path / f"{name}.json"
        assert run([*map(str, command), "--record", str(record)]) == 2
        facts = recorded(record)
        assert (facts["result"], facts["exit_code"]) == ("failed", 2)
        assert facts["error"]["rule"] == facts["images"][0]["error"]["rule"] == "payload.state"
        assert facts["output"] is None or facts["output"]["digests"] is None
    assert not (tmp_path / "out.raw").exists()


def test_what_does_not_open_is_recorded(tmp_path):
    path = tmp_path / "text.vhdx"
    path.write_bytes(b"text" * 1000)
    assert run(["convert", str(path), str(tmp_path / "out"), "--record", str(tmp_path / "record.json")]) == 1
    facts = recorded(tmp_path / "record.json")
    assert (facts["result"], facts["exit_code"], facts["images"]) == ("failed", 1, [])
    assert facts["error"]["rule"] == "identifier.signature"


def test_salvage_says_what_was_lost(tmp_path):
    bad = dynamic(SIZE, {0: full(), 5: reserved(5)}).save(tmp_path / "bad.vhdx")
    record = tmp_path / "record.json"
    assert run(["hash", str(bad), "--salvage", "--record", str(record)]) == 2
    (read,) = recorded(record)["images"]
    assert [(lost["disk_offset"], lost["length"]) for lost in read["lost"]] == [(5 * MB, MB)]


def test_nothing_is_ever_replaced(chain, tmp_path, capsys):
    _, child, parent = chain
    mine = tmp_path / "mine.json"
    mine.write_text("mine")
    before = child.read_bytes(), parent.read_bytes()
    for path in (mine, child, parent):
        assert run(["hash", str(child), "--record", str(path)]) == 1
        assert run(["convert", str(child), str(tmp_path / "out"), "--force", "--record", str(path)]) == 1
    both = str(tmp_path / "both")
    assert run(["convert", str(child), both, "--record", both]) == 1
    assert "cannot be both" in capsys.readouterr().err
    os.unlink(both)  # the record of that failure
    assert mine.read_text() == "mine"
    assert (child.read_bytes(), parent.read_bytes()) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base.vhdx", "child.avhdx", "mine.json"]


def test_usage(chain, tmp_path):
    _, child, _ = chain
    assert run(["hash", str(child), "--record-digest", "md5"]) == 64
    assert run(["hash", str(child), "--record", str(tmp_path / "r.json"), "--record-digest", "nope"]) == 64
    assert not (tmp_path / "r.json").exists()


def test_what_is_no_new_file_is_refused_with_a_way_out(chain, tmp_path, monkeypatch, capsys):
    _, child, _ = chain
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    for line in (["hash", child, "--record", "-"], ["report", child, "-"], ["skeleton", child, "-"]):
        assert run(list(map(str, line))) == 64
        assert "'-' is not a file" in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before
    assert run(["hash", str(child), "--record", str(child)]) == 1
    assert "give it another name" in capsys.readouterr().err


def test_an_interrupt_while_the_file_is_made_leaves_nothing(tmp_path, monkeypatch):
    whole = vhdxreader.WholeFile(tmp_path / "disk.raw", overwrite=False, protected=())
    record = vhdxreader.CustodyRecord(tmp_path / "record.json", command="mine")
    assert list(tmp_path.iterdir()) == []
    os_open = os.open

    def interrupted(*arguments):
        os.close(os_open(*arguments))
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "open", interrupted)
    for context in (whole, record):
        with pytest.raises(KeyboardInterrupt), context:
            pass
        assert list(tmp_path.iterdir()) == []


def files_of(process) -> set[str]:
    folder = Path(f"/proc/{process.pid}/fd")
    return {os.readlink(each) for each in folder.iterdir() if os.path.lexists(each)}


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="there is no /proc")
def test_a_signal_is_recorded(tmp_path):
    path = dynamic(64 * 1024 * MB, {0: full()}).save(tmp_path / "large.vhdx")
    record = tmp_path / "record.json"
    command = [sys.executable, "-m", "vhdxreader", "hash", str(path), "--record", str(record)]
    with running(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        while str(path) not in files_of(process):  # the image is opened after the record
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    facts = json.loads(record.read_text())
    assert (process.returncode, facts["result"], facts["exit_code"]) == (130, "interrupted", 130)


def test_from_python(chain, tmp_path):
    image, child, _ = chain
    with (
        vhdxreader.CustodyRecord(tmp_path / "record.json", command="mine") as record,
        vhdxreader.open(child) as disk,
        record.reading(disk) as note,
    ):
        note(digests=vhdxreader.hash_disk(disk))
    (read,) = recorded(tmp_path / "record.json")["images"]
    assert read["digests"] == {"sha256": sha256(image.expected(0, SIZE))}
