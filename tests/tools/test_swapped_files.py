"""What is told of a file is told of the one that is read, also where another has taken its path meanwhile."""

from __future__ import annotations

import json
import os

import pytest
from builder import MB, dynamic, full

import vhdxreader
from vhdxreader.tools import forest, survey_record

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows does not let go of the name of an open file")

IMAGE = dynamic(4 * MB, {0: full()}, name="read")
OTHER = dynamic(64 * MB, {n: full() for n in range(64)}, name="other")


@pytest.fixture
def paths(tmp_path):
    image, other = IMAGE.save(tmp_path / "disk.vhdx"), OTHER.save(tmp_path / "other.vhdx")
    os.utime(image, ns=(10**18, 10**18))
    return image, other


def test_a_record(paths, tmp_path):
    image, other = paths
    status = os.stat(image)
    with vhdxreader.open(image) as disk, vhdxreader.CustodyRecord(tmp_path / "record.json", command="test") as record:
        os.replace(other, image)
        with record.reading(disk):
            disk.read(1)
    (read,) = json.loads((tmp_path / "record.json").read_text())["images"]
    (file,) = read["files"]
    assert (file["inode"], file["modified_ns"], file["file_size"]) == (status.st_ino, 10**18, status.st_size)
    assert file["data_write_guid"] == str(IMAGE.data_write_guid)
    assert read["changed"]


def test_a_record_once_the_file_is_gone(paths, tmp_path):
    image, _ = paths
    inode = os.stat(image).st_ino
    with vhdxreader.open(image) as disk, vhdxreader.CustodyRecord(tmp_path / "record.json", command="test") as record:
        os.unlink(image)
        with record.reading(disk):
            disk.read(1)
    (read,) = json.loads((tmp_path / "record.json").read_text())["images"]
    assert read["files"][0]["inode"] == inode


@pytest.mark.skipif(not hasattr(os.stat_result, "st_blocks"), reason="the system does not tell what files take")
def test_what_a_file_takes(paths):
    image, other = paths
    with vhdxreader.open(image) as disk:
        os.replace(other, image)
        (file,) = vhdxreader.measure(disk).files
    assert file.allocated <= IMAGE.file.length < OTHER.file.length // 4


def swapping(module, paths, monkeypatch):
    """Another file takes the path just before it is opened; what the system says of that file."""
    image, other = paths
    real, status = module.open_source, os.stat(other)

    def open_source(path):
        os.replace(other, image)
        return real(path)

    monkeypatch.setattr(module, "open_source", open_source)
    return status


def test_a_survey(paths, monkeypatch):
    status = swapping(survey_record, paths, monkeypatch)
    record = vhdxreader.survey_image(str(paths[0]))
    assert record["data_write_guid"] == str(OTHER.data_write_guid)
    assert (record["inode"], record["modified_ns"]) == (status.st_ino, status.st_mtime_ns)


def test_a_forest(paths, monkeypatch):
    status = swapping(forest, paths, monkeypatch)
    (member,) = (node.member for node in vhdxreader.chain_forest([str(paths[0])]).nodes.values())
    assert member.data_write_guid == OTHER.data_write_guid
    assert (member.identity, member.modified) == ((status.st_dev, status.st_ino), status.st_mtime)
