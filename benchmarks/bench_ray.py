"""The same items through our warm pool and through actors on a Ray cluster of this machine: one row.

    make bench-ray          (about a minute)

Interleaved, medians; the cluster is started for it, on the loopback interface, and ended.
"""

from __future__ import annotations

import logging
import os
import statistics
import tempfile
import time
from pathlib import Path

from support.ray_cluster import ray_cluster

from benchmarks.runner_ways import ITEM_S, PATIENT, iterations_for, run_all, task, warm
from runner.pool import Pool

WORKERS = 2
ITEMS = 20
ROUNDS = 5
EMPTY = 200


def main() -> int:
    """Measure and print the row."""
    logging.getLogger("runner").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as home, ray_cluster() as address:
        # Ray reads the cluster's key when it is imported.
        from runner.ray_cluster import connected
        from runner.ray_slot import RaySite, ray_executor

        with connected(address), warm(Path(home), task("Work"), WORKERS) as ours:
            theirs = ray_executor(task("Work"), RaySite(WORKERS), PATIENT)
            while theirs.status().idle < WORKERS:
                time.sleep(0.01)
            _print_row(ours, theirs)
            theirs.close(5)
    print(f"\n{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    return 0


def _print_row(ours: Pool, theirs: Pool) -> None:
    item: dict[str, object] = {"iterations": iterations_for(ITEM_S)}
    ratios, empty_ms = [], {"ours": [], "theirs": []}
    for _ in range(ROUNDS):
        ours_s = run_all(ours, [item] * ITEMS)
        ratios.append(run_all(theirs, [item] * ITEMS) / ours_s)
        empty_ms["ours"].append(run_all(ours, [{}] * EMPTY) / EMPTY * 1000)
        empty_ms["theirs"].append(run_all(theirs, [{}] * EMPTY) / EMPTY * 1000)
    over = (statistics.median(ratios) - 1) * 100
    mine, ray = (statistics.median(empty_ms[name]) for name in ("ours", "theirs"))
    print("| what | measured | budget | kept |\n|---|---|---|---|")
    print(
        f"| Ray actors over the warm pool, {WORKERS} workers, items of 200 ms | {over:+.1f} % "
        f"(empty item: {ray:.2f} ms, ours {mine:.2f} ms) | – | |"
    )


if __name__ == "__main__":
    raise SystemExit(main())
