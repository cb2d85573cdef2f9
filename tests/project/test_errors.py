"""Errors and findings: the tree as it is drawn, what they say, and that they survive a journey to another process."""

from __future__ import annotations

import copy
import errno
import pickle

import pytest
from cases import broken, valid

import vhdxreader
from vhdxreader import (
    CorruptImageError,
    DirtyLogError,
    Finding,
    ImageChangedError,
    NotVhdxError,
    ParentError,
    ParentMismatchError,
    ParentNotFoundError,
    ParentPermissionError,
    Severity,
    TruncatedImageError,
    UnreadableError,
    UnsupportedImageError,
    VhdxError,
)
from vhdxreader.format.rules import Findings, breach

# VhdxError(Exception)
# ├─ NotVhdxError
# ├─ CorruptImageError            also OSError (EIO)
# │   └─ TruncatedImageError      also EOFError
# ├─ UnreadableError              also OSError (the system's errno)
# ├─ UnsupportedImageError
# ├─ DirtyLogError
# ├─ ImageChangedError
# └─ ParentError
#     ├─ ParentNotFoundError      also FileNotFoundError
#     ├─ ParentPermissionError    also PermissionError
#     └─ ParentMismatchError
TREE = {
    VhdxError: (Exception,),
    NotVhdxError: (VhdxError,),
    CorruptImageError: (VhdxError, OSError),
    TruncatedImageError: (CorruptImageError, EOFError),
    UnreadableError: (VhdxError, OSError),
    UnsupportedImageError: (VhdxError,),
    DirtyLogError: (VhdxError,),
    ImageChangedError: (VhdxError,),
    ParentError: (VhdxError,),
    ParentNotFoundError: (ParentError, FileNotFoundError),
    ParentPermissionError: (ParentError, PermissionError),
    ParentMismatchError: (ParentError,),
}
ERRNO = dict.fromkeys((CorruptImageError, TruncatedImageError, UnreadableError), errno.EIO) | {
    ParentNotFoundError: errno.ENOENT,
    ParentPermissionError: errno.EACCES,
}


def descendants(kind):
    return {kind}.union(*(descendants(child) for child in kind.__subclasses__()))


def test_the_tree_is_as_drawn():
    assert descendants(VhdxError) == set(TREE)
    assert {kind: kind.__bases__ for kind in TREE} == TREE


def test_every_error_is_public():
    assert {kind.__name__ for kind in TREE} <= set(vhdxreader.__all__)
    assert all(getattr(vhdxreader, kind.__name__) is kind for kind in TREE)


@pytest.mark.parametrize("kind", TREE, ids=lambda kind: kind.__name__)
def test_message(kind):
    error = kind("something is wrong", file_offset=0x30000, rule="region_table.checksum", section="2.2.3.1")
    text = "something is wrong (file offset 0x30000, rule region_table.checksum, [MS-VHDX] 2.2.3.1)"
    assert str(error) == text
    assert (error.message, error.file_offset) == ("something is wrong", 0x30000)
    assert (error.rule, error.section) == ("region_table.checksum", "2.2.3.1")
    assert str(kind("plain")) == "plain"
    assert str(kind("at the start", file_offset=0)) == "at the start (file offset 0x0)"
    assert getattr(error, "errno", None) == ERRNO.get(kind)


@pytest.mark.parametrize("kind", TREE, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("travel", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy, copy.deepcopy])
def test_errors_travel(kind, travel):
    error = kind("something is wrong", file_offset=5, rule="a.rule", section="2.2")
    if isinstance(error, ParentError):
        error.tried = (vhdxreader.Tried("relative_path", "parent.vhdx", "not there"),)
    there = travel(error)
    assert type(there) is kind
    assert (str(there), there.args, vars(there)) == (str(error), error.args, vars(error))
    assert getattr(there, "errno", None) == ERRNO.get(kind)


def test_where_nothing_was_tried_nothing_is_listed():
    assert ParentNotFoundError("x").tried == ParentMismatchError("x").tried == ParentError("x").tried == ()


def test_caught_as_what_programs_expect(tmp_path):
    """Whoever catches OSError around reads catches corruption; whoever opens the wrong file gets no OSError."""
    image = broken(**{"block[2]": 4})
    with vhdxreader.open(image.open()) as disk, pytest.raises(OSError, match="unknown state 4") as caught:
        disk.read()
    assert caught.value.errno == errno.EIO
    assert caught.value.strerror == caught.value.message
    (tmp_path / "text").write_text("no image")
    with pytest.raises(NotVhdxError) as not_vhdx:
        vhdxreader.open(tmp_path / "text")
    assert not isinstance(not_vhdx.value, OSError)
    assert str(tmp_path / "text") in str(not_vhdx.value)


def test_a_refusal_says_what_where_and_why():
    with pytest.raises(VhdxError) as caught:
        vhdxreader.open(broken(header__version=7).open())
    text = str(caught.value)
    assert text.startswith("<SparseReader>: Version is 7, expected 1 (")
    assert text.endswith("(file offset 0x20000, rule header.version, [MS-VHDX] 2.2.2)")


def test_a_finding_says_the_same():
    with vhdxreader.open(valid().flip(0x10000).open()) as disk:
        (finding,) = disk.image.findings
    assert isinstance(finding, Finding)
    assert str(finding).startswith("warning: header 1 is not valid: its signature is")
    assert str(finding).endswith("(file offset 0x10000, rule header.signature, [MS-VHDX] 2.2.2)")
    assert pickle.loads(pickle.dumps(finding)) == finding
    with pytest.raises(AttributeError):
        finding.file_offset = 0


def test_severities_are_in_order():
    assert Severity.INFO < Severity.WARNING < Severity.ERROR
    assert max([Severity.INFO, Severity.ERROR, Severity.WARNING]) is Severity.ERROR


def test_strict_findings_refuse():
    findings = Findings()
    findings.add("header.reserved", "not zero", 5)
    with pytest.raises(UnsupportedImageError) as caught:
        findings.add("header.version", "Version is 2", 65536)
    assert (caught.value.rule, caught.value.file_offset, caught.value.section) == ("header.version", 65536, "2.2.2")
    assert [(finding.rule, finding.severity) for finding in findings] == [("header.reserved", Severity.WARNING)]


def test_lenient_findings_go_on():
    findings = Findings(strict=False)
    findings.add("header.version", "Version is 2", 65536)
    findings.add("header.reserved", "not zero", 5)
    found = [(finding.rule, finding.severity) for finding in findings]
    assert found == [("header.version", Severity.ERROR), ("header.reserved", Severity.WARNING)]


def test_what_matters_to_reads_only_does_not_refuse_the_opening():
    findings = Findings()
    findings.add("region.past_end", "cut short", 5)
    assert [finding.severity for finding in findings] == [Severity.ERROR]
    assert type(breach("region.past_end", "cut short", 5)) is TruncatedImageError
