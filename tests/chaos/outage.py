"""A long outage: the server is killed and stays away while one job trains and another one ends.

    both run ─► server killed ─► one job ends ─► … a long time … ─► server is back ─► the other one ends

Real processes throughout. A worker's rhythms are in proportion to the outage: ten minutes are lived through
with the settings that every worker has by default.
"""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass, field
from pathlib import Path

from support.daemon import Daemon, await_true
from support.devserver import project
from support.job_world import PROJECT, JobWorld, training

DEFAULTS_FIT_S = 600.0
RHYTHMS = {"watch": 30.0, "heartbeat": 300.0, "request": 300.0, "rest": 300.0}
"""Defaults of the settings, in seconds."""
PAUSE_S = 10.0
"""A training that goes on has no longer pause than a busy machine makes."""
JOBS = ("trains", "ends")


@dataclass
class Seen:
    """What happened; `wrongs` must be empty. `ends_s` tells by job how long after the server's return."""

    away_s: float = 0.0
    beats: int = 0
    longest_pause_s: float = 0.0
    ends_s: dict[str, float] = field(default_factory=dict)
    wrongs: list[str] = field(default_factory=list)


def run(directory: Path, outage_s: float) -> Seen:
    """Live through one outage."""
    seen = Seen()
    gates = {name: directory / f"gate-{name}" for name in JOBS}
    beats = directory / "beats"
    entries = [
        training("trains", wait_in="train", gate=str(gates["trains"]), beats=str(beats)),
        training("ends", wait_in="upload", gate=str(gates["ends"])),
    ]
    found = project(PROJECT, files={"metadata.json": "{}"})
    with JobWorld(directory, found, in_process=False) as world:
        world.submit(entries[0])
        with _worker(world, "one", outage_s) as one:
            one.await_log("job trains: train")
            world.submit(*entries)
            with _worker(world, "two", outage_s) as two:
                two.await_log("job ends: upload")
                await_true(lambda: "PUT lfs object" in str(world.server.requests()), "the model")
                _live_through(world, outage_s, gates, beats, seen)
                _await_ends(world, outage_s, seen)
                for daemon in (one, two):
                    daemon.wait()
                    seen.wrongs += _noticed(daemon)
        seen.wrongs += _ends(world)
    return seen


def _worker(world: JobWorld, name: str, outage_s: float) -> Daemon:
    part = outage_s / DEFAULTS_FIT_S
    rhythms = [(f"--{setting}-s", str(part * value)) for setting, value in RHYTHMS.items()]
    return world.run_worker(*itertools.chain(*rhythms), name=name)


def _live_through(
    world: JobWorld, outage_s: float, gates: dict[str, Path], beats: Path, seen: Seen
) -> None:
    """Kill the server, let one job end, wait, start the server again, let the other one end."""
    port = int(world.server.url.rpartition(":")[2])
    left = time.time()
    world.server.kill()
    gates["ends"].touch()
    time.sleep(outage_s)
    world.server.start(port)
    back = time.time()
    gates["trains"].touch()
    moments = [float(line) for line in beats.read_text(encoding="utf-8").split()]
    during = [left, *(moment for moment in moments if left <= moment <= back), back]
    seen.away_s, seen.beats = back - left, len(during) - 2
    seen.longest_pause_s = max(later - earlier for earlier, later in itertools.pairwise(during))
    if seen.longest_pause_s > PAUSE_S:
        seen.wrongs.append(f"the training stood still for {seen.longest_pause_s:.1f} s")


def _await_ends(world: JobWorld, outage_s: float, seen: Seen) -> None:
    """Wait for both ends, as long as the longest rests allow."""
    back, patience_s = time.monotonic(), 60.0 + outage_s
    while len(seen.ends_s) < len(JOBS) and time.monotonic() - back < patience_s:
        for name in JOBS:
            if name not in seen.ends_s and world.state(name) == "completed":
                seen.ends_s[name] = time.monotonic() - back
        time.sleep(0.2)
    seen.wrongs += [f"{name} did not end" for name in JOBS if name not in seen.ends_s]


def _noticed(daemon: Daemon) -> list[str]:
    """Signs in a worker's log that a job was disturbed, or that there was no outage for it."""
    log = daemon.log
    signs = ("stopping job", "going on with job", "could not be written yet", "not ours any more")
    found = [f"the log says {sign!r}" for sign in signs if sign in log]
    return found if "could not look after the lease" in log else [*found, "no outage was seen"]


def _ends(world: JobWorld) -> list[str]:
    """Ends that are not there exactly once, from the history."""
    subjects = [commit.subject for commit in world.by_worker()]
    ends = {name: [s for s in subjects if "finish" in s and f" {name}" in s] for name in JOBS}
    attempts = {name: world.response(name).get("attempt") for name in JOBS}
    found = [f"{name} ended {len(each)} times" for name, each in ends.items() if len(each) != 1]
    return found + [f"{name} took {each} attempts" for name, each in attempts.items() if each != 1]
