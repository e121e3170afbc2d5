"""`--plan` and `--check` look at everything and change nothing, here and there."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.daemon import Daemon
from support.job_world import JobWorld, job

READ_ONLY = {"GET", "HEAD"}


@pytest.mark.parametrize(("flag", "codes"), [("--plan", {0}), ("--check", {0, 82})])
def test_nothing_is_written(world: JobWorld, flag: str, codes: set[int]) -> None:
    """Neither to the server nor into the work directory."""
    world.submit(job("a1"), job("gone", canceled=True), job("odd", mode="dreaming"))
    before = world.server.requests()["endpoints"]
    with world.run_worker(flag) as daemon:
        assert daemon.wait() in codes, daemon.log
        assert not daemon.work_dir.exists()
    after = world.server.requests()["endpoints"]
    asked = {name for name in after if after[name] != before.get(name)}
    writing = {name for name in asked if name.split(" ")[0] not in READ_ONLY}
    assert writing <= {"POST /api/graphql"}
    assert world.by_worker() == []


def test_a_plan_says_what_would_be_done_and_why_not(world: JobWorld) -> None:
    """One line per job on standard output, in the order of the queue."""
    world.submit(
        job("second", submitted_at="2026-03-10T09:00:00Z", name="Luke"),
        job("first"),
        job("gone", canceled=True),
        job("odd", mode="dreaming"),
    )
    with world.run_worker("--plan") as daemon:
        assert daemon.wait() == 0, daemon.log
        lines = daemon.output.splitlines()
    assert [line.split()[:4] for line in lines] == [
        ["would", "run", "bible/demo", "first"],
        ["would", "run", "bible/demo", "second"],
        ["would", "cancel", "bible/demo", "gone"],
        ["would", "refuse", "bible/demo", "odd:"],
    ]
    assert "Luke" in lines[1]
    assert "mode must be one of" in lines[3]


def test_a_plan_of_nothing_says_so(world: JobWorld) -> None:
    """Not an empty output."""
    with world.run_worker("--plan") as daemon:
        assert daemon.wait() == 0
        assert daemon.output == "nothing to do\n"


def test_a_plan_of_a_directory_leaves_the_directory_alone(tmp_path: Path) -> None:
    """Also without a server."""
    root = tmp_path / "project"
    (root / "gpu_jobs").mkdir(parents=True)
    (root / "gpu_jobs/manifest.yaml").write_text(
        "version: 1\njobs:\n  - {job_id: a1, job_type: asr, mode: inference, model: {type: Instant}}\n"
    )
    before = sorted(path.relative_to(root) for path in root.rglob("*"))
    with Daemon(tmp_path, "--project-dir", str(root), "--plan") as daemon:
        assert daemon.wait() == 0, daemon.log
        assert "would run" in daemon.output
    assert sorted(path.relative_to(root) for path in root.rglob("*")) == before


def test_a_check_names_what_is_good_and_what_is_not(world: JobWorld) -> None:
    """The account, and a model directory that does not exist, with a hint."""
    models = {"SCRIPTORIUM_MODELS__WHISPER__BASE": "/nowhere/whisper"}
    with world.run_worker("--check", environment=models) as daemon:
        assert daemon.wait() == 82, daemon.log
        lines = daemon.output.splitlines()
    assert any(line.startswith("ok") and "account: worker" in line for line in lines), lines
    (bad,) = [number for number, line in enumerate(lines) if "model whisper" in line]
    assert lines[bad].startswith("ERROR")
    assert "hint: set models.whisper.base" in lines[bad + 1]
