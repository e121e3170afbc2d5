"""Control groups: the kernel as the killer for real, and both of its interfaces on recorded machines.

What needs a group is tested with one wherever the machine lends some; where it does not, the same test says so
on stderr and looks at what happens instead.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.children import QUICK, TESTS_DIR, Watched, run, running, until

from benchmarks.runner_ends import ENDS, End, end_of
from runner.cgroup import NoGroups, find_home, own_groups, process_groups
from runner.child_process import ChildExit, Verdict
from runner.group import Group, GroupCounts, members
from runner.limits import Limits
from runner.marker import Marker
from runner.oom import OomCounts, explain_kill

MIB = 1 << 20


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Say something that a test run shows even if all is well."""

    def aloud(text: str) -> None:
        with capsys.disabled():
            sys.stderr.write(f"\n{text}\n")

    return aloud


def groups_of_this_process() -> list[Path]:
    """The children's groups that exist now."""
    home = process_groups()
    folders = {home.memory, home.tasks or home.memory} if home is not None else ()
    mine = f"scriptorium-{Marker.new().supervisor}-*"
    return [found for folder in folders for found in folder.glob(mine)]


@pytest.mark.parametrize("end", ENDS, ids=[end.name for end in ENDS])
def test_what_ended_a_child_is_told_right(
    tmp_path: Path, end: End, say: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight real ends; the two in which the kernel kills need groups, or are stood in for."""
    if end.needs_groups and process_groups() is None:
        say(f"NOT FOR REAL, no control groups here: {end.name}")
        assert stand_in_for(end, tmp_path, monkeypatch).verdict is Verdict.OOM_HOST
        return

    ended = end_of(end, tmp_path)

    assert ended.verdict is end.verdict
    assert ended.detail
    assert ended.unkillable == ()
    if end.has_stacks:
        assert f"in {end.entry}" in ended.stack_dump


def stand_in_for(end: End, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ChildExit:
    """The soft limit for the group's; a recorded counter for the machine's."""
    if end.limits.memory_bytes is not None:
        return end_of(replace(end, limits=replace(end.limits, memory_interval_s=0.05)), tmp_path)
    readings = iter([OomCounts(1, 0), OomCounts(2, 0)])
    monkeypatch.setattr("runner.minder.read_oom_counts", lambda: next(readings))
    return run(tmp_path, "kill_self", {"signal": signal.SIGKILL})


def test_a_child_whose_helper_the_kernel_took_is_out_of_memory(
    tmp_path: Path, say: Callable[[str], None]
) -> None:
    """The tree does not go on without one of its processes, whatever the kernel's interface."""
    if process_groups() is None:
        say("NOT FOR REAL, no control groups here: the soft limit was tested")
    limits = replace(QUICK, memory_bytes=120 * MIB, memory_interval_s=0.05)
    payload = {"processes": 1, "own_bytes": 300 * MIB, "for_s": 60}

    ended = run(tmp_path, "fill_memory", payload, limits=limits)

    expected = Verdict.OOM_HOST if process_groups() is None else Verdict.OOM_CGROUP
    assert ended.verdict is expected
    assert "memory" in ended.detail


def test_a_neighbours_end_explains_nothing(tmp_path: Path, say: Callable[[str], None]) -> None:
    """A child in a group of its own was killed by a person, while the kernel killed somebody else."""
    neighbour = next(end for end in ENDS if end.verdict is Verdict.OOM_CGROUP)
    if process_groups() is None:
        say("NOT FOR REAL, no control groups here: the rule was tested on plain counts")
        assert explain_kill(OomCounts(5, 2), GroupCounts(0, 0)) == OomCounts(0, 0)
        return
    with running(tmp_path, "check_forever") as child:
        child.await_progress()
        assert end_of(neighbour, tmp_path / "neighbour").verdict is Verdict.OOM_CGROUP
        os.kill(child.process.pid, signal.SIGKILL)
        ended = child.end()

    assert (ended.verdict, ended.detail) == (
        Verdict.CHILD_CRASH,
        "killed by SIGKILL from outside",
    )


@pytest.mark.parametrize("then", ["finish", "crash", "be killed"])
def test_a_group_goes_with_its_child(tmp_path: Path, then: str) -> None:
    """However it ends."""
    with running(tmp_path, "check_forever" if then != "finish" else "echo") as child:
        if then == "crash":
            child.await_progress()
            os.kill(child.process.pid, signal.SIGSEGV)
        elif then == "be killed":
            child.process.kill("test")
        child.end()
        assert groups_of_this_process() == []


def keeper_of(child: Watched) -> int:
    """The process between us and the worker."""
    stat = Path(f"/proc/{child.process.pid}/stat").read_text()
    return int(stat.rpartition(")")[2].split()[1])


def test_nobody_escapes_when_the_keeper_is_killed(
    tmp_path: Path, say: Callable[[str], None]
) -> None:
    """Not even a daemon without parent, session and marker: it still is in the group."""
    pid_file = tmp_path / "pids"
    payload = {"pid_file": str(pid_file), "then": "wait"}
    with running(tmp_path, "leave_grandchildren", payload) as child:
        child.await_progress()
        os.kill(keeper_of(child), signal.SIGKILL)
        child.end()
        pids = [int(text) for text in pid_file.read_text().split()]
        if process_groups() is None:
            say("no control groups here: a daemon without any trace outlives its killed keeper")
            pids, escaped = pids[:2], pids[2:]
            for pid in escaped:
                os.kill(pid, signal.SIGKILL)
        until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
    assert groups_of_this_process() == []


def test_groups_end_with_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    """The keepers take them away; only one that was killed, too, leaves an empty folder behind."""
    supervisor = subprocess.Popen(
        [sys.executable, "-m", "support.supervisor", str(tmp_path)],
        cwd=TESTS_DIR,
        stdout=subprocess.PIPE,
        text=True,
    )
    home = process_groups()
    with supervisor:
        assert supervisor.stdout is not None
        assert supervisor.stdout.readline()
        supervisor.kill()

    def left() -> list[Path]:
        return list(home.memory.glob(f"scriptorium-{supervisor.pid}@*")) if home else []

    until(lambda: not left())


def test_an_empty_group_of_a_supervisor_that_is_gone_is_swept() -> None:
    """And nothing else is."""
    home = process_groups()
    if home is None:
        with pytest.raises(NoGroups):
            find_home()
        return
    gone = home.make(Marker("4000000000@1", "abandoned"), Limits())
    ours = home.make(Marker.new(), Limits())
    assert gone is not None
    assert ours is not None

    home.sweep()

    assert not any(folder.exists() for folder in gone.folders)
    assert all(folder.exists() for folder in ours.folders)
    ours.remove()
    assert not any(folder.exists() for folder in ours.folders)


def test_a_group_that_was_divided_goes_as_a_whole() -> None:
    """A child may run children of its own."""
    home = process_groups()
    group = home.make(Marker.new(), Limits()) if home is not None else None
    for folder in group.folders if group is not None else ():
        (folder / "inner/innermost").mkdir(parents=True)

    if group is not None:
        group.remove()

    assert groups_of_this_process() == []


def test_too_many_processes_are_refused_to_the_child(tmp_path: Path) -> None:
    """A fork without end hurts nobody but the child; its error says what happened."""
    home = process_groups()
    is_counted = home is not None and home.tasks is not None

    ended = run(tmp_path, "fork_many", {"count": 30}, limits=replace(QUICK, tasks=20))

    assert (ended.verdict is Verdict.FAILED) == is_counted
    assert ("Resource temporarily unavailable" in ended.detail) == is_counted


def test_every_tree_that_we_may_write_can_be_joined_and_ended() -> None:
    """Including the single tree of version 2, which may be mounted beside the others."""
    trees = {kind: home for kind, home in own_groups() if kind in ("", "memory")}
    homes = [home for home in trees.values() if os.access(home / "cgroup.procs", os.W_OK)]
    for home in homes:
        group = Group((home / f"scriptorium-test-{os.getpid()}",))
        group.folders[0].mkdir()
        with subprocess.Popen(["sleep", "60"]) as sleeper:
            (group.folders[0] / "cgroup.procs").write_text(str(sleeper.pid))
            assert members(group.folders[0]) == (sleeper.pid,)
            group.remove()  # it stays while the dead wait for their parent
        group.remove()
        assert sleeper.returncode == -signal.SIGKILL
        assert not group.folders[0].exists()
    assert (process_groups() is None) or homes
