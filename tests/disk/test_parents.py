"""Where parents are looked for: the policies, paths that are not to be trusted, and what is said when none is found."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import stat
import subprocess
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from builder import MB, Image, Locator, differencing, dynamic, full

import vhdxreader
from vhdxreader import ParentMismatchError, ParentNotFoundError, ParentPermissionError
from vhdxreader.disk.parent_search import places
from vhdxreader.format import header as headers
from vhdxreader.format.parent_locator import ParentLocator

SECRET = "do not show"


@pytest.fixture(autouse=True)
def no_hang() -> Iterator[None]:
    """A read of a pipe or a device would wait or run for ever."""
    if not hasattr(signal, "alarm") or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.alarm(60)
    yield
    signal.alarm(0)


@pytest.fixture
def opened(monkeypatch) -> list[str]:
    """Names of all that is opened but folders; a failure as soon as one is no regular file."""
    names: list[str] = []
    really_open = os.open

    def spy(path, *args, **kwargs):
        fd = really_open(path, *args, **kwargs)
        mode = os.fstat(fd).st_mode
        names.extend([] if stat.S_ISDIR(mode) else [os.fsdecode(path)])
        assert stat.S_ISREG(mode) or stat.S_ISDIR(mode), f"{path} was opened"
        return fd

    monkeypatch.setattr(os, "open", spy)
    return names


PARENT = dynamic(2 * MB, {1: full()}, name="parent")
LINKAGE = ("parent_linkage", f"{{{PARENT.data_write_guid}}}")


def child(relative: str | None = None, **paths: str) -> Image:
    pairs = [LINKAGE]
    pairs += [("relative_path", relative)] if relative is not None else []
    return differencing(2 * MB, {0: full()}, parent=PARENT, locator=Locator([*pairs, *paths.items()]), name="child")


def found(path: Path, **how) -> str | None:
    """The parent's path."""
    with vhdxreader.open(path, **how) as disk:
        assert disk.read() == disk.image.pread(MB, 0) + PARENT.expected(MB)
        return disk.images[1].path


# ---- the policies


@pytest.fixture
def tree(tmp_path) -> Path:
    """vm/snapshots is where the child goes."""
    (tmp_path / "vm" / "snapshots" / "deep").mkdir(parents=True)
    (tmp_path / "store").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("relative", "place"),
    [
        ("base.vhdx", "vm/snapshots/base.vhdx"),
        (".\\base.vhdx", "vm/snapshots/base.vhdx"),
        ("deep\\base.vhdx", "vm/snapshots/deep/base.vhdx"),
        ("deep/base.vhdx", "vm/snapshots/deep/base.vhdx"),
        ("..\\base.vhdx", "vm/base.vhdx"),
        ("..\\..\\store\\base.vhdx", "store/base.vhdx"),
        ("deep\\..\\..\\base.vhdx", "vm/base.vhdx"),
        ("a b ü 𐐷.vhdx", "vm/snapshots/a b ü 𐐷.vhdx"),
    ],
)
def test_relative_path_from_the_childs_folder(tree, relative, place):
    path = child(relative).save(tree / "vm/snapshots/child.avhdx")
    PARENT.save(tree / place)
    assert found(path) == found(path, parents="relative") == found(path, parents="all") == str(tree / place)
    if place.startswith("vm/snapshots"):
        assert found(path, parents="inside") == str(tree / place)
    else:
        with pytest.raises(ParentNotFoundError, match="outside"):
            vhdxreader.open(path, parents="inside")


def test_from_the_working_directory(tree, monkeypatch):
    child("..\\base.vhdx").save(tree / "vm/snapshots/child.avhdx")
    PARENT.save(tree / "vm/base.vhdx")
    monkeypatch.chdir(tree / "vm/snapshots")
    assert found(Path("child.avhdx")) == str(tree / "vm/base.vhdx")


def test_child_behind_a_symbolic_link(tree):
    """The parent lies beside the child, not beside the link; or beside the link."""
    child("base.vhdx").save(tree / "store/child.avhdx")
    link = tree / "vm/link.avhdx"
    link.symlink_to(tree / "store/child.avhdx")
    PARENT.save(tree / "store/base.vhdx")
    assert found(link) == str(tree / "store/base.vhdx")
    with pytest.raises(ParentNotFoundError):
        vhdxreader.open(link, parents="inside")
    PARENT.save(tree / "vm/base.vhdx")
    assert found(link) == found(link, parents="inside") == str(tree / "vm/base.vhdx")


def test_child_in_a_linked_folder(tree):
    child("..\\base.vhdx").save(tree / "vm/snapshots/child.avhdx")
    (tree / "store/link").symlink_to(tree / "vm/snapshots")
    PARENT.save(tree / "vm/base.vhdx")
    assert found(tree / "store/link/child.avhdx") == str(tree / "vm/base.vhdx")


def test_inside_is_not_left_through_a_link(tree):
    path = child("deep\\base.vhdx").save(tree / "vm/snapshots/child.avhdx")
    PARENT.save(tree / "store/base.vhdx")
    (tree / "vm/snapshots/deep/base.vhdx").symlink_to(tree / "store/base.vhdx")
    assert found(path) == str(tree / "vm/snapshots/deep/base.vhdx")
    with pytest.raises(ParentNotFoundError, match="outside"):
        vhdxreader.open(path, parents="inside")
    (tree / "vm/snapshots/deep/base.vhdx").unlink()
    (tree / "vm/snapshots/deep").rmdir()
    (tree / "vm/snapshots/deep").symlink_to(tree / "store")
    with pytest.raises(ParentNotFoundError, match="outside"):
        vhdxreader.open(path, parents="inside")


def test_inside_counts_from_the_first_child(tree):
    """A grandparent beside the child is inside, though it is above its own child's folder."""
    middle = child("..\\base.vhdx")
    middle.save(tree / "vm/snapshots/deep/middle.avhdx")
    pairs = Locator.to(middle.data_write_guid, "deep\\middle.avhdx")
    newest = differencing(2 * MB, {}, parent=middle, locator=pairs, name="newest")
    path = newest.save(tree / "vm/snapshots/newest.avhdx")
    PARENT.save(tree / "vm/snapshots/base.vhdx")
    with vhdxreader.open(path, parents="inside") as disk:
        assert len(disk.images) == 3
        assert disk.read() == newest.expected()
    PARENT.save(tree / "vm/base.vhdx")
    sibling = tree / "vm/snapshots-2"
    sibling.mkdir()
    child("..\\snapshots\\base.vhdx").save(sibling / "child.avhdx")
    with pytest.raises(ParentNotFoundError, match="outside"):
        vhdxreader.open(sibling / "child.avhdx", parents="inside")


def test_absolute_path_of_this_system_only_with_all(tree):
    PARENT.save(tree / "store/base.vhdx")
    path = child("no.vhdx", absolute_win32_path=str(tree / "store/base.vhdx")).save(tree / "child.avhdx")
    assert found(path, parents="all") == str(tree / "store/base.vhdx")
    for policy in ("relative", "inside"):
        with pytest.raises(ParentNotFoundError, match='parents="all"'):
            vhdxreader.open(path, parents=policy)


def test_order_and_the_next_place_after_a_mismatch(tree):
    other = dynamic(2 * MB, name="other")
    path = child("base.vhdx", absolute_win32_path=str(tree / "store/base.vhdx")).save(tree / "child.avhdx")
    other.save(tree / "base.vhdx")
    with pytest.raises(ParentMismatchError) as caught:
        vhdxreader.open(path, parents="all")
    assert [(tried.key, tried.filename) for tried in caught.value.tried] == [
        ("relative_path", str(tree / "base.vhdx")),
        ("absolute_win32_path", str(tree / "store/base.vhdx")),
    ]
    (tree / "store/base.vhdx").write_bytes(b"not an image")
    with pytest.raises(ParentNotFoundError):  # something else than mismatches was found
        vhdxreader.open(path, parents="all")
    PARENT.save(tree / "store/base.vhdx")
    assert found(path, parents="all") == str(tree / "store/base.vhdx")
    PARENT.save(tree / "base.vhdx")
    assert found(path, parents="all") == str(tree / "base.vhdx")


def test_name_that_differs_in_case_is_the_last_try(tree):
    (tree / "VM-Disks").mkdir()
    PARENT.save(tree / "VM-Disks/Base.VHDX")
    path = child("vm-disks\\base.vhdx", absolute_win32_path=str(tree / "store/exact.vhdx")).save(tree / "child.avhdx")
    with vhdxreader.open(path, parents="all") as disk:
        assert disk.images[1].path == str(tree / "VM-Disks/Base.VHDX")
        assert [finding.rule for finding in disk.image.findings][-1] == "parent.name_case"
    dynamic(2 * MB, name="other").save(tree / "VM-Disks/BASE.vhdx")
    assert found(path) == str(tree / "VM-Disks/Base.VHDX")  # the one that matches
    PARENT.save(tree / "store/exact.vhdx")
    assert found(path, parents="all") == str(tree / "store/exact.vhdx")
    assert found(path, parents="inside") == str(tree / "VM-Disks/Base.VHDX")


@pytest.mark.parametrize("policy", ["relative", "inside"])
def test_links_to_the_same_folder_do_not_multiply(tree, policy):
    """Three links would be 3 ** 30 paths."""
    for name in ("bb", "bB", "Bb"):
        (tree / name).symlink_to(".")
    path = child("\\".join([*["BB"] * 30, "p.vhdx"])).save(tree / "child.avhdx")
    with pytest.raises(ParentNotFoundError, match="no such file"):
        vhdxreader.open(path, parents=policy)
    PARENT.save(tree / "P.vhdx")
    assert os.path.realpath(found(path, parents=policy)) == str(tree / "P.vhdx")


def test_name_as_a_mac_writes_it(tree):
    PARENT.save(tree / "Ba\u0308r.vhdx")
    assert found(child("b\u00e4r.vhdx").save(tree / "child.avhdx")) == str(tree / "Ba\u0308r.vhdx")


def test_child_without_a_folder():
    with pytest.raises(ParentNotFoundError, match="no folder"):
        vhdxreader.open(child("base.vhdx").open())
    with vhdxreader.open(child("base.vhdx").open(), parents=lambda _: PARENT.open()) as disk:
        assert len(disk.images) == 2


def test_callable_gets_the_locator(tree):
    PARENT.save(tree / "store/base.vhdx")
    seen: list[ParentLocator] = []

    def find(locator: ParentLocator) -> Path:
        seen.append(locator)
        return tree / "store" / locator.relative_path

    assert found(child("base.vhdx").save(tree / "child.avhdx"), parents=find) == str(tree / "store/base.vhdx")
    assert [locator.relative_path for locator in seen] == ["base.vhdx"]


WINDOWS_PATHS = [
    ("c:\\vm\\base.vhdx", True),
    ("\\\\?\\d:\\vm\\base.vhdx", True),
    ("\\\\?\\Volume{26a21bda-a627-11d7-9931-806e6f6e6963}\\vm\\base.vhdx", True),
    ("\\\\server\\share\\base.vhdx", True),
    ("\\\\?\\UNC\\server\\share\\base.vhdx", True),
    ("\\\\?\\unc\\server\\pipes\\base.vhdx", True),
    ("\\\\server\\pipe\\name", False),
    ("\\\\server\\Pipe.\\name", False),
    ("\\\\server/pipe\\name\\more", False),
    ("\\\\server\\mailslot\\name", False),
    ("\\\\server\\IPC$\\name", False),
    ("\\\\?\\UNC\\server\\pipe\\name", False),
    ("\\\\?\\UNC\\base.vhdx", False),
    ("\\\\.\\PhysicalDrive0", False),
    ("\\\\.\\pipe\\name", False),
    ("\\\\?\\GLOBALROOT\\Device\\Null", False),
    ("\\\\?\\pipe\\name", False),
    ("c:base.vhdx", False),
    ("base.vhdx", False),
    ("/etc/passwd", False),
    ("http://server/base.vhdx", False),
]


@pytest.mark.parametrize(("value", "tried"), WINDOWS_PATHS)
def test_absolute_paths_on_windows(value, tried):
    locator = ParentLocator((), uuid.UUID(int=1), None, None, None, value)
    (place,) = places(locator, "child.avhdx", "all", None, windows=True)
    assert (place.reason is None) is tried
    for policy in ("relative", "inside"):
        (place,) = places(locator, "child.avhdx", policy, None, windows=True)
        assert place.reason


@pytest.mark.parametrize("value", [value for value, _ in WINDOWS_PATHS if not value.startswith("/")])
def test_windows_paths_mean_nothing_elsewhere(value):
    locator = ParentLocator((), uuid.UUID(int=1), None, None, value, None)
    (place,) = places(locator, "child.avhdx", "all", None, windows=False)
    assert "Windows" in place.reason


# ---- attacks


@pytest.mark.parametrize(
    "relative",
    [
        "/etc/passwd",
        "\\etc\\passwd",
        "//server/share/base.vhdx",
        "\\\\server\\share\\base.vhdx",
        "\\\\?\\UNC\\server\\share\\base.vhdx",
        "\\\\.\\PhysicalDrive0",
        "c:\\base.vhdx",
        "C:base.vhdx",
        "\\\\?\\c:\\base.vhdx",
        "file:///etc/passwd",
        "http://server/base.vhdx",
        "http:\\\\server\\base.vhdx",
    ],
)
def test_relative_path_that_is_not_relative_is_not_followed(tree, opened, relative):
    path = child(relative).save(tree / "child.avhdx")
    for policy in ("relative", "inside", "all"):
        opened.clear()
        with pytest.raises(ParentNotFoundError, match="not a relative path") as caught:
            vhdxreader.open(path, parents=policy)
        assert opened == [str(path)]
        assert [(tried.key, tried.filename) for tried in caught.value.tried] == [("relative_path", relative)]


def up(tree: Path, *names: str) -> str:
    """A relative path from `tree` by way of the root."""
    return "\\".join([".."] * (len(tree.parts) + 3) + list(names))


@pytest.mark.usefixtures("opened")
def test_file_that_is_none_of_its_business(tree):
    for name, content in (("passwd", b"root:" + SECRET.encode() * 1000), ("short", SECRET.encode()), ("empty", b"")):
        (tree / name).write_bytes(content)
        path = child(up(tree, *(tree / name).parts[1:])).save(tree / "vm/child.avhdx")
        with pytest.raises(ParentNotFoundError, match="not a VHDX") as caught:
            vhdxreader.open(path)
        assert SECRET not in str(caught.value)
        assert caught.value.__cause__ is caught.value.__context__ is None
        with pytest.raises(ParentNotFoundError, match="outside"):
            vhdxreader.open(path, parents="inside")


@pytest.mark.usefixtures("opened")
def test_file_that_only_begins_like_an_image(tree):
    (tree / "base.vhdx").write_bytes((b"vhdxfile" + SECRET.encode("utf-16-le") + b"root:x:" * 8).ljust(300 << 10, b"S"))
    path = child("base.vhdx").save(tree / "child.avhdx")
    with pytest.raises(ParentNotFoundError, match=r"header\.none_valid") as caught:
        vhdxreader.open(path)
    assert SECRET not in str(caught.value)
    assert "SSSS" not in str(caught.value)
    assert caught.value.__cause__ is caught.value.__context__ is None


@pytest.mark.usefixtures("opened")
def test_image_of_somebody_else_shows_nothing(tree):
    other = dynamic(2 * MB, {0: full()}, name="other", creator=SECRET)
    other.save(tree / "base.vhdx")
    with pytest.raises(ParentMismatchError) as caught:
        vhdxreader.open(child("base.vhdx").save(tree / "child.avhdx"))
    assert SECRET not in str(caught.value)
    assert str(other.data_write_guid) not in str(caught.value)


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="there is no /dev/zero")
@pytest.mark.parametrize("device", ["zero", "null", "tty", "random"])
def test_device(tree, opened, device):
    path = child(up(tree, "dev", device)).save(tree / "child.avhdx")
    with pytest.raises(ParentNotFoundError) as caught:
        vhdxreader.open(path)
    assert opened == [str(path)]
    assert "not a regular file" in str(caught.value) or device == "tty"
    absolute = child(absolute_win32_path=f"/dev/{device}").save(tree / "other.avhdx")
    with pytest.raises(ParentNotFoundError):
        vhdxreader.open(absolute, parents="all")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_pipe_without_a_writer(tree, opened):
    os.mkfifo(tree / "base.vhdx")
    path = child("base.vhdx").save(tree / "child.avhdx")
    for policy in ("relative", "all"):
        with pytest.raises(ParentNotFoundError, match="not a regular file"):
            vhdxreader.open(path, parents=policy)
    assert set(opened) == {str(path)}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_pipe_that_is_given(tree):
    os.mkfifo(tree / "base.vhdx")
    path = child("base.vhdx").save(tree / "child.avhdx")
    for how in ({"parent": tree / "base.vhdx"}, {"parents": lambda _: tree / "base.vhdx"}):
        with pytest.raises(ParentNotFoundError, match="not seekable"):
            vhdxreader.open(path, **how)


def test_what_is_given_is_opened_as_the_image_is(tree):
    """A device is refused for what it holds, if it is no image, and not for what it is."""
    path = child().save(tree / "child.avhdx")
    for how in ({"parent": "/dev/zero"}, {"parents": lambda _: "/dev/zero"}):
        with pytest.raises(ParentNotFoundError, match="/dev/zero: it is not a VHDX file"):
            vhdxreader.open(path, **how)


def test_block_device_is_a_parent(tree):
    """As a tool lays a file on a loop device."""
    losetup = shutil.which("losetup") or "/sbin/losetup"
    base = PARENT.save(tree / "base.vhdx")
    try:
        made = subprocess.run([losetup, "-r", "-f", "--show", base], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no loop device can be made here")
    device = made.stdout.strip()
    try:
        for how in ({"parent": device}, {"parents": lambda _: device}):
            assert found(child().save(tree / "child.avhdx"), **how) == device
    finally:
        subprocess.run([losetup, "-d", device], check=True)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_pipe_that_takes_the_files_place_when_it_is_opened(tree, monkeypatch):
    os.mkfifo(tree / "base.vhdx")
    path = child("base.vhdx").save(tree / "child.avhdx")
    really_stat = os.stat
    monkeypatch.setattr(os, "stat", lambda name, **more: really_stat(path if "base" in str(name) else name, **more))
    with pytest.raises(ParentNotFoundError, match="not a regular file"):
        vhdxreader.open(path)


@pytest.mark.parametrize("relative", [".", "..", "deep", "..\\..\\..\\..\\..\\..\\..\\.."])
def test_folder(tree, opened, relative):
    path = child(relative).save(tree / "vm/snapshots/child.avhdx")
    with pytest.raises(ParentNotFoundError, match="not a regular file"):
        vhdxreader.open(path)
    assert opened == [str(path)]


@pytest.mark.usefixtures("opened")
def test_link_to_itself(tree):
    (tree / "base.vhdx").symlink_to(tree / "base.vhdx")
    path = child("base.vhdx").save(tree / "child.avhdx")
    for policy in ("relative", "inside"):
        with pytest.raises(ParentNotFoundError, match=r"base\.vhdx"):
            vhdxreader.open(path, parents=policy)


def ring(names: list[str]) -> list[Image]:
    """Images of which each is the parent of the one before, and the first of the last, with linkages that match."""
    guids = [uuid.uuid5(uuid.NAMESPACE_DNS, name) for name in names]
    return [
        differencing(
            2 * MB,
            {},
            parent=PARENT,
            name=names[i],
            data_write_guid=guids[i],
            locator=Locator.to(guids[(i + 1) % len(names)], names[(i + 1) % len(names)]),
        )
        for i in range(len(names))
    ]


@pytest.mark.parametrize("length", [1, 2, 5])
def test_cycle(tree, opened, length):
    names = [f"{i}.avhdx" for i in range(length)]
    for name, image in zip(names, ring(names), strict=True):
        image.save(tree / name)
    with pytest.raises(ParentMismatchError, match="cycle"):
        vhdxreader.open(tree / "0.avhdx")
    with pytest.raises(ParentMismatchError, match="cycle"):
        vhdxreader.open(tree / "0.avhdx", parents=lambda locator: tree / locator.relative_path)
    assert len(opened) <= 2 * (length + 1)


@pytest.mark.parametrize("kind", ["symbolic", "hard"])
@pytest.mark.usefixtures("opened")
def test_cycle_through_a_link(tree, kind):
    first, second = ring(["0.avhdx", "1.avhdx"])
    first.save(tree / "0.avhdx")
    second = differencing(
        2 * MB,
        {},
        parent=PARENT,
        name="1.avhdx",
        data_write_guid=second.data_write_guid,
        locator=Locator.to(first.data_write_guid, "link.avhdx"),
    )
    second.save(tree / "1.avhdx")
    if kind == "symbolic":
        (tree / "link.avhdx").symlink_to(tree / "0.avhdx")
    else:
        (tree / "link.avhdx").hardlink_to(tree / "0.avhdx")
    with pytest.raises(ParentMismatchError, match="cycle"):
        vhdxreader.open(tree / "0.avhdx")


def test_cycle_of_file_objects():
    files = [image.open() for image in ring(["0.avhdx", "1.avhdx"])]
    with pytest.raises(ParentMismatchError, match="cycle"):
        vhdxreader.open(files[0], parents=lambda locator: files[int(locator.relative_path[0])])


def test_disk_cannot_be_its_own_parent(tree):
    (image,) = ring(["0.avhdx"])
    path = image.save(tree / "0.avhdx")
    with (
        vhdxreader.open(path, parents=None) as disk,
        pytest.raises(ParentMismatchError, match="cycle"),
    ):
        vhdxreader.open(path, parent=disk)


@pytest.mark.usefixtures("opened")
def test_hostile_names_do_no_harm(tree):
    for name in ("a\x1b[2J\r\nb.vhdx", "x" * 5000, "\\".join(["a"] * 16000), "\\".join([".."] * 10000), "…\u202e.vhdx"):
        path = child(name).save(tree / "child.avhdx")
        with pytest.raises(ParentNotFoundError) as caught:
            vhdxreader.open(path)
        text = str(caught.value)
        assert all(char.isprintable() for char in text)
        assert len(text) < 5000


def test_unreadable_file(tree):
    path = child("base.vhdx").save(tree / "child.avhdx")
    PARENT.save(tree / "base.vhdx").chmod(0)
    if os.access(tree / "base.vhdx", os.R_OK):
        pytest.skip("this user may read every file")
    with pytest.raises(ParentPermissionError, match="ermission"):
        vhdxreader.open(path)


@pytest.mark.parametrize("how", [{}, {"parents": lambda _: "base.vhdx"}, {"parent": "base.vhdx"}], ids=str)
def test_no_permission_is_no_missing_file(tree, monkeypatch, how):
    path = child("base.vhdx").save(tree / "child.avhdx")
    PARENT.save(tree / "base.vhdx")
    monkeypatch.chdir(tree)
    monkeypatch.setattr(os, "open", refusing(errno.EACCES))
    with pytest.raises(ParentPermissionError, match=r"base\.vhdx: Permission denied[;)]") as caught:
        vhdxreader.open(path, **how)
    assert isinstance(caught.value, PermissionError)
    assert (caught.value.errno, caught.value.filename) == (errno.EACCES, str(path))
    chain = vhdxreader.open_chain(path, **how)
    chain.close()
    assert chain.error.rule == "parent.permission"


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
@pytest.mark.parametrize("more", [{}, {"errors": "zero"}], ids=str)
def test_too_many_open_files_is_no_missing_parent(tree, monkeypatch, number, more):
    path = child("base.vhdx").save(tree / "child.avhdx")
    PARENT.save(tree / "base.vhdx")
    monkeypatch.setattr(os, "open", refusing(number))
    for how in ({}, {"parent": tree / "base.vhdx"}, {"parents": "inside"}, {"parents": lambda _: tree / "base.vhdx"}):
        with pytest.raises(OSError, match=os.strerror(number)) as caught:
            vhdxreader.open(path, **how, **more)
        assert caught.value.errno == number
        assert not isinstance(caught.value, vhdxreader.VhdxError)


def refusing(number: int):
    """`os.open`, but for the parent."""
    really_open = os.open

    def refuse(path, *args, **kwargs):
        if os.fsdecode(path).endswith("base.vhdx"):
            raise OSError(number, os.strerror(number), path)
        return really_open(path, *args, **kwargs)

    return refuse


# ---- what is said


def test_moved_parent(tree):
    """The keys, every place, and the options that would help."""
    image = child(
        "..\\base.vhdx",
        volume_path="\\\\?\\Volume{26a21bda-a627-11d7-9931-806e6f6e6963}\\vm\\base.vhdx",
        absolute_win32_path=str(tree / "store/base.vhdx"),
    )
    path = image.save(tree / "vm/snapshots/child.avhdx")
    PARENT.save(tree / "store/base.vhdx")
    with pytest.raises(ParentNotFoundError) as caught:
        vhdxreader.open(path)
    text = str(caught.value)
    for part in (
        str(path),
        f"relative_path {tree / 'vm/base.vhdx'}: no such file",
        "volume_path \\\\?\\Volume{26a21bda-a627-11d7-9931-806e6f6e6963}\\vm\\base.vhdx: ",
        f"absolute_win32_path {tree / 'store/base.vhdx'}: ",
        'parents="all"',
        "give it as parent=",
    ):
        assert part in text
    assert "--" not in text
    assert caught.value.filename == str(path)
    assert isinstance(caught.value, FileNotFoundError)
    assert [tried.key for tried in caught.value.tried] == ["relative_path", "volume_path", "absolute_win32_path"]
    assert found(path, parents="all") == found(path, parent=tree / "store/base.vhdx")


def test_modified_parent(tree):
    changed = dynamic(2 * MB, {1: full()}, name="parent", data_write_guid=uuid.uuid5(uuid.NAMESPACE_DNS, "changed"))
    changed.save(tree / "base.vhdx")
    with pytest.raises(ParentMismatchError) as caught:
        vhdxreader.open(child("base.vhdx").save(tree / "child.avhdx"))
    assert str(PARENT.data_write_guid) in str(caught.value)
    assert not isinstance(caught.value, FileNotFoundError)
    assert caught.value.rule == "parent.mismatch"


def test_locator_without_a_path(tree):
    with pytest.raises(ParentNotFoundError, match="names no path"):
        vhdxreader.open(child().save(tree / "child.avhdx"))


def test_advice_about_what_was_given(tree):
    """Not that it should be given."""
    middle = differencing(2 * MB, {}, parent=PARENT, locator=Locator([LINKAGE]), name="middle")
    leaf = differencing(2 * MB, {}, parent=middle, name="leaf").save(tree / "leaf.avhdx")
    middle.save(tree / "middle.avhdx")
    PARENT.save(tree / "base.vhdx")
    given = [str(tree / "base.vhdx"), str(tree / "middle.avhdx")]
    with pytest.raises(ParentMismatchError) as caught:
        vhdxreader.open(leaf, parent=given)
    assert f"{given[1]} is its parent: give them in their order, the parent first" in str(caught.value)
    with pytest.raises(ParentMismatchError, match="give the one that it was made from") as caught:
        vhdxreader.open(leaf, parent=given[0])
    with pytest.raises(ParentNotFoundError, match="no such file") as missing:
        vhdxreader.open(leaf, parent=tree / "gone.vhdx")
    for error in (caught.value, missing.value):
        assert "give it as" not in str(error)
        assert error.filename == str(leaf)


def test_header_without_a_rule(tree, monkeypatch):
    """A parent that fails while its headers are read breaks no rule."""
    path = child("base.vhdx").save(tree / "child.avhdx")
    PARENT.save(tree / "base.vhdx")
    really_read = headers.read_headers

    def fail(source):
        if source.name.endswith("base.vhdx"):
            raise vhdxreader.TruncatedImageError("the file has become shorter")
        return really_read(source)

    monkeypatch.setattr(headers, "read_headers", fail)
    with pytest.raises(ParentNotFoundError, match=r"no current header\)"):
        vhdxreader.open(path)


@pytest.mark.parametrize("depth", [0, 1])
def test_every_message_names_its_file(tree, depth):
    """At opening, and at a read."""
    paths = [child("base.vhdx").save(tree / "child.avhdx"), PARENT.save(tree / "base.vhdx")]
    with vhdxreader.open(paths[0]) as disk, open(paths[depth], "r+b") as file:
        file.truncate(disk.images[depth].file_size - 4096)
    with vhdxreader.open(paths[0]) as disk, pytest.raises(vhdxreader.CorruptImageError) as caught:
        disk.read()
    assert str(paths[depth]) in str(caught.value)
    with open(paths[depth], "r+b") as file:
        file.truncate(200 << 10)
    with pytest.raises(vhdxreader.CorruptImageError) as caught:
        vhdxreader.open(paths[0])
    assert str(paths[depth]) in str(caught.value)
    assert caught.value.filename == str(paths[depth])
