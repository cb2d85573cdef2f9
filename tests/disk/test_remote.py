"""Images by URL: right bytes, few requests, and an error for whatever a server does wrong."""

from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import fsspec
import pytest
from builder import MB, differencing, dirty, dynamic, full, hide, partial
from fsspec.implementations.memory import MemoryFileSystem
from ranged_server import ranged_server

import vhdxreader
from vhdxreader import NotVhdxError, ParentNotFoundError, Source
from vhdxreader.files.remote import open_remote
from vhdxreader.files.transport import translated

KB = 1024
SIZE = 40 * MB
IMAGE = dynamic(SIZE, {number: full() for number in range(0, 40, 2)}, name="remote")


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr("vhdxreader.files.transport._PAUSES", (0.01, 0.01, 0.01))
    with ranged_server() as server:
        yield server


@pytest.fixture
def url(server):
    return server.put("/images/disk.vhdx", bytes(IMAGE.tobytes()))


def test_open_and_first_sector_in_four_requests(server, url):
    with vhdxreader.open(url) as disk:
        assert disk.pread(512, 0) == IMAGE.expected(0, 512)
        assert disk.name == url
    assert len(server.requests) == 4
    assert server.heads == 0
    assert server.byte_count < MB


def test_a_dirty_log_is_one_request_more_at_most(server):
    image = dirty(*hide(IMAGE, (3 * MB, 4 * KB)))  # the BAT's beginning
    url = server.put("/dirty.vhdx", bytes(image.tobytes()))
    with vhdxreader.open(url) as disk:
        assert disk.image.log is not None
        assert disk.image.log.is_replayed
        assert disk.pread(512, 0) == image.expected(0, 512)
    assert len(server.requests) <= 5
    assert server.byte_count < MB + image.spec.log.length


def test_all_bytes(url):
    with vhdxreader.open(url) as disk:
        assert disk.read() == IMAGE.expected()
        assert not disk.has_changed()


def test_it_is_copied_as_its_url(url):
    with vhdxreader.open(url) as disk, pickle.loads(pickle.dumps(disk)) as again:
        assert again.image.name == url
        assert again.pread(512, 0) == IMAGE.expected(0, 512)


def test_random_and_sequential_reads(server, url):
    with vhdxreader.open(url) as disk:
        before = len(server.requests)
        for number in range(0, 40, 2):
            offset = number * MB + 300 * KB
            assert disk.pread(4 * KB, offset) == IMAGE.expected(offset, 4 * KB)
        assert len(server.requests) - before <= 20
        assert sum(end - start for _, start, end in server.requests[before:]) <= 20 * 192 * KB
    with vhdxreader.open(url) as disk:
        before = len(server.requests)
        for offset in range(0, MB, 4 * KB):
            assert disk.pread(4 * KB, offset) == IMAGE.expected(offset, 4 * KB)
        assert len(server.requests) - before <= 4  # 128 KiB, 256 KiB, 512 KiB, the rest


def test_the_same_page_is_fetched_once_for_many_threads(server, url):
    server.delay = 0.05
    with vhdxreader.open(url) as disk, ThreadPoolExecutor(16) as pool:
        before = len(server.requests)
        assert set(pool.map(lambda _: disk.pread(512, 0), range(16))) == {IMAGE.expected(0, 512)}
        assert len(server.requests) - before == 1


def test_short_runs_of_a_partially_present_block_are_joined(server):
    base = dynamic(4 * MB, {n: full() for n in range(4)}, name="base")
    child = differencing(4 * MB, {1: partial(dict.fromkeys(range(0, 2048, 64), b"x"))}, parent=base)
    urls = [server.put(f"/{number}.vhdx", bytes(image.tobytes())) for number, image in enumerate((base, child))]
    with vhdxreader.open(urls[1], parent=urls[0]) as disk:
        before = len(server.requests)
        assert disk.pread(MB, MB) == child.expected(MB, MB)
        assert len(server.requests) - before <= 4


def test_convert_and_hash_read_many_at_a_time(server, tmp_path):
    image = dynamic(96 * MB, {number: full() for number in range(96)}, name="many")
    url = server.put("/many.vhdx", bytes(image.tobytes()))
    server.delay = 0.05
    with vhdxreader.open(url) as disk:
        vhdxreader.convert(disk, tmp_path / "disk.raw", verify_source=True)
        assert (tmp_path / "disk.raw").read_bytes() == image.expected()
        assert server.most_at_once >= 8
        server.most_at_once = 0
        digests = vhdxreader.hash_disk(disk)
        assert server.most_at_once >= 8
    assert digests == {"sha256": hashlib.sha256(image.expected()).hexdigest()}


def test_a_large_read_is_several_requests_at_a_time(server):
    image = dynamic(64 * MB, {0: full(), 1: full()}, block_size=32 * MB, name="large")
    url = server.put("/large.vhdx", bytes(image.tobytes()))
    server.delay = 0.05
    with vhdxreader.open(url) as disk:
        server.most_at_once, before = 0, len(server.requests)
        assert disk.pread(64 * MB, 0) == image.expected()
        assert server.most_at_once >= 4
        assert len(server.requests) - before == 8


@pytest.mark.parametrize("how", [{}, {"detect_zeroes": True}, {"sparse": False}])
def test_convert_with_holes_between_data(url, tmp_path, how):
    with vhdxreader.open(url) as disk:
        vhdxreader.convert(disk, tmp_path / "disk.raw", **how)
    assert (tmp_path / "disk.raw").read_bytes() == IMAGE.expected()


def test_a_server_that_ignores_ranges_is_refused_before_its_body_is_read(server, url):
    server.ignores_ranges = True
    with pytest.raises(OSError, match="does not give ranges") as caught:
        vhdxreader.open(url)
    assert caught.value.filename == url


@pytest.mark.parametrize("trouble", ["cut", "503", "drop"])
def test_what_breaks_off_is_tried_again_a_few_times(server, url, trouble):
    with vhdxreader.open(url) as disk:
        server.breaks = [trouble] * 3
        assert disk.pread(512, 0) == IMAGE.expected(0, 512)
        server.breaks = [trouble] * 50
        with pytest.raises(OSError, match=r"disk\.vhdx"):
            disk.pread(512, 4 * MB)
        assert len(server.breaks) >= 42  # four tries, of which the client itself may make two each
        server.breaks = []
        assert disk.pread(512, 4 * MB) == IMAGE.expected(4 * MB, 512)


@pytest.mark.parametrize("lie", ["shifted", "grown", "longer", "packed", "endless"])
def test_a_server_that_lies_is_an_error_and_never_wrong_bytes(server, url, lie):
    with vhdxreader.open(url) as disk:
        server.breaks = [lie] * 50
        with pytest.raises(OSError, match=r"disk\.vhdx"):
            disk.pread(512, 4 * MB)
        server.breaks = []
        assert disk.pread(512, 4 * MB) == IMAGE.expected(4 * MB, 512)
    server.breaks = [lie] * 50
    if lie != "grown":  # which nobody can know yet
        with pytest.raises(OSError, match=r"disk\.vhdx"):
            vhdxreader.open(url)
    assert server.endless < 64 * MB


def test_an_answer_may_not_drip_for_ever(server, url, monkeypatch):
    with vhdxreader.open(url) as disk:
        monkeypatch.setattr("vhdxreader.files.http_transport._ANSWER_SECONDS", 0.3)
        monkeypatch.setattr("vhdxreader.files.http_transport._LEAST_RATE", 1 << 40)
        server.breaks = ["drip"] * 50
        with pytest.raises(TimeoutError, match=r"disk\.vhdx"):
            disk.pread(512, 4 * MB)


@pytest.mark.usefixtures("url")
def test_where_a_url_leads_is_remembered_until_it_fails(server):
    server.redirects["/signed"] = "/images/disk.vhdx?sig=1"
    with vhdxreader.open(f"{server.url}/signed") as disk:
        assert disk.pread(512, 0) == IMAGE.expected(0, 512)
        assert server.asked.count("/signed") == 1
        server.expired.add("/images/disk.vhdx?sig=1")
        server.redirects["/signed"] = "/images/disk.vhdx?sig=2"
        assert disk.pread(512, 4 * MB) == IMAGE.expected(4 * MB, 512)
        assert server.asked[-3:] == ["/images/disk.vhdx?sig=1", "/signed", "/images/disk.vhdx?sig=2"]
        disk.pread(512, 8 * MB)
        assert server.asked[-1] == "/images/disk.vhdx?sig=2"
        server.redirects["/signed"] = server.put("/new.vhdx", server.files["/images/disk.vhdx"], "2")
        assert disk.has_changed()  # by the URL itself: what it led to is as it was
        server.versions["/images/disk.vhdx"] = "3"
        with pytest.raises(OSError, match="changed on the server"):
            disk.pread(512, 12 * MB)


@pytest.mark.parametrize("target", ["file:///etc/hostname", "ftp://127.0.0.1/disk.vhdx", "data:text/plain,x"])
def test_redirects_lead_to_web_servers_only(server, target):
    server.redirects["/elsewhere"] = target
    with pytest.raises(OSError, match="a redirect that is no HTTP"):
        vhdxreader.open(f"{server.url}/elsewhere")


def test_redirects_in_a_circle_end(server):
    server.redirects |= {"/a": "/b", "/b": "/a"}
    with pytest.raises(OSError, match="more than 10 redirects"):
        vhdxreader.open(f"{server.url}/a")


def test_an_object_that_changes_is_an_error(server, url):
    with vhdxreader.open(url) as disk:
        assert not disk.has_changed()
        server.versions["/images/disk.vhdx"] = "2"
        with pytest.raises(OSError, match="changed on the server"):
            disk.pread(512, 0)
        assert disk.has_changed()


def test_without_a_version_the_structures_are_read_anew(server, url):
    server.has_versions = False
    with vhdxreader.open(url) as disk:
        disk.pread(512, 0)
        assert not disk.has_changed()
        changed = bytearray(server.files["/images/disk.vhdx"])
        changed[3 * MB + 8] ^= 1  # of the BAT
        server.files["/images/disk.vhdx"] = bytes(changed)
        assert disk.has_changed()


def test_what_is_not_there(server, url):
    with pytest.raises(FileNotFoundError) as caught:
        vhdxreader.open(url + "x")
    assert caught.value.filename == url + "x"
    with pytest.raises(OSError, match=r"URLs need more packages|not known"):
        vhdxreader.open("nosuchthing://host/disk.vhdx")
    with pytest.raises(NotVhdxError):
        vhdxreader.open(server.put("/empty.vhdx", b""))
    with ranged_server() as gone:
        url = gone.url + "/disk.vhdx"
    with pytest.raises(OSError, match=r"Connect call failed|Cannot connect|Connection refused"):
        vhdxreader.open(url)


def test_secrets_are_not_shown(url):
    with vhdxreader.open(url.replace("http://", "http://me:secret@") + "?sig=token") as disk:
        assert disk.name == url
        assert disk.pread(512, 0) == IMAGE.expected(0, 512)


def test_secrets_in_the_words_of_a_library_are_not_shown():
    def fail():
        raise RuntimeError("500, url='http://host/folder/?sig=token'")

    with pytest.raises(OSError, match="RuntimeError: 500, url='http://host/folder/'") as caught:
        translated(fail, "http://host/folder/")
    assert "token" not in str(caught.value)


CHILD = differencing(SIZE, {1: partial({0: b"child"})}, parent=IMAGE, name="child", parent_path="../images/disk.vhdx")


def test_a_parent_beside_the_child(server, url):
    child = server.put("/children/child.avhdx", bytes(CHILD.tobytes()))
    with vhdxreader.open(child) as disk:
        assert [image.name for image in disk.images] == [child, url]
        assert disk.read() == CHILD.expected()
    with pytest.raises(ParentNotFoundError, match="outside the first child's folder"):
        vhdxreader.open(child, parents="inside")
    del server.files["/images/disk.vhdx"]
    with pytest.raises(ParentNotFoundError, match="no such file"):
        vhdxreader.open(child)
    assert vhdxreader.check(child).parent_state == "missing"


def test_a_parent_is_looked_for_on_the_same_server_only(server, url):
    child = server.put("/children/child.avhdx", bytes(CHILD.tobytes()))
    with ranged_server() as other:
        server.redirects["/images/disk.vhdx"] = other.put("/disk.vhdx", server.files["/images/disk.vhdx"])
        with pytest.raises(ParentNotFoundError, match="redirect to another server"):
            vhdxreader.open(child)
        assert other.requests == []
        with vhdxreader.open(url) as disk:  # which the caller names
            assert disk.pread(512, 0) == IMAGE.expected(0, 512)
        server.redirects["/images/disk.vhdx"] = "/moved.vhdx"
        server.put("/moved.vhdx", bytes(IMAGE.tobytes()))
        with vhdxreader.open(child) as disk:
            assert disk.pread(512, MB) == CHILD.expected(MB, 512)


def test_a_local_child_contacts_no_network(server, url, tmp_path):
    child = differencing(SIZE, {}, parent=IMAGE, parent_path=url)
    with pytest.raises(ParentNotFoundError):
        vhdxreader.open(child.save(tmp_path / "child.avhdx"))
    assert server.requests == []


def test_memory_and_what_has_fs_and_path():
    system = MemoryFileSystem()
    system.pipe_file("/images/disk.vhdx", bytes(IMAGE.tobytes()))
    system.pipe_file("/children/child.avhdx", bytes(CHILD.tobytes()))
    with vhdxreader.open("memory://children/child.avhdx") as disk:
        assert disk.read() == CHILD.expected()
        assert not disk.has_changed()
    with system.open("/images/disk.vhdx") as file, vhdxreader.open(file) as disk:
        assert disk.read() == IMAGE.expected()
    with vhdxreader.open(fsspec.open("memory://images/disk.vhdx")) as disk:
        assert disk.image.is_remote
        assert disk.read() == IMAGE.expected()


def test_a_path_that_looks_like_a_url_is_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    IMAGE.save(tmp_path / "ab::c.vhdx")
    IMAGE.save(tmp_path / "a::b.vhdx")
    for name in ("ab::c.vhdx", "a::b.vhdx"):
        with vhdxreader.open(name) as disk:
            assert not disk.image.is_remote
    IMAGE.save(tmp_path / "disk.vhdx")
    with vhdxreader.open(f"file://{tmp_path}/disk.vhdx") as disk:
        assert not disk.image.is_remote


def test_a_source_is_borrowed(url):
    with vhdxreader.open_source(url) as source:
        assert isinstance(source, Source)
        for _ in range(2):
            with vhdxreader.open(source) as disk:
                assert disk.pread(512, 0) == IMAGE.expected(0, 512)
        assert vhdxreader.check(source).counts == {}
    with pytest.raises(ValueError, match="closed"):
        source.read_at(0, 512)


@pytest.mark.parametrize("command", ["info", "check", "map", "dump", "log", "hash", "partitions", "measure"])
def test_commands(url, command):
    done = subprocess.run([sys.executable, "-m", "vhdxreader", command, url], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_commands_fail_in_one_line(server):
    url = f"{server.url}/no.vhdx"
    done = subprocess.run([sys.executable, "-m", "vhdxreader", "info", url], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert url in done.stderr


def test_nothing_of_it_is_loaded_for_local_files(tmp_path):
    path = IMAGE.save(tmp_path / "disk.vhdx")
    code = "import sys, vhdxreader; vhdxreader.open(sys.argv[1]).read(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    unwanted = {f"vhdxreader.files.{name}" for name in ("remote", "transport", "planned_reads", "kept_pages")}
    assert not loaded & {"fsspec", "aiohttp", "asyncio", "concurrent.futures", *unwanted}


def test_s3():
    """moto's S3 server, with the real client."""
    if not os.environ.get("CI"):
        pytest.importorskip("s3fs", reason="s3fs is not installed")
        pytest.importorskip("moto.server", reason="moto[server] is not installed")
    from moto.server import ThreadedMotoServer

    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    try:
        how = {"key": "test", "secret": "test", "endpoint_url": f"http://{host}:{port}"}
        system = fsspec.filesystem("s3", **how)
        system.mkdir("bucket")
        system.pipe_file("bucket/images/disk.vhdx", bytes(IMAGE.tobytes()))
        system.pipe_file("bucket/children/child.avhdx", bytes(CHILD.tobytes()))
        fetched = []
        cat_file = system.cat_file
        system.cat_file = lambda path, start, end: fetched.append(end - start) or cat_file(path, start=start, end=end)
        with vhdxreader.open(fsspec.core.OpenFile(system, "bucket/images/disk.vhdx")) as disk:
            assert disk.pread(512, 0) == IMAGE.expected(0, 512)
            assert (len(fetched), sum(fetched) < MB) == (4, True)
            assert disk.read() == IMAGE.expected()
            assert not disk.has_changed()
            system.pipe_file("bucket/images/disk.vhdx", bytes(IMAGE.tobytes())[:-MB])
            assert disk.has_changed()
        system.pipe_file("bucket/images/disk.vhdx", bytes(IMAGE.tobytes()))
        with vhdxreader.open(fsspec.core.OpenFile(system, "bucket/children/child.avhdx")) as disk:
            assert disk.read() == CHILD.expected()
        with (
            open_remote(system, "bucket/children/child.avhdx", "s3a://bucket/children/child.avhdx") as source,
            vhdxreader.open(source) as disk,
        ):
            assert disk.images[1].name == "s3a://bucket/images/disk.vhdx"  # as the child was named
        with pytest.raises(FileNotFoundError):
            vhdxreader.open(fsspec.core.OpenFile(system, "bucket/no.vhdx"))
    finally:
        moto.stop()
