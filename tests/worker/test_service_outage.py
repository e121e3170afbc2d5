"""A server that goes away while a job needs something from it: the job waits, and is none the wiser."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from gitlab_jobs import wire
from gitlab_jobs.callbacks import Purpose
from gitlab_jobs.errors import Unavailable
from gitlab_jobs.job import CancelReason, Job, JobType, Mode, ModelSpec
from gitlab_jobs.local_store import LocalStore
from gitlab_jobs.outbox import Outbox
from gitlab_jobs.service import JobService, Site
from gitlab_jobs.settings import FamilySettings
from gitlab_jobs.store import Snapshot

JOB = Job(
    job_id="job1", job_type=JobType.ASR, mode=Mode.INFERENCE, model=ModelSpec(type="W2V2BERT")
)
WANT = {"purpose": Purpose.TRANSCRIBE.value}


class ComesBack(LocalStore):
    """A project whose server does not answer the first few times."""

    def __init__(self, root: Path, outages: int) -> None:
        super().__init__(root)
        self.outages = outages

    def snapshot(self, revision: str | None = None) -> Snapshot:
        if self.outages:
            self.outages -= 1
            raise Unavailable("503 Service Unavailable")
        return super().snapshot(revision)


def service(tmp_path: Path, outages: int) -> JobService:
    """The supervisor's side of a job on a project whose server is away for a while."""
    (tmp_path / "project" / "files" / "target").mkdir(parents=True)
    site = Site("bot", "cpu", tmp_path / "cache", tmp_path, FamilySettings())
    return JobService(JOB, ComesBack(tmp_path / "project", outages), Outbox(), site)


def test_an_outage_only_makes_a_request_take_longer(tmp_path: Path) -> None:
    """What the transport gives up on is tried again here."""
    answer = service(tmp_path, outages=3).serve("project_data", WANT)
    assert wire.PROJECT_DATA.validate_python(answer).utterances == ()


def test_a_stop_ends_the_waiting_for_a_server_that_stays_away(tmp_path: Path) -> None:
    """A canceled job does not sit out the outage."""
    serving = service(tmp_path, outages=10_000)
    threading.Timer(0.3, serving.stop, [CancelReason.USER_CANCELED]).start()
    started = time.monotonic()
    with pytest.raises(Unavailable):
        serving.serve("project_data", WANT)
    assert time.monotonic() - started < 30
