"""A GitLab project under bad conditions; what both adapters promise is in the contract tests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests
from support.devserver import DevServer, project, write_world
from support.gitlab_clients import asked, clear, quick_session, store_of
from support.store_worlds import BASE_FILES, NOTEBOOK, OLD_TAKE

from gitlab_jobs.errors import AlreadyExists, Forbidden, Missing, OutcomeUnknown, Unavailable
from gitlab_jobs.gitlab_store import GitLabStore
from gitlab_jobs.store import Create, CreatePointer, Update

PROJECTS = [f"bible/p{number}" for number in range(30)]
BIG = {f"files/target/B{number}.codex": b"x" * 300_000 for number in range(8)}
CREATE = [Create("gpu_jobs/job_a/response.yaml", b"state: running\n")]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    """Many fresh projects, and some that refuse writes."""
    folder = tmp_path_factory.mktemp("gitlab")
    special = [
        project("bible/protected", files=BASE_FILES, protected={"main": 40}),
        project("bible/archived", files=BASE_FILES, archived=True),
        project("bible/readable", files=BASE_FILES, members={"worker": 20}),
        project("bible/empty", empty=True),
        project("bible/big", files={**BASE_FILES, **BIG}),
    ]
    usual = [project(path, files=BASE_FILES) for path in PROJECTS]
    config = write_world(folder, projects=[*usual, *special])
    with DevServer(folder / "root", config, in_process=True) as running:
        yield running


@pytest.fixture(scope="module")
def fresh() -> Iterator[str]:
    """Projects that no test has touched."""
    return iter(PROJECTS)


@pytest.fixture
def store(server: DevServer, fresh: Iterator[str], tmp_path: Path) -> Iterator[GitLabStore]:
    """A project of the test's own."""
    clear(server)
    opened = store_of(server, next(fresh), tmp_path)
    clear(server)
    yield opened
    clear(server)


def special(server: DevServer, name: str, tmp_path: Path) -> GitLabStore:
    """One of the projects with a peculiarity."""
    clear(server)
    return store_of(server, f"bible/{name}", tmp_path)


def commits(server: DevServer, store: GitLabStore) -> list[dict[str, Any]]:
    """The branch's history, newest first."""
    url = server.api(f"projects/{store.project.id}/repository/commits?per_page=100")
    found = requests.get(url, headers=server.headers("admin"), timeout=10).json()
    assert isinstance(found, list)
    return found


@pytest.mark.parametrize(
    ("fault", "happened"),
    [
        ({"action": "lose_reply"}, True),
        ({"action": "truncate"}, True),
        ({"action": "drop"}, False),
        ({"action": "status", "status": 500}, False),
        ({"action": "status", "status": 502, "body": "<html>"}, False),
        ({"action": "status", "status": 504}, False),
        ({"action": "status", "status": 400, "body": {"message": "4:Deadline Exceeded."}}, False),
        (
            {
                "action": "status",
                "status": 400,
                "body": {"message": "14:connections to all backends"},
            },
            False,
        ),
        (
            {
                "action": "status",
                "status": 200,
                "body": "<html>",
                "headers": {"Content-Type": "text/html"},
            },
            False,
        ),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else None,
)
def test_a_commit_whose_outcome_nobody_knows_is_reported_so_and_not_repeated(
    server: DevServer, store: GitLabStore, fault: dict[str, Any], happened: bool
) -> None:
    """Only the lease can tell its own success from a loss."""
    server.set_faults(rules=[{"method": "POST", "endpoint": "*/commits", **fault}])
    with pytest.raises(OutcomeUnknown):
        store.commit(CREATE, "claim")
    assert asked(server, "POST /projects/:id/repository/commits") == 1
    clear(server)
    assert (CREATE[0].path in store.read([CREATE[0].path])) is happened


def test_a_commit_that_was_not_accepted_for_now_changed_nothing(
    server: DevServer, store: GitLabStore
) -> None:
    """A rate limit refuses before anything is done, so it is no unknown outcome."""
    server.set_faults(rules=[{"action": "status", "status": 429, "body": "Retry later\n"}])
    with pytest.raises(Unavailable) as caught:
        store.commit(CREATE, "claim")
    assert not isinstance(caught.value, OutcomeUnknown)


def test_a_commit_to_a_server_that_is_down_changed_nothing(
    server: DevServer, store: GitLabStore, tmp_path: Path
) -> None:
    """A connection that was never made cannot have carried a commit."""
    session = quick_session("http://127.0.0.1:9", "token")
    down = GitLabStore(session, store.project, store._transfer)
    with pytest.raises(Unavailable) as caught:
        down.commit(CREATE, "claim")
    assert not isinstance(caught.value, OutcomeUnknown)


def test_every_commit_tells_pipelines_to_stay_quiet(server: DevServer, store: GitLabStore) -> None:
    """Once, even if the caller thought of it."""
    store.commit(CREATE, "scriptorium: claim job a")
    store.commit([Update(NOTEBOOK, b"{}")], "done [skip ci]")
    messages = [commit["message"].strip() for commit in commits(server, store)[:2]]
    assert messages == ["done [skip ci]", "scriptorium: claim job a [skip ci]"]


def test_a_protected_branch_is_named(server: DevServer, tmp_path: Path) -> None:
    """So that a maintainer knows what to change."""
    store = special(server, "protected", tmp_path)
    assert not store.can_write()
    with pytest.raises(Forbidden, match="branch main of bible/protected"):
        store.commit(CREATE, "claim")


def test_an_archived_project_takes_no_commits(server: DevServer, tmp_path: Path) -> None:
    """It can still be read."""
    store = special(server, "archived", tmp_path)
    assert not store.can_write()
    assert NOTEBOOK in store.read([NOTEBOOK])
    with pytest.raises(Forbidden):
        store.commit(CREATE, "claim")


def test_a_project_that_may_only_be_read_is_found_out_before_a_claim(
    server: DevServer, tmp_path: Path
) -> None:
    """Reporter access shows everything and allows nothing."""
    store = special(server, "readable", tmp_path)
    assert not store.can_write()
    with pytest.raises(Forbidden):
        store.commit(CREATE, "claim")


def test_a_repository_without_commits_is_empty_not_broken(
    server: DevServer, tmp_path: Path
) -> None:
    """And its first commit makes the branch."""
    store = special(server, "empty", tmp_path)
    assert store.read([NOTEBOOK]) == {}
    assert store.read([NOTEBOOK, OLD_TAKE]) == {}
    assert store.snapshot().files == {}
    assert store.age_s(NOTEBOOK) is None
    assert store.can_write()


def test_a_project_that_is_not_shared_any_more_is_missing(
    server: DevServer, store: GitLabStore, tmp_path: Path
) -> None:
    """Unlike a file that is not there, which is an answer."""
    stranger = quick_session(server.url, server.token("worker"))
    gone = GitLabStore(stranger, replace(store.project, id="999999"), store._transfer)
    with pytest.raises(Missing):
        gone.read([NOTEBOOK])
    with pytest.raises(Missing):
        gone.read([NOTEBOOK, OLD_TAKE])


def test_many_files_are_read_in_two_requests(server: DevServer, store: GitLabStore) -> None:
    """One for the head they are pinned to, one for all of them."""
    assert set(store.read(BASE_FILES)) == set(BASE_FILES)
    assert server.requests()["total"] == 2


def test_as_many_files_as_anybody_asks_for_are_read_within_the_servers_limits(
    server: DevServer, store: GitLabStore
) -> None:
    """In portions that stay below its complexity, not file by file."""
    paths = [f"gpu_jobs/job_{number}/response.yaml" for number in range(120)]
    store.commit([Create(path, path.encode()) for path in paths], "many")
    clear(server)
    found = store.read(paths)
    assert {path: version.content for path, version in found.items()} == {
        path: path.encode() for path in paths
    }
    assert server.requests()["total"] == 4


def test_a_missing_file_is_not_taken_for_a_missing_project_by_its_name(
    server: DevServer, store: GitLabStore
) -> None:
    """Whatever words it is called by."""
    assert store.read(["files/target/Project.codex"]) == {}


def test_files_are_read_one_by_one_where_graphql_is_off(
    server: DevServer, store: GitLabStore
) -> None:
    """More requests, same bytes."""
    server.set_faults(rules=[{"endpoint": "/api/graphql", "action": "status", "status": 404}])
    found = store.read(BASE_FILES)
    assert {path: version.content for path, version in found.items()} == BASE_FILES


def test_a_refusal_to_send_so_much_text_at_once_halves_the_question(
    server: DevServer, store: GitLabStore
) -> None:
    """GitLab fails the field, not the request, when blobs are too many megabytes together."""
    refusal = {
        "data": {"projects": {"nodes": [{"repository": {"blobs": None}}]}},
        "errors": [{"message": "Max blobs size limit exceeded (21.1 MB / 20 MB)."}],
    }
    server.set_faults(
        rules=[
            {
                "endpoint": "/api/graphql",
                "action": "status",
                "status": 200,
                "body": refusal,
                "count": 1,
            }
        ]
    )
    found = store.read(BASE_FILES)
    assert {path: version.content for path, version in found.items()} == BASE_FILES
    assert asked(server, "POST /api/graphql") == 3


def test_a_snapshot_is_one_archive_of_one_revision(server: DevServer, store: GitLabStore) -> None:
    """Within the ten requests that a job's reading may cost."""
    snapshot = store.snapshot()
    assert snapshot.revision == commits(server, store)[0]["id"]
    assert asked(server, "GET /projects/:id/repository/archive") == 1


@pytest.mark.parametrize("keep_bytes", [0, 10, 300])
def test_an_archive_that_breaks_off_is_asked_for_again(
    server: DevServer, store: GitLabStore, keep_bytes: int
) -> None:
    """Half a project must never look like a whole one."""
    server.set_faults(
        rules=[
            {"endpoint": "*/archive", "action": "truncate", "keep_bytes": keep_bytes, "count": 2}
        ]
    )
    assert NOTEBOOK in store.snapshot().files
    assert asked(server, "GET /projects/:id/repository/archive") == 3


def test_an_archive_beyond_the_rate_limit_is_waited_for(
    server: DevServer, store: GitLabStore
) -> None:
    """The server says for how long."""
    body = {
        "message": {"error": "This archive has been requested too many times. Try again later."}
    }
    server.set_faults(
        rules=[
            {
                "endpoint": "*/archive",
                "action": "status",
                "status": 429,
                "body": body,
                "headers": {"Retry-After": "0"},
                "count": 1,
            }
        ]
    )
    assert NOTEBOOK in store.snapshot().files


def test_a_large_repository_is_read_folder_by_folder(server: DevServer, tmp_path: Path) -> None:
    """With the same result, but without what nobody needs."""
    whole = special(server, "big", tmp_path)
    limited = GitLabStore(whole._session, whole.project, whole._transfer, whole_archive_bytes=200)
    clear(server)
    assert limited.snapshot().files == whole.snapshot().files
    assert asked(server, "GET /projects/:id/repository/archive") == 1 + 2 + 1


def test_names_in_any_script_survive_every_way_of_reading(
    server: DevServer, store: GitLabStore
) -> None:
    """A file name is text in the user's language."""
    paths = ["files/target/Génesis-ንጉሥ 1.codex", "files/target/50%.codex"]
    store.commit([Create(path, b'{"a": "\xd0\x96"}') for path in paths], "names")
    assert set(store.read(paths)) == set(paths)
    assert set(store.read(paths[:1])) == set(paths[:1])
    assert set(paths) <= set(store.snapshot().files)


def test_of_two_commits_from_one_reading_the_second_is_told(
    server: DevServer, store: GitLabStore
) -> None:
    """A create that meets a file is a lost claim, not an error of the network."""
    store.commit(CREATE, "first")
    with pytest.raises(AlreadyExists):
        store.commit(CREATE, "second")


def test_the_pointer_trap_is_avoided_even_where_every_path_is_marked(
    server: DevServer, store: GitLabStore, tmp_path: Path
) -> None:
    """With `*` in the attributes there is no unmarked name to create a pointer under."""
    store.commit(
        [Update(".gitattributes", b"gpu_jobs/** filter=lfs diff=lfs merge=lfs -text\n")], "mark"
    )
    model = tmp_path / "model.pt"
    model.write_bytes(b"weights" * 100)
    pointer = store.send_objects([model], lambda _done, _total: None)[model]
    path = "gpu_jobs/job_a/checkpoint/model.pt"
    store.commit([CreatePointer(path, pointer)], "publish")
    assert store.read([path])[path].content == pointer.text()
