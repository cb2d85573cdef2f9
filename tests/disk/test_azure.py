"""Images in Azure's blob storage: adlfs against Azurite. S3 is in test_remote."""

from __future__ import annotations

import base64
import os
import re
import shutil
import time
from contextlib import contextmanager
from pathlib import Path

import fsspec
import pytest
from builder import MB, differencing, dynamic, full, partial
from running import running

import vhdxreader

# Of what the clients warn while they upload, nothing is ours.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")

SIZE = 24 * MB
IMAGE = dynamic(SIZE, {number: full() for number in range(0, 24, 2)}, name="stored")
CHILD = differencing(SIZE, {1: partial({0: b"child"})}, parent=IMAGE, name="child", parent_path="../images/disk.vhdx")
AZURITE = Path(__file__).parents[2] / ".venv" / "azurite" / "node_modules" / ".bin" / "azurite-blob"


def _address(log: Path) -> str:
    for _ in range(600):
        found = re.search(r"successfully listens on (\S+)", log.read_text())
        if found:
            return found[1]
        time.sleep(0.1)
    raise AssertionError(f"azurite did not start: {log.read_text()}")


@contextmanager
def az(tmp_path):
    """What adlfs must know of a store that Azurite serves."""
    if not os.environ.get("CI"):
        pytest.importorskip("adlfs", reason="adlfs is not installed")
    program = shutil.which("azurite-blob") or (AZURITE if AZURITE.exists() else None)
    if program is None and not os.environ.get("CI"):
        pytest.skip("azurite is not installed")
    key = base64.b64encode(b"any key will do").decode()
    command = [program, "--blobPort", "0", "--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry"]
    environment = {**os.environ, "AZURITE_ACCOUNTS": f"test:{key}"}
    said = tmp_path / "azurite.log"
    with said.open("wb") as log, running(command, env=environment, stdout=log) as server:
        try:
            url = _address(said)
            account = f"DefaultEndpointsProtocol=http;AccountName=test;AccountKey={key};BlobEndpoint={url}/test"
            yield {"connection_string": account}
        finally:
            server.terminate()


@pytest.fixture(scope="module", autouse=True)
def store(tmp_path_factory):
    """What else adlfs must know than a URL is in fsspec's configuration, as users have it."""
    with pytest.MonkeyPatch.context() as patch, az(tmp_path_factory.mktemp("store")) as options:
        patch.setitem(fsspec.config.conf, "az", options)
        system = fsspec.filesystem("az")
        system.mkdir("bucket")
        system.pipe_file("bucket/images/disk.vhdx", bytes(IMAGE.tobytes()))
        system.pipe_file("bucket/children/child.avhdx", bytes(CHILD.tobytes()))
        yield system


def test_few_requests_and_all_bytes(store, monkeypatch):
    fetched = []
    cat_file = store.cat_file
    monkeypatch.setattr(
        store, "cat_file", lambda path, start, end: fetched.append(end - start) or cat_file(path, start=start, end=end)
    )
    with vhdxreader.open("az://bucket/images/disk.vhdx") as disk:
        assert disk.pread(512, 0) == IMAGE.expected(0, 512)
        assert (len(fetched), sum(fetched) < MB) == (4, True)
        assert disk.read() == IMAGE.expected()


def test_a_parent_in_the_same_bucket():
    with vhdxreader.open("az://bucket/children/child.avhdx") as disk:
        assert disk.images[1].name == "az://bucket/images/disk.vhdx"  # as the child was named, not adlfs's abfs://
        assert disk.read() == CHILD.expected()


def test_an_object_that_was_replaced_has_changed(store):
    store.pipe_file("bucket/changing.vhdx", bytes(IMAGE.tobytes()))
    with vhdxreader.open("az://bucket/changing.vhdx") as disk:
        assert not disk.has_changed()
        store.pipe_file("bucket/changing.vhdx", bytes(IMAGE.tobytes())[:-MB], overwrite=True)
        assert disk.has_changed()


def test_what_is_not_there():
    with pytest.raises(FileNotFoundError) as caught:
        vhdxreader.open("az://bucket/no.vhdx")
    assert caught.value.filename == "az://bucket/no.vhdx"
