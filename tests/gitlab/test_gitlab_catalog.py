"""Finding projects on a server: in few requests, missing none."""

from __future__ import annotations

import sqlite3
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from support.devserver import DevServer, project, write_world
from support.gitlab_clients import asked, clear, project_ref, quick_session

from gitlab_jobs.errors import Unavailable
from gitlab_jobs.gitlab_catalog import FULL_SCAN_S, GitLabCatalog
from gitlab_jobs.lfs_transfer import LfsTransfer
from gitlab_jobs.object_cache import ObjectCache
from gitlab_jobs.paths import MANIFEST_PATH, response_path
from gitlab_jobs.scanner import JobScanner

FINISHED = [f"done{number}" for number in range(12)]


def manifest_of(*job_ids: str) -> str:
    """A manifest with plain training jobs."""
    entries = "".join(
        f"  - job_id: {job_id}\n    job_type: asr\n    mode: training\n    model:\n"
        "      type: W2V2BERT\n    submitted_at: '2026-03-10T08:00:00.000Z'\n"
        for job_id in job_ids
    )
    return f"version: 1\njobs:\n{entries}"


MANIFEST = manifest_of(*FINISHED)
RESPONSES = {response_path(job_id): "state: completed\n" for job_id in FINISHED}


class Clock:
    """Time that passes when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    """Two hundred projects, a few of them with many finished jobs."""
    folder = tmp_path_factory.mktemp("crowd")
    projects = [
        project(f"bible/p{number}", files={MANIFEST_PATH: MANIFEST, **RESPONSES})
        if number % 50 == 0
        else project(f"bible/p{number}")
        for number in range(200)
    ]
    config = write_world(folder, projects=projects)
    with DevServer(folder / "root", config) as running:
        yield running


@pytest.fixture
def server(tmp_path: Path) -> Iterator[DevServer]:
    """A small world of all kinds of projects, fresh for every test."""
    files = {MANIFEST_PATH: manifest_of("one"), response_path("one"): "state: running\n"}
    projects = [
        project("bible/usual", files=files),
        project("bible/other", files={MANIFEST_PATH: manifest_of("two")}),
        project("bible/plain"),
        project("bible/empty", empty=True),
        project("bible/archived", files=files, archived=True),
        project("bible/stranger", files=files, visibility="public", members={"translator": 40}),
        project("bible/odd", files={MANIFEST_PATH: b"\xef\xbb\xbf# caf\xe9\n"}),
        project("bible/dev", files=files, default_branch="dev"),
    ]
    config = write_world(tmp_path, projects=projects)
    with DevServer(tmp_path / "root", config, in_process=True) as running:
        yield running


def catalog_of(
    server: DevServer, folder: Path, clock: Clock | None = None, page_size: int = 100
) -> GitLabCatalog:
    """The worker's catalogue, with the counters at zero."""
    session = quick_session(server.url, server.token("worker"))
    transfer = LfsTransfer(session, ObjectCache(folder / "cache"))
    catalog = GitLabCatalog(session, transfer, page_size=page_size, monotonic=clock or Clock())
    catalog.account()
    clear(server)
    return catalog


def push(server: DevServer, path: str, file_path: str, text: str) -> None:
    """A translator adds a file."""
    url = server.api(f"projects/{project_ref(server, path).id}/repository/commits")
    content = b64encode(text.encode()).decode()
    action = {"action": "create", "file_path": file_path, "content": content, "encoding": "base64"}
    body = {"branch": "main", "commit_message": "a person", "actions": [action]}
    reply = requests.post(url, json=body, headers=server.headers("translator"), timeout=10)
    assert reply.status_code == 201, reply.text


def test_a_poll_of_two_hundred_projects_is_two_requests(crowd: DevServer, tmp_path: Path) -> None:
    """However many of their jobs are finished; the first look at responses costs little more."""
    catalog = catalog_of(crowd, tmp_path)
    looking = JobScanner(catalog)
    assert looking.scan().candidates == ()
    assert crowd.requests()["total"] <= 3
    clear(crowd)
    looking.scan()
    assert crowd.requests()["total"] <= 2


def test_a_view_has_manifest_branch_and_revision(server: DevServer, tmp_path: Path) -> None:
    """Byte for byte, and of projects only where we are members and something can be written."""
    views = {view.project.path: view for view in catalog_of(server, tmp_path).poll()}
    assert set(views) == {"bible/usual", "bible/other", "bible/plain", "bible/odd", "bible/dev"}
    assert views["bible/usual"].manifest == manifest_of("one").encode()
    assert views["bible/usual"].project == project_ref(server, "bible/usual")
    assert views["bible/odd"].manifest == b"\xef\xbb\xbf# caf\xe9\n"
    assert views["bible/dev"].project.default_branch == "dev"
    plain = views["bible/plain"]
    assert (plain.manifest, plain.manifest_blob_id, plain.jobs_revision) == (None, None, None)


def test_the_revision_changes_with_any_file_of_a_job_and_nothing_else(
    server: DevServer, tmp_path: Path
) -> None:
    """It is what saves the scanner from reading."""
    catalog = catalog_of(server, tmp_path)

    def revision() -> str | None:
        views = {view.project.path: view.jobs_revision for view in catalog.poll()}
        return views["bible/usual"]

    first = revision()
    push(server, "bible/usual", "files/target/MAT.codex", "{}")
    assert revision() == first
    push(server, "bible/usual", response_path("other"), "state: running\n")
    assert revision() not in {first, None}


def test_a_hot_poll_stops_where_no_push_can_have_been(server: DevServer, tmp_path: Path) -> None:
    """One page per recently active project here, and one more to see that the rest is old."""
    let_all_rest_but(server, "bible/other")
    clock = Clock()
    catalog = catalog_of(server, tmp_path, clock, page_size=1)
    assert len(list(catalog.poll())) == 5
    clear(server)
    assert len(list(catalog.poll())) == 5
    assert asked(server, "POST /api/graphql") == 2
    clear(server)
    clock.now += FULL_SCAN_S[1]
    catalog.poll()
    assert asked(server, "POST /api/graphql") == 7


def test_a_project_that_is_not_shared_any_more_leaves_with_the_next_full_scan(
    server: DevServer, tmp_path: Path
) -> None:
    """And an archived one, which takes no commits."""
    clock = Clock()
    catalog = catalog_of(server, tmp_path, clock)
    catalog.poll()
    worker = requests.get(server.api("user"), headers=server.headers("worker"), timeout=10).json()
    other = project_ref(server, "bible/other")
    url = server.api(f"projects/{other.id}/members/{worker['id']}")
    requests.delete(url, headers=server.headers("translator"), timeout=10).raise_for_status()
    clock.now += FULL_SCAN_S[1]
    assert "bible/other" not in {view.project.path for view in catalog.poll()}


def let_all_rest_but(server: DevServer, path: str) -> None:
    """Put the last activity of all other projects half a day back."""
    server.stop()
    with closing(sqlite3.connect(server.root / "state.sqlite3")) as state, state:
        state.execute(
            "UPDATE projects SET last_activity_at = ? WHERE path != ?",
            ((datetime.now(UTC) - timedelta(hours=12)).isoformat(), path),
        )
    server.start()


@pytest.mark.parametrize(
    "fault",
    [
        {
            "action": "status",
            "status": 503,
            "body": {"errors": [{"message": "Request timed out."}]},
        },
        {"action": "status", "status": 504},
        {"action": "status", "status": 200}
        | {"body": {"data": None, "errors": [{"message": "Timeout on Query.projects"}]}},
    ],
    ids=["503", "504", "field"],
)
def test_a_page_that_is_too_heavy_is_asked_for_in_halves(
    server: DevServer, tmp_path: Path, fault: dict[str, Any]
) -> None:
    """At once, and growing back later."""
    catalog = catalog_of(server, tmp_path)
    server.set_faults(rules=[{"endpoint": "/api/graphql", "count": 2, **fault}])
    assert len(list(catalog.poll())) == 5
    assert asked(server, "POST /api/graphql") == 3


def test_a_page_that_stays_too_heavy_is_a_passing_fault(server: DevServer, tmp_path: Path) -> None:
    """Not an endless loop."""
    catalog = catalog_of(server, tmp_path)
    server.set_faults(rules=[{"endpoint": "/api/graphql", "action": "status", "status": 503}])
    with pytest.raises(Unavailable):
        catalog.poll()


def test_a_server_without_graphql_is_polled_through_rest(server: DevServer, tmp_path: Path) -> None:
    """Dearer, with the same views; that a repository is empty does not show in its list."""
    with_graphql = {view.project.path: view for view in catalog_of(server, tmp_path).poll()}
    catalog = catalog_of(server, tmp_path)
    server.set_faults(rules=[{"endpoint": "/api/graphql", "action": "status", "status": 404}])
    with_rest = {view.project.path: view for view in catalog.poll()}
    assert with_rest.pop("bible/empty").manifest is None
    assert with_rest == with_graphql
    clear(server)
    assert {view.project.path for view in catalog.poll()} == {*with_graphql, "bible/empty"}
    assert asked(server, "POST /api/graphql") == 0


def test_responses_of_many_projects_are_read_together(server: DevServer, tmp_path: Path) -> None:
    """What is absent is left out; a project that is gone has no files."""
    catalog = catalog_of(server, tmp_path)
    usual, other = project_ref(server, "bible/usual"), project_ref(server, "bible/other")
    clear(server)
    paths = [response_path(f"absent{number}") for number in range(45)]
    found = catalog.read_many({usual: [response_path("one"), *paths], other: paths})
    assert {project.path: list(files) for project, files in found.items()} == {
        "bible/usual": [response_path("one")],
        "bible/other": [],
    }
    assert found[usual][response_path("one")].content == b"state: running\n"
    assert server.requests()["total"] == 1


def test_a_job_pushed_between_two_polls_is_seen_by_the_second(
    server: DevServer, tmp_path: Path
) -> None:
    """Whatever the project's activity time says."""
    catalog = catalog_of(server, tmp_path)
    looking = JobScanner(catalog)
    assert [offer.job.job_id for offer in looking.scan().candidates] == ["two"]
    push(server, "bible/plain", MANIFEST_PATH, manifest_of("three"))
    assert [offer.job.job_id for offer in looking.scan().candidates] == ["three", "two"]
