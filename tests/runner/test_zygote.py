"""Children forked from a preloaded zygote: the same life and the same end as exec'ed ones."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.children import QUICK, TESTS_DIR, no_requests, open_descriptors, run, running, until

from runner.child_process import ChildProcess, ChildSpec, Verdict
from runner.zygote_launch import ZygoteLauncher


@pytest.fixture
def zygote() -> Iterator[ZygoteLauncher]:
    """A launcher with this test's entries preloaded."""
    launcher = ZygoteLauncher(("support.child_entries", "decimal"), import_paths=(TESTS_DIR,))
    yield launcher
    launcher.close()


def test_a_forked_child_lives_in_the_same_world(tmp_path: Path, zygote: ZygoteLauncher) -> None:
    """Environment, folder, session, descriptors, limits."""
    ended = run(tmp_path, "environment", environment={"HF_HOME": "/m"}, launch=zygote)

    assert ended.verdict is Verdict.SUCCEEDED
    world = ended.result
    assert world is not None
    assert world["environment"]["HF_HOME"] == "/m"
    assert world["environment"]["CUDA_VISIBLE_DEVICES"] == ""
    assert world["cwd"] == str(tmp_path / "work")
    assert world["stdin"] == "/dev/null"
    assert world["no_new_privs"]
    assert world["core"] == 0
    assert len(world["descriptors"]) == 6
    assert (zygote.forks, zygote.execs) == (1, 0)


def test_a_forked_childs_output_is_captured(tmp_path: Path, zygote: ZygoteLauncher) -> None:
    """At descriptor level, as ever."""
    with running(tmp_path, "chatter", launch=zygote) as child:
        ended = child.end()

    assert "from python" in ended.last_lines
    assert "from a grand-child" in ended.last_lines


@pytest.mark.parametrize(
    ("entry", "verdict"),
    [
        ("segfault", Verdict.CHILD_CRASH),
        ("fail", Verdict.FAILED),
        ("exit_softly", Verdict.FAILED),
        ("return_no_json", Verdict.FAILED),
    ],
)
def test_the_end_of_a_forked_child_is_told_from_others(
    tmp_path: Path, zygote: ZygoteLauncher, entry: str, verdict: Verdict
) -> None:
    """Its keeper reports, since the zygote is its parent, not we."""
    ended = run(tmp_path, entry, launch=zygote)

    assert ended.verdict is verdict
    assert ended.signal == (signal.SIGSEGV if entry == "segfault" else None)
    assert ended.usage.max_rss_bytes > 0


def test_a_forked_child_can_be_cancelled_and_killed(tmp_path: Path, zygote: ZygoteLauncher) -> None:
    """The ladder is the same."""
    for entry in ("check_forever", "ignore_everything"):
        with running(tmp_path, entry, launch=zygote, limits=QUICK) as child:
            child.await_progress()
            child.process.cancel("enough")
            assert child.end().verdict is Verdict.CANCELED


def test_children_of_a_killed_zygote_die_and_the_next_one_is_served(
    tmp_path: Path, zygote: ZygoteLauncher
) -> None:
    """By the kernel's word; the launcher starts another zygote."""
    with running(tmp_path, "check_forever", launch=zygote) as child:
        child.await_progress()
        keeper = os.getsid(child.process.pid)
        zygote_pid = int(Path(f"/proc/{keeper}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(zygote_pid, signal.SIGKILL)
        assert child.end().verdict is Verdict.CHILD_CRASH

    assert run(tmp_path, "echo", launch=zygote).verdict is Verdict.SUCCEEDED
    assert run(tmp_path, "echo", launch=zygote).verdict is Verdict.SUCCEEDED
    assert (zygote.forks, zygote.execs) == (2, 1)


def test_grandchildren_of_a_forked_child_end_with_it(
    tmp_path: Path, zygote: ZygoteLauncher
) -> None:
    """Whatever they do to hide."""
    pid_file = tmp_path / "pids"
    run(tmp_path, "leave_grandchildren", {"pid_file": str(pid_file)}, launch=zygote)

    for pid in pid_file.read_text().split():
        until(lambda pid=pid: not Path(f"/proc/{pid}").exists() or is_zombie(pid))


def is_zombie(pid: str) -> bool:
    """Dead, and only waiting for somebody else to notice."""
    return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()


def test_a_preload_that_starts_threads_is_not_forked(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A fork would copy their locks; exec is slower and right."""
    (tmp_path / "threaded.py").write_text(
        "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
    )
    launcher = ZygoteLauncher(("threaded",), import_paths=(tmp_path,))
    try:
        assert run(tmp_path, "echo", launch=launcher).verdict is Verdict.SUCCEEDED
        assert (launcher.forks, launcher.execs) == (0, 1)
        assert "threads" in caplog.text
    finally:
        launcher.close()


def test_a_module_that_cannot_be_preloaded_is_the_childs_problem(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It will say so where somebody reads it."""
    launcher = ZygoteLauncher(("no_such_module_anywhere",))
    try:
        assert run(tmp_path, "echo", launch=launcher).verdict is Verdict.SUCCEEDED
        assert launcher.forks == 1
        assert "no_such_module_anywhere" in caplog.text
    finally:
        launcher.close()


def test_a_fork_is_cheap_and_leaves_nothing(
    tmp_path: Path, zygote: ZygoteLauncher, capsys: pytest.CaptureFixture[str]
) -> None:
    """Print what a forked child costs beside an exec'ed one."""
    zygote.warm_up()

    def cost_s(**options: Any) -> float:
        begun = time.perf_counter()
        for _ in range(10):
            assert run(tmp_path, "echo", **options).verdict is Verdict.SUCCEEDED
        return (time.perf_counter() - begun) / 10

    cost_s(launch=zygote)
    descriptors = open_descriptors()
    forked, executed = cost_s(launch=zygote), cost_s()
    until(lambda: open_descriptors() <= descriptors)
    with capsys.disabled():
        sys.stderr.write(
            f"\nchild, start to end: forked {forked * 1000:.0f} ms, exec {executed * 1000:.0f} ms\n"
        )


def test_a_closed_launcher_falls_back_to_exec(tmp_path: Path) -> None:
    """Nothing that was started with it breaks."""
    launcher = ZygoteLauncher(())
    launcher.close()
    spec = ChildSpec(
        "support.child_entries:echo", {}, tmp_path, tmp_path / "log", import_paths=(TESTS_DIR,)
    )
    child = ChildProcess(spec, serve=no_requests, on_progress=print, launch=launcher)
    child.start()
    ended = child.wait(60)
    assert ended is not None
    assert ended.verdict is Verdict.SUCCEEDED
