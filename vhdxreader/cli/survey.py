"""`vhdxreader survey`: a record of each of very many images."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, TextIO

import click

import vhdxreader
from vhdxreader import SurveyTask

from .output import colored, printable, short_size
from .progress import progress_bar, shows_progress
from .tree import print_forest

_WORST = ("error", "warning", "info")


@click.command("survey", short_help="A record of each of very many images.")
@click.argument("paths", metavar="PATH|GLOB...", nargs=-1, required=True)
@click.option("--output", "-o", type=click.Path(dir_okay=False), help="Write records here: .jsonl or .parquet.")
@click.option("--resume", is_flag=True, help="Go on with the .jsonl of --output: unchanged images are not read again.")
@click.option("--check", "with_check", is_flag=True, help="Hold each image against the rules, without its parents.")
@click.option("--deep", is_flag=True, help="As --check, and read every byte that a block has in the file.")
@click.option("--hash", "names", metavar="NAME,...", help="Digests of each disk: sha256, md5, ...")
@click.option("--jobs", "-j", type=click.IntRange(1), metavar="N", help="Processes.  [default: one a processor]")
@click.option("--timeout", type=click.FloatRange(0, min_open=True), metavar="SECONDS", help="The limit for one image.")
@click.option("--forest", "with_forest", is_flag=True, help="Print the forest of chains at the end.")
@click.option("--summary", is_flag=True, help="Print how many of what kind there are at the end.")
@shows_progress
def command(
    paths: Sequence[str],
    output: str | None,
    resume: bool,
    with_check: bool,
    deep: bool,
    names: str | None,
    jobs: int | None,
    timeout: float | None,
    with_forest: bool,
    summary: bool,
    progress: bool | None,
    quiet: bool,
) -> int:
    """Look at every image in PATH and below, or matched by GLOB, and give one record each: facts, state, links.

    Records are JSON, one a line, on standard output or in a file; the largest images come first. A bad image, or one
    that cannot be read, is a record, too. Exits with 1 if there is one with an error.
    """
    form = os.path.splitext(output or "")[1].lower()
    if resume and form != ".jsonl":
        raise click.UsageError("--resume needs --output FILE.jsonl")
    algorithms = tuple(name.strip().lower() for name in names.split(",")) if names else ()
    task = SurveyTask(with_check or deep, deep, algorithms, timeout)
    before = list(_read(output)) if resume and output and os.path.exists(output) else []
    known = {record["filename"]: vhdxreader.stamp_of(record) for record in before}
    kept: list[Mapping[str, Any]] = []
    seen = _Seen()
    with ExitStack() as stack:
        write = _writer(output, form, resume, quiet_output=summary or with_forest, stack=stack)
        bar = stack.enter_context(progress_bar("Surveying", progress, quiet=quiet, unit="images"))
        records = vhdxreader.survey(
            paths, task, jobs=jobs, known=known, progress=None if bar is None else lambda done, of, _: bar(done, of)
        )
        for record in records:
            write(record)
            seen.add(record)
            if with_forest:
                kept.append(record)
    if with_forest:
        current = {record["filename"]: record for record in [*before, *kept]}
        print_forest(vhdxreader.forest_of(current.values()))
    if summary:
        seen.print()
    return 1 if seen.errors else 0


def _read(path: str) -> Iterator[dict[str, Any]]:
    """The records that are whole; the last line of a survey that was killed need not be."""
    with open(path, encoding="utf-8") as file:
        for line in file:
            if line.endswith("\n"):
                yield json.loads(line)


def _writer(output: str | None, form: str, resume: bool, *, quiet_output: bool, stack: ExitStack) -> Any:
    """What takes records one after another."""
    if output is None:
        return (lambda _record: None) if quiet_output else _to_lines(sys.stdout)
    if form == ".parquet":
        return stack.enter_context(_Parquet(output))
    if resume and os.path.exists(output):
        _drop_partial_line(output)
    return _to_lines(stack.enter_context(open(output, "a" if resume else "w", encoding="utf-8")))


def _to_lines(file: TextIO) -> Any:
    frame = {"schema": "vhdxreader/survey/1", "version": vhdxreader.__version__}

    def write(record: Mapping[str, Any]) -> None:
        file.write(json.dumps(frame | dict(record)) + "\n")
        file.flush()

    return write


def _drop_partial_line(path: str) -> None:
    with open(path, "rb+") as file:
        data = file.read()
        file.truncate(data.rfind(b"\n") + 1)


class _Parquet:
    """Records as a table; lists and objects are JSON in it."""

    _BATCH = 1000

    def __init__(self, path: str) -> None:
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError:
            raise click.ClickException("Parquet needs the package pyarrow: pip install pyarrow") from None
        numbers = {"file_size", "modified_ns", "inode", "allocated_size", "virtual_size", "allocated_block_count"}
        types = {key: pyarrow.int64() if key in numbers else pyarrow.string() for key in vhdxreader.SURVEY_KEYS}
        types["seconds"] = pyarrow.float64()
        self._table = pyarrow.Table
        self._schema = pyarrow.schema(types)
        self._writer = pyarrow.parquet.ParquetWriter(path, self._schema)
        self._rows: list[dict[str, Any]] = []

    def __enter__(self) -> _Parquet:
        return self

    def __call__(self, record: Mapping[str, Any]) -> None:
        row = {key: json.dumps(value) if isinstance(value, (dict, list)) else value for key, value in record.items()}
        self._rows.append(row)
        if len(self._rows) == self._BATCH:
            self._flush()

    def __exit__(self, *_: object) -> None:
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        self._writer.write_table(self._table.from_pylist(self._rows, schema=self._schema))
        self._rows.clear()


class _Seen:
    """What a survey met, for its summary."""

    def __init__(self) -> None:
        self.images = self.bytes = self.errors = 0
        self._kinds: Counter[str] = Counter()
        self._rules: dict[str, Counter[str]] = {severity: Counter() for severity in _WORST}

    def add(self, record: Mapping[str, Any]) -> None:
        """Count a record in."""
        self.images += 1
        self.bytes += record["file_size"] or 0
        self.errors += record["error"] is not None
        self._kinds[record["disk_type"] or "unknown"] += 1
        if record["log_state"] == "dirty":
            self._kinds["dirty"] += 1
        for finding in record["findings"] or ():
            self._rules[finding["severity"]][finding["rule"]] += 1

    def print(self) -> None:
        """Say it, the worst first."""
        kinds = ", ".join(f"{count} {kind}" for kind, count in self._kinds.most_common())
        click.echo(f"{self.images} images, {short_size(self.bytes)}: {kinds or 'none'}; {self.errors} with an error")
        for severity in _WORST:
            for rule, count in _by_count(self._rules[severity]):
                click.echo(f"  {colored(severity, severity)} {printable(rule)}: {count}")


def _by_count(rules: Counter[str]) -> Iterable[tuple[str, int]]:
    return sorted(rules.items(), key=lambda item: (-item[1], item[0]))
