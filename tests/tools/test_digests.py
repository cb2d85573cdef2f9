"""Digests: what hashlib and sha256sum say of the model's bytes."""

from __future__ import annotations

import hashlib
import subprocess

import pytest
from builder import MB, differencing, dynamic, full, partial, reserved, zeroed

import vhdxreader
from vhdxreader.tools.digest_list import ListedDigest, expected_digests, parse_digest_list
from vhdxreader.tools.digests import digest_algorithms, hash_blocks, hash_disk

SIZE = 11 * MB + 1536
IMAGE = dynamic(SIZE, {0: full(), 3: full(), 4: zeroed(), 11: full()}, name="digests")


def opened(image=IMAGE, **how):
    return vhdxreader.open(image.open(), **how)


def test_several_in_one_pass():
    names = ("md5", "sha1", "sha256", "blake2b")
    with opened() as disk:
        assert hash_disk(disk, names) == {name: hashlib.new(name, IMAGE.expected()).hexdigest() for name in names}


def test_progress_ends_with_all_of_it():
    calls = []
    with opened() as disk:
        hash_disk(disk, progress=lambda *call: calls.append(call))
    assert calls[-1] == (SIZE, SIZE)
    assert calls == sorted(calls)


def test_an_empty_disk():
    with opened(dynamic(0)) as disk:
        assert hash_disk(disk) == {"sha256": hashlib.sha256().hexdigest()}
        assert list(hash_blocks(disk)) == []


def test_no_digest_of_a_part():
    broken = dynamic(SIZE, {0: full(), 10: reserved(5)})
    with opened(broken) as disk:
        with pytest.raises(vhdxreader.CorruptImageError):
            hash_disk(disk)
        with pytest.raises(vhdxreader.CorruptImageError):
            list(hash_blocks(disk))


def test_blocks():
    base = dynamic(SIZE, {2: full(), 5: full()}, name="base")
    child = differencing(SIZE, {1: partial({3: b"x"}), 5: zeroed()}, parent=base)
    want, whole = [], child.expected()
    for number, offset in enumerate(range(0, SIZE, MB)):
        part = whole[offset : offset + MB]
        want.append((number, offset, len(part), hashlib.sha256(part).hexdigest()))
    with vhdxreader.open(child.open(), parent=base.open()) as disk:
        found = list(hash_blocks(disk))
    assert [(one.number, one.disk_offset, one.length, one.digest) for one in found] == want
    # block 1 is the child's in part; 2 is the base's; all others have nothing but zeros by their maps
    assert [one.number for one in found if not one.zero] == [1, 2]


def test_unknown_algorithms():
    assert {"md5", "sha256", "blake2b"} <= set(digest_algorithms())
    with opened() as disk:
        for name in ("shake_128", "nonsense"):
            with pytest.raises(ValueError, match=name):
                hash_disk(disk, [name])


@pytest.mark.parametrize("name", ["blake3", "xxh3_64"])
def test_digests_of_other_packages(name):
    package = pytest.importorskip({"blake3": "blake3", "xxh3_64": "xxhash"}[name])
    with opened() as disk:
        assert hash_disk(disk, [name]) == {name: getattr(package, name)(IMAGE.expected()).hexdigest()}


def test_lists_of_coreutils(tmp_path):
    names = ["plain.raw", "with  spaces and ) = .raw", "back\\slash\nnewline.raw"]
    for name in names:
        (tmp_path / name).write_bytes(name.encode())

    def lines(*command: str) -> list[str]:
        run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        return run.stdout.splitlines()

    for tool, algorithm in (("sha256sum", "sha256"), ("md5sum", "md5"), ("sha512sum", "sha512")):
        want = [ListedDigest(name, algorithm, hashlib.new(algorithm, name.encode()).hexdigest()) for name in names]
        for form in ([], ["-b"]):
            assert parse_digest_list(lines(tool, *form, *names)) == want
        assert parse_digest_list(lines(tool, "--tag", *names[:2])) == want[:2]


def test_a_list_of_hashdeep():
    lines = [
        "%%%% HASHDEEP-1.0",
        "%%%% size,md5,sha256,filename",
        "## Invoked from: /evidence",
        "## $ hashdeep disk.raw",
        "##",
        "3,900150983cd24fb0d6963f7d28e17f72,BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD,/e/a,b.raw",
    ]
    assert parse_digest_list(lines) == [
        ListedDigest("/e/a,b.raw", "md5", "900150983cd24fb0d6963f7d28e17f72", 3),
        ListedDigest("/e/a,b.raw", "sha256", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", 3),
    ]


@pytest.mark.parametrize("line", ["nonsense", "0123  short.raw", "%%%% size,md5,filename\n1,2"])
def test_lines_of_no_known_form(line):
    with pytest.raises(ValueError, match="no known form"):
        parse_digest_list(line.splitlines())


def test_whose_digest_it_is():
    listed = [
        ListedDigest(name, "md5", "0" * 32)
        for name in ("a/disk.raw", "b\\disk.vhdx", "other.raw", "c/disk.vhdx", "/e/c/disk.dd", "./plain.img")
    ]
    assert expected_digests(listed, "c/disk.vhdx") == [listed[3]]
    assert expected_digests(listed, "/x/b/disk.vhdx") == [listed[1]]
    assert expected_digests(listed, "/x/a/disk.vhdx") == [listed[0]]
    assert expected_digests(listed, "/e/c/disk.vhdx") == [listed[4]]
    assert expected_digests(listed, "/x/plain.vhdx") == [listed[5]]
    assert expected_digests(listed, "x/disk.vhdx") == []
    assert expected_digests(listed, "disk.vhdx") == [listed[0], listed[1], listed[3], listed[4]]
    assert expected_digests(listed, "nobody.vhdx") == []
