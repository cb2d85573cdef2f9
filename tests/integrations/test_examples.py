"""The files of examples/integrations/ in the tools that they are for, with dirty images among what is read."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from builder import MB, dirty, dynamic, full, hide

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples" / "integrations"
STALE, UPDATES = hide(dynamic(8 * MB, {1: full(), 6: full()}), (3 * MB, 4096))
DIRTY = dirty(STALE, UPDATES)


def need(is_there: bool, what: str) -> None:
    if not is_there and not os.environ.get("CI"):
        pytest.skip(f"{what} is not installed")


@pytest.fixture
def container():
    if not os.environ.get("CI"):
        pytest.importorskip("dissect.target", reason="dissect.target is not installed")
    from dissect.target import container

    before = list(container.CONTAINERS)
    runpy.run_path(str(FOLDER / "dissect_vhdx.py"))
    yield container
    container.CONTAINERS[:] = before


@pytest.mark.witness
def test_dissect_reads_a_dirty_image(container, tmp_path):
    disk = container.open(DIRTY.save(tmp_path / "dirty.vhdx"))
    assert disk.size == 8 * MB
    assert disk.read(8 * MB) == DIRTY.replayed().expected()
    disk.close()


@pytest.mark.corpus
@pytest.mark.witness
def test_dissect_finds_a_real_file_system(container, corpus):
    from dissect.ntfs import NTFS
    from dissect.target.volume import open as open_volumes

    disk = container.open(corpus / "small_ntfs_test.vhdx")
    assert type(disk).__name__ == "VhdxReaderContainer"
    (volume, *_) = [v for v in open_volumes(disk).volumes if v.seek(3) == 3 and v.read(4) == b"NTFS"]
    volume.seek(0)
    assert "$MFT" in NTFS(volume).mft.root.listdir()
    disk.close()


@pytest.mark.witness
def test_nbdkit_serves_a_dirty_image(tmp_path):
    need(bool(shutil.which("nbdkit") and shutil.which("nbdcopy")), "nbdkit or nbdcopy")
    version = subprocess.run(["nbdkit", "python", "--dump-plugin"], capture_output=True, text=True).stdout
    if f"python_version={sys.version_info.major}.{sys.version_info.minor}." not in version:
        pytest.skip("nbdkit has another Python, or none")
    path, target = DIRTY.save(tmp_path / "dirty.vhdx"), tmp_path / "out.raw"
    command = ["nbdkit", "-U", "-", "python", FOLDER / "nbdkit_vhdx.py", f"file={path}"]
    command += ["--run", f'nbdcopy "$uri" {target} && nbdinfo --map "$uri"']
    # What is installed for this Python, an editable package among it, for the one inside nbdkit.
    packages = sysconfig.get_paths()["purelib"]
    (tmp_path / "sitecustomize.py").write_text(f"import site; site.addsitedir({packages!r})")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert target.read_bytes() == DIRTY.replayed().expected()
    assert [line.split()[:3] for line in done.stdout.splitlines()] == [
        ["0", str(MB), "3"],
        [str(MB), str(MB), "0"],
        [str(2 * MB), str(4 * MB), "3"],
        [str(6 * MB), str(MB), "0"],
        [str(7 * MB), str(MB), "3"],
    ]
