"""The parts of a child's life that are plain logic: ladder, conversation, verdict table, imports."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.cgroups import recorded_v1, recorded_v2

from runner.conversation import Conversation
from runner.frames import FrameError
from runner.ladder import Ladder, Rung
from runner.limits import Limits
from runner.oom import OomCounts, read_oom_counts
from runner.verdict import Observed, Verdict, judge

CLEAN = Observed(
    result={},
    error=None,
    said_bye=True,
    violation=None,
    cancel_reason=None,
    forced=None,
    exit_code=0,
    signal=None,
)
KILLED = replace(CLEAN, said_bye=False, exit_code=None, signal=signal.SIGKILL, result=None)


def test_importing_the_runner_pulls_in_nothing_heavy() -> None:
    """The supervisor imports all of it but what is for a Ray cluster, which nothing else of it imports."""
    modules = sorted(
        f"runner.{path.stem}"
        for path in Path(sys.modules["runner"].__path__[0]).glob("*.py")
        if path.stem not in ("__init__", "ray_cluster", "ray_slot")
    )
    program = (
        f"import sys, {', '.join(modules)}\n"
        "heavy = {'torch', 'numpy', 'transformers', 'pydantic', 'yaml', 'requests'}\n"
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_ladder_asks_then_terminates_then_kills_again_and_again() -> None:
    """Each rung in its time."""
    ladder = Ladder(Limits(grace_s=10, term_grace_s=5))
    assert ladder.climb(1000.0) is None
    assert ladder.enter(Rung.ASKED, 0.0)
    assert not ladder.enter(Rung.ASKED, 1.0)
    assert ladder.climb(9.9) is None
    assert ladder.climb(10.0) is Rung.TERMINATING
    assert ladder.climb(15.0) is Rung.KILLING
    assert ladder.climb(20.0) is Rung.KILLING
    assert ladder.kills == 2


def test_the_ladder_only_ever_goes_down() -> None:
    """A hundred thousand random steps, and no rung is left upwards."""
    choose = random.Random(7)
    for _ in range(1000):
        ladder, now, lowest = Ladder(Limits()), 0.0, Rung.QUIET
        for _ in range(100):
            now += choose.random() * 60
            if choose.random() < 0.3:
                ladder.enter(choose.choice(list(Rung)[1:]), now)
            else:
                ladder.climb(now)
            assert ladder.rung >= lowest
            assert (ladder.next_at is None) == (ladder.rung is Rung.QUIET)
            lowest = ladder.rung


def test_time_during_which_the_machine_slept_is_given_back() -> None:
    """No deadline passes in a suspended process."""
    ladder = Ladder(Limits(grace_s=10))
    ladder.enter(Rung.ASKED, 0.0)
    ladder.postpone(100.0)
    assert ladder.climb(109.0) is None
    talk = Conversation(Limits(start_timeout_s=60), 0.0)
    talk.postpone(100.0)
    assert talk.deadline()[0] == 160.0


def frame(kind: str, /, **fields: Any) -> dict[str, Any]:
    """A frame as the decoder hands it on."""
    return {"v": 1, "t": kind, "seq": 0, **fields}


HELLO = frame("hello", pid=5, in_group=False)
RESULT = frame("result", result={})
BYE = frame("bye")


@pytest.mark.parametrize(
    "frames",
    [
        [frame("heartbeat")],
        [HELLO, HELLO],
        [HELLO, BYE],
        [HELLO, RESULT, RESULT],
        [HELLO, RESULT, frame("progress", fields={})],
        [HELLO, RESULT, BYE, frame("heartbeat")],
        [HELLO, frame("request", id="1", name="x", payload={})],
        [HELLO, frame("progress", fields=[])],
        [HELLO, frame("result", result=None)],
        [HELLO, frame("error", kind="X")],
        [frame("hello", pid="5")],
    ],
)
def test_a_frame_out_of_turn_is_refused(frames: list[dict[str, Any]]) -> None:
    """Hello first, one outcome, then bye, then nothing."""
    talk = Conversation(Limits(), 0.0)
    for item in frames[:-1]:
        talk.hear(item, 0.0)
    with pytest.raises(FrameError):
        talk.hear(frames[-1], 0.0)


@pytest.mark.parametrize(
    ("seen", "verdict"),
    [
        (CLEAN, Verdict.SUCCEEDED),
        (replace(CLEAN, exit_code=1), Verdict.CHILD_CRASH),
        (replace(CLEAN, said_bye=False), Verdict.CHILD_CRASH),
        (replace(CLEAN, violation="x"), Verdict.CHILD_PROTOCOL),
        (replace(CLEAN, forced=(Verdict.CANCELED, "late")), Verdict.SUCCEEDED),
        (KILLED, Verdict.CHILD_CRASH),
        (replace(KILLED, cgroup_oom_kills=1, host_oom_kills=1), Verdict.OOM_CGROUP),
        (replace(KILLED, host_oom_kills=1), Verdict.OOM_HOST),
        (replace(KILLED, cancel_reason="user"), Verdict.CANCELED),
        (
            replace(
                KILLED, cancel_reason="user", forced=(Verdict.CANCELED, "user"), host_oom_kills=1
            ),
            Verdict.CANCELED,
        ),
        (replace(KILLED, forced=(Verdict.NO_PROGRESS, "hung")), Verdict.NO_PROGRESS),
        (replace(KILLED, signal=signal.SIGBUS), Verdict.CHILD_CRASH),
        (replace(KILLED, signal=None, exit_code=126), Verdict.MODEL_UNAVAILABLE),
        (replace(KILLED, signal=signal.SIGTERM, cancel_reason="user"), Verdict.CANCELED),
        (replace(KILLED, signal=40), Verdict.CHILD_CRASH),
    ],
)
def test_the_verdict_follows_the_table(seen: Observed, verdict: Verdict) -> None:
    """First match wins, and every verdict but success has a sentence."""
    found, detail = judge(seen)
    assert found is verdict
    assert bool(detail) == (verdict is not Verdict.SUCCEEDED)


@pytest.mark.parametrize("version", [1, 2])
def test_the_kernels_counters_are_read_in_both_cgroup_versions(
    tmp_path: Path, version: int
) -> None:
    """As the kernel writes them; absent files count nothing."""
    assert read_oom_counts(tmp_path) == OomCounts(0, 0)
    if version == 2:
        recorded_v2(tmp_path, memory__events="low 0\noom 4\noom_kill 2\n")
    else:
        control = "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"
        recorded_v1(tmp_path, memory__oom_control=control)
    (tmp_path / "proc/vmstat").write_text("nr_free_pages 5\noom_kill 3\npgfault 9\n")

    counts = read_oom_counts(tmp_path)

    assert counts == OomCounts(host=3, cgroup=2)
    assert counts.since(OomCounts(1, 2)) == OomCounts(2, 0)
