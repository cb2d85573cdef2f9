"""The forest of chains: links by DataWriteGuid, whatever files are called and wherever they lie."""

from __future__ import annotations

import os
import uuid

import pytest
from builder import MB, Locator, differencing, dynamic, full

from vhdxreader.disk.folder_search import MAX_DEPTH, find_images
from vhdxreader.format.parent_locator import ParentLocator
from vhdxreader.tools.forest import ForestMember, ParentState, chain_forest, lexical_place, link_members

BASE = dynamic(4 * MB, {0: full()}, name="base")
ONE = differencing(4 * MB, {1: full()}, parent=BASE, parent_path="base.vhdx", name="one")
TWO = differencing(4 * MB, {2: full()}, parent=ONE, parent_path="one.avhdx", name="two")
OTHER = differencing(4 * MB, {3: full()}, parent=BASE, parent_path="base.vhdx", name="other")


def shape(forest) -> list[tuple[int, str, str]]:
    """Depth, file name and link of every node."""
    return [
        (depth, os.path.basename(node.member.filename), str(node.link))
        for root in forest.roots()
        for depth, node in forest.walk(root)
    ]


def test_a_tree_whatever_the_files_are_called(tmp_path):
    (tmp_path / "sub").mkdir()
    for image, name, when in ((TWO, "sub/z.bin", 3), (BASE, "b", 1), (OTHER, "other.avhdx", 2), (ONE, "a.txt", 1)):
        os.utime(image.save(tmp_path / name), (when, when))
    (tmp_path / "notes.txt").write_text("no image")
    forest = chain_forest([tmp_path])
    assert shape(forest) == [
        (0, "b", "none"),
        (1, "a.txt", "found"),
        (2, "z.bin", "found"),
        (1, "other.avhdx", "found"),
    ]
    assert [os.path.basename(name) for name, node in forest.nodes.items() if node.newest] == ["z.bin"]


def test_orphans_and_changed_parents(tmp_path):
    ONE.save(tmp_path / "one.avhdx")
    TWO.save(tmp_path / "two.avhdx")
    assert shape(chain_forest([tmp_path])) == [(0, "one.avhdx", "missing"), (1, "two.avhdx", "found")]
    dynamic(4 * MB, {0: full()}, name="written since").save(tmp_path / "base.vhdx")
    assert shape(chain_forest([tmp_path])) == [
        (0, "base.vhdx", "none"),
        (0, "one.avhdx", "changed"),
        (1, "two.avhdx", "found"),
    ]


def test_two_files_that_could_be_the_parent(tmp_path):
    for name in ("aaa.vhdx", "base.vhdx"):
        BASE.save(tmp_path / name)
    ONE.save(tmp_path / "one.avhdx")
    node = chain_forest([tmp_path]).nodes[str(tmp_path / "one.avhdx")]
    assert (node.link, os.path.basename(node.parent.filename)) == (ParentState.DOUBLED, "base.vhdx")
    assert [os.path.basename(one.filename) for one in node.candidates] == ["aaa.vhdx", "base.vhdx"]


def test_a_thousand_copies_take_a_thousand_steps():
    guid = uuid.UUID(int=1)
    locator = ParentLocator((), guid, None, "base.vhdx", None, None)
    copies = [ForestMember(f"/{n}/base.vhdx", data_write_guid=guid) for n in range(3000)]
    children = [ForestMember(f"/{n}/one.avhdx", data_write_guid=uuid.UUID(int=9), locator=locator) for n in range(3000)]
    forest = link_members([*copies, *children], lexical_place)
    node = forest.nodes["/2999/one.avhdx"]
    assert (node.link, node.candidate_count) == (ParentState.DOUBLED, 3000)
    assert node.parent.filename == "/2999/base.vhdx"
    assert sum(len(node.candidates) for node in forest.nodes.values()) == 3000 * 16


def test_places_by_names_alone():
    locator = ParentLocator((), uuid.UUID(int=1), None, r"..\vm\base.vhdx", None, None)
    for child, parent in (
        ("https://host/a/one.avhdx", "https://host/vm/base.vhdx"),
        ("C:\\a\\one.avhdx", "C:\\vm\\base.vhdx"),
        ("a/one.avhdx", "vm/base.vhdx"),
    ):
        assert lexical_place(child, locator) == lexical_place(parent, None)


def test_links_in_a_circle_end(tmp_path):
    guids = [uuid.UUID(int=1), uuid.UUID(int=2)]
    for own, parent in (guids, reversed(guids)):
        locator = Locator.to(parent, "nowhere.vhdx")
        image = differencing(4 * MB, {}, parent=BASE, locator=locator, data_write_guid=own)
        image.save(tmp_path / f"{own.int}.vhdx")
    itself = differencing(4 * MB, {}, parent=BASE, locator=Locator.to(guids[0], "x"), data_write_guid=uuid.UUID(int=3))
    itself.save(tmp_path / "3.vhdx")
    assert [name for _, name, _ in shape(chain_forest([tmp_path]))] == ["1.vhdx", "2.vhdx", "3.vhdx"]


def test_bad_files_are_members_and_no_end(tmp_path):
    BASE.save(tmp_path / "base.vhdx")
    BASE.copy().patch("header1.signature", b"dead").patch("header2.signature", b"dead").save(tmp_path / "dead.vhdx")
    (tmp_path / "short.vhdx").write_bytes(b"vhdxfile")
    (tmp_path / "text.vhdx").write_bytes(b"text")
    forest = chain_forest([tmp_path, tmp_path / "text.vhdx"])
    problems = {os.path.basename(name): node.member.problem for name, node in forest.nodes.items()}
    assert problems["base.vhdx"] is None
    assert "no valid header" in problems["dead.vhdx"]
    assert "header" in problems["short.vhdx"]
    assert problems["text.vhdx"] == "it is no VHDX file"
    links = {os.path.basename(name): node.link for name, node in forest.nodes.items()}
    assert links == {"base.vhdx": "none", "dead.vhdx": "none", "short.vhdx": "unknown", "text.vhdx": "unknown"}


def test_what_is_looked_at_in_folders(tmp_path):
    folder = tmp_path
    for depth in range(MAX_DEPTH + 2):
        BASE.save(folder / f"{depth}.vhdx")
        folder = folder / "deeper"
        folder.mkdir()
    os.symlink(tmp_path / "0.vhdx", tmp_path / "link.vhdx")
    os.symlink(tmp_path, tmp_path / "loop")
    os.mkfifo(tmp_path / "pipe.vhdx")
    assert len(list(find_images(str(tmp_path)))) == MAX_DEPTH + 1
    assert list(find_images(tmp_path, 0)) == list(find_images(os.fsencode(tmp_path), 0))
    assert len(list(find_images(str(tmp_path), 0))) == 1
    assert list(find_images(str(tmp_path / "link.vhdx"))) == [str(tmp_path / "link.vhdx")]
    with pytest.raises(FileNotFoundError):
        list(find_images(str(tmp_path / "nowhere")))
