"""Images in Google's cloud storage: gcsfs against an emulator of it."""

from __future__ import annotations

import os
import socket
import urllib.request
from contextlib import ExitStack, contextmanager

import pytest
from builder import MB, differencing, dynamic, full, partial

import vhdxreader

fsspec = pytest.importorskip("fsspec")

# Of what the client and the emulator leave open, nothing is ours.
pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)

SIZE = 24 * MB
IMAGE = dynamic(SIZE, {number: full() for number in range(0, 24, 2)}, name="google")
CHILD = differencing(SIZE, {1: partial({0: b"child"})}, parent=IMAGE, name="child", parent_path="../images/disk.vhdx")


@contextmanager
def emulator():
    """The URL of a server with an empty bucket."""
    if not os.environ.get("CI"):
        pytest.importorskip("gcsfs", reason="gcsfs is not installed")
        pytest.importorskip("gcp_storage_emulator", reason="gcp-storage-emulator is not installed")
    from gcp_storage_emulator.server import create_server

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = create_server("127.0.0.1", port, in_memory=True, default_bucket="bucket")
    server.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.stop()


@pytest.fixture(scope="module")
def store():
    """The emulator, which gcsfs finds by fsspec's configuration, as users have it."""
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        # gcsfs looks when it is imported; the emulator knows nothing of it.
        patch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
        url = stack.enter_context(emulator())
        patch.setenv("STORAGE_EMULATOR_HOST", url)
        patch.setitem(fsspec.config.conf, "gs", {"token": "anon", "endpoint_url": url})

        def put(name, data):
            where = f"{url}/upload/storage/v1/b/bucket/o?uploadType=media&name={name.replace('/', '%2F')}"
            urllib.request.urlopen(urllib.request.Request(where, data=data, method="POST"), timeout=60).close()

        put("images/disk.vhdx", bytes(IMAGE.tobytes()))
        put("children/child.avhdx", bytes(CHILD.tobytes()))
        yield put


@pytest.mark.usefixtures("store")
def test_few_requests_and_all_bytes(monkeypatch):
    system, fetched = fsspec.filesystem("gs"), []
    cat_file = system.cat_file
    monkeypatch.setattr(
        system, "cat_file", lambda path, start, end: fetched.append(end - start) or cat_file(path, start=start, end=end)
    )
    with vhdxreader.open("gs://bucket/images/disk.vhdx") as disk:
        assert disk.pread(512, 0) == IMAGE.expected(0, 512)
        assert (len(fetched), sum(fetched) < MB) == (4, True)
        assert disk.read() == IMAGE.expected()


@pytest.mark.usefixtures("store")
def test_a_parent_in_the_same_bucket():
    with vhdxreader.open("gs://bucket/children/child.avhdx") as disk:
        assert disk.images[1].name == "gs://bucket/images/disk.vhdx"
        assert disk.read() == CHILD.expected()


def test_an_object_that_was_replaced_has_changed(store):
    store("changing.vhdx", bytes(IMAGE.tobytes()))
    with vhdxreader.open("gs://bucket/changing.vhdx") as disk:
        assert not disk.has_changed()
        store("changing.vhdx", bytes(IMAGE.tobytes())[:-MB])
        assert disk.has_changed()


@pytest.mark.usefixtures("store")
def test_what_is_not_there():
    with pytest.raises(FileNotFoundError) as caught:
        vhdxreader.open("gs://bucket/no.vhdx")
    assert caught.value.filename == "gs://bucket/no.vhdx"
