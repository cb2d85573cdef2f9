"""The parts that JSON Schemas of `docs/schemas` are put together from; `make_schemas.py` writes them."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

GUID = r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"


def said(schema: Schema, description: str) -> Schema:
    """The schema with what a value means."""
    return {"description": description, **schema}


def text(description: str, **more: Any) -> Schema:
    """Text."""
    return said({"type": "string", **more}, description)


def number(description: str) -> Schema:
    """How many, or a number of bytes."""
    return said({"type": "integer", "minimum": 0}, description)


def flag(description: str) -> Schema:
    """Whether."""
    return said({"type": "boolean"}, description)


def guid(description: str) -> Schema:
    """A GUID, lower case, without braces."""
    return text(description, pattern=GUID)


def checksum(description: str) -> Schema:
    """A CRC-32C, in hexadecimal."""
    return text(description, pattern="^0x[0-9a-f]{8}$")


def decimal(description: str) -> Schema:
    """A number that may pass 2^53."""
    return text(description, pattern="^[0-9]+$")


def one_of(description: str, *words: str) -> Schema:
    """One of these words."""
    return said({"enum": list(words)}, description)


def ref(name: str, description: str = "") -> Schema:
    """A part that stands under `$defs`."""
    return said({"$ref": f"#/$defs/{name}"}, description) if description else {"$ref": f"#/$defs/{name}"}


def array(items: Schema, description: str) -> Schema:
    """A list."""
    return said({"type": "array", "items": items}, description)


def obj(description: str, **properties: Schema) -> Schema:
    """An object, all keys of which are always there."""
    return said({"type": "object", "properties": properties, "required": list(properties)}, description)


def maybe(schema: Schema) -> Schema:
    """Or null: not known, not looked at or not asked for."""
    schema = dict(schema)
    kinds = schema.get("type", [])
    if None in schema.get("enum", ()) or "anyOf" in schema or (isinstance(kinds, list) and "null" in kinds):
        return schema
    if isinstance(kinds, str):
        return {**schema, "type": [schema["type"], "null"]}
    description = {"description": schema.pop("description")} if "description" in schema else {}
    if "enum" in schema:
        return {**description, "enum": [*schema["enum"], None]}
    return {**description, "anyOf": [schema, {"type": "null"}]}


def command(name: str, description: str, defs: Schema, **properties: Schema) -> Schema:
    """What a command prints: the frame around its own keys, which may be null where there is an error."""
    frame = {
        "schema": said({"const": f"vhdxreader/{name}/1"}, "Which schema this is."),
        "version": text("Version of vhdxreader."),
        **{key: maybe(value) for key, value in properties.items()},
        "error": maybe(ref("problem", "Why there is no answer, or not all of it; null where all went well.")),
    }
    known = [key for key, value in properties.items() if maybe(value) != value]
    return {
        **_head(name, description),
        **obj(description, **frame),
        "if": {"properties": {"error": {"type": "null"}}},
        "then": {"properties": {key: {"not": {"type": "null"}} for key in known}},
        "$defs": _needed(defs, frame),
    }


def item(name: str, description: str, defs: Schema, part: str) -> Schema:
    """An item of a long list, as `--jsonl` prints it."""
    inner = defs[part]
    frame = {"schema": said({"const": f"vhdxreader/{name}/1"}, "Which schema this is."), **inner["properties"]}
    return {**_head(name, description), **obj(description, **frame), "$defs": _needed(defs, frame)}


def _head(name: str, description: str) -> Schema:
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:vhdxreader:{name}:1",
        "title": f"vhdxreader/{name}/1",
        "description": description,
    }


def _needed(defs: Schema, schema: Any) -> Schema:
    """The parts that a schema refers to, and those that these refer to."""
    found: set[str] = set()
    pending = [schema]
    while pending:
        here = pending.pop()
        if isinstance(here, dict):
            name = str(here.get("$ref", "")).removeprefix("#/$defs/")
            if name in defs and name not in found:
                found.add(name)
                pending.append(defs[name])
            pending += here.values()
        elif isinstance(here, list):
            pending += here
    return {name: defs[name] for name in sorted(found)}
