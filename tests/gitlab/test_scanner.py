"""Finding work: which jobs are offered, in which order, and what is read for it."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import UTC, datetime

import pytest
from support.catalogs import MemoryCatalog

from gitlab_jobs.errors import Unavailable
from gitlab_jobs.paths import MANIFEST_PATH, response_path
from gitlab_jobs.scanner import Candidate, JobScanner

NOW = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)


def entry(job_id: str, *extra: str, submitted_at: str | None = "'2026-03-10T08:00:00.000Z'") -> str:
    """One entry of a manifest, as the editor writes it."""
    lines = [
        f"job_id: {job_id}",
        "job_type: asr",
        "mode: training",
        "model:",
        "  type: W2V2BERT",
        *([f"submitted_at: {submitted_at}"] if submitted_at else []),
        *extra,
    ]
    return "  - " + "\n    ".join(lines) + "\n"


def manifest(*entries: str) -> str:
    """A manifest of these entries."""
    return "version: 1\njobs:\n" + "".join(entries)


def scanner(catalog: MemoryCatalog) -> JobScanner:
    """A scanner at noon."""
    return JobScanner(catalog, lambda: NOW)


def ids(candidates: Iterable[Candidate]) -> list[str]:
    """Which jobs, in which order."""
    return [candidate.job.job_id for candidate in candidates]


@pytest.fixture
def catalog() -> MemoryCatalog:
    """No projects yet."""
    return MemoryCatalog()


def test_the_oldest_job_of_all_projects_comes_first(catalog: MemoryCatalog) -> None:
    """Quoted and unquoted dates alike; jobs without a date come last."""
    catalog.write("b", MANIFEST_PATH, manifest(entry("third", submitted_at="2026-03-10T10:00:00Z")))
    catalog.write(
        "a",
        MANIFEST_PATH,
        manifest(
            entry("last", submitted_at=None),
            entry("second", submitted_at="'2026-03-10T09:00:00.000Z'"),
        ),
    )
    catalog.write("c", MANIFEST_PATH, manifest(entry("first", submitted_at="2026-03-10T08:00:00Z")))
    offers = scanner(catalog).scan()
    assert ids(offers.candidates) == ["first", "second", "third", "last"]
    assert [candidate.project.id for candidate in offers.candidates] == ["c", "a", "b", "a"]


def test_priority_is_worth_waiting_time_but_not_for_ever(catalog: MemoryCatalog) -> None:
    """An hour for each point."""
    catalog.write(
        "a",
        MANIFEST_PATH,
        manifest(
            entry("usual", submitted_at="2026-03-10T08:00:00Z"),
            entry("urgent", "priority: 3", submitted_at="2026-03-10T10:00:00Z"),
            entry("too-late", "priority: 1", submitted_at="2026-03-10T11:00:00Z"),
        ),
    )
    assert ids(scanner(catalog).scan().candidates) == ["urgent", "usual", "too-late"]


def test_a_project_without_a_manifest_is_ignored_in_silence(
    catalog: MemoryCatalog, caplog: pytest.LogCaptureFixture
) -> None:
    """Most projects have never asked for anything."""
    catalog.write("a", "metadata.json", "{}")
    assert scanner(catalog).scan().candidates == ()
    assert caplog.records == []


@pytest.mark.parametrize(
    "text", ["version: 2\njobs: []\n", "version: '1'\njobs: []\n", "", "- a\n", "<<<<<<< HEAD\n"]
)
def test_an_unreadable_manifest_is_reported_once_and_harms_no_other_project(
    catalog: MemoryCatalog, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    """Until it changes."""
    caplog.set_level(logging.WARNING)
    catalog.write("bad", MANIFEST_PATH, text)
    catalog.write("good", MANIFEST_PATH, manifest(entry("job")))
    looking = scanner(catalog)
    for _ in range(3):
        assert ids(looking.scan().candidates) == ["job"]
    assert [record.getMessage() for record in caplog.records if "bible/bad" in record.getMessage()]
    assert len(caplog.records) == 1


def test_a_bad_entry_is_reported_once_and_harms_no_other_entry(
    catalog: MemoryCatalog, caplog: pytest.LogCaptureFixture
) -> None:
    """Also when the user adds further jobs; the one that has a safe name can be answered."""
    caplog.set_level(logging.WARNING)
    bad = ["  - null\n", entry("../../x"), entry("unfinished").replace("asr", "ocr")]
    catalog.write("a", MANIFEST_PATH, manifest(entry("one"), *bad))
    looking = scanner(catalog)
    offers = looking.scan()
    assert ids(offers.candidates) == ["one"]
    assert [job.job_id for job in offers.unreadable] == ["unfinished"]
    catalog.write("a", MANIFEST_PATH, manifest(entry("one"), *bad, entry("two")))
    assert ids(looking.scan().candidates) == ["one", "two"]
    assert len(caplog.records) == 3


def test_an_unreadable_entry_that_was_answered_is_not_offered_again(
    catalog: MemoryCatalog,
) -> None:
    """Nor one that its user gave up."""
    broken = entry("answered").replace("asr", "ocr")
    given_up = entry("given-up", "canceled: true").replace("asr", "ocr")
    catalog.write("a", MANIFEST_PATH, manifest(broken, given_up))
    looking = scanner(catalog)
    assert [job.job_id for job in looking.scan().unreadable] == ["answered"]
    catalog.write("a", response_path("answered"), "state: failed\n")
    assert looking.scan().unreadable == ()


def test_a_job_with_a_response_is_not_pending(catalog: MemoryCatalog) -> None:
    """Whatever the response says, somebody has it."""
    states = {
        "running": "state: running\ntimestamp: '2026-03-10T11:59:00Z'\n",
        "completed": "state: completed\n",
        "failed": "state: failed\n",
        "canceled": "state: canceled\n",
        "odd": "state: thinking\n",
        "broken": "{{{",
        "empty": "",
    }
    catalog.write("a", MANIFEST_PATH, manifest(*map(entry, states), entry("pending")))
    for job_id, text in states.items():
        catalog.write("a", response_path(job_id), text)
    offers = scanner(catalog).scan()
    assert ids(offers.candidates) == ["pending"]
    assert offers.stale == ()


def test_a_canceled_job_is_offered_for_an_answer_only(catalog: MemoryCatalog) -> None:
    """And only as long as nobody has answered."""
    catalog.write("a", MANIFEST_PATH, manifest(entry("job", "canceled: true")))
    looking = scanner(catalog)
    offers = looking.scan()
    assert offers.candidates == ()
    assert ids(offers.canceled) == ["job"]
    catalog.write("a", response_path("job"), "state: canceled\n")
    assert looking.scan().canceled == ()


def test_a_job_whose_time_is_over_is_not_offered(catalog: MemoryCatalog) -> None:
    """Its user does not want it any more."""
    catalog.write(
        "a",
        MANIFEST_PATH,
        manifest(
            entry("over", "timeout: 2026-03-10T11:00:00Z"),
            entry("in-time", "timeout: 2026-03-10T13:00:00Z"),
        ),
    )
    assert ids(scanner(catalog).scan().candidates) == ["in-time"]


@pytest.mark.parametrize(
    ("response", "is_stale"),
    [
        ("timestamp: '2026-03-10T11:00:00Z'\nlease_seconds: 1800\n", True),
        ("timestamp: '2026-03-10T11:50:00Z'\nlease_seconds: 1800\n", False),
        ("timestamp: '2026-03-10T11:59:00Z'\nlease_seconds: 0\n", True),
        ("timestamp: '2026-03-10T11:00:00Z'\n", False),
        ("timestamp: '2026-03-09T11:00:00Z'\n", True),
        ("timestamp: '2026-03-09T11:00:00Z'\nlease_seconds: 999999999999999999\n", False),
        ("worker_id: old\n", False),
    ],
)
def test_a_silent_owner_is_offered_for_a_take_over(
    catalog: MemoryCatalog, response: str, is_stale: bool
) -> None:
    """By its own lease time, or a day for workers that name none; never without a timestamp."""
    catalog.write("a", MANIFEST_PATH, manifest(entry("job")))
    catalog.write("a", response_path("job"), "state: running\n" + response)
    offers = scanner(catalog).scan()
    assert offers.candidates == ()
    assert ids(offers.stale) == (["job"] if is_stale else [])


def test_finished_jobs_are_read_once_and_never_again(catalog: MemoryCatalog) -> None:
    """A manifest only grows, so it must not cost more with every job."""
    finished = [f"done{number}" for number in range(50)]
    catalog.write("a", MANIFEST_PATH, manifest(*map(entry, finished), entry("running")))
    for job_id in finished:
        catalog.write("a", response_path(job_id), "state: completed\n")
    catalog.write("a", response_path("running"), "state: running\n")
    looking = scanner(catalog)
    looking.scan()
    assert len(catalog.paths_read) == 51
    catalog.paths_read.clear()
    looking.scan()
    assert catalog.paths_read == []
    catalog.write("a", response_path("running"), "state: running\nepochs_completed: 1\n")
    looking.scan()
    assert catalog.paths_read == [response_path("running")]


def test_a_pending_job_is_offered_again_without_another_reading(catalog: MemoryCatalog) -> None:
    """Because nothing has changed in its project."""
    catalog.write("a", MANIFEST_PATH, manifest(entry("job")))
    looking = scanner(catalog)
    assert ids(looking.scan().candidates) == ids(looking.scan().candidates) == ["job"]
    assert len(catalog.paths_read) == 1


def test_a_job_that_was_given_back_is_pending_again(catalog: MemoryCatalog) -> None:
    """Its response is gone."""
    catalog.write("a", MANIFEST_PATH, manifest(entry("job")))
    catalog.write("a", response_path("job"), "state: running\n")
    looking = scanner(catalog)
    assert looking.scan().candidates == ()
    del catalog.projects["a"][response_path("job")]
    assert ids(looking.scan().candidates) == ["job"]


def test_a_failed_reading_offers_nothing_and_is_made_good_by_the_next_scan(
    catalog: MemoryCatalog,
) -> None:
    """An unread response must not look like a missing one."""
    catalog.write("a", MANIFEST_PATH, manifest(entry("taken"), entry("free")))
    catalog.write("a", response_path("taken"), "state: running\n")
    catalog.fails = True
    looking = scanner(catalog)
    with pytest.raises(Unavailable):
        looking.scan()
    catalog.fails = False
    assert ids(looking.scan().candidates) == ["free"]


def test_a_removed_job_is_forgotten_and_a_project_that_is_not_shared_any_more_too(
    catalog: MemoryCatalog,
) -> None:
    """Only a readable manifest without the entry is a removal."""
    catalog.write("a", MANIFEST_PATH, manifest(entry("one"), entry("two")))
    catalog.write("b", MANIFEST_PATH, manifest(entry("three")))
    looking = scanner(catalog)
    looking.scan()
    catalog.write("a", MANIFEST_PATH, manifest(entry("two")))
    del catalog.projects["b"]
    assert ids(looking.scan().candidates) == ["two"]
