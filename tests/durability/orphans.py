"""What is left of a worker's processes once the worker itself was killed."""

from __future__ import annotations

import time
from pathlib import Path

import psutil
from support.daemon import await_true
from support.job_world import JobWorld, job

from runner.marker import MARKER

ALLOWED_S = 1.0


def seconds_until_gone(world: JobWorld, number: int) -> float:
    """Kill a worker in the middle of a job that listens to nobody; infinite if anything stays.

    Every round has its own job and its own work directory.
    """
    name = f"stubborn-{number}"
    world.submit(*(job(f"stubborn-{each}", "Stubborn") for each in range(number + 1)))
    with world.run_worker(name=name) as daemon:
        daemon.await_log(f"job {name}: infer")
        worker = psutil.Process(daemon.process.pid)
        await_true(lambda: len(worker.children(recursive=True)) > 0, "a child")
        family = {*worker.children(recursive=True), *_marked_by(worker.pid)}
        assert family
        daemon.process.kill()
        killed_s = time.monotonic()
        while time.monotonic() - killed_s < ALLOWED_S:
            if not any(_is_alive(process) for process in family):
                return time.monotonic() - killed_s
            time.sleep(0.002)
    return float("inf")


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _marked_by(pid: int) -> list[psutil.Process]:
    """Processes that carry this worker's mark in their environment, wherever they hang in the tree."""
    mark = f"{MARKER}={pid}@".encode()
    found: list[psutil.Process] = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and mark in (entry / "environ").read_bytes():
                found.append(psutil.Process(int(entry.name)))
        except (OSError, psutil.NoSuchProcess):
            continue
    return found
