"""`vhdxreader hash`: digests of virtual disks, and whether they are those of a list."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, TextIO

import click
from click.core import ParameterSource

import vhdxreader
from vhdxreader import BlockDigest, CustodyRecord, ListedDigest

from .answer import answers, asked_for_json
from .failure import each_image, failed
from .grouped import GroupedCommand
from .options import changing_option, images_argument, opens, part_of, partition_option, salvage_options
from .output import all_findings, printable, report_change, report_findings, report_lost
from .progress import progress_bar, shows_progress
from .record import notes_failures, reading, records
from .source import source_of

_KEYS = (
    *("filename", "partition", "virtual_size", "digests", "before_replay", "file_digests"),
    *("expected_digests", "verified", "findings", "salvaged", "lost", "doubtful", "blocks"),
)


def _takes_both(command: Any) -> Any:
    """Let --log take "both", which only this command knows."""
    for option in command.__click_params__:
        if option.name == "log":
            option.type = click.Choice([*option.type.choices, "both"])
            option.help += " both: first the stale state's digests, then those after the replay."
    return command


@click.command("hash", cls=GroupedCommand)
@images_argument
@_takes_both
@opens
@salvage_options
@changing_option
@partition_option
@click.option(
    *("-a", "--algorithm", "names"),
    default="sha256",
    show_default=True,
    metavar="NAME,...",
    help="Digests to make, all in one pass: md5, sha1, sha256, blake2b, ...",
)
@click.option("--file", "with_file", is_flag=True, help="Digests of the image file, too.")
@click.option(
    "--blocks", is_flag=True, help="One digest a payload block; blocks of zeros cost nothing, and share a line."
)
@click.option("--verify-source", is_flag=True, help="Read the disk a second time, and compare.")
@click.option("--verify", type=click.File(errors="surrogateescape"), metavar="LIST", help="Compare with a list's.")
@answers("hash", *_KEYS)
@records
@shows_progress
def command(
    images: Sequence[str], names: str, blocks: bool, verify: TextIO | None, record: CustodyRecord | None, **how: Any
) -> int:
    """Print the digest of the virtual disk in each IMAGE: of all of it, or none.

    One digest is printed as sha256sum does, several in BSD's form. With --log both, those of the state before the log's
    replay come first. With --salvage, a digest that holds zeros for lost bytes is marked, and the exit code is 2.

    LIST is as sha256sum or hashdeep write it; it names the disk by its image, or by a raw copy of the same name. The
    folders that LIST and IMAGE both give must be the same. The exit code is 1 where a digest or a size differs, or
    where the list has none for an IMAGE.
    """
    wanted = [name.strip().lower() for name in names.split(",")]
    if blocks and (len(wanted) > 1 or verify is not None or how["log"] == "both"):
        raise click.UsageError("--blocks makes one digest, of one state, and does not verify")
    source = click.get_current_context().get_parameter_source("names")
    unnamed = wanted[0] if len(wanted) == 1 and source is not ParameterSource.DEFAULT else None
    try:
        vhdxreader.hash_disk(_Nothing(), wanted)
        listed = None if verify is None else vhdxreader.parse_digest_list(verify, unnamed)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    work = _Hashing(wanted, listed, record, how)
    return each_image(images, notes_failures(record, work.print_blocks if blocks else work.print_whole))


class _Nothing:
    """A disk of no bytes: who hashes it learns whether the digests can be made."""

    size = 0

    def preadinto(self, _buffer: Any, _offset: int, /) -> int:
        return 0


class _Hashing:
    """The work for each image, as the options want it."""

    def __init__(
        self,
        wanted: Sequence[str],
        listed: Sequence[ListedDigest] | None,
        record: CustodyRecord | None,
        how: dict[str, Any],
    ) -> None:
        self._wanted = wanted
        self._listed = listed
        self._record = record
        self._partition = how.pop("partition")
        self._with_file = how.pop("with_file")
        self._changing = how.pop("changing")
        self._verify_source = how.pop("verify_source")
        self._progress = {"wanted": how.pop("progress"), "quiet": how.pop("quiet")}
        self._how = how

    def print_whole(self, filename: str) -> int:
        """Print the digests of one image; the exit code for it."""
        expected = None if self._listed is None else vhdxreader.expected_digests(self._listed, filename)
        wanted = list(dict.fromkeys(one.algorithm for one in expected)) if expected else self._wanted
        try:
            vhdxreader.hash_disk(_Nothing(), wanted)
        except ValueError as error:  # the list has what cannot be made here
            return failed(error, filename)
        facts: dict[str, Any] = {"filename": vhdxreader.plain(filename), "partition": self._partition}
        how, both = self._how, self._how["log"] == "both"
        if both:
            facts["before_replay"], _ = self._digests(filename, wanted, how | {"log": "ignore"})
            how = how | {"log": "replay"}
        facts["digests"], more = self._digests(filename, wanted, how)
        if self._with_file:
            file = source_of(filename) if filename == "-" else filename  # of an archive the archive itself
            with progress_bar("Hashing the file", **self._progress) as report:
                facts["file_digests"] = vhdxreader.hash_file(file, wanted, progress=report)
        facts |= {key: more[key] for key in ("virtual_size", "findings", "salvaged", "lost", "doubtful")}
        if expected is not None:
            facts["expected_digests"] = [{one.algorithm: one.digest} for one in expected]
            facts["verified"] = _agrees(expected, facts["digests"], facts["virtual_size"])
        answer = asked_for_json()
        if answer is not None:
            answer.give(facts)
        else:
            _print_text(filename, facts)
        code: int = more["code"]
        return code or (1 if facts.get("verified") is False else 0)

    def print_blocks(self, filename: str) -> int:
        """Print a digest for each payload block of one image; the exit code for it."""
        with vhdxreader.open(source_of(filename), **self._how) as disk:
            if self._partition is not None:
                raise click.UsageError("--blocks are those of the whole disk")
            shared = vhdxreader.shared_blocks(disk)
            report_findings(disk, shared)
            with reading(self._record, disk) as note, vhdxreader.steady(disk, changing=self._changing):
                note(findings=shared)
                found = vhdxreader.hash_blocks(disk, self._wanted[0])
                answer = asked_for_json()
                if answer is not None:
                    facts = dict.fromkeys(_KEYS[:-1])
                    facts |= {"filename": vhdxreader.plain(filename), "virtual_size": disk.size}
                    facts["findings"] = vhdxreader.plain(all_findings(disk, shared))
                    answer.give_list(facts, "blocks", (block.to_dict() for block in found), "block_digest")
                else:
                    for line in _block_lines(found):
                        click.echo(line)
            return report_lost(disk) or (2 if shared else 0)

    def _digests(
        self, filename: str, wanted: Sequence[str], how: Mapping[str, Any]
    ) -> tuple[dict[str, str], dict[str, Any]]:
        """The digests of the disk in one state, and what else is to be said of it."""
        with vhdxreader.open(source_of(filename), **how) as disk:
            shared = vhdxreader.shared_blocks(disk)
            report_findings(disk, shared)
            part = part_of(disk, self._partition)
            with (
                reading(self._record, part) as note,
                vhdxreader.steady(disk, changing=self._changing),
                progress_bar("Hashing", **self._progress) as report,
            ):
                work = vhdxreader.hash_twice if self._verify_source else vhdxreader.hash_disk
                digests = work(part, wanted, progress=report)
                note(digests=digests, findings=shared)
            if self._changing:
                report_change(disk)
            lost, doubtful = ([one.to_dict() for one in ranges] for ranges in (part.lost, part.doubtful))
            more = {
                "virtual_size": part.size,
                "salvaged": bool(lost or doubtful),
                "lost": lost,
                "doubtful": doubtful,
                "findings": vhdxreader.plain(all_findings(disk, shared)),
                "code": report_lost(disk) or (2 if shared else 0),
            }
        return digests, more


def _agrees(expected: Sequence[ListedDigest], digests: Mapping[str, str], size: int) -> bool:
    """Whether each of the digests is one of those that the list has for it and this size, and it has any."""
    fitting = [one for one in expected if one.size in (None, size)]
    wanted = {name: {one.digest for one in fitting if one.algorithm == name} for name in digests}
    return bool(expected) and all(digest in wanted[name] for name, digest in digests.items())


def _print_text(filename: str, facts: Mapping[str, Any]) -> None:
    if facts.get("verified") is not None:
        known = "OK" if facts["verified"] else "FAILED" if facts["expected_digests"] else "FAILED, not in the list"
        click.echo(f"{printable(filename)}: {known}")
        return
    name = printable(filename) if facts["partition"] is None else f"{printable(filename)}#{facts['partition']}"
    mark = " (salvaged: some is lost or doubtful)" if facts["salvaged"] else ""
    for line in _lines(facts.get("before_replay"), f"{name} (before the log's replay)"):
        click.echo(line)
    for line in _lines(facts["digests"], name + mark):
        click.echo(line)
    for line in _lines(facts.get("file_digests"), f"{name} (the image file)"):
        click.echo(line)


def _block_lines(blocks: Iterable[BlockDigest]) -> Iterator[str]:
    """A line a block; blocks of zeros that follow each other have one for all of them."""
    for _, run in groupby(blocks, lambda block: block.digest if block.zero else block.number):
        first, last = _ends(run)
        if last is first:
            which = f"block {first.number} at {first.disk_offset:#x}, {first.length} bytes"
        else:
            which = f"blocks {first.number} to {last.number} from {first.disk_offset:#x} on, {first.length} bytes each"
        yield f"{first.digest}  {which}{', zeros' if first.zero else ''}"


def _ends(run: Iterator[BlockDigest]) -> tuple[BlockDigest, BlockDigest]:
    """The first and the last of some: a disk of 64 TiB has millions of them, which are not kept."""
    first = next(run)
    (last,) = deque(run, maxlen=1) or (first,)
    return first, last


def _lines(digests: Mapping[str, str] | None, name: str) -> Iterator[str]:
    for algorithm, digest in (digests or {}).items():
        yield f"{digest}  {name}" if len(digests or ()) == 1 else f"{algorithm.upper()} ({name}) = {digest}"
