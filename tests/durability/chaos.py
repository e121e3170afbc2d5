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

SCENARIO_WEIGHTS = {"everything": 10, "stopping": 1, "robbed": 1, "rolled back": 2}
MOST_KILLS = 14
ANY_MOMENT = "any moment"
RESTARTS = tuple(point for point in POINTS if point.startswith("recovery."))
REPEATED = ("renew", "scan", "ending")
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
            life.points[point.partition(":")[0]] += _kill(world, point, chance)
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
            way.append(chance.choice((*RESTARTS, ANY_MOMENT)))
    return way


def _points_of(scenario: str) -> list[str]:
    """Where a worker can be killed in a scenario."""
    own = {"everything": {"work", "answers"}, "rolled back": {"rolled back"}}
    mine = own.get(scenario, {scenario, "work"})
    always = [point for point in POINTS if point.startswith(("start.", "scan."))]
    return always + [
        point
        for point in POINTS
        if scenario_of(point) in mine and point not in (*RESTARTS, *always)
    ]
