"""A coverage-guided fuzzer (atheris, which is libFuzzer): its bytes are laid over the structures of good images.

    python fuzz/guided.py corpus/ -max_total_time=60

Byte 0 chooses the image; byte 1 whether checksums are repaired, the odd ones; byte 2, unless 0, cuts the file at that
many 64ths. The rest lies over `windows`, one behind another. An empty corpus folder is filled with the good images.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import atheris

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

with atheris.instrument_imports(include=["vhdxreader"]):
    import vhdxreader

    vhdxreader.open, vhdxreader.check, vhdxreader.dump  # noqa: B018  instrumented before anything else imports them

from bases import b, bases, windows  # noqa: E402  found by the path above
from invariant import exercise  # noqa: E402

_LIMITS = ["-timeout=30", "-rss_limit_mb=2048"]
_BASES = bases()
_WINDOWS = [windows(image) for image in _BASES]


def laid_over(data: bytes) -> b.Image:
    """The image that these bytes stand for."""
    data = data.ljust(3, b"\0")
    number = data[0] % len(_BASES)
    image, at = _BASES[number].copy(), 3
    for offset, length in _WINDOWS[number]:
        piece = data[at : at + length]
        if piece:
            image.patch(offset, piece)
        at += length
    if data[1] % 2:
        image.fix_checksums()
    if data[2]:
        image.truncate(image.file.length * data[2] // 64)
    return image


def test_one_input(data: bytes) -> None:
    """What libFuzzer calls."""
    exercise(laid_over(data).open, _BASES[0].open, random.Random(data))


def write_seeds(folder: Path) -> None:
    """The good images as inputs."""
    folder.mkdir(exist_ok=True)
    for number, image in enumerate(_BASES):
        content = b"".join(image.file.read(offset, length) for offset, length in _WINDOWS[number])
        (folder / f"good-{number}").write_bytes(bytes([number, 1, 0]) + content)


def main() -> None:
    """Run as a command, with libFuzzer's own options."""
    folders = [Path(argument) for argument in sys.argv[1:] if not argument.startswith("-")]
    for folder in folders[:1]:
        write_seeds(folder)
    atheris.Setup([*sys.argv, *_LIMITS], test_one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
