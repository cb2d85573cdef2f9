"""Read Microsoft VHDX disk images [MS-VHDX]; never write them.

with vhdxreader.open("disk.vhdx") as disk:
    disk.seek(510)
    disk.read(2)

Only names are handed on here, each imported when it is first asked for: who reads a disk needs no tools, and a command
can be interrupted at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .format.parser_state import check_parser

check_parser()

_LATER = {
    "disk.address_map": ["Extent", "Kind"],
    "disk.chain": ["Chain", "open_chain"],
    "disk.image": ["VhdxImage"],
    "disk.opening": ["is_vhdx", "open"],
    "disk.salvage": ["DamagedRange", "Doubtful", "Lost"],
    "disk.virtual_disk": ["VirtualDisk"],
    "errors": [
        "CorruptImageError",
        "DirtyLogError",
        "Finding",
        "ImageChangedError",
        "NotVhdxError",
        "ParentError",
        "ParentMismatchError",
        "ParentNotFoundError",
        "ParentPermissionError",
        "Severity",
        "Tried",
        "TruncatedImageError",
        "UnreadableError",
        "UnsupportedImageError",
        "VhdxError",
        "problem_to_dict",
    ],
    "files.opening": ["BinaryFile", "RemotePath", "is_url", "open_source", "without_secrets"],
    "files.source": ["Source"],
    "format.block_geometry": ["Geometry"],
    "format.header": ["Header"],
    "format.log": ["ActiveSequence", "ExaminedEntry", "LogEntry"],
    "format.log_replay": ["LogState"],
    "format.metadata": ["DiskType", "Metadata", "MetadataItem"],
    "format.parent_locator": ["ParentLocator"],
    "format.region_table": ["Region", "RegionTable"],
    "format.structure_copies": ["Copy"],
    "plain_values": ["plain", "printable", "short_size"],
    "tools.survey": ["SurveyProgress", "forest_of", "survey"],
    "tools.survey_names": ["named_images"],
    "tools.survey_record": ["SURVEY_KEYS", "SurveyTask", "stamp_of", "survey_image"],
    "disk.folder_search": ["find_images"],
    "disk.needed_files": ["needed_files"],
    "files.unpacking": ["is_packed", "open_unpacked"],
    "files.writing": ["WholeFile"],
    "format.log_summary": ["LogHandling", "LogStatus", "LogSummary"],
    "disk.partition_stream": ["PartitionStream"],
    "disk.replay_changes": ["LogChanges"],
    "disk.partitions": ["Partition", "PartitionTable"],
    "tools.allocation": ["DiskCell", "FileCell", "disk_cells", "file_cells", "total_parts"],
    "tools.check": ["Report", "check"],
    "tools.compare": ["Comparison", "DifferingRange", "compare"],
    "tools.convert": ["convert"],
    "tools.copy_range": ["copy_range"],
    "tools.custody": ["CustodyRecord"],
    "tools.digest_list": ["ListedDigest", "expected_digests", "parse_digest_list"],
    "tools.digests": ["BlockDigest", "digest_algorithms", "hash_blocks", "hash_disk", "hash_file", "hash_twice"],
    "tools.dump": ["DUMP_SECTIONS", "MAX_DUMP_COUNT", "DumpNode", "dump"],
    "tools.file_space": ["FileRange", "unused_ranges"],
    "tools.fleet": ["Fleet", "Merge", "examine_fleet"],
    "tools.forest": ["Forest", "ForestMember", "ForestNode", "ParentState", "chain_forest"],
    "tools.log_listing": ["LogListing", "LogUpdate", "read_log"],
    "tools.measure": ["FileUse", "Measurement", "measure"],
    "tools.report.fleet": ["fleet_page", "write_fleet_report"],
    "tools.report.page": ["report_page", "write_report"],
    "tools.steady": ["steady"],
    "tools.shared_blocks": ["shared_blocks"],
    "tools.skeleton": ["Skeleton", "lacks_payload", "write_skeleton"],
}

if TYPE_CHECKING:
    from .disk.address_map import Extent, Kind
    from .disk.chain import Chain, open_chain
    from .disk.folder_search import find_images
    from .disk.image import VhdxImage
    from .disk.needed_files import needed_files
    from .disk.opening import is_vhdx, open
    from .disk.partition_stream import PartitionStream
    from .disk.partitions import Partition, PartitionTable
    from .disk.replay_changes import LogChanges
    from .disk.salvage import DamagedRange, Doubtful, Lost
    from .disk.virtual_disk import VirtualDisk
    from .errors import (
        CorruptImageError,
        DirtyLogError,
        Finding,
        ImageChangedError,
        NotVhdxError,
        ParentError,
        ParentMismatchError,
        ParentNotFoundError,
        ParentPermissionError,
        Severity,
        Tried,
        TruncatedImageError,
        UnreadableError,
        UnsupportedImageError,
        VhdxError,
        problem_to_dict,
    )
    from .files.opening import BinaryFile, RemotePath, is_url, open_source, without_secrets
    from .files.source import Source
    from .files.unpacking import is_packed, open_unpacked
    from .files.writing import WholeFile
    from .format.block_geometry import Geometry
    from .format.header import Header
    from .format.log import ActiveSequence, ExaminedEntry, LogEntry
    from .format.log_replay import LogState
    from .format.log_summary import LogHandling, LogStatus, LogSummary
    from .format.metadata import DiskType, Metadata, MetadataItem
    from .format.parent_locator import ParentLocator
    from .format.region_table import Region, RegionTable
    from .format.structure_copies import Copy
    from .plain_values import plain, printable, short_size
    from .tools.allocation import DiskCell, FileCell, disk_cells, file_cells, total_parts
    from .tools.check import Report, check
    from .tools.compare import Comparison, DifferingRange, compare
    from .tools.convert import convert
    from .tools.copy_range import copy_range
    from .tools.custody import CustodyRecord
    from .tools.digest_list import ListedDigest, expected_digests, parse_digest_list
    from .tools.digests import BlockDigest, digest_algorithms, hash_blocks, hash_disk, hash_file, hash_twice
    from .tools.dump import DUMP_SECTIONS, MAX_DUMP_COUNT, DumpNode, dump
    from .tools.file_space import FileRange, unused_ranges
    from .tools.fleet import Fleet, Merge, examine_fleet
    from .tools.forest import Forest, ForestMember, ForestNode, ParentState, chain_forest
    from .tools.log_listing import LogListing, LogUpdate, read_log
    from .tools.measure import FileUse, Measurement, measure
    from .tools.report.fleet import fleet_page, write_fleet_report
    from .tools.report.page import report_page, write_report
    from .tools.shared_blocks import shared_blocks
    from .tools.skeleton import Skeleton, lacks_payload, write_skeleton
    from .tools.steady import steady
    from .tools.survey import SurveyProgress, forest_of, survey
    from .tools.survey_names import named_images
    from .tools.survey_record import SURVEY_KEYS, SurveyTask, stamp_of, survey_image

    __version__: str

__all__ = [
    "DUMP_SECTIONS",
    "MAX_DUMP_COUNT",
    "SURVEY_KEYS",
    "ActiveSequence",
    "BinaryFile",
    "BlockDigest",
    "Chain",
    "Comparison",
    "Copy",
    "CorruptImageError",
    "CustodyRecord",
    "DamagedRange",
    "DifferingRange",
    "DirtyLogError",
    "DiskCell",
    "DiskType",
    "Doubtful",
    "DumpNode",
    "ExaminedEntry",
    "Extent",
    "FileCell",
    "FileRange",
    "FileUse",
    "Finding",
    "Fleet",
    "Forest",
    "ForestMember",
    "ForestNode",
    "Geometry",
    "Header",
    "ImageChangedError",
    "Kind",
    "ListedDigest",
    "LogChanges",
    "LogEntry",
    "LogHandling",
    "LogListing",
    "LogState",
    "LogStatus",
    "LogSummary",
    "LogUpdate",
    "Lost",
    "Measurement",
    "Merge",
    "Metadata",
    "MetadataItem",
    "NotVhdxError",
    "ParentError",
    "ParentLocator",
    "ParentMismatchError",
    "ParentNotFoundError",
    "ParentPermissionError",
    "ParentState",
    "Partition",
    "PartitionStream",
    "PartitionTable",
    "Region",
    "RegionTable",
    "RemotePath",
    "Report",
    "Severity",
    "Skeleton",
    "Source",
    "SurveyProgress",
    "SurveyTask",
    "Tried",
    "TruncatedImageError",
    "UnreadableError",
    "UnsupportedImageError",
    "VhdxError",
    "VhdxImage",
    "VirtualDisk",
    "WholeFile",
    "chain_forest",
    "check",
    "compare",
    "convert",
    "copy_range",
    "digest_algorithms",
    "disk_cells",
    "dump",
    "examine_fleet",
    "expected_digests",
    "file_cells",
    "find_images",
    "fleet_page",
    "forest_of",
    "hash_blocks",
    "hash_disk",
    "hash_file",
    "hash_twice",
    "is_packed",
    "is_url",
    "is_vhdx",
    "lacks_payload",
    "measure",
    "named_images",
    "needed_files",
    "open",
    "open_chain",
    "open_source",
    "open_unpacked",
    "parse_digest_list",
    "plain",
    "printable",
    "problem_to_dict",
    "read_log",
    "report_page",
    "shared_blocks",
    "short_size",
    "stamp_of",
    "steady",
    "survey",
    "survey_image",
    "total_parts",
    "unused_ranges",
    "without_secrets",
    "write_fleet_report",
    "write_report",
    "write_skeleton",
]

if not TYPE_CHECKING:  # a type checker would take any name for one of the package's

    def __getattr__(name: str) -> Any:
        value = _import(name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__, "__version__"})

    def _import(name: str) -> Any:
        from importlib import import_module

        if name == "__version__":
            from importlib.metadata import version  # which takes as long to load as all of click

            return version(__name__)
        for module, names in _LATER.items():
            if name in names:
                return getattr(import_module(f".{module}", __name__), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
