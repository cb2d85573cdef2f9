"""`vhdxreader info`: what an image says of itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import click

import vhdxreader
from vhdxreader import Chain, CorruptImageError, TruncatedImageError, VhdxError

from .answer import answers, asked_for_json
from .failure import CORRUPT, FAILED, FINE, each_image, failed, worst
from .grouped import GroupedCommand
from .info_text import SUMMARY, print_details, print_facts, summary
from .options import images_argument, opens
from .source import source_of
from .table import print_table

_KEYS = (
    *("filename", "format", "creator", "disk_type", "virtual_size", "file_size", "block_size"),
    *("logical_sector_size", "physical_sector_size", "virtual_disk_guid", "lacks_payload", "payload_block_count"),
    *("allocated_block_count", "chunk_ratio", "log", "headers", "region_tables", "regions", "metadata_items"),
    *("parent_locator", "findings", "chain", "changed"),
)


@click.command("info", cls=GroupedCommand)
@images_argument
@click.option("-v", "--verbose", is_flag=True, help="All of it: headers, log, regions, metadata, parent locator.")
@answers("info", *_KEYS)
@click.option("--blocks", is_flag=True, help="Count the allocated payload blocks; this reads the whole BAT.")
@click.option("--chain", "with_chain", is_flag=True, help="Show the parents, too; exits with 1 if one is missing.")
@opens
def command(images: Sequence[str], verbose: bool, blocks: bool, with_chain: bool, **how: Any) -> int:
    """Show what each IMAGE is: type, sizes, state, parent, findings; of several, a line each.

    Parents are looked for only with --chain, or where --parent or --search says which or where.
    """
    with_chain = with_chain or bool(how["parent"]) or isinstance(how["parents"], list)
    if not with_chain:
        how |= {"parent": None, "parents": None}
    show = _Show(blocks=blocks, with_chain=with_chain, verbose=verbose, how=how)
    if len(images) == 1 or verbose or asked_for_json():
        return each_image(images, show.one)
    codes: list[int] = []
    print_table(SUMMARY, show.rows(images, codes))
    return worst(codes)


class _Show:
    """What is shown of an image."""

    def __init__(self, *, blocks: bool, with_chain: bool, verbose: bool, how: dict[str, Any]) -> None:
        self._blocks = blocks
        self._with_chain = with_chain
        self._verbose = verbose
        self._how = how

    def one(self, filename: str) -> int:
        """All of one image, as JSON or text."""
        with closing(_open(filename, self._how)) as chain:
            facts = self._facts(chain)
            answer = asked_for_json()
            if answer is not None:
                answer.give(facts)
            elif self._verbose:
                print_details(facts, chain.opened[0])
            else:
                print_facts(facts, chain.opened[0])
            return _code(chain, facts)

    def rows(self, images: Sequence[str], codes: list[int]) -> Iterator[list[str]]:
        """A row for each image; the exit code of each goes to `codes`."""
        for filename in images:
            try:
                with closing(_open(filename, self._how)) as chain:
                    facts = self._facts(chain)
                    codes.append(_code(chain, facts))
                    yield summary(facts)
            except (VhdxError, OSError) as error:
                codes.append(failed(error, filename))
                yield [filename, "error", *[""] * (len(SUMMARY) - 2)]

    def _facts(self, chain: Chain) -> dict[str, Any]:
        image = chain.opened[0]
        changed = [member.has_changed() for member in chain.opened]  # before findings are listed: each gets one
        return {
            **image.to_dict(count_blocks=self._blocks),
            "lacks_payload": vhdxreader.lacks_payload(image),
            "chain": chain.to_dict() if self._with_chain else None,
            "changed": any(changed),
        }


def _code(chain: Chain, facts: dict[str, Any]) -> int:
    if isinstance(chain.error, CorruptImageError):
        return CORRUPT
    return FINE if chain.error is None and not facts["changed"] else FAILED


def _open(filename: str, how: dict[str, Any]) -> Chain:
    """Of a dirty image's skeleton, whose log cannot be replayed without the payload, the state before that."""
    try:
        return vhdxreader.open_chain(source_of(filename), **how)
    except TruncatedImageError as error:
        if error.rule != "log.flushed_file_offset":
            raise
        chain = vhdxreader.open_chain(source_of(filename), **how | {"log": "ignore"})
        if vhdxreader.lacks_payload(chain.opened[0]):
            return chain
        chain.close()
        raise
