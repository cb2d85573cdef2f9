"""The page on an image: what it says, that nothing of an image can be more than text in it, how it looks in a browser.

REPORT_PICTURES=folder keeps pictures and a PDF of each page.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from builder import KB, MB, TB, Locator, differencing, dynamic, full, partial, reserved, zeroed
from fleet_images import plain_loop
from grammar_tools import need, node

import vhdxreader
from vhdxreader import report_page, write_report
from vhdxreader.cli.app import run

BROWSER = Path(__file__).parent / "browser"
EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'{{ 7*7 }}\u202egnp.exe\u2066"
VOID = {"meta", "br", "img", "link"}


class Page(HTMLParser):
    """The elements of a page, with their attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data if "style" not in self.open else ""


def held(html: str) -> Page:
    """The page, held against what every page must be."""
    page = Page(html)
    assert not page.open
    names = [name for name, _ in page.elements]
    assert not {"script", "img", "iframe", "object", "embed", "link", "form", "base"} & set(names)
    for _, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on") or name in ("style", "src", "srcset")]
        assert attributes.get("href", "#").startswith("#")
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {attributes["href"][1:] for name, attributes in page.elements if name == "a"} <= set(ids)
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'sha256-{digest}'" in html.replace("&#39;", "'")
    assert not re.search(r"url\((?!#)|@import", style)
    assert len(html.encode()) < 2_000_000
    html.encode("utf-8")
    return page


def test_it_says_what_the_tools_say(tmp_path):
    base = dynamic(64 * MB, {0: full(), 3: full(), 4: zeroed()}, name="base")
    child = differencing(64 * MB, {0: partial([5]), 9: full()}, parent=base, parent_path="base.vhdx", name="child")
    base.save(tmp_path / "base.vhdx")
    path = child.save(tmp_path / "child.avhdx")
    text = held(report_page(path, digests=["sha256"])).text
    for name in ("child.avhdx", "base.vhdx"):
        assert hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() in text
        assert str(tmp_path / name) in text
    assert "No damage was found." in text
    assert str(child.disk_id) in text
    assert str(base.data_write_guid) in text
    assert "differencing" in text
    assert f"{64 * MB} bytes" in text
    assert "parent 1" in text
    assert "matches parent_linkage" in text


def test_findings_come_with_what_they_mean(tmp_path):
    image = dynamic(8 * MB, {0: full(), 1: reserved(5)}).flip(64 * KB + 9)
    path = image.save(tmp_path / "broken.vhdx")
    text = held(report_page(path)).text
    found = vhdxreader.check(path)
    assert {finding.rule for finding in found.findings} >= {"header.checksum", "payload.state"}
    for finding in found.findings:
        assert finding.rule in text
        assert finding.means in text
        assert finding.message in text
    assert "The image is damaged" in text
    assert "cannot be read" in text


@pytest.mark.parametrize("change", ["region tables", "metadata", "headers"])
def test_images_that_do_not_open(tmp_path, change):
    image = dynamic(8 * MB, {0: full()})
    image = {
        "region tables": lambda: image.flip(192 * KB + 9).flip(256 * KB + 9),
        "metadata": lambda: image.patch("metadata.signature", b"x"),
        "headers": lambda: image.flip(64 * KB + 9).flip(128 * KB + 9),
    }[change]()
    path = image.save(tmp_path / "refused.vhdx")
    with pytest.raises(vhdxreader.VhdxError) as refusal:
        vhdxreader.open(path)
    assert refusal.value.message in held(report_page(path)).text


def test_what_is_no_vhdx(tmp_path):
    path = tmp_path / "text.vhdx"
    path.write_text("no image" * 1000)
    assert "This is no VHDX image." in held(report_page(path)).text
    with pytest.raises(FileNotFoundError):
        report_page(tmp_path / "none.vhdx")


def test_text_of_an_image_is_never_more_than_text(tmp_path):
    base = dynamic(4 * MB, name="base")
    pairs = [
        ("parent_linkage", f"{{{base.data_write_guid}}}"),
        ("relative_path", EVIL),
        ("<b>key</b>", "x" * 30000),
        ("absolute_win32_path", "\u05d0\u0007"),
    ]
    child = differencing(4 * MB, {0: full(EVIL.encode())}, parent=base, locator=Locator(pairs), creator=EVIL, name="c")
    path = child.save(tmp_path / "<script>alert(3)<\udcffscript>\u202e.vhdx")
    html = report_page(path, parents=None)
    page = held(html)
    assert "\u202e" not in html
    assert "\u2066" not in html
    assert "\\u202e" in page.text
    assert "<script>alert(1)</script>" in page.text
    assert "{{ 7*7 }}" in page.text
    assert "x" * 700 not in page.text
    assert "(30000 characters)" in page.text
    assert "<b>key</b>" in page.text
    assert "\u05d0\\x07" in page.text
    assert "\\udcff" in page.text


def test_the_largest_disk_stays_a_small_page(tmp_path):
    blocks = {n * 1_000_003: full() for n in range(64)}
    path = dynamic(64 * TB, blocks).save(tmp_path / "largest.vhdx")
    page = held(report_page(path))
    assert "64 TiB" in page.text
    assert "a square is 128 GiB" in page.text


def test_it_replaces_nothing_that_it_should_not(tmp_path, capsys):
    base = dynamic(4 * MB, name="base")
    child = differencing(4 * MB, {0: full()}, parent=base, parent_path="base.vhdx", name="child")
    parent, path = base.save(tmp_path / "base.vhdx"), child.save(tmp_path / "child.vhdx")
    before = path.read_bytes(), parent.read_bytes()
    out = tmp_path / "out.html"
    out.write_text("mine")
    with pytest.raises(FileExistsError):
        write_report(path, out)
    for target in (path, parent):
        with pytest.raises(shutil.SameFileError):
            write_report(path, target, overwrite=True)
    assert (path.read_bytes(), parent.read_bytes()) == before
    assert run(["report", str(path), str(out)]) == 1
    assert "--force overwrites it" in capsys.readouterr().err
    assert run(["report", str(path), str(out), "--force", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["target"] == str(out)
    held(out.read_text("utf-8"))
    assert run(["report", str(path), str(tmp_path / "new.html"), "--digest", "nope"]) == 64
    assert sorted(file.name for file in tmp_path.iterdir()) == ["base.vhdx", "child.vhdx", "out.html"]


OF_AN_IMAGE = ("Findings", "Facts", "How this was made")  # what is read, and where Tab leads to
OF_A_FLEET = ("Problems", "Facts", "Forest")


@pytest.mark.slow
def test_in_a_browser(tmp_path):
    """Nobody is kept out by colour, width, or the want of a mouse; and the page asks for nothing elsewhere."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    need(chromium, "Chromium")
    need((BROWSER / "node_modules" / "axe-core").is_dir(), "`npm ci` in tests/tools/browser/")
    base = dynamic(64 * MB, {0: full(), 3: full(), 4: zeroed()}, name="base")
    child = differencing(64 * MB, {0: partial([5]), 9: full()}, parent=base, parent_path="base.vhdx", name="child")
    base.save(tmp_path / "base.vhdx")
    bad = dynamic(8 * MB, {0: full(), 1: reserved(5)}, creator=EVIL).flip(64 * KB + 9)
    images = [child.save(tmp_path / "chain.vhdx"), bad.save(tmp_path / "broken.vhdx")]
    pages = []
    for image in images:
        write_report(image, tmp_path / f"{image.stem}.html")
        pages.append(tmp_path / f"{image.stem}.html")
    records = vhdxreader.survey([tmp_path], vhdxreader.SurveyTask(check=True), run=plain_loop)
    fleet = vhdxreader.examine_fleet(vhdxreader.forest_of(records))
    vhdxreader.write_fleet_report(fleet, tmp_path / "fleet.html")
    pages.append(tmp_path / "fleet.html")
    pictures = os.environ.get("REPORT_PICTURES")
    asked = {"pages": [{"file": str(page), "pictures": pictures} for page in pages]}
    results = json.loads(node(BROWSER / "look.js", str(chromium), stdin=json.dumps(asked)))
    for result, (heading, *linked) in zip(results, (OF_AN_IMAGE, OF_AN_IMAGE, OF_A_FLEET), strict=True):
        for way in result["ways"]:
            assert way["violations"] == [], way["way"]
            assert way["overflow"] <= 0, way["way"]
            assert way["asked"] == []
            assert heading in way["text"]
            assert "\\x" not in way["text"]
        assert result["refused"] == []  # by the page's own policy
        assert result["styled"]
        stops = result["stops"]
        assert stops[0] == "Skip to the content"
        assert {heading, *linked} <= set(stops)
        assert len(stops) < 40
