"""A pytest plugin for Windows under Wine: which tests cannot run there, each with the reason."""

from __future__ import annotations

import os
import sys
from concurrent.futures.process import _ThreadWakeup

import pytest

# Each switch of threads is a round trip to Wine's server, and a file of tests takes a quarter of an hour by them.
sys.setswitchinterval = lambda _: None
# An empty message in a pipe is one that Wine 8 tells of, but that cannot be received: a pool would wait for ever.
_ThreadWakeup.wakeup = lambda wakeup: None if wakeup._closed else wakeup._writer.send_bytes(b"awake")
os.environ.update(SHARED_READS="100", CLOSING_ROUNDS="5")

NO_LINKS = "Wine makes symbolic links that cannot be opened by it"
POSIX_ONLY = "uses what only POSIX has: pipes with names, signals, alarms, /dev, /proc"
NAMES = "names that Windows does not allow"
OWN_WARNING = "an image that was not closed is Python's own file object there, which warns without the path"
WAITS = "a program of its own with a pool of processes, which waits for an empty message as told of above"
REPLACED = "Windows does not replace a file that is open"
NO_SOCKETS = "Python for Windows has no sockets with paths"
SPARSE = "asks how a POSIX file system lays a file out"

REASONS = {
    "test_the_holes_of_a_sparse_log_are_left_out": SPARSE,
    "test_documentation_is_current": "writes to a console of another encoding than the page's",
    "test_a_relative_path_and_odd_names": NAMES,
    "test_paths_that_name_no_file": NAMES,
    "test_pipes_and_sockets_do_not_hang": POSIX_ONLY,
    "test_a_signal_handler_may_read_the_same_disk": POSIX_ONLY,
    "test_without_preadv": "takes away what is not there",
    "test_pipes_are_refused": POSIX_ONLY,
    "test_a_file_that_gives_nothing": POSIX_ONLY,
    "test_a_path_is_closed": "looks into /dev/fd, which under Wine is the host's",
    "test_errors_of_the_file_come_through": "errno.EREMOTEIO is of Linux",
    "test_a_disk_that_is_dropped_does_not_leak": "counts descriptors in /dev/fd, which under Wine is the host's",
    "test_what_the_file_system_says[replaced]": REPLACED,
    "test_verify_source_of_a_file": "replaces os.pread",
    "test_child_behind_a_symbolic_link": NO_LINKS,
    "test_child_in_a_linked_folder": NO_LINKS,
    "test_inside_is_not_left_through_a_link": NO_LINKS,
    "test_cycle_through_a_link[symbolic]": NO_LINKS,
    "test_name_that_differs_in_case_is_the_last_try": "names that differ in case are one name",
    "test_device": POSIX_ONLY,
    "test_block_device_is_a_parent": POSIX_ONLY,
    "test_a_bad_spot_that_nobody_needs": "replaces os.preadv",
    "test_eight_threads[without preadv]": "takes away what is not there",
    "TestContract": "a file that os.pread reads is the model",
    "test_what_is_no_fault_of_the_image_raises": "Windows says PermissionError of a folder",
    "test_names_cannot_steer_a_terminal": NAMES,
    "test_as_cmp_counts": "runs cmp",
    "test_holes_of_raw_files": SPARSE,
    "test_holes_of_the_file_are_holes_unless_the_log_writes_there": SPARSE,
    "test_lists_of_coreutils": NAMES,
    "test_what_is_looked_at_in_folders": POSIX_ONLY,
    "test_raw_and_vhd": SPARSE,
    "test_closing_gives_the_file_back_at_once": "looks into /dev/fd, which under Wine is the host's",
    "test_closing_where_no_descriptor_is_left": "limits descriptors by the module resource",
    "test_the_chain_keeps_the_parents_disk": OWN_WARNING,
    "test_extents_keep_the_disk": OWN_WARNING,
    "test_macos_is_not_asked_where_holes_are": "fakes answers to SEEK_DATA, which is not there",
    "test_links_to_the_same_folder_do_not_multiply": NO_LINKS,
    "test_a_signal_is_recorded": "looks into /proc",
    "test_a_signal_handler_may_salvage_at_any_moment": "looks for a file's code by a path that Wine spells another way",
    "test_a_symbolic_link_is_followed": NO_LINKS,
    "test_never_an_image_of_the_chain[symbolic link": NO_LINKS,
    "test_a_mapfile_that_cannot_be_written_is_known_before_the_copy[is linked to it]": NO_LINKS,
    "test_text_of_an_image_is_never_more_than_text": NAMES,
    "test_tree": "shows paths with the other slash",
    "test_serve_runs_a_program_and_ends_with_its_code": NO_SOCKETS,
    "test_serve_ends_cleanly_on_signals": NO_SOCKETS,
    "test_a_path_that_looks_like_a_url_is_a_path": NAMES,
    "test_a_closed_standard_output_is_one_line": POSIX_ONLY,
    "test_a_parent_by_another_name[symbolic]": NO_LINKS,
    "test_a_full_target_is_named_and_not_the_image": POSIX_ONLY,
    "test_links_in_a_circle_and_pipes_are_no_images": NO_LINKS,
    "test_names_that_are_not_utf_8": NAMES,
    "test_an_image_that_changes_meanwhile_is_a_record_that_says_so[replaced]": REPLACED,
    "test_an_interrupted_survey_goes_on": WAITS,
    "test_the_page": NAMES,
    "test_while_the_commands_own_module_loads": POSIX_ONLY,
    "test_while_other_modules_load": POSIX_ONLY,
}
SOCKETS = """
a_client_may_be_idle_but_not_in_the_middle_of_a_request a_client_that_sends_nonsense_is_sent_away
a_huge_disk_is_copied_by_its_extents a_killed_client_leaves_no_trace a_killed_servers_socket_is_replaced
a_long_reply_that_is_not_taken_makes_room extents_of_more_than_32_bits four_clients_at_once
it_ends_while_clients_are_there long_replies_that_nobody_takes_are_few_at_a_time nbdcopy_gets_every_byte
nbdinfo_sees_extents_and_exports of_many_that_start_at_once_one_gets_the_socket one_extent_if_one_is_asked_for
options_with_wrong_lengths_are_answered reads requests_that_are_refused_and_the_connection_lives
the_socket_is_this_users_only_and_gone_at_the_end the_whole_handshake_is_bounded too_many_clients_are_turned_away
what_cannot_be_read_is_eio_and_named_in_the_log what_is_no_dead_socket_is_left
without_descriptors_it_waits_and_does_not_spin
"""
REASONS |= {f"test_{name}": NO_SOCKETS for name in SOCKETS.split()}


def pytest_collection_modifyitems(items):
    for item in items:
        for part, reason in REASONS.items():
            name = item.nodeid.split("::", 1)[1]
            if name == part or name.startswith((part + "[", part + "::", part + "-")):
                item.add_marker(pytest.mark.skip(reason=f"under Wine: {reason}"))
