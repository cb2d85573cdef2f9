"""The NBD server: with the real clients, and with one that speaks the protocol as it should not."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import struct
import subprocess
import threading
import time
from contextlib import contextmanager

import pytest
from builder import GB, MB, TB, differencing, dirty, dynamic, full, hide, partial, reserved, undefined, zeroed
from nbd_client import Client

import vhdxreader
from vhdxreader.integrations.nbd import NbdServer, nbd_uri, run_program, served, tcp_socket, unix_socket
from vhdxreader.integrations.nbd.allocation import Allocation

SIZE = 9 * MB + 512
BASE = dynamic(SIZE, {0: full(), 2: full(), 9: full()}, name="base")
CHILD = differencing(SIZE, {1: partial({3: b"x", 8: b"y"}), 2: zeroed(), 3: undefined()}, parent=BASE)


@contextmanager
def server(image=BASE, **more):
    """A socket's path; the exports are the image and `more`."""
    with (
        vhdxreader.open(image.open(), parents=lambda _: BASE.open(), **more) as disk,
        served({"": disk, "two": disk}) as path,
    ):
        yield path


def run(*command, **more) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120, **more).stdout


# ---- real clients


@pytest.mark.witness
@pytest.mark.parametrize("image", [BASE, CHILD], ids=["base", "chain"])
def test_nbdcopy_gets_every_byte(image, tmp_path, witness):
    with server(image) as path:
        run(witness("nbdcopy"), nbd_uri("", path), tmp_path / "copy.raw")
    assert (tmp_path / "copy.raw").read_bytes() == image.expected()


@pytest.mark.witness
def test_nbdinfo_sees_extents_and_exports(witness):
    with server(CHILD) as path:
        listed = json.loads(run(witness("nbdinfo"), "--json", "--list", nbd_uri("", path)))
        spans = json.loads(run(witness("nbdinfo"), "--json", "--map", nbd_uri("", path)))
    assert [export["export-name"] for export in listed["exports"]] == ["", "two"]
    first = listed["exports"][0]
    assert (first["export-size"], first["is_read_only"], first["can_multi_conn"]) == (SIZE, True, True)
    assert (first["block_size_minimum"], first["block_size_maximum"]) == (1, 32 * MB)
    assert sum(span["length"] for span in spans) == SIZE
    whole = CHILD.expected()
    for span in spans:
        zeros = not any(whole[span["offset"] : span["offset"] + span["length"]])
        assert span["type"] == (3 if zeros else 0)


@pytest.mark.witness
def test_qemu_img_makes_a_qcow2_of_a_dirty_chain(tmp_path, witness):
    qemu_img = witness("qemu-img")
    base = dynamic(16 * MB, {n: full() for n in range(8)}, name="oldest")
    middle = differencing(16 * MB, {4: full()}, parent=base, name="middle")
    leaf = differencing(16 * MB, {5: partial({1: b"leaf"}), 7: zeroed()}, parent=middle, name="leaf")
    wet = dirty(*hide(leaf, (leaf.block_offset[5], 64 * 1024), (leaf.bat_offset, 4096)))
    parents = iter([middle.open(), base.open()])
    with vhdxreader.open(wet.open(), parents=lambda _: next(parents)) as disk:
        (tmp_path / "ours.raw").write_bytes(disk.pread(disk.size, 0))
        code = run_program({"": disk}, f"{qemu_img} convert -f raw -O qcow2 $uri {tmp_path}/out.qcow2")
        assert code == 0
        code = run_program({"": disk}, [qemu_img, "--version"])
    assert "identical" in run(qemu_img, "compare", tmp_path / "out.qcow2", tmp_path / "ours.raw")
    assert (tmp_path / "ours.raw").read_bytes() == leaf.expected()


@pytest.mark.witness
def test_a_huge_disk_is_copied_by_its_extents(tmp_path, witness):
    huge = dynamic(8 * TB, {0: full(), 100_000: full()}, block_size=32 * MB)
    with vhdxreader.open(huge.open()) as disk, served({"": disk}) as path:
        run(witness("qemu-img"), "convert", "-f", "raw", "-O", "qcow2", nbd_uri("", path), tmp_path / "huge.qcow2")
        with vhdxreader.open(huge.open()) as again:
            want = again.pread(MB, 100_000 * 32 * MB)
    raw = run(
        witness("qemu-io"), "-r", "-f", "qcow2", "-c", f"read -v {100_000 * 32 * MB} 16", str(tmp_path / "huge.qcow2")
    )
    assert want[:16].hex(" ") in raw


@pytest.mark.witness
def test_four_clients_at_once(tmp_path, witness):
    nbdcopy = witness("nbdcopy")
    with server(CHILD) as path:
        copies = [
            subprocess.Popen([nbdcopy, nbd_uri("", path), tmp_path / f"{n}.raw"], stderr=subprocess.PIPE)
            for n in range(4)
        ]
        assert [copy.wait(60) for copy in copies] == [0, 0, 0, 0]
        for copy in copies:
            copy.stderr.close()
    for n in range(4):
        assert (tmp_path / f"{n}.raw").read_bytes() == CHILD.expected()


@pytest.mark.witness
def test_a_killed_client_leaves_no_trace(witness):
    nbdcopy = witness("nbdcopy")
    big = dynamic(4 * GB, {n: full() for n in range(100)}, block_size=MB)
    with vhdxreader.open(big.open()) as disk, served({"": disk}) as path:
        for _ in range(3):
            client = subprocess.Popen([nbdcopy, nbd_uri("", path), "null:"], stderr=subprocess.DEVNULL)
            time.sleep(0.05)
            client.send_signal(signal.SIGKILL)
            client.wait()
        run(witness("nbdinfo"), "--no-content", nbd_uri("", path))  # of which `file` would be asked


# ---- a client of our own


@pytest.mark.parametrize("structured", [True, False])
def test_reads(structured):
    want = CHILD.expected()
    with server(CHILD) as path:
        client = Client(path, structured=structured)
        assert client.size == SIZE
        for offset, length in ((0, 1), (0, 512), (MB - 3, 10), (SIZE - 1, 1), (0, SIZE), (3, SIZE - 3), (0, MB)):
            if structured:
                assert client.data(offset, length) == want[offset : offset + length]
            else:
                assert client.ask(0, offset, length) == [(0, want[offset : offset + length])]


EINVAL, EPERM, EIO, ENOTSUP, EOVERFLOW = 22, 1, 5, 95, 75


@pytest.mark.parametrize("structured", [True, False])
def test_requests_that_are_refused_and_the_connection_lives(structured):
    with server() as path:
        client = Client(path, structured=structured)
        assert client.error(0, SIZE - 1, 2) == EINVAL
        assert client.error(0, 1 << 63, 512) == EINVAL
        assert client.error(0, (1 << 64) - 1, 1) == EINVAL
        assert client.error(0, 0, 0) == EINVAL
        assert client.error(0, 0, 33 * MB) == EINVAL
        assert client.error(99) == EINVAL
        assert client.error(0, 0, 512, flags=1 << 15) == EINVAL
        assert client.error(1, 0, 512, data=bytes(512)) == EPERM
        assert client.error(1, 0, 2 * MB, data=bytes(2 * MB)) == EPERM
        assert client.error(4, 0, 512) == EPERM
        assert client.error(6, 0, 512) == EPERM
        assert client.error(3) == ENOTSUP
        if structured:
            assert client.error(0, 0, 2 * MB, flags=4) == EOVERFLOW
            assert client.data(0, 512) == BASE.expected(0, 512)
        else:
            assert client.error(7, 0, 512) == EINVAL
            assert client.ask(0, 0, 512)[0][1] == BASE.expected(0, 512)


def test_one_extent_if_one_is_asked_for():
    with server() as path:
        client = Client(path)
        ((kind, data),) = client.ask(7, 0, SIZE, flags=8)
        assert (kind, data) == (5, struct.pack(">III", 1, MB, 0))
        ((kind, data),) = client.ask(7, MB // 2, SIZE - MB // 2)
        extents = [(MB // 2, 0), (MB, 3), (MB, 0), (6 * MB, 3), (512, 0)]
        assert data == struct.pack(">I", 1) + b"".join(struct.pack(">II", *extent) for extent in extents)


def test_extents_of_more_than_32_bits():
    with vhdxreader.open(dynamic(64 * TB, {}, block_size=256 * MB).open()) as disk, served({"": disk}) as path:
        ((_, data),) = Client(path).ask(7, 0, 0xFFFFFFFF)
    extents = list(struct.iter_unpack(">II", data[4:]))
    assert sum(length for length, _ in extents) == 0xFFFFFFFF
    assert {state for _, state in extents} == {3}


def test_what_cannot_be_read_is_eio_and_named_in_the_log(caplog):
    broken = dynamic(SIZE, {0: full(), 1: reserved(4), 2: full()})
    with vhdxreader.open(broken.open()) as disk, served({"": disk}) as path:
        client = Client(path)
        assert client.error(0, MB, 512) == EIO
        assert client.error(0, 0, 3 * MB) == EIO
        assert client.data(0, MB) == broken.expected(0, MB)
        ((_, data),) = client.ask(7, 0, 3 * MB)
        assert data[4:] == struct.pack(">II", 3 * MB, 0)
    assert "state 4" in caplog.text
    assert "0x100000" in caplog.text


NONSENSE = {
    "nothing": b"",
    "text": b"GET / HTTP/1.1\r\n\r\n",
    "unknown flags": struct.pack(">I", 0xFF),
    "no magic": struct.pack(">I", 3) + b"IHAVENOT" + bytes(8),
    "an endless option": struct.pack(">I", 3) + struct.pack(">8sII", b"IHAVEOPT", 3, 0xFFFFFFFF),
    "unknown export": struct.pack(">I", 3) + struct.pack(">8sII", b"IHAVEOPT", 1, 3) + b"xyz",
    "random": bytes(range(256)) * 100,
    "no request": struct.pack(">I", 3) + struct.pack(">8sII", b"IHAVEOPT", 1, 0) + bytes(28),
    "an endless write": struct.pack(">I", 3)
    + struct.pack(">8sII", b"IHAVEOPT", 1, 0)
    + struct.pack(">IHHQQI", 0x25609513, 0, 1, 0, 0, 0xFFFFFFFF),
}


@pytest.mark.parametrize("name", NONSENSE)
def test_a_client_that_sends_nonsense_is_sent_away(name):
    with server() as path:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(20)
            client.connect(path)
            client.sendall(NONSENSE[name])
            client.shutdown(socket.SHUT_WR)
            try:
                while client.recv(65536):
                    pass
            except ConnectionResetError:
                pass
        assert Client(path).data(0, 512) == BASE.expected(0, 512)


def test_options_with_wrong_lengths_are_answered():
    with server() as path:
        client = Client.__new__(Client)
        client.socket = socket.socket(socket.AF_UNIX)
        client.socket.settimeout(20)
        client.socket.connect(path)
        client.read(18)
        client.socket.sendall(struct.pack(">I", 3))
        invalid, unknown, unsupported, too_big = 0x80000003, 0x80000006, 0x80000001, 0x80000009
        for option, data, want in (
            (6, b"", invalid),
            (6, struct.pack(">I", 1000), invalid),
            (7, struct.pack(">IH", 0, 5), invalid),
            (7, struct.pack(">I", 3) + b"xyz" + bytes(2), unknown),
            (10, b"", invalid),
            (10, struct.pack(">II", 0, 7), invalid),
            (9, struct.pack(">I", 3) + b"xyz" + bytes(4), unknown),
            (3, b"x", invalid),
            (8, b"x", invalid),
            (5, b"", unsupported),
            (1 << 31, b"", unsupported),
            (3, bytes(100_000), too_big),
        ):
            client.option(option, data)
            assert client.reply()[:2] == (option, want)
        client.option(2)
        assert client.reply() == (2, 1, b"")


# ---- its life


def test_the_socket_is_this_users_only_and_gone_at_the_end(tmp_path):
    path = str(tmp_path / "nbd.sock")
    with vhdxreader.open(BASE.open()) as disk, NbdServer({"": disk}, unix_socket(path)):
        assert os.stat(path).st_mode & 0o777 == 0o600
        with pytest.raises(OSError, match="in use"):
            unix_socket(path)
    assert not os.path.exists(path)


def test_it_ends_while_clients_are_there():
    with vhdxreader.open(BASE.open()) as disk:
        with served({"": disk}) as path:
            client = Client(path)
            idle = socket.socket(socket.AF_UNIX)
            idle.connect(path)
        with pytest.raises((EOFError, OSError)):
            client.data(0, 512)
        idle.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("nbd")]


def test_too_many_clients_are_turned_away(monkeypatch):
    monkeypatch.setattr("vhdxreader.integrations.nbd.server.MAX_CONNECTIONS", 2)
    with server() as path:
        clients = [Client(path), Client(path)]
        with pytest.raises((EOFError, OSError)):
            Client(path)
        clients.pop().socket.close()
        for _ in range(100):
            try:
                clients.append(Client(path))
                break
            except (EOFError, OSError):
                time.sleep(0.05)
        assert clients[-1].data(0, 512) == BASE.expected(0, 512)


def test_tcp_on_this_machine_only_unless_asked():
    listener = tcp_socket(port=0)
    assert listener.getsockname()[0] == "127.0.0.1"
    with vhdxreader.open(BASE.open()) as disk, NbdServer({"": disk}, listener) as running:
        thread = threading.Thread(target=running.serve)
        thread.start()
        with socket.create_connection(listener.getsockname(), timeout=20) as client:
            assert client.recv(8) == b"NBDMAGIC"
        running.stop()
        thread.join()


def test_addresses():
    assert nbd_uri("", "/a b/s") == "nbd+unix:///?socket=/a%20b/s"
    assert nbd_uri("Größe/1", host="::1", port=10810) == "nbd://[::1]:10810/Gr%C3%B6%C3%9Fe/1"
    assert nbd_uri("x", host="127.0.0.1") == "nbd://127.0.0.1/x"


# ---- base:allocation


class Asked:
    """A disk that counts how often its extents are asked for, and fails from the offset `bad` on."""

    def __init__(self, disk, bad):
        self.disk, self.size, self.bad, self.count = disk, disk.size, bad, 0

    def extents(self, *, offset, length):
        self.count += 1
        if offset + length > self.bad:
            raise OSError(errno.EIO, "it cannot be told")
        return self.disk.extents(offset=offset, length=length)


@pytest.mark.parametrize("step", [512, MB, 3 * MB // 2, 40 * MB])
def test_states_of_any_ranges(step):
    present = {0, 1, 7, 8, 9, 30, 39}
    want = bytes(0 if block in present else 3 for block in range(40) for _ in range(2048))  # of each sector
    with vhdxreader.open(dynamic(40 * MB, {block: full() for block in present}).open()) as disk:
        allocation, found = Allocation(Asked(disk, 1 << 60)), []
        for offset in range(0, disk.size, step):
            for length, state in allocation.states(offset, min(step, disk.size - offset), 4096):
                found.append(bytes([state]) * (length // 512))
        assert b"".join(found) == want
        assert allocation.states(MB, 20 * MB, 2) == [(MB, 0), (5 * MB, 3)]
        assert allocation.states(3 * MB, MB, 1) == [(MB, 3)]
        assert allocation.states(0, 3 * MB, 4096) == [(2 * MB, 0), (MB, 3)]  # what was told last lies behind it


def test_one_look_at_the_bat_answers_many_requests():
    with vhdxreader.open(dynamic(8 * TB, {0: full()}).open()) as disk:
        asked = Asked(disk, 1 << 60)
        allocation = Allocation(asked)
        step = 128 * MB
        for offset in range(0, 200 << 30, step):
            assert sum(length for length, _ in allocation.states(offset, step, 4096)) == step
        assert asked.count <= 4  # of 1600


def test_a_failure_ahead_is_none_of_what_is_asked():
    with vhdxreader.open(dynamic(8 * TB, {0: full()}).open()) as disk:
        allocation = Allocation(Asked(disk, bad=4 << 30))
        assert allocation.states(0, 2 << 30, 4096) == [(MB, 0), ((2 << 30) - MB, 3)]
        with pytest.raises(OSError, match="cannot be told"):
            allocation.states(3 << 30, 2 << 30, 4096)
