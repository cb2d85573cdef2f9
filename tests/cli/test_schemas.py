"""What every command prints as JSON is what the published schemas say, also of broken images and where it fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from builder import KB, MB, damaged, differencing, dynamic, full, partial, reserved
from cases import broken, valid
from dirty_images import SIZE, wet, write
from grammar_tools import BUILT, ROOT
from jsonschema import Draft202012Validator

import vhdxreader
from vhdxreader.cli.app import run
from vhdxreader.cli.output import in_options

SCHEMAS = {path.stem: json.loads(path.read_text()) for path in (ROOT / "docs" / "schemas").glob("*.json")}

COMMANDS = {
    "info": ["info"],
    "info of all": ["info", "--blocks", "--chain", "-v"],
    "info before replay": ["info", "--log", "ignore"],
    "check": ["check", "--no-progress"],
    "check all": ["check", "--deep"],
    "map": ["map"],
    "map of one file": ["map", "--own"],
    "log": ["log"],
    "dump": ["dump"],
    "map of unused space": ["map", "--unused"],
    "hash": ["hash", "--file", "--log", "both", "-a", "md5,sha1"],
    "hash salvaged": ["hash", "--salvage"],
    "hash of blocks": ["hash", "--blocks"],
    "partitions": ["partitions"],
    "measure": ["measure"],
}
READS_DATA = ("hash", "partitions")  # and therefore says on standard error what there is to know
HUGE = ("largest", "many_chunks")  # disks
SMALL = {name: words for name, words in COMMANDS.items() if words[0] not in READS_DATA}


def strict(schema: Any) -> Any:
    """The schema that takes no key that it does not name: otherwise a key could be forgotten in it."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: strict(value) for key, value in schema.items()}
    if schema.get("type") == "object" and "properties" in schema and "additionalProperties" not in schema:
        inner["additionalProperties"] = False
    return inner


VALIDATORS = {name: Draft202012Validator(strict(schema)) for name, schema in SCHEMAS.items()}


def no_constant(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


def held(text: str) -> dict[str, Any]:
    """The object in strict JSON, held against the schema that it names."""
    text.encode("utf-8")
    answer = json.loads(text, parse_constant=no_constant)
    json.dumps(answer, ensure_ascii=False).encode("utf-8")  # no half of a character pair
    name, number = answer["schema"].removeprefix("vhdxreader/").split("/")
    assert number == "1"
    errors = [f"{list(error.absolute_path)}: {error.message}" for error in VALIDATORS[name].iter_errors(answer)]
    assert not errors, errors[:5]
    return answer


def asked(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = run([str(argument) for argument in arguments])
    output = capsys.readouterr()
    return code, output.out, output.err


def broken_images() -> dict[str, Any]:
    """Images with something wrong in each structure."""
    child = differencing(4 * MB, {0: partial([0]), 1: full()}, parent=dynamic(4 * MB), name="child")
    entries = [write(1)], [write(2)]
    from builder import run as run_of_entries

    sequence = run_of_entries(entries, tail=4 * KB, flushed=SIZE, last=SIZE)
    return {
        **BUILT,
        "one header": valid().flip(64 * KB + 9),
        "no header": valid().flip(64 * KB + 9).flip(128 * KB + 9),
        "one region table": valid().flip(192 * KB + 9),
        "no region table": valid().flip(192 * KB + 9).flip(256 * KB + 9),
        "version": broken(header__version=7),
        "no metadata": broken(region__metadata__file_offset=900 * MB),
        "metadata table": valid().patch("metadata.signature", b"x"),
        "block size": broken(file_parameters__block_size=3 * MB),
        "block state": dynamic(4 * MB, {0: full(), 1: reserved(5)}),
        "block past the end": dynamic(4 * MB, overrides={"block[1]": 6 + (900 << 20)}),
        "missing parent": child,
        "dirty": wet(sequence),
        "dirty without a sequence": wet(run_of_entries(entries, tail=512 * KB, flushed=SIZE, last=SIZE)),
        "damaged entry": wet(damaged(sequence, 1, checksum=1)),
        "log past the end": wet(sequence).patch("header1.log_offset", 1 << 40).fix_checksums(),
        "identifier": valid().patch("signature", b"x") if "signature" in valid().fields else valid().patch(0, b"x"),
    }


IMAGES = broken_images()


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("images")
    made = {name: make() if callable(make) else make for name, make in IMAGES.items()}
    return {name: image.save(folder / f"{name}.vhdx") for name, image in made.items()}


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_is_one(name: str) -> None:
    Draft202012Validator.check_schema(SCHEMAS[name])
    assert SCHEMAS[name]["title"] == f"vhdxreader/{name}/1"


def test_schemas_and_their_page_are_current() -> None:
    made = subprocess.run(
        [sys.executable, ROOT / "docs" / "make_schemas.py", "--check"], capture_output=True, text=True
    )
    assert (made.returncode, made.stderr) == (0, "")


@pytest.mark.parametrize(
    ("image", "command"), [(i, c) for i in IMAGES for c in COMMANDS if (i in HUGE) <= (c in SMALL)]
)
def test_an_answer(image: str, command: str, saved: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = asked(capsys, *COMMANDS[command], "--json", saved[image])
    answer = held(out)
    assert answer["schema"] == f"vhdxreader/{COMMANDS[command][0]}/1"
    assert answer["filename"] == str(saved[image])
    if COMMANDS[command][0] not in READS_DATA:
        assert (answer["error"] is not None) == bool(err)
    assert asked(capsys, *COMMANDS[command], saved[image])[0] == code
    if answer["error"] is not None:
        assert code in (1, 2)
        assert in_options(answer["error"]["message"]) in err  # JSON has the library's words


def test_compare_and_tree(saved: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    for other, code in (("fixed_4k", 0), ("every_state", 1), ("no header", 2)):
        one, out, err = asked(capsys, "compare", "--json", "--ranges", saved["fixed_4k"], saved[other])
        answer = held(out)
        assert (one, answer["error"] is None, err == "") == (code, code < 2, code < 2)
    folder = saved["child"].parent
    code, out, _ = asked(capsys, "tree", "--json", folder)
    answer = held(out)
    assert code == 0
    assert {Path(image["filename"]) for image in answer["images"]} <= set(saved.values())
    assert any(image["problem"] for image in answer["images"])
    code, out, _ = asked(capsys, "tree", "--jsonl", folder)
    assert held(out) == answer


@pytest.mark.parametrize("image", ["child", "fixed_4k", "no header"])
def test_report(image: str, saved: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("jinja2")
    target = tmp_path / "page.html"
    code, out, err = asked(capsys, "report", "--json", saved[image], target)
    answer = held(out)
    assert (code, answer["error"], err) == (0, None, "")
    assert (answer["filename"], answer["target"]) == (str(saved[image]), str(target))
    assert target.read_text(encoding="utf-8").startswith("<!")
    code, out, _ = asked(capsys, "report", "--json", saved[image], target)
    assert (code, held(out)["error"]["filename"]) == (1, str(target))


def test_survey(saved: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = asked(capsys, "survey", "--check", "-j", "1", saved["child"].parent)
    records = [held(line) for line in out.splitlines()]
    assert code == 1
    assert {record["schema"] for record in records} == {"vhdxreader/survey/1"}
    assert {Path(record["filename"]) for record in records} <= set(saved.values())
    assert any(record["error"] for record in records)


@pytest.mark.parametrize("command", ["info", "check", "map", "log", "dump"])
@pytest.mark.parametrize("image", IMAGES)
def test_lines(image: str, command: str, saved: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = asked(capsys, command, "--jsonl", saved[image])
    lines = [held(line) for line in out.splitlines()]
    whole_code, whole, _ = asked(capsys, command, "--json", saved[image])
    whole = json.loads(whole)
    assert code == whole_code
    name = {"map": "extents", "log": "entries", "dump": "structures"}.get(command)
    if name is None:
        assert lines == [whole]
    else:
        items = [
            {key: value for key, value in line.items() if key != "schema"} for line in lines if "error" not in line
        ]
        assert items == (whole[name] or [])
        assert [line["error"] for line in lines if "error" in line] == [whole["error"]] * (whole["error"] is not None)


@pytest.mark.parametrize("command", ["info", "check", "map", "log", "dump"])
def test_what_cannot_be_opened(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = tmp_path / "text"
    text.write_text("no image\n" * 1000)
    for path in (text, tmp_path / "none", tmp_path):
        code, out, err = asked(capsys, command, "--json", path)
        answer = held(out)
        assert code == 1
        assert answer["filename"] == str(path)
        if command != "check" or path != text:
            assert answer["error"]["severity"] == "error"
            assert in_options(answer["error"]["message"]) in err  # JSON has the library's words


def test_a_list_that_ends_early_is_closed(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: Any) -> None:
    """Where reading fails behind the first items, what was printed is JSON, and says so."""
    path = dynamic(4 * MB, {0: full()}).save(tmp_path / "disk.vhdx")

    def two(self: object, **_how: object) -> Any:
        yield from list(extents(self))[:1]
        raise OSError(5, "Input/output error", str(path))

    extents = vhdxreader.VirtualDisk.extents
    monkeypatch.setattr(vhdxreader.VirtualDisk, "extents", two)
    code, out, _ = asked(capsys, "map", "--json", path)
    answer = held(out)
    assert (code, len(answer["extents"]), answer["error"]["message"]) == (1, 1, "Input/output error")
    code, out, _ = asked(capsys, "map", "--jsonl", path)
    first, last = map(held, out.splitlines())
    assert (code, first["kind"], last["error"]["message"]) == (1, "data", "Input/output error")


@pytest.mark.parametrize("command", ["info", "check"])
def test_several_images(
    command: str, saved: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fine, corrupt, missing = saved["fixed_4k"], saved["no header"], tmp_path / "none"
    warned = saved["one header"]
    for images, code in (
        ([fine, warned], 0 if command == "info" else 3),
        ([fine, missing, warned], 1),
        ([missing, corrupt, fine], 2),
    ):
        one, out, _ = asked(capsys, command, "--json", *images)
        answer = held(out)
        assert (one, answer["schema"]) == (code, "vhdxreader/images/1")
        answers = [held(json.dumps(part)) for part in answer["images"]]
        assert [part["filename"] for part in answers] == list(map(str, images))
        one, out, _ = asked(capsys, command, "--jsonl", *images)
        assert (one, [held(line) for line in out.splitlines()]) == (code, answers)
        one, out, _ = asked(capsys, command, *images)
        assert one == code
        title, *rows = out.splitlines()
        assert title.split()[0] == "File"
        assert [row.startswith(str(image)) for row, image in zip(rows, images, strict=True)] == [True] * len(images)


def test_what_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = dynamic(4 * MB, {0: full(), 1: reserved(5)}).save(tmp_path / "disk.vhdx")
    assert asked(capsys, "convert", "--json", path, tmp_path / "one.raw")[0] == 2
    code, out, _ = asked(capsys, "convert", "--json", "--salvage", path, tmp_path / "two.raw")
    answer = held(out)
    assert (code, answer["target"]) == (2, str(tmp_path / "two.raw"))
    assert [(lost["disk_offset"], lost["length"], lost["problem"]["rule"]) for lost in answer["lost"]] == [
        (MB, MB, "payload.state")
    ]
    good = dynamic(4 * MB, {0: full()}).save(tmp_path / "good.vhdx")
    code, out, _ = asked(capsys, "convert", "--json", good, tmp_path / "three.raw")
    assert (code, held(out)["lost"]) == (0, None)
    code, out, _ = asked(capsys, "convert", "--json", good, tmp_path / "three.raw")
    assert (code, held(out)["error"]["filename"]) == (1, str(tmp_path / "three.raw"))
    assert asked(capsys, "convert", "--json", good, "-")[:2] == (64, "")
    code, out, _ = asked(capsys, "skeleton", "--json", good, tmp_path / "skeleton.vhdx")
    assert (code, held(out)["file_size"]) == (0, (tmp_path / "skeleton.vhdx").stat().st_size)
    code, out, _ = asked(capsys, "skeleton", "--json", "--max-size", "1", good, tmp_path / "other.vhdx")
    assert (code, held(out)["file_size"]) == (1, None)


@pytest.mark.skipif(os.name == "nt", reason="names are Unicode there")
@pytest.mark.parametrize("command", ["info", "check", "map", "log", "dump"])
def test_a_name_that_is_no_unicode(command: str, tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/\xff\xe4\xb8\xad.vhdx"
    dynamic(MB).save(Path(os.fsdecode(name)))
    command_line = [sys.executable, "-m", "vhdxreader", command, "--json", name]
    done = subprocess.run(command_line, capture_output=True, check=True)
    assert held(done.stdout.decode())["filename"] == f"{tmp_path}/\\udcff\N{CJK UNIFIED IDEOGRAPH-4E2D}.vhdx"


def test_numbers_that_pass_2_to_the_53(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = broken(header2__sequence_number=(1 << 64) - 1).save(tmp_path / "disk.vhdx")
    for command in ("info", "dump"):
        assert f'"{(1 << 64) - 1}"' in asked(capsys, command, "--json", path)[1]


def test_the_library_says_the_same(saved: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    path = saved["every_state"]
    with vhdxreader.open(path) as disk:
        info = held(asked(capsys, "info", "--json", path)[1])
        facts = disk.image.to_dict()
        assert facts.items() <= info.items()
        assert json.loads(json.dumps(facts)) == facts
        extents = held(asked(capsys, "map", "--json", path)[1])["extents"]
        assert [extent.to_dict() for extent in disk.extents()] == extents
    check = held(asked(capsys, "check", "--json", path)[1])
    assert vhdxreader.check(path).to_dict().items() <= check.items()


@pytest.mark.corpus
@pytest.mark.parametrize("command", SMALL)
def test_real_images(command: str, corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in sorted(corpus.glob("*.vhdx")):
        _, out, err = asked(capsys, *COMMANDS[command], "--json", path)
        assert held(out)["error"] is None
        assert err == ""


@pytest.mark.witness
def test_map_as_qemu_has_it(witness: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Keys and what they say, beside qemu-img on the same disk as QCOW2: of a VHDX it says that all of it is data."""
    image = dynamic(8 * MB, {1: full(), 2: full(), 5: full()}).save(tmp_path / "disk.vhdx")
    copy, qemu = tmp_path / "disk.qcow2", witness("qemu-img")
    subprocess.run([qemu, "convert", "-O", "qcow2", "-o", "cluster_size=1M", image, copy], check=True)
    shown = subprocess.run([qemu, "map", "--output=json", copy], capture_output=True, check=True).stdout
    theirs = [{key: extent[key] for key in extent if key != "compressed"} for extent in json.loads(shown)]  # as of 8.2
    code, out, _ = asked(capsys, "map", "--json=qemu", image)
    ours = json.loads(out)
    assert code == 0
    assert {extent["data"]: list(extent) for extent in ours} == {extent["data"]: list(extent) for extent in theirs}
    assert said_of_bytes(ours) == said_of_bytes(theirs)
    assert asked(capsys, "map", "--qemu", image)[1] == out


def said_of_bytes(extents: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """What is said of each stretch but its place in the file, neighbours joined: qemu-img cuts at clusters."""
    result: list[tuple[Any, ...]] = []
    for extent in extents:
        said = tuple(extent[key] for key in ("depth", "present", "zero", "data"))
        if result and result[-1][1:] == said:
            result[-1] = (result[-1][0] + extent["length"], *said)
        else:
            result.append((extent["length"], *said))
    return result
