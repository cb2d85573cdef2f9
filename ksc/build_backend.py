"""The build backend: setuptools, with the parser generated from vhdx.ksy before it looks at the tree.

Only where the parser is not fresh and no Node.js is at hand is one added to the build's requirements.
setuptools is not asked for any: it has none of its own, and would look for the parser before it is there.
Standard library and setuptools only: extra requirements are not installed yet when this is imported.
"""

from __future__ import annotations

import gzip
import io
import os
import shutil
import tarfile
from pathlib import Path
from typing import Any

import generate
from setuptools import build_meta


def get_requires_for_build_wheel(config_settings: Any = None) -> list[str]:
    return generate.requirements()


def get_requires_for_build_sdist(config_settings: Any = None) -> list[str]:
    return generate.requirements()


def get_requires_for_build_editable(config_settings: Any = None) -> list[str]:
    return generate.requirements()


def prepare_metadata_for_build_wheel(metadata_directory: str, config_settings: Any = None) -> str:
    _generate()
    return build_meta.prepare_metadata_for_build_wheel(metadata_directory, config_settings)


def prepare_metadata_for_build_editable(metadata_directory: str, config_settings: Any = None) -> str:
    _generate()
    return build_meta.prepare_metadata_for_build_editable(metadata_directory, config_settings)


def build_wheel(wheel_directory: str, config_settings: Any = None, metadata_directory: str | None = None) -> str:
    _generate()
    shutil.rmtree("build/lib", ignore_errors=True)  # setuptools would ship what an earlier build left there
    return build_meta.build_wheel(wheel_directory, config_settings, metadata_directory)


def build_editable(wheel_directory: str, config_settings: Any = None, metadata_directory: str | None = None) -> str:
    _generate()
    return build_meta.build_editable(wheel_directory, config_settings, metadata_directory)


def build_sdist(sdist_directory: str, config_settings: Any = None) -> str:
    _generate()
    name = build_meta.build_sdist(sdist_directory, config_settings)
    if epoch := os.environ.get("SOURCE_DATE_EPOCH"):  # which setuptools heeds for wheels, not for sdists
        _repack(Path(sdist_directory, name), int(epoch))
    return name


def _repack(sdist: Path, epoch: int) -> None:
    """The same files in order, with nothing of the machine or the day on which they were packed."""
    with tarfile.open(sdist) as packed:
        files = [(_plain(member, epoch), packed.extractfile(member)) for member in packed]
        data = {member.name: (member, file and file.read()) for member, file in files}
    with gzip.GzipFile(sdist, "wb", mtime=epoch) as out, tarfile.open(fileobj=out, mode="w") as again:
        for _, (member, content) in sorted(data.items()):
            again.addfile(member, io.BytesIO(content) if content is not None else None)


def _plain(member: tarfile.TarInfo, epoch: int) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
    member.mtime, member.pax_headers = epoch, {}
    return member


def _generate() -> None:
    try:
        generate.generate()
    except generate.GenerateError as error:
        raise SystemExit(f"error: {error}") from None  # a sentence; an exception would be shown with its traceback
