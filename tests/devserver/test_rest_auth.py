"""Tokens, scopes, visibility, and what every answer carries."""

from __future__ import annotations

import json

import pytest
from support.devserver import DevServer
from support.gitlab_schemas import check_entity, check_response
from support.rest_api import Api, NewRepo, Repo

UNAUTHORIZED = {"message": "401 Unauthorized"}


def test_the_current_user_is_described_as_gitlab_does(server: DevServer) -> None:
    """The start-up question of every client."""
    answer = Api(server, "worker").get("user")
    assert answer.status_code == 200
    check_response("GET /api/v4/user", 200, answer.json())
    check_entity("user/public.json", answer.json())
    assert answer.json()["username"] == "worker"
    assert "is_admin" not in answer.json()


def test_an_administrator_is_told_so(server: DevServer) -> None:
    """Only administrators see `is_admin`."""
    assert Api(server, "admin").get("user").json()["is_admin"] is True


@pytest.mark.parametrize("place", ["private-token", "bearer", "query"])
def test_a_token_is_accepted_in_three_places(server: DevServer, place: str) -> None:
    """Header, Bearer and query are equal."""
    token = server.token("worker")
    api = Api(server)
    options = {
        "private-token": {"headers": {"PRIVATE-TOKEN": token}},
        "bearer": {"headers": {"Authorization": f"Bearer {token}"}},
        "query": {"params": {"private_token": token}},
    }[place]
    assert api.get("user", **options).json()["username"] == "worker"


def test_the_token_describes_itself(server: DevServer) -> None:
    """Scopes and expiry in one call."""
    body = Api(server, token="dated").get("personal_access_tokens/self").json()
    check_response("GET /api/v4/personal_access_tokens/self", 200, body)
    assert body["scopes"] == ["api"]
    assert body["expires_at"] == "2999-12-31"
    assert body["active"] is True


@pytest.mark.parametrize("token", ["read-api", "read-repository", "write-repository", "read-user"])
def test_any_scope_may_ask_about_its_token(server: DevServer, token: str) -> None:
    """A client can learn that its token is too small."""
    body = Api(server, token=token).get("personal_access_tokens/self").json()
    assert body["scopes"] == [token.replace("-", "_")]


def test_no_token_and_an_unknown_one_are_unauthorized(server: DevServer) -> None:
    """Neither says whether anything exists."""
    for api in (Api(server), Api(server, token="nonsense")):
        answer = api.get("user")
        assert (answer.status_code, answer.json()) == (401, UNAUTHORIZED)


@pytest.mark.parametrize(
    ("token", "description"),
    [
        ("expired", "Token is expired. You can either do re-authorization or token refresh."),
        ("revoked", "Token was revoked. You have to re-authorize from the user."),
    ],
)
def test_a_dead_token_says_why(server: DevServer, token: str, description: str) -> None:
    """Expired and revoked tokens are told apart, with a challenge."""
    answer = Api(server, token=token).get("user")
    assert answer.status_code == 401
    assert answer.json() == {"error": "invalid_token", "error_description": description}
    assert answer.headers["WWW-Authenticate"].startswith("Bearer realm=")
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


def test_a_blocked_user_is_refused(server: DevServer) -> None:
    """The token is fine, the user is not."""
    answer = Api(server, "blocked").get("user")
    assert answer.status_code == 403
    assert answer.json() == {"message": "403 Forbidden - Your account has been blocked."}


def test_a_token_without_the_scope_is_told_which_would_do(new_repo: NewRepo) -> None:
    """Git-only tokens open nothing in the API."""
    repo = new_repo(members={"limited": 40}).as_user(token="write-repository")
    action = {"action": "create", "file_path": "a", "content": ""}
    answer = repo.commit(action)
    assert answer.status_code == 403
    assert answer.json()["error"] == "insufficient_scope"
    assert answer.json()["scope"] == "api"
    assert repo.get().json()["scope"] == "api read_api"


def test_read_repository_opens_files_only(new_repo: NewRepo) -> None:
    """The scope covers the files endpoints and no others."""
    repo = new_repo(members={"limited": 40}).as_user(token="read-repository")
    assert repo.file("GET", "README.md", params={"ref": "main"}).status_code == 200
    assert repo.file("HEAD", "README.md", params={"ref": "main"}).status_code == 200
    assert repo.file("GET", "README.md", "/raw").status_code == 200
    assert repo.get("/repository/tree").status_code == 403


def test_read_api_reads_and_never_writes(new_repo: NewRepo) -> None:
    """Reading scopes stop at GET and HEAD."""
    repo = new_repo(members={"limited": 40}).as_user(token="read-api")
    assert repo.get("/repository/tree").status_code == 200
    body = {"branch": "main", "commit_message": "x", "content": ""}
    assert repo.file("POST", "new", json=body).status_code == 403


def test_an_invisible_project_does_not_exist(repo: Repo) -> None:
    """404 and not 403: existence is not told."""
    for outsider in (repo.as_user("stranger"), repo.as_user()):
        answer = outsider.get()
        assert (answer.status_code, answer.json()) == (404, {"message": "404 Project Not Found"})


def test_a_guest_sees_the_project_but_no_code(repo: Repo) -> None:
    """Visible, yet every repository endpoint is forbidden."""
    guest = repo.as_user("guest")
    assert "default_branch" not in guest.get().json()
    for path in ("/repository/tree", "/repository/commits", "/repository/branches"):
        answer = guest.get(path)
        assert (answer.status_code, answer.json()) == (403, {"message": "403 Forbidden"})


def test_a_public_project_is_readable_without_a_token_but_not_writable(new_repo: NewRepo) -> None:
    """Anyone reads, writers sign in."""
    anyone = new_repo(visibility="public").as_user()
    assert anyone.get("/repository/tree").status_code == 200
    answer = anyone.commit({"action": "create", "file_path": "a", "content": ""})
    assert (answer.status_code, answer.json()) == (401, UNAUTHORIZED)


def test_unknown_routes_and_verbs_are_refused_as_grape_does(server: DevServer) -> None:
    """The `error` shape, and 410 for v3."""
    api = Api(server, "worker")
    missing = api.get("nothing/here")
    assert (missing.status_code, missing.json()) == (404, {"error": "404 Not Found"})
    assert api("DELETE", "nothing/here").status_code == 404
    wrong = api("DELETE", "user")
    assert (wrong.status_code, wrong.json()) == (405, {"error": "405 Not Allowed"})
    old = api.session.get(f"{server.url}/api/v3/user", timeout=10)
    assert old.status_code == 410


def test_every_answer_carries_the_standard_headers(server: DevServer) -> None:
    """On success and on refusal."""
    for answer in (Api(server, "worker").get("user"), Api(server).get("user")):
        meta = json.loads(answer.headers["X-Gitlab-Meta"])
        assert meta["correlation_id"] == answer.headers["X-Request-Id"]
        assert float(answer.headers["X-Runtime"]) >= 0
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "SAMEORIGIN"
        assert answer.headers["Vary"] == "Origin"
        assert "Date" in answer.headers


def test_a_known_body_is_not_sent_again(repo: Repo) -> None:
    """ETag and 304 over the body of JSON answers."""
    first = repo.get("/repository/branches/main")
    tag = first.headers["ETag"]
    assert tag.startswith('W/"')
    assert first.headers["Cache-Control"] == "max-age=0, private, must-revalidate"
    again = repo.get("/repository/branches/main", headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")
    repo.commit({"action": "create", "file_path": "new", "content": ""})
    changed = repo.get("/repository/branches/main", headers={"If-None-Match": tag})
    assert changed.status_code == 200
    assert changed.headers["ETag"] != tag


def test_a_refusal_and_a_raw_body_have_no_etag(repo: Repo) -> None:
    """Only bodies that Rails sends whole are tagged."""
    assert "ETag" not in repo.get("/repository/branches/nope").headers
    raw = repo.file("GET", "README.md", "/raw")
    assert "ETag" not in raw.headers
    assert "no-store" in raw.headers["Cache-Control"]
    assert raw.headers["Expires"].endswith("1990 00:00:00 GMT")
    assert "ETag" not in repo.file("HEAD", "README.md", params={"ref": "main"}).headers


def test_a_project_is_found_by_id_and_by_encoded_path(repo: Repo) -> None:
    """A bare slash matches no route."""
    by_path = repo.api.get(f"projects/{repo.project.path.replace('/', '%2F')}")
    assert by_path.json()["id"] == repo.project.id
    assert repo.api.get(f"projects/{repo.project.path}").status_code == 404
