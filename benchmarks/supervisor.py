"""What the supervisor costs: start, memory, polls and commits, in one table.

    python benchmarks/supervisor.py

Starts real daemons against the embedded GitLab on this machine. Ratios and counts are what to compare;
milliseconds depend on the machine and on what else it does.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import requests
import yaml

from devserver.config import WorldConfig, populate
from devserver.server import serving_in_thread
from devserver.world import World

ROOT = Path(__file__).resolve().parent.parent
ENTRY = str(ROOT / "worker_entry.py")
HANDLERS = str(ROOT / "tests" / "support" / "handlers")
TOKEN = "token-benchmark"
RUNS = 20
JOBS = 10
POLLS = 10
SETTLE_S = 2.0
WAIT_S = 120.0


def main() -> None:
    """Measure everything and print the table."""
    rows = [*start(), *idle(200), *idle(1000), commits()]
    width = max(len(what) for what, _, _ in rows)
    for what, value, budget in rows:
        print(f"{what:<{width}}  {value:>22}  {budget}")


Row = tuple[str, str, str]


def start() -> Iterator[Row]:
    """`--help` over a bare interpreter: the median of many runs, one after the other in turn."""
    bare, helps = [], []
    for _ in range(RUNS):
        bare.append(_seconds(sys.executable, "-c", "pass"))
        helps.append(_seconds(sys.executable, ENTRY, "--help"))
    over = statistics.median(helps) - statistics.median(bare)
    ratio = statistics.median(helps) / statistics.median(bare)
    yield "--help over bare Python", f"{over * 1000:.0f} ms ({ratio:.1f} x)", "<= 150 ms"


def idle(projects: int) -> Iterator[Row]:
    """A daemon with nothing to do: time to ready, memory, requests per poll."""
    with _server(_projects(projects)) as url, _daemon(url, "--loop-interval", "0.5") as daemon:
        ready_s = _await(lambda: _count(url, "POST /api/graphql") > 0)
        time.sleep(SETTLE_S)
        rss = psutil.Process(daemon.pid).memory_info().rss
        polls, requests_made = _polls_of(url, daemon)
    name = f"{projects:,} projects"
    yield f"first poll answered, {name}", f"{ready_s * 1000:.0f} ms", "<= 1,500 ms"
    yield f"idle memory, {name}", f"{rss / 2**20:.0f} MiB", "<= 80 MB"
    budget = "<= 3" if projects <= 200 else "<= 10"
    yield f"requests per idle poll, {name}", f"{requests_made / polls:.1f}", budget


def commits() -> Row:
    """What short jobs leave in the history: a claim and an end each."""
    entries = [
        {"job_id": f"j{n}", "job_type": "asr", "mode": "inference", "model": {"type": "Instant"}}
        for n in range(JOBS)
    ]
    manifest = yaml.safe_dump({"version": 1, "jobs": entries})
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "gpu_jobs" / "manifest.yaml"
        target.parent.mkdir()
        target.write_text(manifest, encoding="utf-8")
        world = _projects(1)
        world["projects"][0]["files"] = folder
        with _server(world) as url, _daemon(url, "--loop-interval", "-1") as daemon:
            daemon.wait(WAIT_S)
            made = _count(url, "POST /projects/:id/repository/commits")
    return "commits per short job", f"{made / JOBS:.1f}", "2 (claim, end)"


def _seconds(*command: str) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def _polls_of(url: str, daemon: subprocess.Popen[bytes]) -> tuple[int, int]:
    """Polls are told apart by the silence between them."""
    requests.delete(f"{url}/-/requests", timeout=10).raise_for_status()
    seen = polls = 0
    was_quiet = True
    while polls < POLLS and daemon.poll() is None:
        time.sleep(0.05)
        total = _total(url)
        if total > seen and was_quiet:
            polls += 1
        was_quiet, seen = total == seen, total
    while (total := _total(url)) > seen:  # the last poll may not be over
        seen = total
        time.sleep(0.1)
    return polls, seen


def _projects(count: int) -> dict[str, Any]:
    members = {"bench": 30}
    projects = [{"path": f"bible/p{n}", "members": members} for n in range(count)]
    users = [{"username": "bench", "tokens": [{"value": TOKEN, "scopes": ["api"]}]}]
    return {"users": users, "projects": projects}


@contextlib.contextmanager
def _server(settings: Mapping[str, Any]) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        config = WorldConfig.model_validate(settings)
        world = World(Path(folder), config.limits)
        try:
            populate(world, config)
            with serving_in_thread(world, {}) as url:
                yield url
        finally:
            world.close()


@contextlib.contextmanager
def _daemon(url: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, ENTRY, "--gitlab-url", url, "--work-dir", folder, *arguments]
        process = subprocess.Popen(
            [*command, "--handlers-dir", HANDLERS],
            env=os.environ | {"GITLAB_TOKEN": TOKEN},
            stderr=subprocess.DEVNULL,
        )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(WAIT_S)


def _await(condition: Callable[[], bool]) -> float:
    began = time.perf_counter()
    while not condition():
        if time.perf_counter() - began > WAIT_S:
            raise TimeoutError("the daemon did not poll")
        time.sleep(0.01)
    return time.perf_counter() - began


def _count(url: str, endpoint: str) -> int:
    tally = _requests(url)["endpoints"].get(endpoint)
    return 0 if tally is None else int(tally["requests"])


def _total(url: str) -> int:
    return int(_requests(url)["total"])


def _requests(url: str) -> Any:
    return requests.get(f"{url}/-/requests", timeout=10).json()


if __name__ == "__main__":
    main()
