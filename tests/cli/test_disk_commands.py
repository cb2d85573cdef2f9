"""hash, compare, partitions, measure, tree, serve and mount, as they are typed."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from builder import MB, differencing, dirty, dynamic, full, hide, partial, reserved
from ranged_server import ranged_server
from running import running

import vhdxreader
from vhdxreader.cli.app import run

SIZE = 5 * MB
TABLE = bytes(446) + bytes([0, 0, 0, 0, 0x83, 0, 0, 0]) + (2048).to_bytes(4, "little") + (100).to_bytes(4, "little")
SECTOR = TABLE.ljust(510, b"\0") + b"\x55\xaa"
IMAGE = dynamic(SIZE, {0: full({0: SECTOR}), 1: full(), 3: full()}, name="commands")
CHILD = differencing(SIZE, {1: partial({3: b"x"})}, parent=IMAGE, parent_path="disk.vhdx", name="commands child")
BROKEN = dynamic(SIZE, {0: full(), 2: reserved(4)}, name="commands broken")


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    IMAGE.save(tmp_path / "disk.vhdx")
    CHILD.save(tmp_path / "child.avhdx")
    BROKEN.save(tmp_path / "broken.vhdx")
    (tmp_path / "disk.raw").write_bytes(IMAGE.expected())
    return tmp_path


def command(capsys, *arguments) -> tuple[int, str]:
    code = run(arguments)
    return code, capsys.readouterr().out


def answer(capsys, *arguments) -> tuple[int, dict]:
    code, text = command(capsys, *arguments, "--json")
    return code, json.loads(text)


# ---- hash


@pytest.mark.usefixtures("folder")
def test_hash_is_sha256sums_form(capsys):
    assert command(capsys, "hash", "disk.vhdx") == (0, f"{sha256(IMAGE.expected())}  disk.vhdx\n")
    code, text = command(capsys, "hash", "-a", "md5,sha256", "child.avhdx", "--partition", "1")
    part = CHILD.expected(MB, 51200)
    assert text == f"MD5 (child.avhdx#1) = {hashlib.md5(part).hexdigest()}\nSHA256 (child.avhdx#1) = {sha256(part)}\n"
    assert code == 0


def test_hash_of_the_file_and_before_the_replay(folder, capsys):
    wet = dirty(*hide(IMAGE, (IMAGE.bat_offset, 4096)))
    wet.save(folder / "wet.vhdx")
    code, found = answer(capsys, "hash", "wet.vhdx", "--file", "--log", "both")
    assert code == 0
    assert found["digests"] == {"sha256": sha256(IMAGE.expected())}
    assert found["before_replay"] == {"sha256": sha256(bytes(SIZE))}
    assert found["file_digests"] == {"sha256": sha256((folder / "wet.vhdx").read_bytes())}


@pytest.mark.usefixtures("folder")
def test_hash_of_a_broken_disk_prints_no_digest_but_a_salvaged_one_marked(capsys):
    assert command(capsys, "hash", "broken.vhdx") == (2, "")
    code, found = answer(capsys, "hash", "broken.vhdx", "--salvage")
    want = BROKEN.expected(0, MB) + bytes(4 * MB)
    assert (code, found["digests"], found["salvaged"]) == (2, {"sha256": sha256(want)}, True)
    assert [(lost["disk_offset"], lost["length"]) for lost in found["lost"]] == [(2 * MB, MB)]
    code, text = command(capsys, "hash", "disk.vhdx", "broken.vhdx", "nowhere.vhdx")
    assert (code, text) == (2, f"{sha256(IMAGE.expected())}  disk.vhdx\n")


@pytest.mark.usefixtures("folder")
def test_hash_of_blocks(capsys):
    code, found = answer(capsys, "hash", "disk.vhdx", "--blocks")
    assert code == 0
    want = [sha256(IMAGE.expected(n * MB, MB)) for n in range(5)]
    assert [block["digest"] for block in found["blocks"]] == want
    assert [block["zero"] for block in found["blocks"]] == [False, False, True, False, True]
    code, text = command(capsys, "hash", "disk.vhdx", "--blocks")
    assert [line.split()[0] for line in text.splitlines()] == want


@pytest.mark.usefixtures("folder")
def test_blocks_of_zeros_share_a_line(capsys):
    dynamic(70 * MB + 512, {0: full(), 40: full()}).save("long.vhdx")
    code, text = command(capsys, "hash", "long.vhdx", "--blocks")
    zeros = f"{sha256(bytes(MB))}  "
    first, second, third, fourth, last = text.splitlines()
    assert code == 0
    assert second == f"{zeros}blocks 1 to 39 from 0x100000 on, 1048576 bytes each, zeros"
    assert fourth == f"{zeros}blocks 41 to 69 from 0x2900000 on, 1048576 bytes each, zeros"
    assert last == f"{sha256(bytes(512))}  block 70 at 0x4600000, 512 bytes, zeros"
    assert first.endswith("  block 0 at 0x0, 1048576 bytes")
    assert third.endswith("  block 40 at 0x2800000, 1048576 bytes")


@pytest.mark.usefixtures("folder")
def test_a_single_byte_differs(capsys):
    Path("a").write_bytes(b"abc")
    Path("b").write_bytes(b"abd")
    code, text = command(capsys, "compare", "a", "b", "--ranges")
    assert (code, text.splitlines()[1:]) == (1, ["1 byte differs, in 1 range.", "  0x0  3 bytes"])


@pytest.mark.usefixtures("folder")
def test_a_tree_is_drawn_past_those_that_come_later(capsys):
    root = dynamic(4 * MB, {0: full()}, name="root")
    first = differencing(4 * MB, {1: full()}, parent=root, parent_path="root.vhdx", name="first")
    second = differencing(4 * MB, {2: full()}, parent=root, parent_path="root.vhdx", name="second")
    below = differencing(4 * MB, {}, parent=first, parent_path="1.avhdx", name="below")
    names = {"root.vhdx": root, "1.avhdx": first, "2.avhdx": second, "3.avhdx": below}
    for name, image in names.items():
        image.save(name)
    _, text = command(capsys, "tree", *names)
    drawn = [line.split("  differencing")[0] for line in text.splitlines()[1:-1]]
    assert sorted(drawn) in (
        sorted(["├─ 1.avhdx", "│  └─ 3.avhdx", "└─ 2.avhdx"]),
        sorted(["├─ 2.avhdx", "└─ 1.avhdx", "   └─ 3.avhdx"]),
    )
    _, text = command(capsys, "tree", "2.avhdx")
    assert text.splitlines()[-1] == "1 image, 1 tree, 1 without their parent, 0 with a problem"


@pytest.mark.usefixtures("folder")
def test_findings_of_parents_are_counted_beside_their_rule(capsys):
    base = dynamic(4 * MB, {0: full()}, name="base").flip(64 * 1024 + 9)
    base.save("base.vhdx")
    differencing(4 * MB, {1: full()}, parent=base, parent_path="base.vhdx").save("child.avhdx")
    _, text = command(capsys, "check", "child.avhdx", "child.avhdx")
    assert text.splitlines()[1].split()[-3:] == ["warning", "1", "header.checksum"]


def test_hash_verifies_lists(folder, capsys):
    right, wrong = sha256(IMAGE.expected()), "0" * 64
    (folder / "gnu").write_text(f"{right}  disk.raw\n{wrong}  broken.raw\n")
    (folder / "deep").write_text(f"%%%% HASHDEEP-1.0\n%%%% size,sha256,filename\n{SIZE},{right},/evidence/disk.raw\n")
    (folder / "bad").write_text(f"{wrong}  disk.raw\n")
    (folder / "text").write_text("no list\n")
    assert command(capsys, "hash", "disk.vhdx", "--verify", "gnu") == (0, "disk.vhdx: OK\n")
    assert command(capsys, "hash", "disk.vhdx", "--verify", "deep") == (0, "disk.vhdx: OK\n")
    assert command(capsys, "hash", "disk.vhdx", "--verify", "bad") == (1, "disk.vhdx: FAILED\n")
    (folder / "short").write_text((folder / "deep").read_text().replace(f"{SIZE},", f"{SIZE - 1},"))
    assert command(capsys, "hash", "disk.vhdx", "--verify", "short") == (1, "disk.vhdx: FAILED\n")
    assert command(capsys, "hash", str(folder / "disk.vhdx"), "--verify", "deep")[0] == 1
    assert command(capsys, "hash", "child.avhdx", "--verify", "gnu")[0] == 1
    assert command(capsys, "hash", "disk.vhdx", "--verify", "text")[0] == 64
    code, found = answer(capsys, "hash", "disk.vhdx", "--verify", "bad")
    assert (code, found["verified"], found["expected_digests"]) == (1, False, [{"sha256": wrong}])


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("wrong", [["-a", "nonsense"], ["-a", "md5,sha1", "--blocks"], ["--partition", "0"]])
def test_hash_used_wrongly(wrong, capsys):
    assert command(capsys, "hash", "disk.vhdx", *wrong) == (64, "")
    assert command(capsys, "hash", "disk.vhdx", "--partition", "7") == (1, "")


# ---- compare


@pytest.mark.usefixtures("folder")
def test_compare_has_cmps_codes(capsys):
    assert command(capsys, "compare", "disk.vhdx", "disk.raw") == (0, "The disks are the same.\n")
    code, found = answer(capsys, "compare", "disk.vhdx", "child.avhdx", "--ranges")
    a, b = IMAGE.expected(), CHILD.expected()
    places = [i for i in range(MB, 2 * MB) if a[i] != b[i]]
    assert (code, found["first_disk_offset"], found["differing_byte_count"]) == (1, places[0], len(places))
    assert found["ranges"] == [{"disk_offset": MB + 3 * 512, "length": 512}]
    assert command(capsys, "compare", "disk.vhdx", "nowhere.vhdx")[0] == 2
    assert command(capsys, "compare", "broken.vhdx", "disk.raw")[0] == 2
    assert command(capsys, "compare", "disk.vhdx", "broken.vhdx", "--partition", "1")[0] in (1, 2)


def test_compare_takes_no_damaged_image_for_a_raw_disk(capsys, folder):
    whole = (folder / "disk.vhdx").read_bytes()
    (folder / "damaged.vhdx").write_bytes(bytes(8) + whole[8:])
    assert command(capsys, "compare", "damaged.vhdx", "disk.raw") == (2, "")
    assert command(capsys, "compare", "child.avhdx", "disk.raw", "--parent", "disk.raw") == (2, "")


def test_compare_says_what_a_foreign_file_is_where_it_differs(capsys, folder):
    (folder / "disk.qcow2").write_bytes(b"QFI\xfb" + bytes(SIZE - 4))
    code = run(["compare", "disk.vhdx", "disk.qcow2"])
    assert (code, "QEMU's image" in capsys.readouterr().err) == (1, True)
    assert run(["compare", "disk.raw", "disk.raw"]) == 0
    assert capsys.readouterr().err == ""


def test_one_is_not_said_in_the_plural(capsys, folder):
    (folder / "one").write_bytes(bytes(1024))
    (folder / "other").write_bytes(bytes(600) + b"12" + bytes(422))
    code, text = command(capsys, "compare", "one", "other")
    assert (code, text.splitlines()[-1]) == (1, "2 bytes differ, in 1 range.")


def test_a_file_with_nothing_unused_says_so(capsys, folder):
    dynamic(10 * MB, {0: full()}).save(folder / "tight.vhdx")
    assert command(capsys, "map", "--unused", "tight.vhdx") == (0, "No range of the file is unused.\n")


def test_compare_with_standard_input(folder):
    arguments = [sys.executable, "-m", "vhdxreader", "compare", "disk.vhdx", "-"]
    for data, code in ((IMAGE.expected(), 0), (IMAGE.expected() + bytes(MB), 0), (b"x" + IMAGE.expected()[1:], 1)):
        assert subprocess.run(arguments, input=data, capture_output=True, cwd=folder, check=False).returncode == code
    strict = [*arguments, "--strict"]
    done = subprocess.run(strict, input=IMAGE.expected() + bytes(MB), capture_output=True, cwd=folder, check=False)
    assert done.returncode == 1


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("words", [["hash", "disk.vhdx"], ["compare", "disk.vhdx", "child.avhdx"]])
def test_a_partition_that_is_not_there_is_no_difference_and_said_in_json_too(capsys, words):
    code, found = answer(capsys, *words, "--partition", "7")
    assert code == (2 if words[0] == "compare" else 1)
    assert found["error"]["message"] == f"{words[1]} has no partition 7"


# ---- partitions, measure, tree


@pytest.mark.usefixtures("folder")
def test_partitions(capsys):
    code, found = answer(capsys, "partitions", "disk.vhdx")
    assert (code, found["scheme"]) == (0, "mbr")
    (part,) = found["partitions"]
    assert (part["number"], part["disk_offset"], part["length"], part["type"]) == (1, MB, 51200, "83")
    code, text = command(capsys, "partitions", "disk.vhdx")
    assert "MBR" in text
    assert "0x100000" in text


@pytest.mark.usefixtures("folder")
def test_measure(capsys):
    code, found = answer(capsys, "measure", "disk.vhdx")
    assert (code, found["required_size"], found["fully_allocated_size"]) == (0, 3 * MB, SIZE)
    code, found = answer(capsys, "measure", "child.avhdx", "-O", "vhd")
    assert (found["fully_allocated_size"], len(found["files"])) == (SIZE + 512, 2)


@pytest.mark.usefixtures("folder")
def test_tree(capsys):
    code, text = command(capsys, "tree", ".")
    assert code == 0
    lines = text.splitlines()
    assert lines[0].startswith("./broken.vhdx")
    assert lines[1].startswith("./disk.vhdx")
    assert lines[2].startswith("└─ child.avhdx")
    assert "newest leaf" in lines[2]
    os.unlink("disk.vhdx")
    code, found = answer(capsys, "tree", ".")
    assert (found["orphan_count"], found["root_count"]) == (1, 2)
    assert command(capsys, "tree", "nowhere")[0] == 1
    assert command(capsys, "tree", "no*")[0] == 1


@pytest.mark.usefixtures("folder")
def test_tree_of_a_server_and_of_globs(capsys):
    with ranged_server() as server:
        query = "?token=secret"
        for name in ("disk.vhdx", "child.avhdx"):
            server.put(f"/a%20b/{name}", Path(name).read_bytes())
        urls = [f"{server.url}/a%20b/{name}" for name in ("child.avhdx", "disk.vhdx")]
        code, text = command(capsys, "tree", *(url + query for url in urls))
        lines = text.splitlines()
        assert code == 0
        assert lines[0].startswith(f"{urls[1]}  dynamic")
        assert lines[1].startswith("└─ child.avhdx  differencing")
        code, found = answer(capsys, "tree", *(url + query for url in urls))
        assert found["paths"] == urls
        assert {image["filename"]: image["parent"] for image in found["images"]} == {urls[0]: urls[1], urls[1]: None}
        server.put("/a%20b/disk.vhdx", dynamic(SIZE, {}, name="another").tobytes())
        code, found = answer(capsys, "tree", *urls)
        assert [image["parent_state"] for image in found["images"]] == ["changed", "none"]
        server.put("/a%20b/disk.vhdx", b"no image")
        code, found = answer(capsys, "tree", *urls)
        assert (code, found["problem_count"]) == (0, 1)
    code, found = answer(capsys, "tree", "*.*vhdx")
    assert {image["filename"] for image in found["images"]} == {"broken.vhdx", "child.avhdx", "disk.vhdx"}


# ---- serve


def test_serve_runs_a_program_and_ends_with_its_code(folder):
    arguments = [sys.executable, "-m", "vhdxreader", "serve", "disk.vhdx", "--exec"]
    done = subprocess.run([*arguments, 'echo "$uri"; exit 7'], capture_output=True, text=True, cwd=folder, check=False)
    assert done.returncode == 7
    assert done.stdout.startswith("nbd+unix:///?socket=")
    assert not os.path.exists(done.stdout.strip().removeprefix("nbd+unix:///?socket="))


@pytest.mark.parametrize("name", ["md5", "sha1", "sha384", "sha512"])
def test_hash_goes_by_the_length_of_a_listed_digest(name, capsys, folder):
    digest = hashlib.new(name, IMAGE.expected()).hexdigest()
    (folder / "list").write_text(f"{digest}  disk.raw\n")
    assert command(capsys, "hash", "disk.vhdx", "--verify", "list") == (0, "disk.vhdx: OK\n")


def test_hash_meets_lists_that_it_cannot_use(capsys, folder):
    (folder / "list").write_text("FOO (disk.vhdx) = abcd\n")
    assert command(capsys, "hash", "disk.vhdx", "--verify", "list") == (1, "")
    assert answer(capsys, "hash", "disk.vhdx", "--verify", "list")[0] == 1
    (folder / "list").write_text("%%%% size,md5\n5,abcd\n")
    assert command(capsys, "hash", "disk.vhdx", "--verify", "list") == (64, "")


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("how", [[], ["--socket", "s"], ["--exec", "true"]], ids=str)
def test_serve_without_sockets_that_have_paths(how, capsys, monkeypatch):
    """As Python for Windows has none."""
    monkeypatch.delattr(socket, "AF_UNIX", raising=False)
    assert run(["serve", "disk.vhdx", *how]) == 1
    assert "no sockets with paths; a port can be named instead" in capsys.readouterr().err


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="Unix sockets")
def test_serve_outlives_a_client_that_hangs_up(folder):
    arguments = [sys.executable, "-m", "vhdxreader", "serve", "disk.vhdx", "--socket", "s"]
    with running(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=folder) as server:
        server.stdout.readline()
        for _ in range(20):
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(folder / "s"))
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(folder / "s"))
            assert client.recv(8) == b"NBDMAGIC"
        server.terminate()
        assert server.wait(30) == 0


@pytest.mark.skipif(not hasattr(signal, "SIGTERM"), reason="signals of POSIX")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])  # by name: Windows has not all of them
def test_serve_ends_cleanly_on_signals(name, folder):
    arguments = [sys.executable, "-m", "vhdxreader", "serve", "disk.vhdx", "child.avhdx", "--socket", "s"]
    with running(arguments, stdout=subprocess.PIPE, text=True, cwd=folder) as server:
        names = [server.stdout.readline().strip() for _ in range(5)]
        assert [name.partition("///")[2].partition("?")[0] for name in names] == [
            "", "disk.vhdx", "disk.vhdx/partition1", "child.avhdx", "child.avhdx/partition1",
        ]  # fmt: skip
        server.send_signal(getattr(signal, name))
        assert server.wait(30) == 0
    assert not (folder / "s").exists()


SERVE_IN_A_THREAD_THAT_HEARS_NO_SIGNAL = """
import signal, threading
threading.Thread(target=threading.Event().wait, daemon=True).start()
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
from vhdxreader.cli.app import main
main(["serve", "disk.vhdx", "--socket", "s"])
"""


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="signals of POSIX")
def test_a_signal_that_does_not_wake_the_waiting_thread_ends_serve(folder):
    """As one that comes between Python's last look and the wait, of 300 about one."""
    program = [sys.executable, "-c", SERVE_IN_A_THREAD_THAT_HEARS_NO_SIGNAL]
    with running(program, stdout=subprocess.PIPE, cwd=folder) as server:
        assert server.stdout.readline().startswith(b"nbd+unix:")
        time.sleep(0.5)  # it waits for clients now
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 0


@pytest.mark.usefixtures("folder")
def test_serve_used_wrongly(capsys):
    for wrong in (["--bind", "0.0.0.0"], ["--socket", "s", "--port", "1"]):
        assert command(capsys, "serve", "disk.vhdx", *wrong) == (64, "")
    assert command(capsys, "serve", "broken.vhdx", "nowhere.vhdx", "--port", "0")[0] == 1


# ---- mount


def fuse(witness):
    """The program that unmounts; skips where FUSE cannot be used."""
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("there is no /dev/fuse for this user")
    return witness("fusermount3")


@contextmanager
def mounted(folder, witness, *arguments):
    """What is mounted by the command; unmounted at the end."""
    fusermount = fuse(witness)
    mountpoint = folder / "mnt"
    mountpoint.mkdir()
    whole = [sys.executable, "-m", "vhdxreader", "mount", *arguments, "mnt"]
    process = subprocess.Popen(whole, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(1200):
            if os.path.ismount(mountpoint) or process.poll():
                break
            time.sleep(0.05)
        yield mountpoint
    finally:
        subprocess.run([fusermount, "-uz", mountpoint], capture_output=True, check=False)
        if process.poll() is None:
            process.terminate()
        assert process.wait(30) in (0, -signal.SIGTERM)


def read(*paths: Path) -> bytes:
    """By another process: this one may serve what they come from."""
    return subprocess.run(["cat", *paths], capture_output=True, check=True, timeout=60).stdout


@pytest.mark.witness
def test_mount_in_the_background(folder, witness):
    with mounted(folder, witness, ".") as shown:
        assert (shown / "child.avhdx" / "disk.raw").read_bytes() == CHILD.expected()
        assert (shown / "disk.vhdx" / "partition1.raw").read_bytes() == IMAGE.expected(MB, 51200)


@pytest.mark.witness
def test_mount_of_a_glob_in_the_background(folder, witness):
    with mounted(folder, witness, "d*.vhdx") as shown:
        assert (shown / "disk.vhdx" / "disk.raw").read_bytes() == IMAGE.expected()


@pytest.mark.witness
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_a_mount_that_a_signal_ends_was_one(name, folder, witness):
    fuse(witness)
    (folder / "mnt").mkdir()
    program = [sys.executable, "-m", "vhdxreader", "mount", "-f", "disk.vhdx", "mnt"]
    with running(program, stderr=subprocess.PIPE, cwd=folder) as process:
        while not os.path.ismount(folder / "mnt") and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(getattr(signal, name))
        assert (process.wait(60), process.stderr.read()) == (0, b"")
    assert not os.path.ismount(folder / "mnt")


@pytest.mark.usefixtures("folder")
def test_of_two_images_under_one_name_none_is_left_out(capsys, tmp_path, monkeypatch):
    names = dict.fromkeys(("s3://b/f/x.vhdx", "s3://b/f//x.vhdx"), 0)
    monkeypatch.setattr(vhdxreader, "named_images", lambda _: names)
    monkeypatch.setattr("vhdxreader.integrations.fuse.mount", lambda *_, **__: None)
    assert run(["mount", "-f", "s3://b/f/", str(tmp_path)]) == 1
    assert "under one name" in capsys.readouterr().err


def test_what_is_there_is_not_what_was_meant(folder, capsys):
    for name in ("mnt", "empty"):
        (folder / name).mkdir()
    assert run(["mount", "empty", "mnt"]) == 1
    assert "Did you mean" not in capsys.readouterr().err


@pytest.mark.witness
def test_mount_in_the_background_finds_what_was_named_from_here(folder, witness):
    (folder / "sub").mkdir()
    os.rename(folder / "disk.vhdx", folder / "sub" / "other.vhdx")
    with mounted(folder, witness, "child.avhdx", "--parent", "sub/other.vhdx") as shown:
        assert (shown / "disk.raw").read_bytes() == CHILD.expected()


@pytest.mark.witness
def test_mount_of_a_url(folder, witness):
    with ranged_server() as server:
        server.put("/disk.vhdx", (folder / "disk.vhdx").read_bytes())
        url = server.put("/child.avhdx", (folder / "child.avhdx").read_bytes())
        with mounted(folder, witness, url, "--foreground") as shown:
            assert read(shown / "disk.raw", shown / "findings.txt") == CHILD.expected()


@pytest.mark.witness
def test_mount_of_a_folder_on_a_server(folder, witness):
    with ranged_server() as server:
        url = server.put("/images/", b'<a href="disk.vhdx">disk.vhdx</a> <a href="child.avhdx">child.avhdx</a>')
        for name in ("disk.vhdx", "child.avhdx"):
            server.put(f"/images/{name}", (folder / name).read_bytes())
        with mounted(folder, witness, url, "--foreground") as shown:
            assert sorted(os.listdir(shown)) == ["child.avhdx", "disk.vhdx"]
            assert read(shown / "child.avhdx" / "disk.raw") == CHILD.expected()
            assert read(shown / "disk.vhdx" / "partition1.raw") == IMAGE.expected(MB, 51200)


@pytest.mark.parametrize("name", ["mount", "tree", "survey"])
def test_a_server_that_lists_nothing_or_breaks_off_is_named(name, folder, capsys):
    (folder / "mnt").mkdir()
    more = ["mnt", "--foreground"] if name == "mount" else []
    with ranged_server() as server:
        url = server.put("/images/", b'<a href="a.txt">a.txt</a>')
        for server.breaks in ([], ["drop"] * 9):
            assert run([name, url, *more]) == 1
            assert url in capsys.readouterr().err


@pytest.mark.parametrize("refused", [{"/images/lost/"}, set()])
def test_a_folder_below_that_a_server_does_not_list_is_named(refused, folder, capsys):
    with ranged_server() as server:
        url = server.put("/images/", b'<a href="lost/">lost/</a> <a href="more/">more/</a>')
        server.put("/images/more/", b'<a href="disk.vhdx">disk.vhdx</a> <a href="../">up</a>')
        server.put("/images/more/disk.vhdx", (folder / "disk.vhdx").read_bytes())
        server.expired = refused  # 403; without, there is no such folder: 404
        assert run(["tree", url]) == 1
        assert f"{url}lost/" in capsys.readouterr().err
        run(["survey", url])
        records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert {r["filename"]: r["error"] is None for r in records if "filename" in r} == {
            f"{url}more/disk.vhdx": True,
            f"{url}lost/": False,
        }


@pytest.mark.usefixtures("folder")
def test_what_is_read_by_url_is_not_mounted_in_the_background(folder, capsys):
    (folder / "mnt").mkdir()
    url = "https://127.0.0.1:9/disk.vhdx"  # nobody is asked
    for arguments in ([url], ["https://127.0.0.1:9/"], [".", "--parent", url], ["child.avhdx", "--parent", url]):
        assert run(["mount", *arguments, "mnt"]) == 64
        assert "needs --foreground" in capsys.readouterr().err


@pytest.mark.usefixtures("folder")
def test_mount_says_at_once_what_is_wrong(folder, capsys):
    (folder / "mnt").mkdir()
    assert command(capsys, "mount", "nowhere", "mnt") == (1, "")
    assert command(capsys, "mount", "disk.raw", "mnt") == (1, "")
    assert command(capsys, "mount", "*.nothing", "mnt") == (1, "")
    assert command(capsys, "mount", "mnt", "mnt") == (1, "")
    assert command(capsys, "mount", "disk.vhdx", "nowhere") == (64, "")


# ---- partitions of cat and convert, other formats


@pytest.mark.usefixtures("folder")
def test_a_partition_alone(folder):
    assert run(["convert", "child.avhdx", "part.raw", "--partition", "1", "-q"]) == 0
    assert (folder / "part.raw").read_bytes() == CHILD.expected(MB, 51200)
    arguments = [sys.executable, "-m", "vhdxreader", "cat", "disk.vhdx", "--partition", "1", "--offset", "512"]
    done = subprocess.run(arguments, capture_output=True, check=True, cwd=folder)
    assert done.stdout == IMAGE.expected(MB + 512, 51200 - 512)


@pytest.mark.witness
@pytest.mark.parametrize("suffix", ["qcow2", "vmdk", "vdi", "vhdx", "vhd"])
def test_the_suffix_says_the_format(suffix, folder, witness, capsys):
    target, qemu_img = f"out.{suffix}", witness("qemu-img")
    assert run(["convert", "child.avhdx", target]) == 0
    (folder / "want.raw").write_bytes(CHILD.expected())
    form = "vpc" if suffix == "vhd" else suffix
    compare = [qemu_img, "compare", "-f", form, "-F", "raw", target, "want.raw"]
    assert "identical" in subprocess.run(compare, capture_output=True, text=True, check=True, cwd=folder).stdout
    assert run(["convert", "child.avhdx", target]) == 1
    assert "--force" in capsys.readouterr().err
    assert run(["convert", "child.avhdx", target, "--force", "-p"]) == 0
    left = set(os.listdir(folder)) - {"broken.vhdx", "child.avhdx", "disk.raw", "disk.vhdx", "want.raw"}
    assert left == {target}


@pytest.mark.witness
def test_a_broken_disk_in_another_format_is_not_there(folder, witness, capsys):
    witness("qemu-img")
    assert run(["convert", "broken.vhdx", "out.qcow2"]) == 2
    assert "state 4" in capsys.readouterr().err
    assert not (folder / "out.qcow2").exists()
    assert run(["convert", "disk.vhdx", "child.avhdx", "--force"]) == 0


@pytest.mark.usefixtures("folder")
def test_formats_that_are_not_written(capsys, monkeypatch):
    assert run(["convert", "disk.vhdx", "out.E01"]) == 64
    assert "ewfacquirestream" in capsys.readouterr().err
    for option in ("--exact", "--verify-source", "--detect-zeroes", "--no-sparse"):
        assert run(["convert", "disk.vhdx", "out.qcow2", option]) == 64
    capsys.readouterr()
    monkeypatch.setenv("PATH", "/nowhere")
    assert run(["convert", "disk.vhdx", "out.qcow2"]) == 1
    assert "qemu-utils" in capsys.readouterr().err
    assert run(["convert", "disk.vhdx", "out.qcow2", "-O", "raw"]) == 0
