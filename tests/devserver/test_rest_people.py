"""Branches, protection, members, and what is told about pushes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from support.devserver import DevServer
from support.gitlab_schemas import check_entity, check_response
from support.rest_api import Api, NewRepo, Repo

PROJECT = "/api/v4/projects/{id}"
BRANCHES = "/repository/branches"


def user_id(server: DevServer, username: str) -> int:
    """Return a user's id, as a client finds it."""
    found = Api(server, "worker").get("users", params={"username": username}).json()
    return int(found[0]["id"])


def test_a_branch_tells_what_one_may_do_with_it(new_repo: NewRepo) -> None:
    """The same branch for a developer and a maintainer."""
    repo = new_repo(protected={"main": 40})
    body = repo.get(f"{BRANCHES}/main").json()
    check_response(f"GET {PROJECT}{BRANCHES}/{{branch}}", 200, body)
    check_entity("branch.json", body)
    assert body["commit"]["id"] == repo.head()
    assert (body["default"], body["protected"], body["can_push"]) == (True, True, False)
    assert repo.as_user("translator").get(f"{BRANCHES}/main").json()["can_push"] is True


def test_branches_are_listed_and_asked_for_by_head(repo: Repo) -> None:
    """HEAD answers 204 or 404 without a body."""
    listed = repo.get(BRANCHES).json()
    check_response(f"GET {PROJECT}{BRANCHES}", 200, listed)
    assert [branch["name"] for branch in listed] == ["main"]
    assert repo("HEAD", f"{BRANCHES}/main").status_code == 204
    assert repo("HEAD", f"{BRANCHES}/nope").status_code == 404
    answer = repo.get(f"{BRANCHES}/nope")
    assert (answer.status_code, answer.json()) == (404, {"message": "404 Branch Not Found"})


def test_branches_come_and_go(repo: Repo) -> None:
    """A slash in the name is encoded; the default branch stays."""
    params = {"branch": "wip/a", "ref": "main"}
    made = repo("POST", BRANCHES, params=params)
    assert made.status_code == 201
    assert repo.get(f"{BRANCHES}/wip%2Fa").json()["name"] == "wip/a"
    again = repo("POST", BRANCHES, params=params)
    assert (again.status_code, again.json()) == (400, {"message": "Branch already exists"})
    bad = repo("POST", BRANCHES, params={"branch": "b", "ref": "nope"})
    text = "Failed to create branch 'b': invalid reference name 'nope'"
    assert (bad.status_code, bad.json()) == (400, {"message": text})
    assert repo("DELETE", f"{BRANCHES}/wip%2Fa").status_code == 204
    assert repo("DELETE", f"{BRANCHES}/wip%2Fa").status_code == 404
    assert repo("DELETE", f"{BRANCHES}/main").status_code == 405


def test_maintainers_protect_branches(repo: Repo) -> None:
    """From then on developers are refused, until the protection ends."""
    maintainer = repo.as_user("translator")
    assert repo("POST", "/protected_branches", json={"name": "main"}).status_code == 403
    made = maintainer("POST", "/protected_branches", json={"name": "main"})
    assert made.status_code == 201
    check_response(f"POST {PROJECT}/protected_branches", 201, made.json())
    assert repo.get(f"{BRANCHES}/main").json()["can_push"] is False
    assert len(maintainer.get("/protected_branches").json()) == 1
    assert maintainer("DELETE", "/protected_branches/main").status_code == 204
    assert repo.get(f"{BRANCHES}/main").json()["can_push"] is True
    assert maintainer.get("/protected_branches/main").status_code == 404


def test_members_are_listed(repo: Repo) -> None:
    """Direct ones, which here are all."""
    for path in ("/members", "/members/all"):
        body = repo.get(path).json()
        check_entity("members.json", body)
        check_response(f"GET {PROJECT}{path}", 200, body)
        levels = {member["username"]: member["access_level"] for member in body}
        assert levels == {"translator": 40, "worker": 30, "guest": 10}
    one = repo.get(f"/members/all/{user_id(repo.server, 'worker')}").json()
    assert one["access_level"] == 30


def test_a_maintainer_adds_members_up_to_their_own_level(repo: Repo) -> None:
    """The project becomes visible to the new member at once."""
    maintainer, stranger = repo.as_user("translator"), repo.as_user("stranger")
    body = {"user_id": user_id(repo.server, "stranger"), "access_level": 30}
    assert repo("POST", "/members", json=body).status_code == 403
    assert maintainer("POST", "/members", json={**body, "access_level": 50}).status_code == 403
    assert maintainer("POST", "/members", json={**body, "access_level": 31}).status_code == 400
    assert stranger.get().status_code == 404
    made = maintainer("POST", "/members", json=body)
    assert made.status_code == 201
    check_response(f"POST {PROJECT}/members", 201, made.json())
    assert maintainer("POST", "/members", json=body).status_code == 409
    assert stranger.get("/repository/tree").status_code == 200
    change = maintainer("PUT", f"/members/{body['user_id']}", json={"access_level": 10})
    assert change.json()["access_level"] == 10
    assert stranger.get("/repository/tree").status_code == 403


def test_a_member_may_leave_but_not_remove_others(repo: Repo) -> None:
    """A worker can end its own membership."""
    me, other = user_id(repo.server, "worker"), user_id(repo.server, "translator")
    assert repo("DELETE", f"/members/{other}").status_code == 403
    assert repo("DELETE", f"/members/{me}").status_code == 204
    assert repo.get().status_code == 404
    gone = repo.as_user("translator")("DELETE", f"/members/{me}")
    assert (gone.status_code, gone.json()) == (404, {"message": "404 Not found"})


def test_pushes_show_as_events_of_all_projects(new_repo: NewRepo) -> None:
    """Newest first, with ref and commits, for everyone who belongs to the project."""
    first, second = new_repo(), new_repo()
    action = {"action": "create", "file_path": "a", "content": ""}
    before = first.head()
    first.commit(action)
    second.commit(action, branch="new", start_branch="main")
    api = first.as_user("translator").api
    body = api.get("events", params={"scope": "all", "action": "pushed", "per_page": 2}).json()
    check_response("GET /api/v4/events", 200, body)
    assert [event["project_id"] for event in body] == [second.project.id, first.project.id]
    assert body[0]["push_data"]["action"] == "created"
    assert body[1]["push_data"]["commit_from"] == before
    assert body[1]["push_data"]["commit_to"] == first.head()
    assert body[1]["push_data"]["commit_count"] == 1
    assert [event["id"] for event in first.get("/events").json()] == [body[1]["id"]]
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).date().isoformat()
    assert first.get("/events", params={"after": tomorrow}).json() == []
    assert first.get("/events", params={"before": tomorrow}).json() != []


def test_two_refs_can_be_compared(repo: Repo) -> None:
    """The commits in between, oldest first, and the sum of their changes."""
    old = repo.head()
    for name in ("a", "b"):
        repo.commit({"action": "create", "file_path": name, "content": "x"}, commit_message=name)
    body = repo.get("/repository/compare", params={"from": old, "to": "main"}).json()
    check_response(f"GET {PROJECT}/repository/compare", 200, body)
    assert [commit["title"] for commit in body["commits"]] == ["a", "b"]
    assert {entry["new_path"] for entry in body["diffs"]} == {"a", "b"}
    missing = repo.get("/repository/compare", params={"from": "nope", "to": "main"})
    assert (missing.status_code, missing.json()) == (404, {"message": "404 Ref Not Found"})


@pytest.mark.parametrize(
    ("age", "moves"), [(timedelta(minutes=59), False), (timedelta(hours=1), True)]
)
def test_activity_moves_only_once_an_hour(repo: Repo, age: timedelta, *, moves: bool) -> None:
    """So a push shortly after another one does not show in `last_activity_at`."""
    world = repo.server.world
    assert world is not None
    world.touch(repo.project, datetime.now(UTC) - age)
    before = repo.get().json()["last_activity_at"]
    repo.commit({"action": "create", "file_path": "a", "content": ""})
    assert (repo.get().json()["last_activity_at"] != before) == moves
