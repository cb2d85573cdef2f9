"""The file type identifier and the headers [2.2.1, 2.2.2]: one thing changed, the exact outcome; and the choice."""

from __future__ import annotations

import io
import uuid

import pytest
from builder import KB, LOG_GUID, MB, NO_GUID
from cases import ERROR, INFO, WARNING, Case, broken, parametrize, valid

import vhdxreader
from vhdxreader import CorruptImageError, NotVhdxError, TruncatedImageError, UnsupportedImageError

HEADER_1, HEADER_2 = 64 * KB, 128 * KB

LOG_OUT_OF_PLACE = {
    "offset unaligned": {"header__log_offset": MB + 4096},
    "in the header section": {"header__log_offset": 0},
    "length unaligned": {"header__log_length": MB + 4096},
}
LOG_PAST_THE_END = {
    "past the end": {"header__log_offset": 1 << 40},
    "offset overflows": {"header__log_offset": (1 << 64) - MB},
    "longer than the file": {"header__log_length": 0xFFF00000},
}


def bad_copy(copy: int, field: str):
    """Copy 1 or 2 damaged in one field, its checksum left as it was."""
    return lambda: valid().flip(valid().fields[f"header{copy}.{field}"].offset)


CASES = [
    Case("identifier.signature", lambda: valid().patch(0, b"x" * 192 * KB), NotVhdxError, at=0, says="vhdxfile"),
    Case("identifier.damaged", lambda: valid().patch(0, b"vhdxfilE"), CorruptImageError, at=0, says="vhdxfile"),
    Case("identifier.damaged", lambda: valid().patch(0, bytes(8)), CorruptImageError, at=0),
    Case("file.size", lambda: (i := valid()).truncate(i.file.length + 512), finding=INFO),
    Case("header.signature", bad_copy(1, "signature"), finding=WARNING, at=HEADER_1, says="header 1 is not valid"),
    Case("header.signature", bad_copy(2, "signature"), finding=WARNING, at=HEADER_2, says="header 2 is not valid"),
    Case("header.checksum", bad_copy(1, "checksum"), finding=WARNING, at=HEADER_1, says="header 1 is not valid"),
    Case("header.checksum", bad_copy(2, "sequence_number"), finding=WARNING, at=HEADER_2, says="checksum"),
    Case("header.checksum", lambda: valid().flip(HEADER_2 + 4095), finding=WARNING, at=HEADER_2, says="checksum"),
    Case(
        "header.none_valid",
        lambda: valid().flip(HEADER_1).flip(HEADER_2),
        CorruptImageError,
        says="header 2: its signature",
    ),
    Case("header.none_valid", lambda: valid().flip(HEADER_1 + 9).flip(HEADER_2 + 9), CorruptImageError),
    Case("header.none_valid", lambda: valid().flip(HEADER_1).truncate(HEADER_2 + 4095), CorruptImageError),
    Case("header.both_truncated", lambda: valid().truncate(HEADER_1 + 4095), TruncatedImageError),
    Case("header.both_truncated", lambda: valid().truncate(8), TruncatedImageError),
    Case(
        "header.same_sequence",
        lambda: valid(sequence_numbers=(7, 7), overrides={"header2.file_write_guid": uuid.UUID(int=1)}),
        CorruptImageError,
        says="SequenceNumber 7",
    ),
    Case("header.identical", lambda: valid(sequence_numbers=(7, 7)), finding=INFO, at=HEADER_2, says="identical"),
    Case("header.version", lambda: broken(header__version=2), UnsupportedImageError, at=HEADER_2, says="2, expected 1"),
    Case("header.version", lambda: broken(header__version=0), UnsupportedImageError, at=HEADER_2),
    Case("header.version", lambda: broken(header2__version=2), UnsupportedImageError, at=HEADER_2),
    Case(
        "header.log_version",
        lambda: broken(header__log_guid=LOG_GUID, header__log_version=1),
        UnsupportedImageError,
        at=HEADER_2,
    ),
    Case("header.log_version_unused", lambda: broken(header__log_version=1), finding=WARNING, at=HEADER_2),
    *[
        Case(
            "header.log_location",
            lambda change=change: broken(header__log_guid=LOG_GUID, **change),
            CorruptImageError,
            at=HEADER_2,
        )
        for change in [*LOG_OUT_OF_PLACE.values(), {"header__log_length": 0}]
    ],
    *[
        Case(
            "header.log_past_end",
            lambda change=change: broken(header__log_guid=LOG_GUID, **change),
            TruncatedImageError,
            at=HEADER_2,
        )
        for change in LOG_PAST_THE_END.values()
    ],
    *[
        Case(
            "header.log_location_unused",
            lambda change=change: broken(**change),
            finding=WARNING,
            at=HEADER_2,
            says="log",
        )
        for change in [*LOG_OUT_OF_PLACE.values(), *LOG_PAST_THE_END.values()]
    ],
    Case("header.no_log", lambda: broken(header__log_length=0), finding=INFO, at=HEADER_2),
    Case("header.no_log", lambda: broken(header__log_length=0, header__log_offset=0), finding=INFO, at=HEADER_2),
    Case("header.reserved", lambda: broken(header__reserved=b"x"), finding=WARNING, at=HEADER_2),
    Case("header.reserved", lambda: broken(header__reserved=bytes(4015) + b"x"), finding=WARNING, at=HEADER_2),
]


@parametrize(CASES)
def test_rule(case):
    case.check()


def test_a_valid_image_has_no_finding():
    image = valid()
    assert vhdxreader.check(image.open()).findings == ()
    with vhdxreader.open(image.open()) as disk:
        assert disk.image.findings == ()
        assert disk.read() == image.expected()


def test_a_header_behind_the_end_of_the_file():
    """Such a file has no region table either, so that nothing can be read; but both reasons are there."""
    image = valid().truncate(HEADER_2 + 4095)
    found = {finding.rule: finding for finding in vhdxreader.check(image.open()).findings}
    assert (found["header.truncated"].severity, found["header.truncated"].file_offset) == (WARNING, HEADER_2)
    assert found["region_table.both_truncated"].severity == ERROR
    with pytest.raises(TruncatedImageError) as caught:
        vhdxreader.open(image.open())
    assert caught.value.rule == "region_table.both_truncated"


@pytest.mark.parametrize("content", [b"", b"vhdxfil", b"conectix" * 1000, b"\x7fELF"])
def test_other_files_are_no_vhdx(content):
    with pytest.raises(NotVhdxError) as caught:
        vhdxreader.open(io.BytesIO(content))
    assert not isinstance(caught.value, OSError)
    assert not vhdxreader.is_vhdx(io.BytesIO(content))


@pytest.mark.parametrize(("numbers", "current"), [((7, 8), 2), ((9, 8), 1), ((0, (1 << 64) - 1), 2), ((1 << 63, 5), 1)])
def test_the_greater_sequence_number_is_current(numbers, current):
    image = valid(sequence_numbers=numbers)
    with vhdxreader.open(image.open()) as disk:
        assert disk.image.header.sequence_number == max(numbers)
        assert disk.image.header.file_offset == (HEADER_1, HEADER_2)[current - 1]
        assert disk.image.header.data_write_guid == image.data_write_guid
        assert disk.image.header.file_write_guid == image.file_write_guid
        assert [copy.value.sequence_number for copy in disk.image.headers] == list(numbers)


@pytest.mark.parametrize("bad", [1, 2])
@pytest.mark.parametrize("numbers", [(7, 8), (8, 7)])
def test_one_bad_header_leaves_the_other(bad, numbers):
    """The bad one never counts, not even with the greater number; and both reasons stay visible."""
    image = valid(sequence_numbers=numbers).flip((HEADER_1, HEADER_2)[bad - 1] + 100)
    with vhdxreader.open(image.open()) as disk:
        assert disk.image.header.sequence_number == numbers[2 - bad]
        damaged, good = disk.image.headers[bad - 1], disk.image.headers[2 - bad]
        assert (damaged.number, damaged.value, damaged.rule) == (bad, None, "header.checksum")
        assert good.value == disk.image.header
        assert disk.read() == image.expected()


def test_an_older_header_never_stands_in_for_its_version():
    image = broken(header1__version=1, header2__version=2)
    with pytest.raises(UnsupportedImageError):
        vhdxreader.open(image.open())


def test_the_version_of_an_older_header_does_not_matter():
    image = broken(header1__version=2, header1__log_version=9, header1__reserved=b"x", header1__log_offset=5)
    with vhdxreader.open(image.open()) as disk:
        assert disk.image.findings == ()
        assert disk.read() == image.expected()


def test_fields():
    image = broken(header__file_write_guid=uuid.UUID("00112233-4455-6677-8899-aabbccddeeff"))
    with vhdxreader.open(image.open()) as disk:
        header = disk.image.header
    assert image.file.read(HEADER_2 + 16, 16).hex() == "33221100554477668899aabbccddeeff"
    assert header.file_write_guid == uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")
    assert (header.log_guid, header.has_log) == (NO_GUID, False)
    assert (header.log_version, header.version) == (0, 1)
    assert (header.log_offset, header.log_length) == (image.log_offset, MB)
    assert header.checksum.to_bytes(4, "little") == image.file.read(HEADER_2 + 4, 4)


@pytest.mark.parametrize(
    ("creator", "text"),
    [
        ("Microsoft Windows 10.0", "Microsoft Windows 10.0"),
        ("", ""),
        ("Grüße 💾", "Grüße 💾"),
        ("a\0behind the end", "a"),
        ("x" * 256, "x" * 256),
        (b"\x00\xd8a\0", "\ufffda"),  # half of a surrogate pair
    ],
)
def test_any_creator_is_fine(creator, text):
    image = valid(creator=creator)
    with vhdxreader.open(image.open()) as disk:
        assert disk.image.creator == text
        assert disk.image.findings == ()
        assert disk.read() == image.expected()
