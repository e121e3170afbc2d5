"""Random lives of a worker, each from a seed: killed again and again, anywhere, while a person works on.

life = live(seed, directory)     # one world, some kills, then one last start
assert not life.wrongs, f"seed {seed}"
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from durability.crash_world import CrashWorld, scenario_of

from gitlab_jobs.crashpoints import POINTS

SCENARIO_WEIGHTS = {
    "everything": 10,
    "stopping": 1,
    "robbed": 1,
    "rolled back": 2,
    "overlap": 3,
    "saving": 3,
}
MOST_KILLS = 14
ANY_MOMENT = "any moment"
RESTARTS = tuple(point for point in POINTS if point.startswith("recovery."))
HOLDING = tuple(
    point
    for point in POINTS
    if point.startswith(("attempt", "workspace", "child", "renew", "upload", "save", "resume"))
)
"""After a kill here the job is ours and its work is not done."""
REPEATED = ("renew", "scan", "ending", "save")
"""What happens several times in a life: the second time may be the fatal one."""


@dataclass
class Life:
    """What happened in one world: how often it was killed where, and what was wrong in the end."""

    seed: int
    kills: int = 0
    points: Counter[str] = field(default_factory=Counter)
    wrongs: list[str] = field(default_factory=list)


def live(seed: int, directory: Path) -> Life:
    """Play one world to its end."""
    chance, life = random.Random(seed), Life(seed)
    names, weights = zip(*SCENARIO_WEIGHTS.items(), strict=True)
    scenario = chance.choices(names, weights)[0]
    with CrashWorld(directory, scenario) as world:
        for turn, point in enumerate(_way_through(scenario, chance)):
            was_killed = _kill(world, point, chance)
            life.points[point.partition(":")[0]] += was_killed
            if not was_killed:
                break  # there was nothing left to do
            if chance.random() < 0.4:
                # A person fills the verse that the job would write, or changes their own.
                world.edit_verse(f"typed in turn {turn}", chance.choice((0, 2)))
        world.run()
        life.kills, life.wrongs = world.kills, world.wrongs()
    return life


def _kill(world: CrashWorld, point: str, chance: random.Random) -> bool:
    if point == ANY_MOMENT:
        return world.run_for(chance.uniform(0.2, 2.0))
    return world.run(point)


def _way_through(scenario: str, chance: random.Random) -> list[str]:
    """Points in the order in which a life meets them, with restarts that are killed as well."""
    points = _points_of(scenario)
    order = sorted(chance.choices(range(len(points)), k=chance.randint(4, MOST_KILLS)))
    way: list[str] = []
    for position in order:
        point = points[position]
        times = chance.randint(1, 2) if point.startswith(REPEATED) else 1
        way.append(f"{point}:{times}")
        if chance.random() < 0.3:
            way.append(_restart_after(point, chance))
    return way


def _restart_after(point: str, chance: random.Random) -> str:
    """Where the next start may be killed, after a kill at this point."""
    if point == "claim.intended":
        return "recovery.forgotten"
    if point == "publish.acted":
        return chance.choice(("recovery.mended", "recovery.settled"))
    if point in HOLDING:
        return chance.choice(("recovery.looked", "recovery.taken_up", "recovery.renewed"))
    return chance.choice(("start.locked", "start.ready", ANY_MOMENT))


def _points_of(scenario: str) -> list[str]:
    """Where a worker can be killed in a scenario, in the order in which it gets there."""
    own = {
        "everything": {"work", "answers"},
        "rolled back": {"rolled back"},
        "saving": {"saving"},
    }
    mine = own.get(scenario, {scenario, "work"})
    found = [point for point in POINTS if scenario_of(point) in mine and point not in RESTARTS]
    always = [point for point in POINTS if point.startswith(("start.", "scan."))]
    return sorted({*found, *always}, key=_turn)


def _turn(point: str) -> tuple[int, int]:
    """Answers come first in every turn of a worker, then fresh jobs, then those of the silent."""
    effect = point.partition(".")[0]
    phase = {"start": 0, "scan": 1, "acknowledge": 2, "refuse": 3, "takeover": 5, "giveup": 6}
    return phase.get(effect, 4), POINTS.index(point)
