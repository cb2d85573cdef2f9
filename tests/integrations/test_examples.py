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
from builder import MB, differencing, dirty, dynamic, full, hide, partial

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


@pytest.fixture
def dfvfs():
    if not os.environ.get("CI"):
        pytest.importorskip("dfvfs", reason="dfvfs is not installed")
    from dfvfs.lib import definitions
    from dfvfs.resolver_helpers import vhdi_resolver_helper
    from dfvfs.resolver_helpers.manager import ResolverHelperManager as Manager

    runpy.run_path(str(FOLDER / "dfvfs_vhdx.py"))
    yield
    Manager.DeregisterHelper(Manager.GetHelper(definitions.TYPE_INDICATOR_VHDI))
    Manager.RegisterHelper(vhdi_resolver_helper.VHDIResolverHelper())


def open_by_dfvfs(path):
    from dfvfs.path import factory
    from dfvfs.resolver import context, resolver

    file = factory.Factory.NewPathSpec("OS", location=str(path))
    image = factory.Factory.NewPathSpec("VHDI", parent=file)
    return resolver.Resolver.OpenFileObject(image, resolver_context=context.Context())


@pytest.mark.witness
@pytest.mark.usefixtures("dfvfs")
def test_dfvfs_reads_a_dirty_image_and_a_chain(tmp_path):
    from dfvfs.lib import errors

    file = open_by_dfvfs(DIRTY.save(tmp_path / "dirty.vhdx"))
    assert file.get_size() == 8 * MB
    assert file.read(8 * MB) == DIRTY.replayed().expected()
    for folder in ("bases", "leaves"):
        (tmp_path / folder).mkdir()
    base = dynamic(2 * MB, {0: full(), 1: full()}, name="base")
    middle = differencing(2 * MB, {0: partial({3: b"middle"})}, parent=base, parent_path="..\\bases\\base.vhdx")
    leaf = differencing(2 * MB, {0: partial({4: b"leaf"})}, parent=middle, parent_path=".\\middle.avhdx")
    base.save(tmp_path / "bases" / "base.vhdx")
    middle.save(tmp_path / "leaves" / "middle.avhdx")
    file = open_by_dfvfs(leaf.save(tmp_path / "leaves" / "leaf.avhdx"))
    assert file.read(2 * MB) == leaf.expected()
    os.remove(tmp_path / "bases" / "base.vhdx")
    with pytest.raises(errors.BackEndError, match="parent was not found"):
        open_by_dfvfs(tmp_path / "leaves" / "leaf.avhdx")


@pytest.mark.witness
@pytest.mark.usefixtures("dfvfs")
def test_dfvfs_reads_a_vhd_as_it_did(tmp_path):
    (tmp_path / "disk.raw").write_bytes(DIRTY.replayed().expected())
    command = ["qemu-img", "convert", "-f", "raw", "-O", "vpc", "-o", "subformat=fixed,force_size"]
    subprocess.run([*command, tmp_path / "disk.raw", tmp_path / "disk.vhd"], check=True)
    file = open_by_dfvfs(tmp_path / "disk.vhd")
    assert file.get_size() == 8 * MB
    assert file.read(8 * MB) == DIRTY.replayed().expected()


@pytest.mark.corpus
@pytest.mark.witness
@pytest.mark.usefixtures("dfvfs")
def test_dfvfs_finds_a_real_file_system_behind_a_dirty_log(corpus):
    from dfvfs.helpers import volume_scanner
    from dfvfs.resolver import resolver

    options = volume_scanner.VolumeScannerOptions()
    options.partitions = options.volumes = ["all"]
    options.snapshots = ["none"]
    (volume,) = volume_scanner.VolumeScanner().GetBasePathSpecs(str(corpus / "small_ntfs_test.vhdx"), options=options)
    root = resolver.Resolver.OpenFileSystem(volume).GetRootFileEntry()
    assert "$MFT" in {entry.name for entry in root.sub_file_entries}


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
