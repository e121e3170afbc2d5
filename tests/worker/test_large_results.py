"""Results of a large job reach the branch in parts, each by the owner, and once."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from support.codex_builders import as_bytes, cell, document
from support.store_worlds import LocalWorld

from gitlab_jobs import publisher
from gitlab_jobs.claims import Claimant, claim
from gitlab_jobs.codex.changes import SetText
from gitlab_jobs.ending import Ending
from gitlab_jobs.errors import LeaseLost, TooLarge
from gitlab_jobs.job import Job, JobResult, JobState, JobType, Mode, ModelSpec
from gitlab_jobs.lease import Lease, Patience
from gitlab_jobs.ledger import Ledger
from gitlab_jobs.outbox import Contents
from gitlab_jobs.outcome import Outcome
from gitlab_jobs.publisher import PART_CELLS, Publisher, parts_of
from gitlab_jobs.store import Change, Committed
from gitlab_jobs.workspace import open_workspace

JOB = Job(
    job_id="job1", job_type=JobType.ASR, mode=Mode.INFERENCE, model=ModelSpec(type="W2V2BERT")
)
BOOKS = {"files/target/MAT.codex": 5, "files/target/MRK.codex": 3}
CONTENTS = Contents(
    changes={
        path: tuple(SetText(f"{path}-{n}", f"text {n}", None, listed=True) for n in range(count))
        for path, count in BOOKS.items()
    }
)


class Project:
    """A claimed job on a plain folder, its commits recorded; `lose_power_after` raises there once."""

    def __init__(self, folder: Path) -> None:
        self.world = LocalWorld(folder / "project", with_git=False)
        for path, count in BOOKS.items():
            cells = [cell(f"{path}-{n}", ref=f"MAT 1:{n + 1}") for n in range(count)]
            self.world.person_writes(path, as_bytes(document(*cells)))
        self.patience = Patience(10, threading.Event())
        self.ledger = Ledger(folder / "ledger.sqlite3")
        claimant = Claimant("box", "boot", 1800, self.ledger.claiming)
        self.lease = claim(self.world.store, JOB, claimant, self.patience)
        self.workspace = open_workspace(folder / "work", JOB.job_id)
        self.commits: list[str] = []
        self.lose_power_after: int | None = None
        self.most_bytes: int | None = None
        self._commit = self.world.store.commit

    def commit(self, changes: list[Change], message: str) -> Committed:
        sizes = [len(getattr(change, "content", None) or b"") for change in changes]
        if self.most_bytes is not None and sum(sizes) > self.most_bytes:
            raise TooLarge("413 Request Entity Too Large")
        done = self._commit(changes, message)
        self.commits.append(message)
        if len(self.commits) == self.lose_power_after:
            raise SystemExit
        return done

    def publish(self, lease: Lease | None = None) -> Outcome:
        ending = Ending(
            Outcome(JobState.COMPLETED, result=JobResult(summary="done")), CONTENTS, None, (), ()
        )
        whole = Publisher(
            lease or self.lease,
            self.world.store,
            self.ledger,
            self.workspace,
            "bot",
            lambda data: data,
        )
        return whole.publish(ending, JobState.COMPLETED, self.patience)

    def texts(self, path: str) -> list[str]:
        return [c["value"] for c in json.loads(self.world.content(path) or b"")["cells"]]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A job whose eight cells are far too many."""
    monkeypatch.setattr(publisher, "PART_CELLS", 2)
    monkeypatch.setattr(publisher, "SMALL_PART_CELLS", 1)
    monkeypatch.setattr(publisher, "PART_PAUSE_S", 0.0)
    made = Project(tmp_path)
    monkeypatch.setattr(made.world.store, "commit", made.commit)
    return made


def test_a_small_job_is_published_in_one_commit() -> None:
    """Parts are for what an editor could not swallow at once."""
    assert parts_of(CONTENTS, PART_CELLS) == []


def test_a_large_job_is_written_notebook_by_notebook(project: Project) -> None:
    """Every part is one commit of one notebook; the last commit ends the job."""
    project.publish()
    books = [message.split()[2] for message in project.commits[:-1]]
    assert books == ["MAT", "MAT", "MAT", "MRK", "MRK"]
    assert project.commits[-1].startswith("scriptorium: finish (completed)")
    assert project.texts("files/target/MAT.codex") == [f"text {n}" for n in range(5)]
    assert project.world.store.list_folder("gpu_jobs/job_job1/lease") == ()


def test_a_crash_between_parts_repeats_none_of_them(project: Project) -> None:
    """What is on the branch composes to nothing when the ending is published again."""
    project.lose_power_after = 2
    with pytest.raises(SystemExit):
        project.publish()
    project.publish()
    assert len(project.commits) == 6
    history = json.loads(project.world.content("files/target/MAT.codex") or b"")["cells"]
    assert [len(c["metadata"]["edits"]) for c in history] == [1] * 5


def test_a_deposed_owner_publishes_no_part(project: Project) -> None:
    """The guard of every part is the lease's name."""
    project.world.person_writes(project.lease.path, None)
    with pytest.raises(LeaseLost):
        project.publish()
    assert project.texts("files/target/MAT.codex") == [""] * 5


def test_what_is_too_large_at_once_is_sent_in_smaller_parts(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server, or a proxy before it, takes one notebook but not all of them."""
    monkeypatch.setattr(publisher, "PART_CELLS", 1000)
    monkeypatch.setattr(publisher, "SMALL_PART_CELLS", 3)
    largest = max(len(project.world.content(path) or b"") for path in BOOKS)
    project.most_bytes = 2 * largest
    assert project.publish().state is JobState.COMPLETED
    assert [message.split()[1] for message in project.commits] == [*["publish"] * 3, "finish"]
    assert project.texts("files/target/MAT.codex") == [f"text {n}" for n in range(5)]


def test_a_notebook_that_is_too_large_by_itself_fails_the_job_and_says_so(project: Project) -> None:
    """Nothing is half written, and nobody waits for a result that cannot come."""
    project.most_bytes = 600
    outcome = project.publish()
    assert (outcome.state, outcome.error_code) == (JobState.FAILED, "TOO_LARGE")
    assert project.lease.response.error_code == "TOO_LARGE"
    assert "larger than the server takes" in str(project.lease.response.error_message)
    assert project.texts("files/target/MAT.codex") == [""] * 5
