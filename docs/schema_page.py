"""The page on JSON, from the schemas."""

from __future__ import annotations

from schema_parts import Schema

_INTRODUCTION = """\
# JSON

Every command prints one JSON object with `--json`, also when it fails. This page and the [JSON Schemas](#schemas)
(2020-12) are made by `make schemas`; tests hold what the commands print against them.

```console
$ vhdxreader info disk.vhdx --json
{
  "schema": "vhdxreader/info/1",
  "version": "0.2.0",
  "filename": "disk.vhdx",
  …
  "error": null
}
```

- The keys `schema`, `version` and `error` are in every answer. `error` is null, or the [problem](#problem) that the
  command ended with; then whatever is not known is null. The exit code is the same as without `--json`. Only wrong
  usage (exit code 64) is said in words alone.
- Every key of a schema is always there. null means: not known, not looked at, or not asked for; it never means 0.
- Places are `file_offset`, `disk_offset` or `log_offset`, stretches have a `length`, whole things a `…_size`, all in
  bytes. How many is `…_count`.
- GUIDs are `…_guid`, lower case, without braces. Sequence numbers, which pass 2^53, are decimal text; checksums are
  text such as `"0x6cbd8814"`.
- Text from an image, or a file's name, that is no Unicode is escaped as Python does it (`\\udcff`).
- With several images, `--json` prints one object of the schema `vhdxreader/images/1`, whose `images` are the answers
  for each. `--jsonl` prints an object a line: for `info` and `check` an answer for each image, for `map`, `log` and
  `dump` the items of their list, which then need not be held in memory; an answer with an `error` at the end says that
  there are not all of them.
- `map --json=qemu` prints an array with exactly the keys of `qemu-img map --output=json`.
- A key may be added to a schema; whatever else changes gives it another number.

In the library, the same is `to_dict()` of `VhdxImage`, `Report`, `Extent`, `Finding`, `Lost`, any `VhdxError` and of
whatever else is public.
"""


def page(schemas: dict[str, Schema], defs: dict[str, Schema]) -> str:
    """The page, in Markdown."""
    links = "".join(f"- [`{s['title']}`](schemas/{name}.json): {s['description']}\n" for name, s in schemas.items())
    answers = "".join(_section(s["title"], s, 3) for s in schemas.values() if "then" in s)
    parts = "".join(_section(name.replace("_", " "), s, 3) for name, s in sorted(defs.items()))
    return f"{_INTRODUCTION}\n## Schemas\n\n{links}\n## Answers\n{answers}\n## Parts\n{parts}"


def _section(title: str, schema: Schema, level: int) -> str:
    known = schema.get("then", {}).get("properties", ())
    rows = "".join(
        f"| `{key}` | {_kind(value, known=key in known)} | {_description(value)} |\n"
        for key, value in schema.get("properties", {}).items()
        if "then" not in schema or key not in ("schema", "version", "error")
    )
    if not rows:
        return f"\n{'#' * level} {title.capitalize()}\n\n{schema['description']}\n"
    heading = f"\n{'#' * level} {title[:1].upper() + title[1:] if '/' not in title else f'`{title}`'}\n"
    return f"{heading}\n{schema['description']}\n\n| key | | |\n| --- | --- | --- |\n{rows}"


def _description(schema: Schema) -> str:
    return str(schema.get("description", "")).replace("|", "\\|")


def _kind(schema: Schema, *, known: bool = False) -> str:
    """What a value is, with links to parts. Of an answer's own keys, what is null only beside an error is `known`."""
    if known:
        return _kind(schema).removesuffix(" or null").removesuffix(", null")
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name.replace('_', ' ')}](#{name.replace('_', '-')})"
    if "anyOf" in schema:
        return " or ".join(_kind(one) for one in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        words = schema.get("enum", [schema.get("const")])
        return ", ".join("null" if word is None else f"`{word}`" for word in words)
    kinds = [schema["type"]] if isinstance(schema.get("type"), str) else schema.get("type", [])
    return " or ".join(f"array of {_kind(schema['items'])}" if kind == "array" else kind for kind in kinds)
