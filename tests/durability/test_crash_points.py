"""A worker that loses power between any two steps goes on where it was, and nobody can tell afterwards."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from durability.crash_world import CrashWorld, scenario_of, way_to

import gitlab_jobs
from gitlab_jobs.crashpoints import POINTS

SOURCES = Path(gitlab_jobs.__file__).parent


def test_the_list_of_crash_points_is_what_the_code_reaches() -> None:
    """Each name is reached in one place at least, and no place has a name that is not listed."""
    reached = {name for path in SOURCES.rglob("*.py") for name in _names(path)}
    assert reached == {*POINTS}
    assert len(POINTS) >= 30


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
def test_a_worker_killed_at_any_point_loses_and_doubles_nothing(tmp_path: Path, point: str) -> None:
    """Killed there, started again on the same directory; the history is as if nothing had happened."""
    with CrashWorld(tmp_path, scenario_of(point)) as world:
        for stop in way_to(point):
            assert world.run(stop), f"{stop} was never reached"
        world.edit_verse("what a person wrote meanwhile")
        assert not world.run()
        assert world.wrongs() == []


@pytest.mark.parametrize(
    ("scenario", "point"),
    [
        ("overlap", "publish.acted"),
        *(
            pytest.param("overlap", point, marks=pytest.mark.slow)
            for point in ("publish.journalled", "mend.intended", "mend.acted", "publish.mended")
        ),
        *(
            pytest.param("overlap in parts", point, marks=pytest.mark.slow)
            for point in ("publish.part", "mend.intended", "mend.acted", "publish.acted")
        ),
    ],
)
def test_a_person_whom_a_commit_passed_over_gets_their_verse_back_from_the_next_life(
    tmp_path: Path, scenario: str, point: str
) -> None:
    """They synced inside our commit, and the worker died before, while or after it looked."""
    with CrashWorld(tmp_path, scenario) as world:
        assert world.run(point), f"{point} was never reached"
        world.edit_verse("what a person wrote meanwhile")
        assert not world.run()
        assert world.has_overlapped
        assert world.wrongs() == []


def _names(path: Path) -> set[str]:
    """Every literal that a module passes to `reach`."""
    calls = [
        node
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "reach"
    ]
    return {
        leaf.value
        for call in calls
        for leaf in ast.walk(call.args[0])
        if isinstance(leaf, ast.Constant) and isinstance(leaf.value, str)
    }
