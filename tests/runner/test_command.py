"""External programs as tasks: real shells, real signals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.children import until

from runner.command import CommandTask
from runner.errors import PoolClosed, TaskFailed
from runner.executors import Site, fresh_executor, warm_executor
from runner.pool import PoolOptions
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


def test_a_program_that_takes_too_long_is_ended_with_its_group(tmp_path: Path) -> None:
    """The worker around it lives on."""
    pid_file = tmp_path / "pid"
    script = f"sleep 300 & echo $! > {pid_file}; wait"
    pool = warm_executor(spec(script, timeout_s=0.3), Site(tmp_path))
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


def test_a_program_ends_with_the_pool(tmp_path: Path) -> None:
    """Closing without grace leaves nothing."""
    pid_file = tmp_path / "pid"
    pool = warm_executor(spec(f"echo $$ > {pid_file}; exec sleep 300"), Site(tmp_path))
    future = pool.submit({})
    until(lambda: pid_file.exists() and bool(pid_file.read_text()))
    pool.close(0)

    assert isinstance(future.exception(10), PoolClosed)
    pid = int(pid_file.read_text())
    until(lambda: not Path(f"/proc/{pid}").exists())
