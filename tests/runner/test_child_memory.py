"""Memory that runs out: a hard limit inside the child, a soft one around its tree."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from support.children import QUICK, run

from runner.verdict import Verdict

SOFT = replace(QUICK, has_group=False, memory_bytes=120 << 20, memory_interval_s=0.05)
"""As on a machine that lends no control groups."""


def test_memory_that_runs_out_is_no_crash(tmp_path: Path) -> None:
    """A real MemoryError under a real limit of the address space."""
    limits = replace(QUICK, address_space_bytes=400 * 1024 * 1024)

    ended = run(tmp_path, "eat_memory", limits=limits)

    assert ended.verdict is Verdict.OOM_HOST
    assert ended.usage.max_rss_bytes < 500_000_000


def test_a_tree_that_outgrows_its_soft_limit_is_ended_with_numbers(tmp_path: Path) -> None:
    """Three processes of 60 MB each: none is too large, together they are."""
    payload = {"processes": 3, "own_bytes": 60_000_000, "for_s": 60}

    ended = run(tmp_path, "fill_memory", payload, limits=SOFT)

    assert ended.verdict is Verdict.OOM_HOST
    numbers = re.fullmatch(
        r"\d processes used (\d+) MiB, limit 120 MiB \(memory_bytes\)", ended.detail
    )
    assert numbers is not None
    assert 120 < int(numbers[1]) < 300


def test_memory_that_processes_share_counts_once(tmp_path: Path) -> None:
    """Data loaders that look at one corpus are not ended for it."""
    payload = {"processes": 3, "shared_bytes": 60_000_000, "for_s": 0.4}

    assert run(tmp_path, "fill_memory", payload, limits=SOFT).verdict is Verdict.SUCCEEDED
