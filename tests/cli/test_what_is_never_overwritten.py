"""`--force`: what an image is read from, or names as its parent, is never written over, opened or not."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import os
import shutil
import tarfile
import zipfile
from itertools import product
from pathlib import Path

import pytest
from builder import MB, Locator, differencing, dynamic, full

import vhdxreader
from vhdxreader.cli.app import run

BASE = dynamic(2 * MB, {0: full()}, name="base")
BYTES = BASE.tobytes()


def save_child(folder: Path, relative: str, **paths: str) -> Path:
    pairs = [("parent_linkage", f"{{{BASE.data_write_guid}}}"), ("relative_path", relative), *paths.items()]
    return differencing(2 * MB, {1: full()}, parent=BASE, locator=Locator(pairs)).save(folder / "child.avhdx")


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "vm").mkdir()
    return tmp_path / "vm"


PLACES = {
    "beside": ("base.vhdx", "base.vhdx"),
    "another case": ("BASE.VHDX", "base.vhdx"),
    "above": ("..\\base.vhdx", "../base.vhdx"),
    "above in another case": ("..\\Base.VHDX", "../base.vhdx"),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("command", ["convert", "convert to qcow2", "salvage", "skeleton", "mapfile"])
def test_a_parent_that_is_named(folder, capsys, place, command):
    relative, where = PLACES[place]
    base, child = BASE.save(folder / where), save_child(folder, relative)
    alone = ["--parents", "none", "--force", "-q"]
    words = {
        "convert": ["convert", child, base, *alone, "-O", "raw"],
        "convert to qcow2": ["convert", child, base, *alone, "-O", "qcow2"],
        "salvage": ["convert", child, base, *alone, "-O", "raw", "--salvage"],
        "skeleton": ["skeleton", child, base, "--force"],
        "mapfile": ["convert", child, folder / "out", *alone, "--mapfile", base],
    }[command]
    if command == "convert to qcow2" and shutil.which("qemu-img") is None:
        pytest.skip("there is no qemu-img")
    assert run([str(word) for word in words]) == 1
    assert "is the image itself, or one that it needs" in capsys.readouterr().err
    assert base.read_bytes() == BYTES
    assert set(os.listdir(folder)) <= {"child.avhdx", "base.vhdx"}


@pytest.mark.parametrize("name", ["elsewhere.vhdx", "ElseWhere.VHDX", "els\u00e9where.vhdx"])
def test_a_parent_by_its_absolute_path(folder, capsys, name):
    """Spelled otherwise it may be the same file, as on a Mac."""
    base = BASE.save(folder / ("else\u0301where.vhdx" if "\u00e9" in name else "elsewhere.vhdx"))
    child = save_child(folder, "no.vhdx", absolute_win32_path=str(folder / name))
    assert run(["skeleton", str(child), str(base), "--force"]) == 1
    assert "one that it needs" in capsys.readouterr().err
    assert base.read_bytes() == BYTES


@pytest.mark.parametrize("kind", ["symbolic", "hard"])
def test_a_parent_by_another_name(folder, kind):
    base, child = BASE.save(folder / "base.vhdx"), save_child(folder, "link.vhdx")
    link = folder / "link.vhdx"
    link.symlink_to(base) if kind == "symbolic" else link.hardlink_to(base)
    for target in (base, link):
        assert run(["skeleton", str(child), str(target), "--force"]) == 1
    assert base.read_bytes() == BYTES


def test_what_is_not_needed_is_overwritten(folder):
    """And a parent that is not there is made."""
    child = save_child(folder, "base.vhdx")
    (folder / "other").write_bytes(b"old")
    assert run(["skeleton", str(child), str(folder / "other"), "--force"]) == 0
    assert (folder / "other").read_bytes() != b"old"
    assert run(["skeleton", str(child), str(folder / "base.vhdx")]) == 0


# ---- archives


def in_zip(path, stack):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("disk.vhdx", BYTES)
    return stack.enter_context(zipfile.ZipFile(path)).open("disk.vhdx")


def in_tar(path, stack):
    with tarfile.open(path, "w") as archive:
        entry = tarfile.TarInfo("disk.vhdx")
        entry.size = len(BYTES)
        archive.addfile(entry, io.BytesIO(BYTES))
    return stack.enter_context(tarfile.open(path)).extractfile("disk.vhdx")


class Part:
    """As a user may write one."""

    def __init__(self, file):
        self.fh = file

    def read(self, size=-1):
        return self.fh.read(size)

    def seek(self, offset, whence=0):
        return self.fh.seek(offset, whence)

    def tell(self):
        return self.fh.tell()


def compressed_by(module):
    def opened(path, stack):
        path.write_bytes(module.compress(BYTES))
        return stack.enter_context(module.open(path))

    return opened


def in_part(path, stack):
    path.write_bytes(BYTES)
    return Part(stack.enter_context(path.open("rb")))


def in_a_disk(path, stack):
    """An image on the disk of another."""
    outer = dynamic(8 * MB, {n: full(BYTES[n * MB : (n + 1) * MB]) for n in range(len(BYTES) // MB)}).save(path)
    return stack.enter_context(vhdxreader.open(outer))


ARCHIVES = {
    "zip": in_zip,
    "tar": in_tar,
    "gzip": compressed_by(gzip),
    "bz2": compressed_by(bz2),
    "part": in_part,
    "disk": in_a_disk,
}


@pytest.mark.parametrize("kind", ARCHIVES)
def test_the_archive_that_an_image_is_read_from(tmp_path, kind):
    archive = tmp_path / "archive"
    with contextlib.ExitStack() as stack:
        file = ARCHIVES[kind](archive, stack)
        before = archive.read_bytes()
        with vhdxreader.open(file) as disk, pytest.raises(shutil.SameFileError):
            vhdxreader.convert(disk, archive, overwrite=True)
        with pytest.raises(shutil.SameFileError):
            vhdxreader.write_skeleton(file, str(archive), max_size=64 * MB, overwrite=True)
    assert archive.read_bytes() == before


def test_the_archive_of_a_url(tmp_path, capsys):
    pytest.importorskip("fsspec")
    archive = tmp_path / "archive.zip"
    with contextlib.ExitStack() as stack:
        in_zip(archive, stack).close()
    before = archive.read_bytes()
    for command in ("convert", "skeleton"):
        assert run([command, f"zip://disk.vhdx::file://{archive}", str(archive), "--force"]) == 1
        assert "one that it needs" in capsys.readouterr().err
    assert archive.read_bytes() == before


# ---- other outputs


@pytest.mark.parametrize("more", [[], ["--resume"]], ids=str)
def test_a_survey_is_not_written_over_an_image(tmp_path, capsys, more):
    path = BASE.save(tmp_path / "disk.jsonl")
    assert run(["survey", str(tmp_path), "-o", str(path), *more]) == 1
    assert "is an image" in capsys.readouterr().err
    assert path.read_bytes() == BYTES


BROKEN = b"\xde\xad" + BYTES[2:]


@pytest.mark.parametrize("role", ["surveyed", "parent", "parent by its absolute path"])
@pytest.mark.parametrize("content", [BYTES, BROKEN], ids=["whole", "broken"])
@pytest.mark.parametrize(
    ("form", "more"), [*product((".jsonl", ".parquet", ".html"), ([], ["--force"])), (".jsonl", ["--resume"])]
)
def test_a_survey_is_not_written_over_what_it_is_of(folder, capsys, form, content, role, more):
    """Also where nothing of it shows that it is an image."""
    image = folder / f"base{form}"
    image.write_bytes(content)
    relative = "no.vhdx" if "absolute" in role else image.name
    child = save_child(folder, relative, absolute_win32_path=str(image))
    output = ["--report" if form == ".html" else "-o", str(image)]
    looked_at = image if role == "surveyed" else child
    assert run(["survey", str(looked_at), "-j", "1", *output, *more]) == 1
    assert "is an image" in capsys.readouterr().err
    assert image.read_bytes() == content
    assert set(os.listdir(folder)) == {image.name, child.name}


def test_a_survey_is_written_over_what_another_wrote(folder):
    pytest.importorskip("jinja2")
    child = save_child(folder, "base.vhdx")
    (folder / "empty.jsonl").touch()
    for _ in range(2):
        for options in (["-o", "records.jsonl"], ["-o", "empty.jsonl"], ["-o", "o.jsonl", "--report", "page.html"]):
            names = [word if word.startswith("-") else str(folder / word) for word in options]
            assert run(["survey", str(child), "-j", "1", "--force", *names]) == 0
    assert (folder / "empty.jsonl").read_text().count("\n") == 1


def test_a_page_is_not_written_over_a_parent_that_is_named(folder):
    pytest.importorskip("jinja2")
    base, child = BASE.save(folder / "base.vhdx"), save_child(folder, "base.vhdx")
    fleet = vhdxreader.examine_fleet(vhdxreader.chain_forest([str(child)]))
    with pytest.raises(shutil.SameFileError):
        vhdxreader.write_fleet_report(fleet, base, overwrite=True)
    assert base.read_bytes() == BYTES


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_a_full_target_is_named_and_not_the_image(tmp_path, capsys):
    path = BASE.save(tmp_path / "disk.vhdx")
    assert run(["convert", str(path), "/dev/full"]) == 1
    said = capsys.readouterr().err
    assert "/dev/full: No space left" in said
    assert str(path) not in said


def test_a_limit_of_the_file_size_names_the_target(tmp_path, capsys):
    resource = pytest.importorskip("resource")
    path = BASE.save(tmp_path / "disk.vhdx")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    for words in (["convert"], ["convert", "--no-sparse"], ["skeleton"]):
        resource.setrlimit(resource.RLIMIT_FSIZE, (65536, before[1]))
        try:
            assert run([*words, str(path), str(tmp_path / "out")]) == 1
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        said = capsys.readouterr().err
        assert f"{tmp_path / 'out'}: File too large" in said
        assert os.listdir(tmp_path) == ["disk.vhdx"]


def test_a_folder_that_is_not_there_is_no_target(tmp_path, capsys):
    path = BASE.save(tmp_path / "disk.vhdx")
    for command in ("convert", "skeleton"):
        assert run([command, str(path), str(tmp_path / "new") + os.sep]) == 1
        assert "a file is to be written, not a folder" in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["disk.vhdx"]
