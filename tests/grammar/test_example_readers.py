"""The reader in each language: built and run by the README's own commands, on real, built and broken images."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from builder import GB, MB, TB, Image, MustFail, bat_entry, dynamic, fixed, full, undefined, unmapped, zeroed
from cases import Case
from format import test_bat, test_header, test_metadata, test_region
from grammar_tools import BUILT, CORPUS, ROOT, generate, need

FOLDER = ROOT / "examples" / "languages"
TOOLS = {"Python": (), "JavaScript": ("node", "npm"), "Java": ("java", "mvn"), "Go": ("go",), "Rust": ("cargo",)}
CASES = [case for module in (test_bat, test_header, test_metadata, test_region) for case in module.CASES]
LONGEST = 64 * MB
PIECE = 16 * MB
STRICTER = {
    "metadata.truncated_unneeded"
}  # a region that is not whole in the file; the library reads on, with an ERROR
ZEROS = bytes(PIECE)


@dataclass(frozen=True)
class Reader:
    """One of the programs: `command` and the path of an image is what to run, in `folder`."""

    folder: Path
    command: list[str]
    environment: dict[str, str]

    def start(self, *arguments: str | Path) -> subprocess.Popen[bytes]:
        command = [*self.command, *map(str, arguments)]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=self.folder, env=self.environment, stdout=pipe, stderr=pipe)

    def run(self, *arguments: str | Path) -> tuple[int, bytes, str]:
        """Exit code, output, and what it said of errors. It is stopped where it writes more than any disk here has."""
        with self.start(*arguments) as process:
            out = process.stdout.read(LONGEST + 1)
            process.stdout.close()
            said = process.stderr.read().decode()
        assert len(out) <= LONGEST
        return process.returncode, out, said

    def refuses(self, image: Path) -> bytes:
        """What it wrote of an image before the one line that refuses it."""
        code, out, said = self.run(image)
        lines = said.splitlines()
        assert (code, len(lines)) == (1, 1), said
        program, path, why = lines[0].split(": ", 2)
        assert program.startswith("vhdx")
        assert path == str(image)
        assert re.search(r"\w{2,} \w", why), said
        return out


def commands(language: str) -> tuple[Path, list[str], str]:
    """Folder, commands that build, and command that runs, of a language: from the README."""
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    found = re.search(rf"\n## {language}\n.*?```console\n(.*?)```", text, re.DOTALL)
    assert found, language
    enter, *build, run = [line.removeprefix("$ ") for line in found[1].splitlines()]
    return ROOT / enter.removeprefix("cd "), build, run


@pytest.fixture(scope="module", params=TOOLS)
def reader(request: pytest.FixtureRequest) -> Reader:
    """The program in one language after the other, built."""
    for tool in TOOLS[request.param]:
        need(shutil.which(tool), tool)
    generate("all")
    folder, build, run = commands(request.param)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for line in build:
        done = subprocess.run(
            line, shell=True, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
    command, rest = run.split(" disk.vhdx")
    assert rest == " > disk.raw"
    words = shlex.split(command)
    assigned = dict(word.split("=", 1) for word in words if "=" in word)
    return Reader(folder, [word for word in words if "=" not in word], environment | assigned)


@pytest.fixture(scope="module")
def save(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Image], Path]:
    """`save(name, image)` is the path of an image; each is written once for all languages."""
    folder = tmp_path_factory.mktemp("images")

    def once(name: str, image: Image) -> Path:
        path = folder / f"{name.replace(' ', '-')}.vhdx"
        return path if path.exists() else image.save(path)

    return once


# ---- real images


def real_images() -> dict[str, str]:
    """SHA-256 of the virtual disks by name, from the table beside the images."""
    rows = re.findall(r"^\| `([^`]+)\.vhdx\.\w+` \|(.*)$", (CORPUS / "README.md").read_text("utf-8"), re.MULTILINE)
    return {name: re.findall(r"\b[0-9a-f]{64}\b", row)[0] for name, row in rows}


LONG = pytest.mark.skipif(not os.environ.get("VHDXREADER_FULL"), reason="10 GiB: VHDXREADER_FULL=1 reads them")


@pytest.mark.corpus
@pytest.mark.parametrize("name", ["config2_base", "empty_3145728_4096_4096", "iotest-dynamic-1G"])
def test_real_image(name, reader, corpus):
    assert digest(reader, corpus / f"{name}.vhdx") == real_images()[name]


@LONG
def test_real_image_of_10_gb(reader, corpus):
    assert digest(reader, corpus / "swap.vhdx") == real_images()["swap"]


def digest(reader: Reader, image: Path) -> str:
    with reader.start(image) as process:
        found = hashlib.file_digest(process.stdout, "sha256").hexdigest()
        assert process.stderr.read() == b""
    assert process.returncode == 0
    return found


@pytest.mark.corpus
@pytest.mark.parametrize("name", ["vhdx-log-replay", "small_ntfs_test"])
def test_real_image_with_a_log_to_replay_is_refused(name, reader, corpus):
    assert reader.refuses(corpus / f"{name}.vhdx") == b""


# ---- built images

DISK = dynamic(5 * MB + 512, {0: full(), 2: full(), 3: zeroed(), 5: full()})
READABLE: dict[str, Callable[[], Image]] = {
    "every state": BUILT["every_state"],
    "sectors of 4096": BUILT["fixed_4k"],
    "no bytes": BUILT["empty_disk"],
    "ends with the disk": lambda: dynamic(3 * MB + 1536, {3: full(), 0: full()}, pad_last_block=False),
    "fixed with absent blocks": lambda: fixed(4 * MB, {1: undefined(), 2: unmapped(), 3: full()}),
    "largest blocks": lambda: dynamic(300 * MB, {1: full({0: b"a", 43 * MB: b"b"})}, block_size=256 * MB),
    "blocks behind 4 GiB": lambda: dynamic(3 * MB, {0: full(), 2: full()}, offsets={"blocks": 5 * GB}),
    "two chunks": lambda: dynamic(4 * GB + 3 * MB, {n: full() for n in (0, 4095, 4096, 4097, 4098)}),
}


@cache
def expected(name: str) -> tuple[int, dict[int, bytes]]:
    """Size of a readable disk, and those of its pieces of 16 MiB that are not all zero."""
    image = READABLE[name]()
    spec = image.spec
    starts = {n * spec.block_size + at for n in image.block_offset for at in spec.content(n)}
    pieces = {at // PIECE * PIECE for start in starts for at in (start, start + MB)}
    return image.size, {at: image.expected(at, PIECE) for at in pieces}


@pytest.mark.parametrize("name", READABLE)
def test_built_image(name, reader, save):
    size, pieces = expected(name)
    at = 0
    with reader.start(save(name, READABLE[name]())) as process:
        while piece := process.stdout.read(PIECE):
            assert piece == pieces.get(at, ZEROS[: size - at]), f"between {at} and {at + PIECE}"
            at += len(piece)
        assert process.stderr.read() == b""
    assert (process.returncode, at) == (0, size)


@pytest.mark.parametrize(
    ("older", "newer"),
    [(1, 2), (2**53, 2**53 + 1), (2**63 - 1, 2**63), (2**64 - 2, 2**64 - 1), (2**32 - 1, 2**32), (1, 2**64 - 1)],
)
@pytest.mark.parametrize("current", [1, 2])
def test_sequence_numbers_are_compared_as_64_unsigned_bits(older, newer, current, reader, tmp_path):
    """The header that is not current has a version that would be refused."""
    numbers = (newer, older) if current == 1 else (older, newer)
    image = dynamic(2 * MB, {0: full()}, sequence_numbers=numbers, overrides={f"header{3 - current}.version": 2})
    assert reader.run(image.save(tmp_path / "disk.vhdx")) == (0, image.expected(), "")


def test_memory_and_a_closed_pipe(reader, save):
    """The first 100 MiB of 64 TiB, whose BAT has 67 million entries, and then nobody reads on."""
    image = dynamic(64 * TB, {3: full(), 2**26 - 1: full()}, block_size=MB)
    with reader.start(save("largest", image)) as process:
        for at in range(0, 100 * MB, 10 * MB):
            assert process.stdout.read(10 * MB) == image.expected(at, 10 * MB)
        peak = Path(f"/proc/{process.pid}/status")
        used = int(re.search(r"VmHWM:\s*(\d+) kB", peak.read_text())[1]) if peak.exists() else 0
        process.stdout.close()
        assert len(process.stderr.read().splitlines()) <= 1
    assert process.returncode != 0
    assert used < 256 * 1024


# ---- broken images


@pytest.fixture(scope="module")
def case_images(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Case, Image, Path]]:
    """The images of the tables of rules."""
    folder = tmp_path_factory.mktemp("cases")
    images = [case.make() for case in CASES]
    return [
        (case, image, image.save(folder / f"{n}.vhdx"))
        for n, (case, image) in enumerate(zip(CASES, images, strict=True))
    ]


def test_rules_of_the_format(reader, case_images):
    """Every breach that refuses an image is refused, and what only is a finding is read."""
    assert len(case_images) > 100
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda one: reader.run(one[2]), case_images))
    wrong = []
    for (case, image, _), (code, out, said) in zip(case_images, results, strict=True):
        if case.error is not None or case.rule in STRICTER:
            is_right = (code, len(said.splitlines())) == (1, 1) and said.startswith("vhdx")
        else:
            is_right = (code, said) == (0, "") and out == image.expected()
        if not is_right:
            wrong.append(f"{case.rule}: {code} {said}")
    assert not wrong


def at_block_2(state: int, offset: int) -> Image:
    return DISK.copy().patch(DISK.block_entry_offset(2), bat_entry(state, offset))


PLACE = DISK.block_offset[2]
LAST = max(DISK.block_offset.values())
BROKEN = {
    **{f"state {state}": at_block_2(state, PLACE) for state in (4, 5, 7)},
    "no place": at_block_2(6, 0),
    "on the BAT": at_block_2(6, DISK.bat_offset),
    "on the metadata": at_block_2(6, DISK.metadata_offset),
    "on the log": at_block_2(6, DISK.log_offset),
    "at the end of the file": at_block_2(6, DISK.file.length),
    "far behind the end of the file": at_block_2(6, 2**53),
    "at the last place there can be": at_block_2(6, (2**44 - 1) * MB),
    "cut in a block": DISK.copy().truncate(LAST + 100),
    "cut before a block": DISK.copy().truncate(LAST),
    "cut in the BAT": DISK.copy().truncate(DISK.bat_offset + 8),
}


@pytest.mark.parametrize("name", BROKEN)
def test_block_that_cannot_be_read(name, reader, save):
    """What is written before the error is right; nothing is shifted, nothing short."""
    image = BROKEN[name]
    with pytest.raises(MustFail) as failure:
        image.reread()
    assert image.reread(0, failure.value.offset).startswith(reader.refuses(save(name, image)))


@pytest.mark.parametrize("name", ["child", "dirty_log", "truncated"])
def test_image_that_needs_more_is_refused(name, reader, save):
    assert reader.refuses(save(name, BUILT[name]())) == b""


@pytest.mark.parametrize("content", [b"", b"vhdxfile", b"conectix" * 9999, b"\xff" * MB, b"vhdxfile" + bytes(2 * MB)])
def test_no_image(content, reader, tmp_path):
    path = tmp_path / "disk.vhdx"
    path.write_bytes(content)
    assert reader.refuses(path) == b""


def test_no_file(reader, tmp_path):
    assert reader.refuses(tmp_path / "absent.vhdx") == b""
    assert reader.refuses(tmp_path) == b""
    assert reader.run()[0] == 64


# ---- the page


def test_page_names_what_the_projects_use():
    """The packages in docs/examples-languages.md are in the project files, or imported by the programs."""
    page = (ROOT / "docs" / "examples-languages.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| (Python|JavaScript|Java|Go|Rust) \| (.*?) \| [^|]*\|$", page, re.MULTILINE))
    assert len(rows) == 5
    for language, cells in rows.items():
        folder = FOLDER / language.lower()
        tracked = subprocess.run(["git", "ls-files"], cwd=folder, capture_output=True, text=True, check=True).stdout
        texts = "".join((folder / name).read_text(encoding="utf-8") for name in tracked.split())
        for name in re.findall(r"`([^`]+)`", cells):
            assert all(part in texts for part in name.split(":")), f"{language}: {name}"
