"""The grammar's fields are those of docs/format.md, at the same bits; and everything in the grammar is documented."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from typing import Any

import kaitaistruct
import pytest
from grammar_tools import ROOT, grammar, types
from vhdxreader._generated.vhdx import Vhdx

from vhdxreader import spec

PAGE = (ROOT / "docs" / "format.md").read_text(encoding="utf-8")

# Types that stand for no structure of the specification: containers, searches, and what is none of the known things.
NO_TABLE = {
    "vhdx", "guid", "region_search", "metadata_region", "metadata_search", "disk_layout", "bat", "bat_chunk",
    "payload_block", "log_region", "log_sector", "log_entry", "log_descriptor", "other_bytes",
}  # fmt: skip
NOT_IN_THE_SPECIFICATION = {"guid", "region_search", "metadata_search", "other_bytes"}


@dataclass(frozen=True)
class Field:
    name: str
    start: int  # in bits
    bits: int


@dataclass(frozen=True)
class Structure:
    type: str
    size: int
    sections: list[str]
    fields: list[Field]


def structures() -> list[Structure]:
    """The structures of the page: heading with sections, a line that names the type and its size, a table of fields."""
    found = []
    for part in re.split(r"^#+ ", PAGE, flags=re.MULTILINE)[1:]:
        named = re.search(r"^Grammar: `(\w+)`, (\d+) bytes", part, re.MULTILINE)
        if named:
            sections = re.findall(r"\d[.\d]*", part.partition("\n")[0].partition("[")[2])
            found.append(Structure(named[1], int(named[2]), sections, list(fields(part))))
    return found


def fields(part: str):
    row = r"^\| (\d+)(?:, bit (\d+))? \| (\d+)( bits?)? \| (\w+) \|"
    for byte, bit, size, unit, name in re.findall(row, part, re.MULTILINE):
        yield Field(name, int(byte) * 8 + int(bit or 0), int(size) * (1 if unit else 8))


STRUCTURES = {structure.type: structure for structure in structures()}
every_structure = pytest.mark.parametrize("structure", STRUCTURES.values(), ids=STRUCTURES)


@pytest.fixture(scope="module")
def kinds() -> dict[str, dict[str, Any]]:
    return types(grammar())


def named_attributes(kind: dict[str, Any]) -> dict[str, str]:
    """Attribute by the specification's name, its own if it has no other; an instance puts split fields together."""
    attributes = {field.get("-orig-id", pascal(field["id"])): field["id"] for field in kind.get("seq", [])}
    instances = kind.get("instances", {}).items()
    return attributes | {instance["-orig-id"]: name for name, instance in instances if "-orig-id" in instance}


def pascal(name: str) -> str:
    return "".join(map(str.capitalize, name.split("_")))


def values(structure: Structure, kind: dict[str, Any], data: bytes) -> dict[str, Any]:
    """The value of each field, as the compiled grammar finds it in these bytes."""
    decoded = getattr(Vhdx, pascal(structure.type)).from_bytes(data)
    return {name: getattr(decoded, attribute) for name, attribute in named_attributes(kind).items()}


def signed(structure: Structure, kind: dict[str, Any], rest: bytes = b"\0") -> bytes:
    """The bytes of the structure, all zero but for the signature, if the grammar insists on it."""
    return kind["seq"][0].get("contents", "").encode("ascii").ljust(structure.size, rest)


def plain(value: Any) -> Any:
    return value.raw if isinstance(value, Vhdx.Guid) else value


def test_every_type_has_a_table_or_needs_none(kinds):
    assert set(kinds) - NO_TABLE == set(STRUCTURES)
    assert len(STRUCTURES) == 19


@every_structure
def test_a_table_has_neither_gaps_nor_overlaps(structure):
    at = 0
    for field in structure.fields:
        assert field.start == at, field.name
        at += field.bits
    assert at == structure.size * 8


@every_structure
def test_the_grammar_has_the_fields_of_the_table(structure, kinds):
    assert sorted(named_attributes(kinds[structure.type])) == sorted(field.name for field in structure.fields)
    assert all(field.get("-orig-id") != pascal(field["id"]) for field in kinds[structure.type]["seq"])


@every_structure
def test_each_field_is_made_of_its_bits_and_no_others(structure, kinds):
    kind = kinds[structure.type]
    plainest = signed(structure, kind)
    empty = values(structure, kind, plainest)
    for field in structure.fields:
        ones = (1 << field.bits) - 1
        data = (int.from_bytes(plainest, "little") | ones << field.start).to_bytes(structure.size, "little")
        if field.start == 0 and any(plainest):
            with pytest.raises(kaitaistruct.ValidationNotEqualError):
                values(structure, kind, data)
            continue
        found = values(structure, kind, data)
        changed = {name for name, value in found.items() if plain(value) != plain(empty[name])}
        assert changed == {field.name}
        value = plain(found[field.name])
        if isinstance(value, bytes):
            assert value == b"\xff" * (field.bits // 8)
        elif isinstance(value, str):
            assert value == "\uffff" * (field.bits // 16)
        else:
            assert value == ones


@every_structure
def test_a_structure_that_is_cut_short_is_an_error(structure, kinds):
    kind = kinds[structure.type]
    data = signed(structure, kind, b"\1")  # zeros would end a text before
    with pytest.raises(EOFError):
        values(structure, kind, data[:-1])


@every_structure
def test_the_section_is_the_same_in_page_and_grammar(structure, kinds):
    reference = kinds[structure.type]["doc-ref"]
    assert reference.startswith("[MS-VHDX] section ")
    assert reference.rpartition(" ")[2] in structure.sections


def test_the_page_has_the_guids_and_states_of_the_reader():
    guids = {uuid.UUID(text) for text in re.findall(r"[0-9A-F]{8}(?:-[0-9A-F]{4}){3}-[0-9A-F]{12}", PAGE)}
    known = {value for name, value in vars(spec).items() if isinstance(value, uuid.UUID) and value.int}
    assert guids == known
    for heading, states in (("payload state", spec.PayloadState), ("sector bitmap state", spec.BitmapState)):
        table = PAGE.partition(f"| value | {heading} |")[2].partition("\n\n")[0]
        found = {name: int(value) for value, name in re.findall(r"^\| (\d) \| (\w+) \|", table, re.MULTILINE)}
        assert found == {state.name: state.value for state in states}


def test_everything_is_documented(kinds):
    for name, kind in kinds.items():
        assert kind["doc"], name
        for field in [*kind.get("params", []), *kind.get("seq", [])]:
            assert "doc" in field or field["id"].startswith("reserved"), (name, field["id"])
        for instance, value in kind.get("instances", {}).items():
            shown_as = str(value.get("type")).partition("(")[0]
            assert "doc" in value or shown_as in kinds, (name, instance)
    assert {name for name, kind in kinds.items() if "doc-ref" not in kind} == NOT_IN_THE_SPECIFICATION


def test_every_state_is_documented(kinds):
    for name, members in kinds["vhdx"]["enums"].items():
        for member in members.values():
            assert member["doc"], name
            assert re.fullmatch(r"(PAYLOAD_BLOCK|SB_BLOCK)_[A-Z_]+", member["-orig-id"]), member
