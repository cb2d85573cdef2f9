"""`vhdxreader survey`: a record of each of very many images."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from typing import Any

import click

import vhdxreader
from vhdxreader import SurveyProgress, SurveyTask

from .fleet_text import print_fleet
from .grouped import GroupedCommand
from .options import NewFile, offers_force
from .output import colored, counted, printable, short_size
from .progress import Report, progress_bar, shows_progress
from .survey_output import keep_others, known_records, no_writer, open_writer, output_form

_WORST = ("error", "warning", "info")
_LARGE = ("findings", "finding_counts", "digests")  # of a record, what a forest does not need


@click.command("survey", cls=GroupedCommand)
@click.argument("paths", metavar="PATH|URL|GLOB...", nargs=-1, required=True)
@click.option("--output", "-o", type=click.Path(dir_okay=False), help="Write records here: .jsonl or .parquet.")
@click.option("--force", is_flag=True, help="Overwrite --output and --report, if a survey wrote them.")
@click.option("--resume", is_flag=True, help="Go on with the .jsonl of --output: unchanged images are not read again.")
@click.option("--check", "with_check", is_flag=True, help="Hold each image against the rules, without its parents.")
@click.option("--deep", is_flag=True, help="As --check, and read every byte that a block has in the file.")
@click.option("--hash", "names", metavar="NAME,...", help="Digests of each disk: sha256, md5, ...")
@click.option("--jobs", "-j", type=click.IntRange(1), metavar="N", help="Processes.  [default: one a processor]")
@click.option("--dask", metavar="ADDRESS", help="Have a Dask cluster look at them, as tcp://host:8786.")
@click.option("--timeout", type=click.FloatRange(0, min_open=True), metavar="SECONDS", help="The limit for one image.")
@click.option("--forest", "with_forest", is_flag=True, help="Print the forest of chains at the end.")
@click.option("--report", "page", metavar="OUT.html", type=NewFile(), help="Write a page on the forest.")
@click.option("--summary", is_flag=True, help="Print how many of what kind there are at the end.")
@shows_progress
def command(
    paths: Sequence[str],
    output: str | None,
    force: bool,
    resume: bool,
    with_check: bool,
    deep: bool,
    names: str | None,
    jobs: int | None,
    dask: str | None,
    timeout: float | None,
    with_forest: bool,
    page: str | None,
    summary: bool,
    progress: bool | None,
    quiet: bool,
) -> int:
    """Look at every image in PATH and below, at URL, or matched by GLOB, and give one record each: facts, state, links.

    Records are JSON, one a line, on standard output or in a file; the largest images come first. A bad image, or one
    that cannot be read, is a record, too. Exits with 1 if there is one with an error.
    """
    form = output_form(output, resume=resume)
    algorithms = tuple(name.strip().lower() for name in names.split(",")) if names else ()
    keep_others(output, form)
    keep_others(page, ".html")
    task = SurveyTask(with_check or deep, deep, algorithms, timeout)
    kept: dict[str, Mapping[str, Any]] = {}
    known: dict[str, tuple[Any, ...]] = {}
    for record in known_records(output) if resume and output else ():
        known[record["filename"]] = vhdxreader.stamp_of(record)
        _keep(kept, record, with_forest or page)
    seen = _Seen()
    if progress is None and output is None and not (summary or with_forest or page) and sys.stdout.isatty():
        progress = False  # a bar would stand among the records
    with ExitStack() as stack:
        stack.enter_context(offers_force())
        write = stack.enter_context(open_writer(output, form, resume=resume, force=force))
        if output is None and (summary or with_forest or page):
            write = no_writer
        run = stack.enter_context(_dask(dask)) if dask else None
        report = stack.enter_context(progress_bar("Surveying", progress, quiet=quiet, unit="images"))
        shown = None if report is None else _shown(report, seen)
        records = vhdxreader.survey(paths, task, jobs=jobs, run=run, known=known, progress=shown)
        for record in stack.enter_context(closing(records)):
            write(record)
            seen.add(record)
            _keep(kept, record, with_forest or page)
    if with_forest or page:
        _tell(vhdxreader.examine_fleet(vhdxreader.forest_of(kept.values())), page, printed=with_forest, force=force)
    if summary:
        seen.print()
    return 1 if seen.errors else 0


def _dask(address: str) -> Any:
    from vhdxreader.integrations.dask import dask_cluster

    return dask_cluster(address)


def _tell(fleet: vhdxreader.Fleet, page: str | None, *, printed: bool, force: bool) -> None:
    if printed:
        print_fleet(fleet)
    if page:
        try:
            with offers_force():
                vhdxreader.write_fleet_report(fleet, page, overwrite=force)
        except ImportError as error:
            raise click.ClickException(str(error)) from None


def _keep(kept: dict[str, Mapping[str, Any]], record: Mapping[str, Any], wanted: object) -> None:
    """Remember of a record what a forest is made of."""
    if wanted:
        kept[record["filename"]] = {key: value for key, value in record.items() if key not in _LARGE}


def _shown(report: Report, seen: _Seen) -> Callable[[SurveyProgress, Mapping[str, Any]], None]:
    """What shows how far it is, and what was found so far."""

    def show(so_far: SurveyProgress, _record: Mapping[str, Any]) -> None:
        sizes = f"{short_size(so_far.size_done)} of {short_size(so_far.total_size)}"
        report(so_far.images_done, so_far.image_count, f", {sizes}, {seen.errors} with an error")

    return show


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
        self._kinds["dirty"] += record["log_state"] == "dirty"
        for severity, rule in _met(record):
            self._rules[severity][rule] += 1

    def print(self) -> None:
        """Say it, the worst first."""
        kinds = ", ".join(f"{count} {kind}" for kind, count in self._kinds.most_common() if count)
        click.echo(
            f"{counted(self.images, 'image')}, {short_size(self.bytes)}: {kinds or 'none'}; {self.errors} with an error"
        )
        for severity in _WORST:
            for rule, count in sorted(self._rules[severity].items(), key=lambda item: (-item[1], item[0])):
                click.echo(f"  {colored(severity, severity)} {printable(rule)}: {counted(count, 'image')}")


def _met(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Severity and rule of whatever is wrong with an image, each once."""
    problems = [*(record["findings"] or ()), *([record["error"]] if record["error"] else ())]
    yield from dict.fromkeys((one["severity"] or "error", one["rule"] or "it cannot be read") for one in problems)
