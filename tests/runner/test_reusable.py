"""One process, one ticket after another: what each turn sees, and what ends the process."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.children import TESTS_DIR
from support.daemon import await_true
from support.nvml import GIB, LeakyGpu

from runner.gpu_growth import GpuBytes, gpu_bytes_of
from runner.peak import Peak
from runner.reusable import Caller, ReusableChild, Turn
from runner.slot import Recycle
from runner.spec import ChildSpec
from runner.verdict import ChildExit, Verdict

MIB = 1024 * 1024


class Bench:
    """A child, and turns in folders of their own."""

    def __init__(
        self, folder: Path, recycle: Recycle | None = None, gpu_bytes: GpuBytes = gpu_bytes_of
    ) -> None:
        self.folder = folder
        self.child = ReusableChild(folder / "idle.log", self.mask, recycle or Recycle(), gpu_bytes)
        self.progress: list[tuple[int, Any]] = []
        self.peaks: list[Peak] = []

    @staticmethod
    def mask(line: bytes) -> bytes:
        """Hide one word."""
        return line.replace(b"secret", b"***")

    def turn(self, number: int, **ticket: Any) -> Turn | None:
        """Begin a turn; its caller is named after it."""
        home = self.folder / str(number)
        home.mkdir()
        spec = ChildSpec(
            entry="support.turn_entries:remember",
            payload={"number": number, **ticket},
            work_dir=home,
            log_path=home / "log.txt",
            import_paths=(TESTS_DIR,),
        )
        caller = Caller(
            lambda name, _payload: {name: f"caller {number}"},
            lambda fields: self.progress.append((number, fields["number"])),
            self.peaks.append,
        )
        return self.child.turn(spec, caller)

    def run(self, number: int, **ticket: Any) -> ChildExit:
        """Begin a turn and see its end."""
        turn = self.turn(number, **ticket)
        assert turn is not None
        ended = turn.wait(60)
        assert ended is not None
        return ended

    def log(self, number: int) -> str:
        """What a turn has printed."""
        return (self.folder / str(number) / "log.txt").read_text()


@pytest.fixture
def bench(tmp_path: Path) -> Any:
    """A child that is ended with the test."""
    bench = Bench(tmp_path)
    yield bench
    bench.child.leave()


def test_every_turn_has_its_own_caller_log_and_end(bench: Bench) -> None:
    """And one process, which is gone when it has been told to leave."""
    ends = [bench.run(number) for number in (1, 2, 3)]

    assert [ended.verdict for ended in ends] == [Verdict.SUCCEEDED] * 3
    results = [ended.result or {} for ended in ends]
    assert {result["pid"] for result in results} == {bench.child.pid}
    assert [result["who"] for result in results] == ["caller 1", "caller 2", "caller 3"]
    assert results[2]["seen"] == [1, 2, 3]
    assert bench.progress == [(1, 1), (2, 2), (3, 3)]
    for number in (1, 2, 3):
        (line,) = bench.log(number).splitlines()
        assert line.endswith(f"turn {number} without a line end")
    assert len(bench.peaks) == 3
    assert all(ended.usage.wall_s < 60 for ended in ends)
    left = bench.child.leave()
    assert left is not None
    assert left.verdict is Verdict.SUCCEEDED
    assert not psutil.pid_exists(results[0]["pid"])
    assert bench.turn(4) is None


@pytest.mark.parametrize(
    ("limits", "ticket"),
    [(Recycle(max_items=2), {}), (Recycle(max_growth_bytes=20 * MIB), {"grows": 60 * MIB})],
    ids=["turns", "growth"],
)
def test_a_child_leaves_when_it_has_had_enough(
    tmp_path: Path, limits: Recycle, ticket: dict[str, Any]
) -> None:
    """With the turn that shows it, which succeeds."""
    bench = Bench(tmp_path, limits)
    bench.run(1)
    ended = bench.run(2, **ticket)

    assert ended.verdict is Verdict.SUCCEEDED
    assert (ended.result or {})["seen"] == [1, 2]
    assert bench.turn(3) is None
    await_true(lambda: not psutil.pid_exists((ended.result or {})["pid"]), "its end")


def test_a_child_leaves_when_its_gpu_memory_keeps_growing(tmp_path: Path) -> None:
    """By more than a tenth of what its first turns took; a tenth less is nothing."""
    leaky = LeakyGpu(GIB, 2 * GIB, 2 * GIB + 190 * MIB, 2 * GIB + 210 * MIB)
    bench = Bench(tmp_path, Recycle(gpu_interval_s=0.0, gpu_settling=2), leaky)
    ends = [bench.run(number) for number in (1, 2, 3, 4)]

    assert [ended.verdict for ended in ends] == [Verdict.SUCCEEDED] * 4
    assert (ends[3].result or {})["seen"] == [1, 2, 3, 4]
    assert bench.turn(5) is None
    assert bench.child.left_for == "gpu_growth"


def kill(turn: Turn) -> None:
    """End it from outside, as the kernel might."""
    pid = turn.child.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize(
    ("ticket", "act", "verdict"),
    [
        ({"fails": True}, lambda _turn: None, Verdict.FAILED),
        ({"waits": True}, lambda turn: turn.cancel("enough"), Verdict.CANCELED),
        ({"waits": True}, lambda turn: turn.kill("enough"), Verdict.CANCELED),
        ({"waits": True}, kill, Verdict.CHILD_CRASH),
    ],
    ids=["error", "cancel", "kill", "crash"],
)
def test_any_other_end_of_a_turn_ends_the_process(
    bench: Bench, ticket: dict[str, Any], act: Callable[[Turn], None], verdict: Verdict
) -> None:
    """The turn before keeps its result, the next one is refused."""
    first = bench.run(1)
    turn = bench.turn(2, **ticket)
    assert turn is not None
    await_true(lambda: (2, 2) in bench.progress, "the second turn's progress")
    act(turn)
    ended = turn.wait(60)

    assert first.verdict is Verdict.SUCCEEDED
    assert ended is not None
    assert ended.verdict is verdict
    assert bench.turn(3) is None


def test_a_cancel_that_comes_too_late_touches_nobody(bench: Bench) -> None:
    """The turn has ended; the process waits for another one."""
    turn = bench.turn(1)
    assert turn is not None
    assert turn.wait(60) is not None
    turn.cancel("too late")
    turn.kill("too late")

    assert bench.run(2).verdict is Verdict.SUCCEEDED
