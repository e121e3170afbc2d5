"""A person with git, and a person without any server."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from support.codex_builders import as_bytes, cell, document, recorded
from support.daemon import ENTRY, Daemon
from support.devserver import project
from support.job_world import MANIFEST, PROJECT, TRACKED, JobWorld, job

from gitlab_jobs.yaml_text import dump_yaml

NOTEBOOK = "files/target/MAT.codex"
VERSES = (recorded("1"), cell("2", "In the beginning"), recorded("3", "Already written"))
TAKES = {f".project/attachments/pointers/MAT/audio-{n}.webm": f"sound {n}" for n in (1, 3)}


@pytest.fixture
def book() -> dict[str, bytes | str]:
    """A project with one verse that waits for its text, its recordings in plain git."""
    return {"metadata.json": "{}", NOTEBOOK: as_bytes(document(*VERSES)), **TAKES}


def test_a_running_daemon_takes_a_job_that_somebody_pushed(tmp_path: Path) -> None:
    """Real git clone, an entry appended by hand, real git push; taken within one poll."""
    with (
        JobWorld(tmp_path, project(PROJECT, files={"metadata.json": "{}"})) as world,
        world.run_worker("--loop-interval", "1") as daemon,
    ):
        daemon.await_log("is ready")
        first = "version: 1\njobs:\n  - job_id: first\n    job_type: asr\n    mode: inference\n"
        world.push({MANIFEST: first + "    model:\n      type: Instant\n"})
        daemon.await_log("job first ended: completed")
        content = world.read(MANIFEST)
        assert content is not None
        appended = yaml.safe_dump([job("by-hand")], sort_keys=False)
        by_hand = "".join(f"  {line}\n" for line in appended.splitlines())
        world.push({MANIFEST: content.decode() + by_hand})
        daemon.await_log("job by-hand ended: completed", timeout_s=20)
        daemon.process.terminate()
        assert daemon.wait() == 0
        assert world.state("by-hand") == "completed"


def test_text_is_written_to_the_verse_that_waits_and_to_no_other(
    tmp_path: Path, book: dict[str, bytes | str]
) -> None:
    """Case 55: a diff of two clones shows the job's folder and one line of one notebook."""
    with JobWorld(tmp_path, project(PROJECT, files=book)) as world:
        world.submit(job("a1", "Echo"))
        before = world.files()
        world.run_to_end()
        after = world.files()
    changed = {path for path in {*before, *after} if before.get(path) != after.get(path)}
    assert {path for path in changed if not path.startswith("gpu_jobs/job_a1/")} == {NOTEBOOK}
    cells = {c["metadata"]["id"]: c["value"] for c in yaml.safe_load(after[NOTEBOOK])["cells"]}
    assert cells == {"1": "heard MAT 1:1", "2": "In the beginning", "3": "Already written"}


def test_the_same_job_runs_on_a_plain_directory(
    tmp_path: Path, book: dict[str, bytes | str]
) -> None:
    """No server at all: `--project-dir`, the same result, the same files."""
    root = tmp_path / "checkout"
    jobs = dump_yaml(
        {"version": 1, "jobs": [job("a1", "Echo"), job("f1", "Failing", fails_with="no")]}
    )
    for path, content in {**book, MANIFEST: jobs}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content if isinstance(content, bytes) else content.encode())
    with Daemon(tmp_path, "--project-dir", str(root), "--loop-interval", "-1") as daemon:
        assert daemon.wait() == 0, daemon.log
    states = {
        name: yaml.safe_load((root / f"gpu_jobs/job_{name}/response.yaml").read_text())["state"]
        for name in ("a1", "f1")
    }
    assert states == {"a1": "completed", "f1": "failed"}
    cells = yaml.safe_load((root / NOTEBOOK).read_text())["cells"]
    assert cells[0]["value"] == "heard MAT 1:1"
    assert (root / "gpu_jobs/job_a1/logs.txt").stat().st_size > 0
    assert not list(root.glob("gpu_jobs/job_*/lease/*"))


def test_lfs_recordings_are_fetched_and_their_text_is_written(tmp_path: Path) -> None:
    """A person pushes a recording with git-lfs; the worker reads its bytes through the API."""
    files = {"metadata.json": "{}", ".gitattributes": TRACKED}
    with JobWorld(tmp_path, project(PROJECT, files=files)) as world:
        take = ".project/attachments/pointers/MAT/audio-1.webm"
        # GitLab itself turns a marked path that comes through the API into an object and a pointer.
        world.write(take, b"the sound of verse one")
        assert b"git-lfs" in (world.read(take) or b"")
        world.write(NOTEBOOK, as_bytes(document(recorded("1"))))
        world.submit(job("a1", "Echo"))
        world.run_to_end()
        content = world.read(NOTEBOOK)
    assert content is not None
    assert yaml.safe_load(content)["cells"][0]["value"] == "heard MAT 1:1"


def test_the_help_names_every_way_to_say_a_setting(tmp_path: Path) -> None:
    """For somebody who has nothing but the program."""
    with Daemon(tmp_path, "--help") as daemon:
        assert daemon.wait() == 0
        text = daemon.output
    assert daemon.log == ""
    for flag in ("--gitlab-url", "--token", "--worker-id", "--work-dir", "--loop-interval"):
        assert flag in text
    assert "GITLAB_TOKEN" in text
    assert "SIGTERM" in text
    widest = max(map(len, text.splitlines()))
    assert widest <= 100


def test_an_output_that_nobody_reads_is_no_accident(tmp_path: Path) -> None:
    """`worker_entry.py --help | head` ends silently."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, str(ENTRY), "--help"],
        stdout=writing,
        stderr=subprocess.PIPE,
        check=False,
        timeout=30,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")
