"""External programs as tasks: real shells, real signals."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.children import until

from runner.command import CommandFailed, CommandTask
from runner.errors import PoolClosed, TaskFailed, TaskTimeout
from runner.executors import Site, fresh_executor, thread_executor, warm_executor
from runner.pool import Pool, PoolOptions
from runner.task import TaskSpec


def command(script: str, **options: Any) -> CommandTask:
    """A shell with `{text}` as its first argument, set up."""
    task = CommandTask(["sh", "-c", script, "sh", "{text}"], **options)
    task.setup("cpu")
    return task


def spec(script: str, **options: Any) -> TaskSpec:
    """The same as plain data."""
    return TaskSpec("runner.command:CommandTask", {"argv": ["sh", "-c", script], **options})


def test_an_items_values_fill_the_arguments_unharmed() -> None:
    """No shell looks at them, whatever they contain."""
    text = "$(touch /tmp/x); {text} 'ü"

    assert command('printf "%s" "$1"').run({"text": text}) == {"output": text}


def test_output_beyond_the_limit_is_cut() -> None:
    """A chatty program does not fill our memory."""
    task = command("head -c 1000000 /dev/zero", max_output_bytes=1000)

    assert len(task.run({"text": ""})["output"]) == 1000


def executor(kind: str, task: TaskSpec, home: Path) -> Pool:
    """One worker that keeps the task."""
    return warm_executor(task, Site(home)) if kind == "warm" else thread_executor(task)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo no such model >&2; exit 3", "code 3: no such model"),
        ("echo only on stdout; exit 1", "code 1: only on stdout"),
        ("kill -SEGV $$", "signal 11"),
    ],
)
def test_a_failing_program_is_quoted(tmp_path: Path, script: str, words: str) -> None:
    """Its code or signal, and its last words."""
    pool = fresh_executor(spec(script), Site(tmp_path))
    with pytest.raises(TaskFailed, match=words) as caught:
        pool.submit({}).result(60)
    pool.close()
    assert caught.value.kind == "CommandFailed"


@pytest.mark.parametrize("kind", ["warm", "thread"])
def test_a_program_that_takes_too_long_is_ended_with_all_it_started(
    tmp_path: Path, kind: str
) -> None:
    """The worker around it lives on."""
    pid_file = tmp_path / "pid"
    script = f"setsid sleep 300 & echo $! > {pid_file}; wait"
    pool = executor(kind, spec(script, timeout_s=0.3), tmp_path)
    pids = []
    for _ in range(2):
        with pytest.raises(TaskFailed, match="took longer than") as caught:
            pool.submit({}).result(60)
        pids.append(int(pid_file.read_text()))
    loads = pool.status().loads
    pool.close()

    assert caught.value.code == "STAGE_TIMEOUT"
    assert loads == 1
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))


def test_a_program_that_is_not_installed_keeps_the_pool_from_starting(tmp_path: Path) -> None:
    """The operator is told which one."""
    task = TaskSpec("runner.command:CommandTask", {"argv": ["no-such-program", "{text}"]})
    with pytest.raises(PoolClosed, match="no-such-program"):
        warm_executor(task, Site(tmp_path), PoolOptions(backoff_first_s=0.01))


@pytest.mark.parametrize("kind", ["warm", "thread"])
def test_a_program_ends_with_the_pool(tmp_path: Path, kind: str) -> None:
    """Closing without grace leaves nothing."""
    pid_file = tmp_path / "pid"
    pool = executor(kind, spec(f"echo $$ > {pid_file}; exec sleep 300"), tmp_path)
    future = pool.submit({})
    until(lambda: pid_file.exists() and bool(pid_file.read_text()))
    pool.close(0)

    assert isinstance(future.exception(10), PoolClosed)
    pid = int(pid_file.read_text())
    until(lambda: not Path(f"/proc/{pid}").exists())


def test_the_pools_own_limit_ends_a_program_in_a_thread(tmp_path: Path) -> None:
    """As it ends a child: the item has timed out, the next one is served."""
    shell = {"argv": ["sh", "-c", 'sleep "$1"; echo awake', "sh", "{text}"]}
    pool = thread_executor(TaskSpec("runner.command:CommandTask", shell))
    slow = pool.submit({"text": "300"}, timeout_s=0.3)
    good = pool.submit({"text": "0"})
    with pytest.raises(TaskTimeout):
        slow.result(60)
    assert good.result(60) == {"output": "awake\n"}
    assert pool.status().timed_out == 1
    pool.close()


def test_a_program_in_a_thread_sees_no_secret_of_the_supervisor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its environment is built, not copied; what the task's options add is there."""
    monkeypatch.setenv("GITLAB_TOKEN", "glpat-secret")
    pool = thread_executor(spec("env", environment={"MODEL": "tiny"}))
    output = pool.submit({}).result(60)["output"]
    pool.close()

    assert "glpat-secret" not in output
    assert "MODEL=tiny" in output
    assert "CUDA_VISIBLE_DEVICES=\n" in output


_SUPERVISOR = """
import sys
from runner.executors import thread_executor
from runner.task import TaskSpec
task = TaskSpec("runner.command:CommandTask", {"argv": ["sh", "-c", sys.argv[1]]})
thread_executor(task).submit({}).result()
"""


def test_programs_in_threads_do_not_outlive_a_supervisor_killed_by_kill_9(tmp_path: Path) -> None:
    """Neither the program nor what it has started in another session."""
    pid_file = tmp_path / "pids"
    script = f"setsid sleep 300 & echo $$ $! > {pid_file}; wait"
    supervisor = subprocess.Popen([sys.executable, "-c", _SUPERVISOR, script])
    until(lambda: pid_file.exists() and len(pid_file.read_text().split()) == 2)
    supervisor.kill()
    supervisor.wait()

    for pid in pid_file.read_text().split():
        until(lambda pid=pid: not Path(f"/proc/{pid}").exists())


def test_a_program_that_cannot_be_executed_says_so(tmp_path: Path) -> None:
    """Installed, but not for this machine."""
    program = tmp_path / "program"
    program.write_text("no program at all")
    program.chmod(0o755)
    task = CommandTask([str(program)])
    task.setup("cpu")

    with pytest.raises(CommandFailed, match=r"code 127: .*Exec format error"):
        task.run({})
