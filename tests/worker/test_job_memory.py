"""A job that needs more memory than the operator allows ends alone, and is told what it was."""

from __future__ import annotations

import sys

import pytest
from support.job_world import JobWorld, job

from runner.cgroup import process_groups


def test_a_job_beyond_its_memory_fails_and_the_next_one_runs(
    world: JobWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the kernel where the machine lends control groups, else by sampling; said either way."""
    world.submit(job("big", model="hungry"), job("small"))
    log = world.run_to_end("--job-memory-gb", "0.15")
    response = world.response("big")

    is_hard = process_groups() is not None
    with capsys.disabled():
        sys.stderr.write(f"\njob memory: {'hard, by control group' if is_hard else 'soft'}\n")
    assert (response["state"], world.state("small")) == ("failed", "completed")
    assert response["error_code"] == ("OOM_CGROUP" if is_hard else "OOM_HOST")
    assert "memory" in response["error_message"]
    assert "job big ended: failed" in log


def test_a_check_says_whether_memory_limits_are_hard(world: JobWorld) -> None:
    """A soft one may come seconds late."""
    with world.run_worker("--check") as daemon:
        daemon.wait()
        (line,) = [text for text in daemon.output.splitlines() if "memory limits" in text]

    words = "hard" if process_groups() is not None else "soft"
    assert line.startswith("ok")
    assert words in line
