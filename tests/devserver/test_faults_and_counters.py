"""The server misbehaves exactly as told, and says what it was asked."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from support.devserver import DevServer, project, write_world
from support.git_client import Git

COMMITS = "projects/bible%2Fdemo/repository/commits"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    """A server of this module's own: faults hit everyone on it."""
    directory = tmp_path_factory.mktemp("faults")
    config = write_world(directory, projects=[project("bible/demo")])
    with DevServer(directory / "root", config, in_process=True) as running:
        yield running


@pytest.fixture
def server(shared: DevServer) -> Iterator[DevServer]:
    """The server, without faults and with counters at zero."""
    for path in ("faults", "requests"):
        requests.delete(f"{shared.url}/-/{path}", timeout=10).raise_for_status()
    yield shared
    requests.delete(f"{shared.url}/-/faults", timeout=10)


def get(server: DevServer, path: str = "user") -> requests.Response:
    """Ask the API something as the worker."""
    return requests.get(server.api(path), headers=server.headers("worker"), timeout=10)


def create(server: DevServer, path: str) -> requests.Response:
    """Commit a new file as the worker."""
    action = {"action": "create", "file_path": path, "content": "x"}
    body = {"branch": "main", "commit_message": "m", "actions": [action]}
    headers = server.headers("worker")
    return requests.post(server.api(COMMITS), json=body, headers=headers, timeout=10)


def tally(server: DevServer, name: str) -> dict[str, Any]:
    """Return what was counted for one endpoint."""
    found: dict[str, Any] = server.requests()["endpoints"][name]
    return found


def test_a_forced_status_carries_body_and_headers_and_ends_by_itself(server: DevServer) -> None:
    """The endpoint does not run; after `count` requests all is well again."""
    server.set_faults(
        action="status",
        status=429,
        body="Retry later\n",
        headers={"Retry-After": "7"},
        method="POST",
        endpoint="/projects/:id/repository/commits",
        count=1,
    )
    assert get(server).status_code == 200
    refused = create(server, "forced.txt")
    assert (refused.status_code, refused.text, refused.headers["Retry-After"]) == (
        429,
        "Retry later\n",
        "7",
    )
    assert create(server, "forced.txt").status_code == 201


def test_a_forced_redirect_may_lead_back_to_the_address_that_was_asked(server: DevServer) -> None:
    """`{url}` stands for it, with its query; the second request is let through."""
    headers = {"Location": "{url}"}
    server.set_faults(action="status", status=302, headers=headers, count=1)
    found = get(server, "projects?simple=true")
    assert found.status_code == 200
    assert [reply.headers["Location"] for reply in found.history] == [
        "/api/v4/projects?simple=true"
    ]


def test_a_forced_body_may_be_json(server: DevServer) -> None:
    """As GitLab's own application limits answer."""
    server.set_faults(action="status", status=503, body={"message": "exhausted"})
    assert get(server).json() == {"message": "exhausted"}


def test_a_dropped_request_never_reaches_its_endpoint(server: DevServer) -> None:
    """The connection closes without a byte, and nothing was committed."""
    server.set_faults(action="drop", endpoint="/projects/:id/repository/commits", count=1)
    with pytest.raises(requests.ConnectionError):
        create(server, "dropped.txt")
    assert create(server, "dropped.txt").status_code == 201


def test_a_lost_reply_leaves_the_commit_behind(server: DevServer) -> None:
    """The retry meets its own success: the outcome a client must be able to survive."""
    server.set_faults(action="lose_reply", method="POST", count=1)
    with pytest.raises(requests.ConnectionError):
        create(server, "lost.txt")
    retried = create(server, "lost.txt")
    assert retried.status_code == 400
    assert retried.json() == {"message": "A file with this name already exists"}


@pytest.mark.parametrize("keep_bytes", [0, 10, 10_000_000])
def test_a_truncated_reply_promises_more_than_it_sends(server: DevServer, keep_bytes: int) -> None:
    """The client sees its connection end in the middle of the body, however long that is."""
    server.set_faults(action="truncate", keep_bytes=keep_bytes, count=1)
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="IncompleteRead"):
        get(server)
    assert get(server).status_code == 200


def test_latency_comes_before_the_answer(server: DevServer) -> None:
    """The answer itself is untouched."""
    server.set_faults(latency_s=0.3, count=1)
    started = time.monotonic()
    assert get(server).status_code == 200
    assert time.monotonic() - started >= 0.3


def test_a_rule_may_let_some_requests_through_first(server: DevServer) -> None:
    """`skip` aims at the n-th request."""
    server.set_faults(action="status", status=500, skip=2, count=1)
    assert [get(server).status_code for _ in range(5)] == [200, 200, 500, 200, 200]


def test_chance_is_the_same_every_time(server: DevServer) -> None:
    """A seed makes a flaky server reproducible."""
    rounds = []
    for _ in range(2):
        requests.delete(f"{server.url}/-/faults", timeout=10)
        server.set_faults(action="status", status=500, probability=0.5, seed=3)
        rounds.append([get(server).status_code for _ in range(20)])
    assert rounds[0] == rounds[1]
    assert set(rounds[0]) == {200, 500}


def test_the_first_rule_that_fires_decides(server: DevServer) -> None:
    """Several rules at once; the switch tells how often each fired."""
    rules = [
        {"action": "status", "status": 502, "endpoint": "/api/v4/user", "count": 1},
        {"action": "status", "status": 504, "method": "GET"},
    ]
    requests.post(f"{server.url}/-/faults", json=rules, timeout=10).raise_for_status()
    assert [get(server).status_code for _ in range(2)] == [502, 504]
    shown = requests.get(f"{server.url}/-/faults", timeout=10).json()["rules"]
    assert [(rule["seen"], rule["fired"]) for rule in shown] == [(2, 1), (1, 1)]


@pytest.mark.parametrize(
    "rule", [{"action": "explode"}, {"latency_s": -1}, {"statsu": 500}, [1], "nonsense"]
)
def test_a_rule_that_makes_no_sense_is_refused(server: DevServer, rule: object) -> None:
    """With the reason, and without effect."""
    refused = requests.post(f"{server.url}/-/faults", json=rule, timeout=10)
    assert refused.status_code == 400
    assert refused.json()["error"]
    assert get(server).status_code == 200


def test_faults_of_the_world_file_are_on_from_the_start(tmp_path_factory: Any) -> None:
    """The `[faults]` table takes the same rules."""
    directory = tmp_path_factory.mktemp("configured")
    rule = {"action": "status", "status": 418, "count": 1}
    config = write_world(directory, faults={"rules": [rule]})
    with DevServer(directory / "root", config, in_process=True) as server:
        assert [get(server).status_code for _ in range(2)] == [418, 200]


def test_each_endpoint_is_counted_under_one_name(server: DevServer, git: Git) -> None:
    """Whatever its parameters; with statuses and bytes."""
    get(server)
    get(server, "projects/1")
    get(server, "projects/bible%2Fdemo")
    get(server, "projects/1/repository/files/no%2Fsuch.txt/raw?ref=main")
    create(server, "counted.txt")
    requests.post(f"{server.url}/api/graphql", json={"query": "{ a }"}, timeout=10)
    requests.post(f"{server.url}/bible/demo.git/info/lfs/objects/batch", json={}, timeout=10)
    git.clone(server.clone_url("worker", "bible/demo"))
    counted = server.requests()
    requests_of = {name: tally["requests"] for name, tally in counted["endpoints"].items()}
    # git asks without credentials first.
    assert requests_of.pop("git info/refs") in (1, 2)
    assert requests_of.pop("git-upload-pack") in (1, 2)
    assert requests_of == {
        "GET /user": 1,
        "GET /projects/:id": 2,
        "GET /projects/:id/repository/files/:path/raw": 1,
        "POST /projects/:id/repository/commits": 1,
        "POST /api/graphql": 1,
        "POST lfs batch": 1,
    }
    assert counted["total"] == sum(tally["requests"] for tally in counted["endpoints"].values())
    assert tally(server, "GET /projects/:id")["statuses"] == {"200": 2}
    assert tally(server, "POST lfs batch")["statuses"] == {"401": 1}
    assert tally(server, "POST /projects/:id/repository/commits")["bytes_in"] > 50
    assert tally(server, "git-upload-pack")["bytes_out"] > 100


def test_unanswered_requests_are_counted_and_a_reset_forgets_all(server: DevServer) -> None:
    """A test can tell how often a client really tried."""
    server.set_faults(action="drop", count=1)
    with pytest.raises(requests.ConnectionError):
        get(server)
    get(server)
    assert tally(server, "GET /user")["statuses"] == {"none": 1, "200": 1}
    requests.delete(f"{server.url}/-/requests", timeout=10)
    assert server.requests() == {"total": 0, "endpoints": {}}


@pytest.fixture
def git(tmp_path_factory: pytest.TempPathFactory) -> Git:
    """Git with a home of its own."""
    return Git(tmp_path_factory.mktemp("git"))
