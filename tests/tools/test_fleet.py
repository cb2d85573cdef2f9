"""What a survey tells of a fleet as a whole, by files, by URL, in a table, and by a cluster."""

from __future__ import annotations

import json
import os
import re
import shutil
import uuid
from importlib.util import find_spec

import pytest
from builder import MB, differencing, dynamic, full
from fleet_images import STUB, build_fleet, kill_or_survey, local_cluster, plain_loop
from grammar_tools import ROOT, need
from ranged_server import ranged_server

import vhdxreader
from vhdxreader import SurveyTask
from vhdxreader.cli.app import run
from vhdxreader.tools.forest import ForestMember, link_members

CHECK = SurveyTask(check=True)
DISK = uuid.UUID(int=7)
BASE = dynamic(4 * MB, {0: full(), 3: full()}, name="fleet base", disk_id=DISK)
ONE = differencing(4 * MB, {1: full(), 3: full()}, parent=BASE, parent_path="base.vhdx", name="fleet one", disk_id=DISK)
TWO = differencing(4 * MB, {3: full()}, parent=ONE, parent_path="one.avhdx", name="fleet two", disk_id=DISK)
LOST = differencing(4 * MB, {}, parent=dynamic(4 * MB, name="gone"), parent_path="gone.vhdx", name="lost", disk_id=DISK)


def surveyed(*paths, **how):
    return list(vhdxreader.survey(paths, CHECK, **{"run": plain_loop, **how}))


def without_time(records):
    return sorted(({**record, "seconds": None} for record in records), key=lambda record: record["filename"])


def names(members):
    return {os.path.basename(member.filename) for member in members}


@pytest.fixture
def farm(tmp_path):
    folder = tmp_path / "farm"
    for name, image in {"a/base.vhdx": BASE, "b/one.avhdx": ONE, "b/two.avhdx": TWO, "c/lost.avhdx": LOST}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        image.save(folder / name)
    return folder


def test_a_chain_across_folders_and_what_merging_gives_back(farm):
    fleet = vhdxreader.examine_fleet(vhdxreader.forest_of(surveyed(farm)))
    assert {node.member.filename for node in fleet.orphans} == {str(farm / "c" / "lost.avhdx")}
    assert (fleet.doubled, fleet.names, fleet.copies) == ((), (), ())
    assert [names(group) for group in fleet.shared_ids] == [{"base.vhdx", "lost.avhdx"}]
    (merge,) = fleet.merges
    assert [os.path.basename(member.filename) for member in merge.files] == ["base.vhdx", "one.avhdx", "two.avhdx"]
    given = sum((farm / "b" / name).stat().st_size for name in ("one.avhdx", "two.avhdx"))
    # Files with 2, 2 and 1 blocks on a disk of 4: the merged one has at least 2 and at most 4, and really has 3.
    assert (merge.least, merge.most) == (given - 2 * MB, given)
    assert merge.least <= given - 1 * MB <= merge.most
    json.dumps(fleet.to_dict())


def test_what_merging_gives_back_is_not_known_without_a_check(farm):
    forest = vhdxreader.forest_of(vhdxreader.survey([farm], run=plain_loop))
    (merge,) = vhdxreader.examine_fleet(forest).merges
    assert (merge.least, merge.most) == (None, None)


def test_names_and_copies(farm):
    os.link(farm / "a" / "base.vhdx", farm / "a" / "second name.vhdx")
    fleet = vhdxreader.examine_fleet(vhdxreader.forest_of(surveyed(farm)))
    assert [names(group) for group in fleet.names] == [{"base.vhdx", "second name.vhdx"}]
    assert (fleet.doubled, fleet.copies) == ((), ())  # it is one file
    assert len(fleet.merges) == 1
    shutil.copy(farm / "a" / "base.vhdx", farm / "copy.vhdx")
    fleet = vhdxreader.examine_fleet(vhdxreader.forest_of(surveyed(farm)))
    assert [len(group) for group in fleet.copies] == [2]
    assert names(node.member for node in fleet.doubled) == {"one.avhdx"}
    assert [names(group) for group in fleet.shared_ids] == [{"base.vhdx", "lost.avhdx"}]  # a copy is told as a copy
    assert names(fleet.merges[0].files) == {"one.avhdx", "two.avhdx"}  # which base is to be written to, nobody knows


def test_the_command_says_so(farm, capsys):
    os.link(farm / "a" / "base.vhdx", farm / "a" / "second name.vhdx")
    assert run(["survey", str(farm), "-j", "1", "--check", "--forest", "--summary"]) == 0
    shown = capsys.readouterr().out
    assert "1 files that have several names:" in shown
    assert "1 VirtualDiskIds that several trees share:" in shown
    given = sum((farm / "b" / name).stat().st_size for name in ("one.avhdx", "two.avhdx"))
    assert f"two.avhdx and 2 below it: {given // MB - 2} MiB to {given // MB} MiB" in shown
    assert "5 images" in shown


def test_the_page(farm, tmp_path, capsys):
    """What comes from images and file systems is text in it, and the page is small, whatever the fleet's size."""
    need(find_spec("jinja2"), "jinja2")
    os.rename(farm / "b" / "two.avhdx", farm / "b" / "<script>alert(1)<\N{RIGHT-TO-LEFT OVERRIDE}.avhdx")
    page = tmp_path / "fleet.html"
    arguments = ["survey", str(farm), "-j", "1", "--check", "--report", str(page)]
    assert run(arguments) == 0
    text = page.read_text(encoding="utf-8")
    assert "<script" not in text
    assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in text
    assert "&lt;script&gt;alert(1)&lt;" in text
    assert "its parent is missing: <bdi>gone.vhdx</bdi>" in text
    given = sum(size for path in (farm / "b").iterdir() if (size := path.stat().st_size)) // MB
    assert f"{given - 2} MiB to {given} MiB" in text
    assert 'row">&nbsp;&nbsp;&nbsp;└─ ' in text
    assert run(arguments) == 1
    assert "--force" in capsys.readouterr().err
    many = [ForestMember(f"/{n}.avhdx", problem="x" * 10_000, data_write_guid=DISK) for n in range(10_000)]
    assert len(vhdxreader.fleet_page(vhdxreader.examine_fleet(link_members(many)))) < 2_000_000


# ---- as a table


@pytest.mark.usefixtures("farm")
def test_the_recipes_of_the_page(tmp_path, monkeypatch):
    need(find_spec("pyarrow"), "pyarrow")
    need(find_spec("duckdb"), "duckdb")
    import duckdb

    monkeypatch.chdir(tmp_path)
    arguments = ["survey", "farm", "-j", "1", "--check", "--output"]
    for output in ("farm.parquet", "farm.jsonl"):
        assert run([*arguments, output]) == 0
    page = (ROOT / "docs" / "fleets.md").read_text()
    orphans, unmerged, by_rule = re.findall(r"```sql\n(.*?)```", page, re.S)
    size = sum(os.path.getsize(tmp_path / "farm" / name) for name in ("b/one.avhdx", "b/two.avhdx", "c/lost.avhdx"))
    for table in ("farm.parquet", "farm.jsonl"):
        orphans, unmerged = (query.replace("farm.parquet", table) for query in (orphans, unmerged))
        assert duckdb.sql(orphans).fetchall() == [("farm/c/lost.avhdx", "gone.vhdx")]
        assert duckdb.sql(unmerged).fetchall()[0][:2] == (3, size)
    assert duckdb.sql(by_rule).fetchall() == []
    assert run([*arguments, "farm.parquet"]) == 1  # it is there already


# ---- by URL


def test_the_same_records_by_http(farm):
    local = {os.path.relpath(record["filename"], farm).replace(os.sep, "/"): record for record in surveyed(farm)}
    own = dict.fromkeys(("filename", "modified_ns", "inode", "device", "allocated_size", "file_version", "seconds"))
    with ranged_server() as server:
        server.delay = 0.005
        urls = {server.put(f"/{name}", (farm / name).read_bytes()): name for name in local}
        records = {record["filename"]: record for record in surveyed(*(f"{url}?token=secret" for url in urls))}
        assert {url: {**record, **own} for url, record in records.items()} == {
            url: {**local[name], **own} for url, name in urls.items()
        }
        assert {record["file_version"] for record in records.values()} == {'"1"'}
        server.requests.clear()
        assert all(vhdxreader.survey_image(url)["error"] is None for url in urls)
        assert len(server.requests) / len(urls) <= 3
        forest = vhdxreader.forest_of(records.values())
        assert names(node.member for node in vhdxreader.examine_fleet(forest).orphans) == {"lost.avhdx"}
        known = {name: vhdxreader.stamp_of(record) for name, record in records.items()}
        server.put("/a/base.vhdx", (farm / "a" / "base.vhdx").read_bytes(), version="2")
        again = surveyed(*urls, known=known)
        assert [record["filename"] for record in again] == [f"{server.url}/a/base.vhdx"]


def test_folders_and_globs_of_buckets(farm):
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    memory.rm("/fleet", recursive=True) if memory.exists("/fleet") else None
    for path in farm.rglob("*.*vhdx"):
        memory.pipe(f"/fleet/{path.relative_to(farm).as_posix()}", path.read_bytes())
    memory.pipe("/fleet/notes.txt", b"no image")
    memory.pipe("/fleet/dead.vhdx", b"no image either")
    records = surveyed("memory://fleet")
    assert names_of(records) == {"base.vhdx", "one.avhdx", "two.avhdx", "lost.avhdx", "dead.vhdx"}
    assert {record["filename"] for record in records if record["error"]} == {"memory:///fleet/dead.vhdx"}
    assert names_of(surveyed("memory://fleet/b/*.avhdx")) == {"one.avhdx", "two.avhdx"}


def names_of(records):
    return {record["filename"].rpartition("/")[2] for record in records}


# ---- by processes and a cluster


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    return build_fleet(tmp_path_factory.mktemp("fleet"), 24)


@pytest.fixture(scope="module")
def cluster():
    need(find_spec("distributed"), "distributed")
    with local_cluster() as address:
        yield address


def test_processes_give_the_same(fleet):
    expected = without_time(surveyed(fleet))
    assert sum(record["error"] is not None for record in expected) == 1
    for jobs in (1, 2):
        assert without_time(surveyed(fleet, run=None, jobs=jobs)) == expected


@pytest.mark.filterwarnings("ignore")  # of the cluster's own
def test_a_cluster_gives_the_same(fleet, cluster, tmp_path):
    expected = without_time(surveyed(fleet))
    output = tmp_path / "records.jsonl"
    assert run(["survey", str(fleet), "--check", "--dask", cluster, "-o", str(output)]) == 1
    found = [json.loads(line) for line in output.read_text().splitlines()]
    assert without_time({key: record[key] for key in vhdxreader.SURVEY_KEYS} for record in found) == expected


@pytest.mark.filterwarnings("ignore")
def test_an_image_that_kills_the_clusters_workers_is_a_record(fleet, cluster, monkeypatch):
    from vhdxreader.integrations.dask import dask_cluster

    expected = without_time(surveyed(fleet))
    stub = fleet / "stub.vhdx"
    stub.write_bytes(STUB)
    monkeypatch.setattr(vhdxreader, "survey_image", kill_or_survey)
    with dask_cluster(cluster) as by_cluster:
        records = without_time(surveyed(fleet, run=by_cluster))
    stub.unlink()
    dead = [record for record in records if record["filename"] == str(stub)]
    assert [record["error"]["message"] for record in dead] == ["the workers of the cluster that looked at it died"]
    assert [record for record in records if record not in dead] == expected


def test_no_cluster_is_an_error(capsys):
    need(find_spec("distributed"), "distributed")
    assert run(["survey", ".", "--dask", "nonsense://x"]) == 1
    assert "nonsense" in capsys.readouterr().err
