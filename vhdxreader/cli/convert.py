"""`vhdxreader convert`: the virtual disk to a raw file or a block device."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Sequence
from typing import Any

import click

import vhdxreader
from vhdxreader import CustodyRecord, Finding, PartitionStream, VirtualDisk

from .answer import answers, asked_for_json
from .grouped import GroupedCommand
from .options import NewFile, offers_force, part_of, partition_option, reads_data, terminable
from .output import all_findings, report_change, report_findings, report_lost
from .progress import progress_bar, shows_progress
from .record import reading, records, standard_output
from .source import source_of


@click.command("convert", cls=GroupedCommand)
@reads_data
@click.argument("target", metavar="DST", type=click.Path())
@partition_option
@click.option(
    *("--format", "-O", "format_name"),
    type=click.Choice(["raw", "vhd", "qcow2", "vmdk", "vdi", "vhdx"]),
    help="The format of DST.  [default: by its suffix; raw]",
)
@click.option("--exact", is_flag=True, help="No padding of a VHD to whole megabytes, which Azure wants.")
@click.option("-f", "source_format", type=click.Choice(["vhdx"]), hidden=True)
@click.option("--force", is_flag=True, help="Overwrite DST if it exists; a block device always does.")
@click.option("--sparse/--no-sparse", default=True, help="Leave holes for zeros in a file.  [default: --sparse]")
@click.option("--detect-zeroes", is_flag=True, help="Look for zeros inside data, too, 4 KiB at a time.")
@click.option("--mapfile", type=NewFile(), help="Mapfile of a --salvage run.  [default: DST.map; none with -]")
@click.option("--verify-source", is_flag=True, help="Read the disk a second time, and compare.")
@records
@shows_progress
@answers("convert", "filename", "target", "virtual_size", "findings", "changed", "lost", "doubtful")
def command(
    image: str,
    target: str,
    partition: int | None,
    format_name: str | None,
    exact: bool,
    source_format: str | None,  # noqa: ARG001  # fingers know it from qemu-img
    force: bool,
    sparse: bool,
    detect_zeroes: bool,
    mapfile: str | None,
    verify_source: bool,
    progress: bool | None,
    quiet: bool,
    changing: bool,
    record: CustodyRecord | None,
    **how: Any,
) -> int:
    """Write the virtual disk in IMAGE to DST: a file, a block device, or - for standard output.

    It is a raw image, unless the suffix of DST or --format says otherwise: .vhd is a fixed VHD, .qcow2, .vmdk, .vdi and
    .vhdx are written by qemu-img. For E01, use vhdxreader cat IMAGE | ewfacquirestream.

    A file is there when it is whole, or not at all: until then it has a name of its own, which begins with .vhdxreader-
    in the same folder. With --salvage, a GNU ddrescue mapfile says which bytes were lost.
    """
    format_name = format_name or _format_of(target)
    if format_name not in ("raw", "vhd") and (exact or mapfile or verify_source or detect_zeroes or not sparse):
        raise click.UsageError(
            f"--exact, --mapfile, --verify-source, --detect-zeroes and --no-sparse: not for {format_name}"
        )
    if target == "-" and asked_for_json() is not None:
        raise click.UsageError("standard output cannot take both the disk and JSON")
    if target == "-" and progress is None and sys.stdout.isatty():
        progress = False  # a bar would stand among the bytes
    if mapfile is None and how["errors"] == "zero" and target != "-":
        mapfile = target + ".map"
    if record is not None:
        record.check_target(target)
        record.check_target(mapfile)
    with (
        terminable(),
        offers_force(),
        vhdxreader.open(source_of(image), **how) as disk,
        progress_bar("Converting", progress, quiet=quiet) as report,
    ):
        shared = vhdxreader.shared_blocks(disk)
        if not quiet:
            report_findings(disk, shared)
        part = part_of(disk, partition)
        with reading(record, part) as note:
            note(findings=shared)
            if format_name not in ("raw", "vhd"):
                _convert_by_qemu_img(part, target, format_name, force=force, changing=changing, progress=bool(progress))
            else:
                vhdxreader.convert(
                    part,
                    standard_output(record) if target == "-" else target,
                    format="vhd" if format_name == "vhd" else "raw",
                    exact=exact,
                    overwrite=force,
                    sparse=sparse,
                    detect_zeroes=detect_zeroes,
                    lost_map=mapfile,
                    progress=report,
                    changing=changing,
                    verify_source=verify_source,
                )
        if record is not None and target != "-":
            record.add_output(target, _written_length(target, part.size))
        if changing:
            report_change(disk)
        _answer(disk, target, shared, salvaged=how["errors"] == "zero")
        return report_lost(disk) or (2 if shared else 0)


def _format_of(target: str) -> str:
    """What the suffix of a target asks for."""
    suffix = os.path.splitext(target)[1].lower().removeprefix(".")
    if suffix in ("e01", "ex01"):
        raise click.UsageError(f"{suffix.upper()} is not written here, but by: vhdxreader cat IMAGE | ewfacquirestream")
    return suffix if suffix in ("vhd", "qcow2", "vmdk", "vdi", "vhdx") else "raw"


def _written_length(target: str, size: int) -> int | None:
    """How many bytes of what was written can be read again: all of a file, the disk's of a device, none of a pipe."""
    status = os.stat(target)
    if stat.S_ISREG(status.st_mode):
        return status.st_size
    return size if stat.S_ISBLK(status.st_mode) else None


def _convert_by_qemu_img(
    part: VirtualDisk | PartitionStream, target: str, format_name: str, *, force: bool, changing: bool, progress: bool
) -> None:
    from vhdxreader.integrations import qemu_img

    if target == "-":
        raise click.UsageError(f"{format_name} cannot be written to standard output")
    try:
        with vhdxreader.steady(part, changing=changing):
            qemu_img.convert_by_qemu_img(part, target, format_name, overwrite=force, progress=progress)
    except qemu_img.QemuImgMissingError as error:
        raise vhdxreader.VhdxError(str(error)) from None


def _answer(disk: VirtualDisk, target: str, shared: Sequence[Finding], *, salvaged: bool) -> None:
    answer = asked_for_json()
    if answer is not None:
        findings = all_findings(disk, shared)
        facts = {
            "filename": disk.name,
            "target": target,
            "virtual_size": disk.size,
            "findings": findings,
            "changed": any(finding.rule == "file.changed" for finding in findings),
            "lost": disk.lost if salvaged else None,
            "doubtful": disk.doubtful if salvaged else None,
        }
        answer.give({key: vhdxreader.plain(value) for key, value in facts.items()})
