"""No process of a tree outlives its child, and no child its supervisor."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import pytest
from support.children import TESTS_DIR, running, until

from runner.child_process import Verdict
from runner.keeper import children_of
from runner.marker import MARKER, Marker, kill_marked, marked_processes


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be reaped does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")


def survivors(pids: Iterable[int]) -> list[int]:
    """List those that still run."""
    return [pid for pid in pids if is_alive(pid)]


@pytest.mark.parametrize("then", ["finish", "crash", "be killed", "be canceled"])
def test_grandchildren_end_with_the_child(tmp_path: Path, then: str) -> None:
    """A plain one, one in another session, and a daemon without parent, session or marker."""
    pid_file = tmp_path / "pids"
    waits = then in ("be killed", "be canceled")
    payload = {"pid_file": str(pid_file), "then": "wait" if waits else then}
    with running(tmp_path, "leave_grandchildren", payload) as child:
        if waits:
            child.await_progress()
            (child.process.kill if then == "be killed" else child.process.cancel)("test")
        ended = child.end()

    pids = [int(text) for text in pid_file.read_text().split()]
    assert len(pids) == 3
    assert survivors(pids) == []
    assert ended.unkillable == ()
    expected = {"finish": Verdict.SUCCEEDED, "crash": Verdict.CHILD_CRASH}
    assert ended.verdict is expected.get(then, Verdict.CANCELED)


def test_twenty_supervisors_killed_by_kill_9_leave_nothing_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Child and grand-children are gone within a second, whatever they did to hide."""
    waits_s = []
    for number in range(20):
        folder = tmp_path / str(number)
        folder.mkdir()
        supervisor = subprocess.Popen(
            [sys.executable, "-m", "support.supervisor", str(folder)],
            cwd=TESTS_DIR,
            stdout=subprocess.PIPE,
            text=True,
        )
        with supervisor:
            assert supervisor.stdout is not None
            pids = [int(text) for text in supervisor.stdout.readline().split()]
            assert len(pids) == 4
            assert survivors(pids) == pids
            killed_at = time.monotonic()
            supervisor.kill()
            until(lambda alive=pids: not survivors(alive))
            waits_s.append(time.monotonic() - killed_at)

    with capsys.disabled():
        sys.stderr.write(f"\ntree gone after kill -9 of its supervisor: {max(waits_s):.3f} s\n")
    assert max(waits_s) < 1.0


def test_a_killed_keeper_takes_the_worker_with_it(tmp_path: Path) -> None:
    """Its own death is noticed, and what carries the marker is swept."""
    pid_file = tmp_path / "pids"
    payload = {"pid_file": str(pid_file), "then": "wait"}
    with running(tmp_path, "leave_grandchildren", payload) as child:
        child.await_progress()
        worker = child.process.pid
        os.kill(os.getsid(worker), signal.SIGKILL)
        ended = child.end()

    assert ended.verdict is Verdict.CHILD_CRASH
    assert not is_alive(worker)
    left = survivors([int(text) for text in pid_file.read_text().split()])
    for pid in left:  # only the daemon with the emptied environment can hide now
        os.kill(pid, signal.SIGKILL)
    assert len(left) <= 1


def test_what_an_earlier_supervisor_left_is_found_by_its_marker() -> None:
    """And what a living one started is left alone."""
    gone = Marker("999999999@1", "old")
    leftovers = [
        subprocess.Popen(["sleep", "300"], env={MARKER: str(marker)})
        for marker in (gone, Marker.new())
    ]
    try:
        until(lambda: len(list(marked_processes())) >= 2)
        assert kill_marked() >= 1
        assert leftovers[0].wait(10) == -signal.SIGKILL
        assert leftovers[1].poll() is None
    finally:
        for process in leftovers:
            process.kill()
            process.wait()


def test_nothing_is_started_by_looking_for_children() -> None:
    """The list of children is exact."""
    process = subprocess.Popen(["sleep", "300"])
    try:
        assert process.pid in children_of(os.getpid())
        assert process.pid not in children_of(process.pid)
    finally:
        process.kill()
        process.wait()
