"""Size limits, throttles and application limits, each on a server of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from support.devserver import DevServer, project, write_world
from support.rest_api import Api, Repo

Limited = Callable[..., Repo]
TOO_MANY = {
    "message": {"error": "This endpoint has been requested too many times. Try again later."}
}


@pytest.fixture
def limited(tmp_path: Path) -> Iterator[Limited]:
    """Start a server with these limits."""
    servers: list[DevServer] = []

    def start(**limits: Any) -> Repo:
        config = write_world(tmp_path, projects=[project("a/b", {"f": "0"})], limits=limits)
        server = DevServer(tmp_path / "root", config, in_process=True)
        servers.append(server)
        assert server.world is not None
        return Repo(server, server.world.projects[0], Api(server, "worker"))

    yield start
    for server in servers:
        server.stop()


def test_a_body_above_the_limit_is_refused_in_plain_text(limited: Limited) -> None:
    """Whether its length is announced or not; the connection serves on."""
    repo = limited(max_request_bytes=1000)
    action = {"action": "create", "file_path": "big", "content": "x" * 2000}
    body = {"branch": "main", "commit_message": "x", "actions": [action]}
    text = json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    for data in (text, iter([text[:900], text[900:]])):
        answer = repo("POST", "/repository/commits", data=data, headers=headers)
        assert answer.status_code == 413
        assert answer.headers["Content-Type"].startswith("text/plain")
        assert answer.text == (
            f"RequestBody: upload failed: the upload size {len(text)} is over maximum of 1000 "
            "bytes: entity is too large"
        )
    assert repo.get().status_code == 200
    assert repo.file("POST", "small", json={**body, "content": "x"}).status_code == 413
    assert repo.commit({**action, "content": "x"}).status_code == 201


def test_a_throttle_refuses_in_plain_text_and_says_when_to_return(limited: Limited) -> None:
    """Per user; every counted answer tells how much is left."""
    repo = limited(throttle_api={"requests": 3, "period_s": 86400})
    for remaining in (2, 1, 0):
        answer = repo.get()
        assert answer.status_code == 200
        assert answer.headers["RateLimit-Remaining"] == str(remaining)
    refused = repo.get()
    assert (refused.status_code, refused.text) == (429, "Retry later\n")
    assert refused.headers["Content-Type"].startswith("text/plain")
    assert refused.headers["RateLimit-Name"] == "throttle_authenticated_api"
    assert refused.headers["RateLimit-Observed"] == "4"
    assert refused.headers["RateLimit-Limit"] == "1"
    assert 0 < int(refused.headers["Retry-After"]) <= 86400
    assert refused.headers["RateLimit-ResetTime"].endswith("GMT")
    assert repo.as_user("translator").get().status_code == 200


def test_files_are_counted_apart(limited: Limited) -> None:
    """Instead of the API throttle, not on top of it."""
    day = 86400
    repo = limited(
        throttle_api={"requests": 1, "period_s": day},
        throttle_files_api={"requests": 2, "period_s": day},
    )
    statuses = [repo.file("GET", "f", params={"ref": "main"}).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]
    assert [repo.get().status_code for _ in range(2)] == [200, 429]


def test_git_traffic_has_throttles_of_its_own(limited: Limited) -> None:
    """Signed by Basic authentication."""
    repo = limited(throttle_git_http={"requests": 1, "period_s": 86400})
    url = f"{repo.server.url}/a/b.git/info/refs?service=git-upload-pack"
    auth = ("oauth2", repo.server.token("worker"))
    statuses = [requests.get(url, auth=auth, timeout=10).status_code for _ in range(2)]
    assert statuses == [200, 429]


def test_headers_before_18_6_come_with_the_refusal_only(limited: Limited) -> None:
    """A switch for the older behaviour."""
    rate = {"requests": 1, "period_s": 86400}
    repo = limited(throttle_api=rate, rate_limit_headers=False)
    assert "RateLimit-Limit" not in repo.get().headers
    assert "RateLimit-Limit" in repo.get().headers


def test_application_limits_answer_in_json(limited: Limited) -> None:
    """Each endpoint its own, with the window as `Retry-After`."""
    repo = limited(
        application_limits=True,
        project_show={"requests": 2, "period_s": 86400},
        archive={"requests": 1, "period_s": 86400},
    )
    assert [repo.get().status_code for _ in range(2)] == [200, 200]
    refused = repo.get()
    assert (refused.status_code, refused.json()) == (429, TOO_MANY)
    assert refused.headers["Retry-After"] == "86400"
    assert repo.get("/repository/archive").status_code == 200
    again = repo.get("/repository/archive").json()
    assert again["message"]["error"].startswith("This archive has been requested too many times")
    assert repo.get("/repository/tree").status_code == 200


def test_nothing_is_counted_by_default(repo: Repo) -> None:
    """A test run may poll as it likes."""
    assert "RateLimit-Limit" not in repo.get().headers
    assert {repo.get("/repository/archive").status_code for _ in range(10)} == {200}
