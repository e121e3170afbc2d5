"""What the scanner remembers, so that an unchanged world costs one poll and nothing is missed."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha1
from typing import Any

import pytest
from support.job_world import job
from support.manifests import manifest_of

from gitlab_jobs.errors import Unavailable
from gitlab_jobs.paths import response_path
from gitlab_jobs.scanner import JobScanner, Offers
from gitlab_jobs.store import Account, FileVersion, ProjectRef, ProjectStore, ProjectView
from gitlab_jobs.yaml_text import dump_yaml

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


class Shelf:
    """A catalogue of projects that are plain dictionaries; counts what is read."""

    def __init__(self) -> None:
        self.files: dict[str, dict[str, bytes]] = {}
        self.asked: list[str] = []
        self.fails = False

    def put(self, project: str, *entries: Any, **responses: Mapping[str, Any]) -> None:
        """Set a project's manifest, and the responses of jobs by id."""
        files = self.files.setdefault(project, {})
        if entries:
            files["gpu_jobs/manifest.yaml"] = manifest_of(*entries)
        for job_id, response in responses.items():
            files[response_path(job_id)] = dump_yaml(response)

    def poll(self) -> Iterable[ProjectView]:
        if self.fails:
            raise Unavailable("no answer")
        for name, files in self.files.items():
            manifest = files.get("gpu_jobs/manifest.yaml")
            blob = sha1(manifest).hexdigest() if manifest is not None else None
            everything = sha1(repr(sorted(files.items())).encode()).hexdigest()
            yield ProjectView(ProjectRef(name, name, "main"), manifest, blob, everything)

    def read_many(
        self, wanted: Mapping[ProjectRef, Collection[str]]
    ) -> dict[ProjectRef, dict[str, FileVersion]]:
        found = {}
        for project, paths in wanted.items():
            self.asked += [path.split("/")[1] for path in paths]
            files = self.files[project.id]
            found[project] = {
                path: FileVersion(path, files[path], "", "") for path in paths if path in files
            }
        return found

    def account(self) -> Account:
        raise NotImplementedError

    def open(self, project: ProjectRef) -> ProjectStore:
        raise NotImplementedError


@pytest.fixture
def shelf() -> Shelf:
    """No projects yet."""
    return Shelf()


@pytest.fixture
def scanner(shelf: Shelf) -> JobScanner:
    """A scanner whose clock stands still."""
    return JobScanner(shelf, now=lambda: NOW)


def waiting(offers: Offers) -> list[str]:
    """Ids of the jobs that could be started, in their order."""
    return [candidate.job.job_id for candidate in offers.candidates]


def running(minutes_ago: float, **fields: Any) -> dict[str, Any]:
    """A response of somebody at work."""
    stamp = (NOW - timedelta(minutes=minutes_ago)).isoformat()
    return {"state": "running", "worker_id": "x", "timestamp": stamp, **fields}


def test_an_unchanged_world_is_not_read_again(shelf: Shelf, scanner: JobScanner) -> None:
    """And says the same."""
    shelf.put("p", job("a"), job("b"), b={"state": "completed"})
    first = scanner.scan()
    shelf.asked.clear()
    assert waiting(scanner.scan()) == waiting(first) == ["a"]
    assert shelf.asked == []


def test_finished_jobs_are_never_read_again(shelf: Shelf, scanner: JobScanner) -> None:
    """Also when something else changes."""
    shelf.put("p", job("a"), job("b"), b={"state": "failed"})
    scanner.scan()
    shelf.asked.clear()
    shelf.put("p", a=running(1))
    assert waiting(scanner.scan()) == []
    assert shelf.asked == ["job_a"]


def test_a_change_anywhere_below_the_jobs_folder_is_seen(shelf: Shelf, scanner: JobScanner) -> None:
    """Claimed by another worker, then given back."""
    shelf.put("p", job("a"))
    assert waiting(scanner.scan()) == ["a"]
    shelf.put("p", a=running(1))
    assert waiting(scanner.scan()) == []
    del shelf.files["p"][response_path("a")]
    assert waiting(scanner.scan()) == ["a"]


def test_the_order_is_by_priority_then_date_then_id(shelf: Shelf, scanner: JobScanner) -> None:
    """A point of priority is worth an hour; a job without a date waits for all others."""
    shelf.put("p", job("b"), job("a"), job("undated", submitted_at=None))
    shelf.put("q", job("late", submitted_at="2026-03-10T08:30:00Z", priority=1))
    assert waiting(scanner.scan()) == ["late", "a", "b", "undated"]


@pytest.mark.parametrize(
    ("response", "is_stale"),
    [
        (running(31, lease_seconds=1800), True),
        (running(29, lease_seconds=1800), False),
        (running(23 * 60), False),
        (running(25 * 60), True),
        ({"state": "running", "timestamp": "yesterday"}, False),
        ({"state": "odd"}, False),
    ],
)
def test_a_lease_is_stale_by_its_own_time_or_after_a_day(
    shelf: Shelf, scanner: JobScanner, response: Mapping[str, Any], is_stale: bool
) -> None:
    """Without a readable timestamp nobody can tell."""
    shelf.put("p", job("a"), a=response)
    offers = scanner.scan()
    assert [stale.job.job_id for stale in offers.stale] == (["a"] if is_stale else [])
    assert waiting(offers) == []


def test_a_poll_that_fails_loses_nothing(shelf: Shelf, scanner: JobScanner) -> None:
    """The next one knows what the last good one knew."""
    shelf.put("p", job("a"), job("b"), b={"state": "completed"})
    scanner.scan()
    shelf.fails = True
    with pytest.raises(Unavailable):
        scanner.scan()
    shelf.fails = False
    shelf.asked.clear()
    assert waiting(scanner.scan()) == ["a"]
    assert shelf.asked == []


def test_a_bad_manifest_is_named_once_and_not_at_every_poll(
    shelf: Shelf, scanner: JobScanner, caplog: pytest.LogCaptureFixture
) -> None:
    """Until it changes."""
    with caplog.at_level(logging.WARNING):
        shelf.files["p"] = {"gpu_jobs/manifest.yaml": b"version: 7"}
        scanner.scan()
        scanner.scan()
        assert len(caplog.records) == 1
        shelf.files["p"] = {"gpu_jobs/manifest.yaml": b"version: 8"}
        scanner.scan()
        assert len(caplog.records) == 2


def test_a_project_that_is_gone_is_forgotten(shelf: Shelf, scanner: JobScanner) -> None:
    """And seen anew when it comes back."""
    shelf.put("p", job("a"))
    scanner.scan()
    kept = shelf.files.pop("p")
    assert waiting(scanner.scan()) == []
    shelf.files["p"] = kept
    assert waiting(scanner.scan()) == ["a"]


def test_canceled_and_unreadable_entries_are_answered_until_they_have_a_response(
    shelf: Shelf, scanner: JobScanner
) -> None:
    """Once each."""
    shelf.put("p", job("gone", canceled=True), job("odd", mode="dreaming"))
    offers = scanner.scan()
    assert [one.job.job_id for one in offers.canceled] == ["gone"]
    assert [one.job_id for one in offers.unreadable] == ["odd"]
    shelf.put("p", gone={"state": "canceled"}, odd={"state": "failed"})
    offers = scanner.scan()
    assert (offers.canceled, offers.unreadable) == ((), ())
