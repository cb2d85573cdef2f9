"""`parents="inside"`: the folder of the first image is never left, whatever its links are made into meanwhile."""

from __future__ import annotations

import errno
import gc
import os
import shutil
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from builder import MB, Locator, differencing, dynamic, full
from grammar_tools import need

import vhdxreader
from vhdxreader.files import beneath

OURS, OTHERS = dynamic(2 * MB, {1: full()}, name="ours"), dynamic(2 * MB, {0: full()}, name="others")
OTHERS_TWIN = dynamic(2 * MB, {0: full()}, name="others", data_write_guid=OURS.data_write_guid)
NIL = uuid.UUID(int=0)

pytestmark = pytest.mark.skipif(not beneath._HAS_FOLDERS, reason="folders cannot be opened here")


def save_child(folder: Path, relative: str) -> Path:
    locator = Locator.to(OURS.data_write_guid, relative)
    return differencing(2 * MB, {}, parent=OURS, locator=locator, name="child").save(folder / "child.avhdx")


@pytest.fixture
def folder(tmp_path) -> Path:
    """Beside it, an image that would do for the parent, and is not to be had."""
    (tmp_path / "elsewhere" / "deep").mkdir(parents=True)
    OTHERS_TWIN.save(tmp_path / "elsewhere/base.vhdx")
    OTHERS_TWIN.save(tmp_path / "elsewhere/deep/base.vhdx")
    (tmp_path / "inside" / "deep").mkdir(parents=True)
    return tmp_path / "inside"


def refusal(path: Path) -> str:
    with pytest.raises(vhdxreader.ParentNotFoundError) as caught:
        vhdxreader.open(path, parents="inside")
    return " ".join(f"{tried.key}: {tried.message}" for tried in caught.value.tried)


def parent_path(path: Path) -> str:
    with vhdxreader.open(path, parents="inside") as disk:
        assert disk.read() == OURS.expected()
        return disk.images[1].path


# ---- what is asked of the system


@pytest.mark.parametrize(
    "relative", ["..\\elsewhere\\base.vhdx", "..\\ELSEWHERE\\BASE.vhdx", "link\\base.vhdx", "file"]
)
def test_nothing_outside_is_asked_for(folder, tmp_path, relative):
    need(shutil.which("strace"), "strace")
    """An automounter would hear of it. Only the folder's own path is looked up."""
    (folder / "link").symlink_to("../elsewhere")
    (folder / "file").symlink_to(tmp_path / "elsewhere/base.vhdx")
    path = save_child(folder, relative)
    program = f"import vhdxreader; vhdxreader.open_chain({str(path)!r}, parents='inside').discard()"
    log = tmp_path / "log"
    subprocess.run(["strace", "-f", "-y", "-e", "trace=%file", "-o", log, sys.executable, "-c", program], check=True)
    calls = [line for line in log.read_text().splitlines() if "readlink" not in line]  # what a link says is no call
    assert any(str(path) in line for line in calls)
    assert not [line for line in calls if "elsewhere" in line.lower()]


@pytest.mark.parametrize("relative", ["..\\elsewhere\\base.vhdx", "link\\base.vhdx", "file", "absolute\\base.vhdx"])
def test_reasons_do_not_tell_what_is_outside(folder, tmp_path, relative):
    (folder / "link").symlink_to("../elsewhere")
    (folder / "absolute").symlink_to(tmp_path / "elsewhere")
    (folder / "file").symlink_to("../elsewhere/base.vhdx")
    path = save_child(folder, relative)
    said = refusal(path)
    assert "outside" in said
    shutil.rmtree(tmp_path / "elsewhere")
    assert refusal(path) == said


# ---- links


@pytest.mark.parametrize(
    "relative", ["link\\base.vhdx", "file.vhdx", "absolute\\base.vhdx", "deep\\up\\deep\\base.vhdx"]
)
def test_links_that_stay_inside_are_followed(folder, relative):
    OURS.save(folder / "deep/base.vhdx")
    (folder / "link").symlink_to("./deep/")
    (folder / "absolute").symlink_to(folder / "deep")
    (folder / "file.vhdx").symlink_to("link/../deep/base.vhdx")
    (folder / "deep/up").symlink_to("..")
    assert parent_path(save_child(folder, relative)) == str(folder / relative.replace("\\", "/"))


def test_a_folder_that_is_given_by_a_link(folder, tmp_path):
    (tmp_path / "given").symlink_to(folder)
    OURS.save(folder / "base.vhdx")
    save_child(folder, "base.vhdx")
    assert parent_path(tmp_path / "given/child.avhdx") == str(tmp_path / "given/base.vhdx")


def test_the_parents_own_parent_is_looked_for_where_a_link_leads(folder):
    """As under "relative": from where the link is, and from where it leads."""
    (folder / "a/b").mkdir(parents=True)
    middle = differencing(2 * MB, {}, parent=OURS, parent_path="..\\base.vhdx", name="middle")
    middle.save(folder / "a/b/middle.avhdx")
    (folder / "middle.avhdx").symlink_to("a/b/middle.avhdx")
    OURS.save(folder / "a/base.vhdx")
    newest = differencing(2 * MB, {}, parent=middle, parent_path="middle.avhdx", name="newest")
    with vhdxreader.open(newest.save(folder / "newest.avhdx"), parents="inside") as disk:
        assert disk.images[2].path == str(folder / "a/base.vhdx")


@pytest.mark.parametrize("target", ["self", "one", "deep/../self", "../inside/self", "/", "..", "deep/../.."])
def test_links_that_lead_nowhere(folder, target):
    (folder / "self").symlink_to(target)
    (folder / "one").symlink_to("self")
    gc.collect()
    before = len(os.listdir("/dev/fd"))
    for relative in ("self", "self\\base.vhdx", "one\\inside\\base.vhdx"):
        refusal(save_child(folder, relative))
    assert len(os.listdir("/dev/fd")) <= before  # fewer, where others left garbage


def test_a_very_long_way_ends(folder):
    (folder / "deep/round").symlink_to("../deep")
    refusal(save_child(folder, "\\".join(["deep", *["round"] * 5000, "base.vhdx"])))


@pytest.mark.parametrize("target", ["deep", "deep/base.vhdx"])
def test_what_is_swapped_meanwhile_leads_nowhere(folder, monkeypatch, target):
    """For a link out of the folder, before each call of the system in turn."""
    path = save_child(folder, "deep\\base.vhdx")
    kept, calls = folder.with_name("kept"), []
    plain = {name: getattr(os, name) for name in ("open", "stat", "lstat", "readlink", "fstat")}

    def swapping(name):
        def call(*args, **kwargs):
            calls.append(name)
            if len(calls) == swap_at:
                (folder / target).rename(kept)
                (folder / target).symlink_to(Path("../" * len(Path(target).parts)) / "elsewhere" / target)
            return plain[name](*args, **kwargs)

        return call

    OURS.save(folder / "deep/base.vhdx")
    taken = set()
    for swap_at in range(1, 60):
        with monkeypatch.context() as patched:
            calls.clear()
            for name in plain:
                patched.setattr(os, name, swapping(name))
            try:
                with vhdxreader.open(path, parents="inside") as disk:
                    data = disk.read()
            except vhdxreader.ParentNotFoundError:
                data = None
        assert data in (None, OURS.expected())
        taken.add(data)
        if len(calls) < swap_at:
            break
        (folder / target).unlink()
        kept.rename(folder / target)
    assert taken == {None, OURS.expected()}
    assert len(calls) < swap_at  # the swap came everywhere


# ---- what is no parent


@pytest.mark.skipif(not os.path.exists("/proc/self/mountinfo"), reason="not Linux")
@pytest.mark.parametrize("file", ["/proc/self/status", "/proc/kmsg", "/sys/kernel/notes", "/sys/kernel/uevent_seqnum"])
def test_what_the_kernel_makes_up_is_no_file(folder, file):
    if not os.path.exists(file):
        pytest.skip(f"there is no {file}")
    path = save_child(folder, "\\".join([".."] * 30 + file.split("/")[1:]))
    with pytest.raises(vhdxreader.ParentNotFoundError, match="not a regular file"):
        vhdxreader.open(path)
    path = differencing(
        2 * MB,
        {},
        parent=OURS,
        locator=Locator([("parent_linkage", f"{{{OURS.data_write_guid}}}"), ("absolute_win32_path", file)]),
    ).save(folder / "child.avhdx")
    with pytest.raises(vhdxreader.ParentNotFoundError, match="not a regular file"):
        vhdxreader.open(path, parents="all")


@pytest.mark.parametrize("how", ["relative", "inside", "given", "searched"])
def test_a_nil_guid_matches_nothing(folder, how):
    base = dynamic(2 * MB, {1: full()}, name="ours", data_write_guid=NIL).save(folder / "base.vhdx")
    path = differencing(2 * MB, {}, parent=OURS, locator=Locator.to(NIL, "base.vhdx")).save(folder / "child.avhdx")
    options = {"given": {"parent": base}, "searched": {"parents": [folder]}}.get(how, {"parents": how})
    with pytest.raises(vhdxreader.ParentMismatchError, match="DataWriteGuid is not"):
        vhdxreader.open(path, **options)


# ---- where folders cannot be opened


def test_without_open_folders_no_link_is_followed(folder, monkeypatch):
    monkeypatch.setattr(beneath, "_HAS_FOLDERS", False)
    OURS.save(folder / "deep/Base.vhdx")
    (folder / "link").symlink_to("deep")
    assert parent_path(save_child(folder, "deep\\Base.vhdx")) == str(folder / "deep/Base.vhdx")
    assert parent_path(save_child(folder, "deep\\base.VHDX")) == str(folder / "deep/Base.vhdx")
    assert "outside" in refusal(save_child(folder, "link\\Base.vhdx"))
    assert "outside" in refusal(save_child(folder, "..\\elsewhere\\base.vhdx"))


def test_a_file_that_takes_the_place_at_the_opening_is_noticed(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(beneath, "_HAS_FOLDERS", False)
    monkeypatch.setattr(beneath, "_NO_LINK", 0)
    base = OURS.save(folder / "base.vhdx")
    path, plain = save_child(folder, "base.vhdx"), os.open

    def swap(name, *args, **kwargs):
        if os.fspath(name) == str(base):
            base.unlink(missing_ok=True)
            base.symlink_to(tmp_path / "elsewhere/base.vhdx")
        return plain(name, *args, **kwargs)

    monkeypatch.setattr(os, "open", swap)
    assert "another file took its place" in refusal(path)


def test_no_descriptor_is_kept_where_only_one_is_left(folder, monkeypatch):
    def no_more(_):
        raise OSError(errno.EMFILE, "no more")

    OURS.save(folder / "base.vhdx")
    way = beneath.Beneath(str(folder))
    monkeypatch.setattr(beneath.os, "dup", no_more)
    before = os.open(os.devnull, os.O_RDONLY)
    os.close(before)
    with pytest.raises(OSError, match="no more"):
        way.stat(str(folder / "base.vhdx"))
    after = os.open(os.devnull, os.O_RDONLY)
    os.close(after)
    assert after == before
