"""The ledger on disk: a file of an older program is brought up to date, one of a newer is left alone."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gitlab_jobs import ledger_schema
from gitlab_jobs.errors import ConfigError
from gitlab_jobs.job import CancelReason, Job, JobState, JobType, Mode, ModelSpec
from gitlab_jobs.ledger import Ledger, Standing
from gitlab_jobs.ledger_schema import SCHEMA_VERSION
from gitlab_jobs.publication import Edit, Publication
from gitlab_jobs.response import Response, dump_response
from gitlab_jobs.store import ProjectRef

PROJECT = ProjectRef("7", "bible/demo", "main")
JOB = Job(job_id="a1", job_type=JobType.ASR, mode=Mode.TRAINING, model=ModelSpec(type="X"))
RESPONSE = Response(
    worker_id="box", state=JobState.RUNNING, timestamp=datetime(2026, 3, 10, tzinfo=UTC), claim="ab"
)
LEASE = "gpu_jobs/job_a1/lease/1-ab.yaml"
FIRST_TABLE = """
CREATE TABLE IF NOT EXISTS jobs (
    project_id     TEXT NOT NULL,
    job_id         TEXT NOT NULL,
    project_path   TEXT NOT NULL,
    branch         TEXT NOT NULL,
    job            TEXT NOT NULL,
    state          TEXT NOT NULL,
    lease_path     TEXT NOT NULL,
    response       BLOB NOT NULL,
    workspace      TEXT,
    resumed        INTEGER NOT NULL DEFAULT 0,
    wish           TEXT,
    changed_at     TEXT NOT NULL,
    PRIMARY KEY (project_id, job_id)
) STRICT
"""
"""As the first version of this program made it, word for word."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the ledger is."""
    return tmp_path / "ledger.sqlite3"


def first_version(path: Path, *, version: int = 1) -> None:
    """A file of the first version with one job that was running."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute(FIRST_TABLE)
        db.execute(
            "INSERT INTO jobs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(PROJECT.id, JOB.job_id, PROJECT.path, PROJECT.default_branch),
                *(JOB.model_dump_json(), "held", LEASE, dump_response(RESPONSE)),
                *("/work/job_a1", 2, "user_canceled", "2026-03-10T08:00:00+00:00"),
            ),
        )
        db.execute(f"PRAGMA user_version = {version}")


def version_of(path: Path) -> int:
    """The number in the file."""
    with closing(sqlite3.connect(path)) as db:
        return int(db.execute("PRAGMA user_version").fetchone()[0])


def tables_of(path: Path) -> dict[str, str]:
    """Every table with the words that made it."""
    with closing(sqlite3.connect(path)) as db:
        found = db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'").fetchall()
    return {name: " ".join(sql.replace("IF NOT EXISTS ", "").split()) for name, sql in found}


def publication(mark: str) -> Publication:
    """A commit that changes a notebook."""
    return Publication(mark, (Edit("files/target/MAT.codex", "c0ffee", "b10b"),))


def test_a_fresh_file_has_the_newest_version(path: Path) -> None:
    """And is opened again as it is."""
    for _ in range(2):
        Ledger(path).close()
    assert version_of(path) == SCHEMA_VERSION


@pytest.mark.parametrize("version", [0, 1])
def test_a_file_of_the_first_version_keeps_its_jobs(path: Path, version: int) -> None:
    """Also one whose program was killed between the table and the number."""
    first_version(path, version=version)
    with closing(Ledger(path)) as ledger:
        (row,) = ledger.unsettled()
        ledger.journal(PROJECT, JOB.job_id).note(publication("m1"))
    assert version_of(path) == SCHEMA_VERSION
    assert (row.project, row.job, row.standing, row.lease_path) == (
        PROJECT,
        JOB,
        Standing.HELD,
        LEASE,
    )
    assert (row.response, row.resumed, row.wish) == (RESPONSE, 2, CancelReason.USER_CANCELED)


def test_an_upgraded_file_is_like_a_fresh_one(path: Path, tmp_path: Path) -> None:
    """Whichever way a table came about, it is the same."""
    first_version(path)
    fresh = tmp_path / "fresh.sqlite3"
    for each in (path, fresh):
        Ledger(each).close()
    assert tables_of(path) == tables_of(fresh)


def test_a_step_that_breaks_off_leaves_the_version_before(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Table and number come together; the next start does the step again."""
    first_version(path)
    whole = ledger_schema._STEPS
    broken = (*whole[:1], "CREATE TABLE publications (number INTEGER", *whole[2:])
    monkeypatch.setattr(ledger_schema, "_STEPS", broken)
    with pytest.raises(sqlite3.OperationalError):
        Ledger(path)
    assert version_of(path) == 1
    assert "publications" not in tables_of(path)
    monkeypatch.setattr(ledger_schema, "_STEPS", whole)
    with closing(Ledger(path)) as ledger:
        assert len(ledger.unsettled()) == 1


def test_a_file_of_a_newer_program_is_not_touched(path: Path) -> None:
    """The operator is told what to do, and systemd not to try again."""
    first_version(path, version=SCHEMA_VERSION + 1)
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="newer version") as caught:
        Ledger(path)
    assert caught.value.exit_code == 76
    assert path.read_bytes() == before


def test_a_publication_is_kept_until_it_is_settled(path: Path) -> None:
    """Over restarts, with all tries of one write under one mark, and apart from those of other jobs."""
    with closing(Ledger(path)) as ledger:
        journal = ledger.journal(PROJECT, "a1")
        journal.note(publication("m1"))
        journal.note(publication("m2"))
        again = Publication("m1", (*publication("m1").edits, Edit("x", None, "b11b")))
        journal.note(again)
        ledger.journal(PROJECT, "b2").note(publication("m3"))
    with closing(Ledger(path)) as ledger:
        journal = ledger.journal(PROJECT, "a1")
        assert journal.pending() == [again, publication("m2")]
        journal.settle(again)
        assert journal.pending() == [publication("m2")]
        assert ledger.journal(PROJECT, "b2").pending() == [publication("m3")]


def test_a_job_that_is_over_is_remembered_until_its_commits_were_looked_at(path: Path) -> None:
    """What is still running is asked about anyway."""
    with closing(Ledger(path)) as ledger:
        ledger.claiming(PROJECT, JOB, LEASE, RESPONSE)
        journal = ledger.journal(PROJECT, JOB.job_id)
        journal.note(publication("m1"))
        assert ledger.unmended() == []
        ledger.note(PROJECT, JOB.job_id, Standing.DONE)
        assert [row.job for row in ledger.unmended()] == [JOB]
        journal.settle(publication("m1"))
        assert ledger.unmended() == []
