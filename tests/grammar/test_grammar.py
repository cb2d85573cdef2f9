"""The seam to the generated parser: no error of Kaitai's comes through, and what it reads agrees with the constants."""

from __future__ import annotations

import inspect
import struct
from contextlib import suppress

import kaitaistruct
import pytest
from builder import KB, MB, bat_entry
from hypothesis import given, settings
from hypothesis import strategies as st
from vhdxreader._generated.vhdx import Vhdx

from vhdxreader import CorruptImageError, TruncatedImageError, VhdxError, spec
from vhdxreader.format import grammar

FOREIGN = [
    kind
    for _, kind in inspect.getmembers(kaitaistruct, inspect.isclass)
    if issubclass(kind, BaseException) and kind.__module__ == kaitaistruct.__name__
]
# What the runtime and the generated code let through from Python, beside errors of their own.
FROM_PYTHON = [EOFError("no more"), UnicodeDecodeError("utf-16-le", b"\xd8", 0, 1, "half a pair")]

# What is decoded by itself, and how many bytes it has.
STRUCTURES = {
    "Header": 4 * KB,
    "RegionTable": 64 * KB,
    "MetadataTable": 64 * KB,
    "FileParametersItem": 8,
    "VirtualDiskSizeItem": 8,
    "VirtualDiskIdItem": 16,
    "LogicalSectorSizeItem": 4,
    "PhysicalSectorSizeItem": 4,
    "BatPayloadEntry": 8,
    "BatSectorBitmapEntry": 8,
}


def made(kind):
    """An error of this kind, whatever its arguments are called."""
    values = {"msg": "message", "src_path": "/types/header", "term": b"\0", "bytes_needed": 8, "bytes_available": 4}
    names = list(inspect.signature(kind.__init__).parameters)[1:]
    variadic = names == ["args", "kwargs"]
    return kind("message") if variadic else kind(*(None if name == "io" else values.get(name, 1) for name in names))


def test_the_list_is_what_it_seems():
    names = {kind.__name__ for kind in FOREIGN}
    assert {"KaitaiStructError", "EndOfStreamError", "ValidationFailedError", "ConsistencyError"} <= names
    assert len(FOREIGN) >= 14


@pytest.mark.parametrize("error", [*map(made, FOREIGN), *FROM_PYTHON], ids=lambda error: type(error).__name__)
def test_every_foreign_error_is_ours(error, monkeypatch):
    class Broken:
        @classmethod
        def from_bytes(cls, _):
            raise error

        @property
        def part(self):
            raise error

    monkeypatch.setattr(Vhdx, "Header", Broken)
    expected = TruncatedImageError if isinstance(error, EOFError) else CorruptImageError
    for call in (lambda: grammar.decode("Header", b"", 4711), lambda: grammar.part(Broken(), "part", 4711)):
        with pytest.raises(VhdxError) as caught:
            call()
        assert type(caught.value) is expected
        assert caught.value.file_offset == 4711
        assert str(error) in str(caught.value)
        assert caught.value.__cause__ is error


def test_our_own_mistakes_come_through(monkeypatch):
    """What is no fault of the image must not look like one."""
    monkeypatch.setattr(Vhdx, "Header", None)
    with pytest.raises(AttributeError):
        grammar.decode("Header", b"", 0)


@pytest.mark.parametrize(("structure", "size"), STRUCTURES.items())
def test_a_structure_that_ends_too_soon(structure, size):
    grammar.decode(structure, bytes(size), 0)
    with pytest.raises(TruncatedImageError) as caught:
        grammar.decode(structure, b"\xff" * (min(size, 8) - 1), 5 * MB)
    assert caught.value.file_offset == 5 * MB
    assert structure in caught.value.message


@settings(max_examples=200, deadline=None, derandomize=True)
@given(structure=st.sampled_from(sorted({*STRUCTURES, "ParentLocatorItem"})), data=st.binary(max_size=200))
def test_any_bytes_give_a_structure_or_our_error(structure, data):
    with suppress(VhdxError):
        decoded = grammar.decode(structure, data, 0)
        if hasattr(type(decoded), "entries"):
            grammar.part(decoded, "entries", 0)


# ---- the reader pages the BAT itself; both must say the same of an entry


def test_states_are_those_of_the_grammar():
    ours = {state.name.lower(): state.value for state in spec.PayloadState}
    assert {state.name: state.value for state in Vhdx.PayloadState} == ours
    ours = {f"bitmap_{state.name.lower()}": state.value for state in spec.BitmapState}
    assert {state.name: state.value for state in Vhdx.SectorBitmapState} == ours


@settings(max_examples=200, deadline=None, derandomize=True)
@given(state=st.integers(0, 7), reserved=st.integers(0, (1 << 17) - 1), megabytes=st.integers(0, (1 << 44) - 1))
def test_bits_of_an_entry_are_those_of_the_grammar(state, reserved, megabytes):
    word = bat_entry(state, megabytes * MB, reserved)
    assert word & spec.STATE_MASK == state
    assert word & spec.RESERVED_MASK == reserved << 3
    assert word & spec.FILE_OFFSET_MASK == megabytes * MB
    for structure in ("BatPayloadEntry", "BatSectorBitmapEntry"):
        decoded = grammar.decode(structure, struct.pack("<Q", word), 0)
        assert int(getattr(decoded.state, "value", decoded.state)) == state
        assert (decoded.reserved, decoded.ofs_block) == (reserved, megabytes * MB)
