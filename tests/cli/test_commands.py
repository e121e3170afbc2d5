"""`python -m gitlab_jobs` as a person at a terminal uses it: on a server, and on a plain folder."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.job_world import MANIFEST, PROJECT, JobWorld, job
from support.manifests import EXAMPLES, manifest_of

from gitlab_jobs.cli_edit import NewJob, new_entry
from gitlab_jobs.cli_options import make_parser
from gitlab_jobs.cli_view import Jobs, explain
from gitlab_jobs.errors import HandlerNotFound, InvalidJob
from gitlab_jobs.manifest import parse_manifest
from gitlab_jobs.response import parse_response
from gitlab_jobs.yaml_text import dump_yaml

NOW = datetime(2026, 3, 10, 8, 0, tzinfo=UTC)
FIRST_JOB = NewJob("tts", "training", "StableTTS")


class Terminal:
    """Runs commands with the same options before each."""

    def __init__(self, directory: Path, *options: str, token: str | None = None) -> None:
        self._directory = directory
        self._options = options
        self._environment = {"PATH": "/usr/bin:/bin", "HOME": str(directory)}
        if token is not None:
            self._environment["GITLAB_TOKEN"] = token

    def __call__(self, *words: str, fails: bool = False) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "gitlab_jobs", *self._options, *words],
            cwd=self._directory,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert (done.returncode != 0) == fails, done.stderr
        assert "Traceback" not in done.stderr
        return done.stderr if fails else done.stdout


@pytest.fixture
def world(tmp_path: Path) -> Iterator[JobWorld]:
    """One project on a server."""
    with JobWorld(tmp_path) as world:
        yield world


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkout with nothing in it."""
    root = tmp_path / "checkout"
    root.mkdir()
    return root


def test_an_entry_has_the_form_that_the_editor_writes(folder: Path) -> None:
    """Byte for byte, but for the id and the moment."""
    example = EXAMPLES["tts_training"]
    entry = new_entry(FIRST_JOB, NOW)
    assert re.fullmatch(r"[0-9a-z]{8}_[0-9a-z]{0,13}", entry["job_id"])
    written = dump_yaml({"version": 1, "jobs": [{**entry, "job_id": "mmkbkzk0_sx1fl0nwmy"}]})
    assert written.decode() == example


def test_every_choice_goes_where_the_editor_puts_it() -> None:
    """Keys in the editor's order; a filter in the half that it concerns."""
    both = NewJob("asr", "training_and_inference", "W2V2BERT", name="x", include_verses=["JHN 1:1"])
    entry = new_entry(both, NOW)
    assert list(entry) == [
        *("job_id", "name", "job_type", "mode", "submitted_at", "model", "epochs"),
        *("inference", "transmorgrifier", "canceled"),
    ]
    assert entry["inference"] == {"include_verses": ["JHN 1:1"]}
    with pytest.raises(InvalidJob, match="--base-checkpoint"):
        new_entry(NewJob("asr", "inference", "W2V2BERT"), NOW)
    with pytest.raises(InvalidJob, match="not both"):
        new_entry(NewJob("tts", "training", "X", include_verses=["a"], exclude_verses=["b"]), NOW)


def test_a_job_is_submitted_shown_and_canceled_on_a_plain_folder(folder: Path) -> None:
    """The second entry leaves the first as it was."""
    at = Terminal(folder, "--project-dir", str(folder), "--json")
    first = json.loads(at("submit", "tts", "training", "--epochs", "5"))["job_id"]
    before = yaml.safe_load((folder / MANIFEST).read_text("utf-8"))["jobs"][0]
    second = json.loads(at("submit", "asr", "training", "--name", "Yes: run #2"))["job_id"]
    at("cancel", second)
    entries = yaml.safe_load((folder / MANIFEST).read_text("utf-8"))["jobs"]
    assert entries[0] == before
    assert (entries[1]["name"], entries[1]["canceled"]) == ("Yes: run #2", True)
    listed = json.loads(at("list"))
    assert {row["job_id"]: row["state"] for row in listed} == {
        first: "pending",
        second: "pending (canceling)",
    }
    (reason,) = json.loads(at("explain", second))["reasons"]
    assert reason.startswith("It was canceled before it started")


def test_a_job_submitted_on_a_server_is_run_by_a_worker(world: JobWorld, tmp_path: Path) -> None:
    """As the translator; then its status is read, and its end explained."""
    options = ("--gitlab-url", world.server.url, "--project", PROJECT)
    at = Terminal(tmp_path, *options, token="token-translator")
    job_id = at("submit", "tts", "training", "--epochs", "2").removeprefix("job_id: ").strip()
    assert "pending" in at("status", job_id)
    world.run_to_end()
    table = at("list")
    assert re.search(rf"{job_id} +completed +tts training +StableTTS +2/2 +worker", table)
    assert at("explain", job_id).startswith("It has ended: completed")


def test_what_cannot_be_done_is_said_in_a_sentence(world: JobWorld, tmp_path: Path) -> None:
    """An unknown project, an unknown job, a manifest that cannot be read."""
    server = ("--gitlab-url", world.server.url)
    elsewhere = Terminal(tmp_path, *server, "--project", "bible/other", token="token-translator")
    assert "--project may be one of: bible/demo" in elsewhere("list", fails=True)
    at = Terminal(tmp_path, *server, "--project", PROJECT, token="token-translator")
    assert "there is no job nobody" in at("cancel", "nobody", fails=True)
    world.write(MANIFEST, "<<<<<<< HEAD\n")
    at("submit", "tts", "training", fails=True)
    assert world.read(MANIFEST) == b"<<<<<<< HEAD\n"


RUNNING = "worker_id: box\nstate: running\nlease_seconds: 1800\nattempt: 2\n"


@pytest.mark.parametrize(
    ("entry", "response", "said"),
    [
        (job("a", canceled=True), None, "canceled before it started"),
        (job("a", timeout="2026-03-10T07:00:00Z"), None, "Its time was over at 2026-03-10 07:00"),
        (job("a", "Unheard"), None, "No handler: nobody knows Unheard"),
        (job("a", mode="dancing"), None, "Bad entry, number 2"),
        (job("a"), None, "No capacity yet: 1 jobs of this project are ahead"),
        (job("a", priority=5), RUNNING + "timestamp: '2026-03-10T07:50:00Z'\n", "until 2026-03-10 08:20"),
        (job("a"), RUNNING + "timestamp: '2026-03-10T06:00:00Z'\n", "any worker may take it over"),
        (job("a"), RUNNING, "nobody will take it over"),
        (job("a"), "state: failed\nerror_message: No voice.\n", "It has ended: failed (No voice.)"),
        (None, None, "no such job in the manifest"),
    ],
)  # fmt: skip
def test_every_reason_to_wait_is_explained(entry: Any, response: str | None, said: str) -> None:
    """Beside one older job that waits too."""
    entries = [job("older", submitted_at="2026-03-01T08:00:00.000Z"), entry]
    manifest = parse_manifest(manifest_of(*[one for one in entries if one is not None]))
    found = parse_response(response.encode()) if response else None
    jobs = Jobs(manifest, {"a": found} if found else {})

    def find(wanted: Any) -> None:
        if wanted.model.type == "Unheard":
            raise HandlerNotFound("nobody knows Unheard")

    assert said in " ".join(explain(jobs, "a", NOW, find, can_write=True))


def test_an_account_that_may_not_push_is_told_so() -> None:
    """A protected branch keeps every worker of this account away."""
    jobs = Jobs(parse_manifest(manifest_of(job("a"))), {})
    (reason,) = explain(jobs, "a", NOW, lambda _: None, can_write=False)
    assert "may not push" in reason


def test_where_to_look_may_stand_before_or_behind_the_command() -> None:
    """People write it either way; what stands behind counts if both are there."""
    before = make_parser().parse_args(["--project-dir", "a", "--json", "list"])
    behind = make_parser().parse_args(["list", "--project-dir", "a", "--json"])
    both = make_parser().parse_args(["--project-dir", "b", "list", "--project-dir", "a", "--json"])
    assert before == behind == both
    assert before.project_dir == "a"
