"""Reading commits: lists, details, differences."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from support.commit_requests import (
    COMMITS,
    create,
    move,
    refused,
    update,
)
from support.gitlab_schemas import check_entity, check_response
from support.rest_api import Repo


def test_commits_are_listed_newest_first_and_never_counted(repo: Repo) -> None:
    """A full page promises another one, which may be empty."""
    made = [repo.commit(create(f"f{number}")).json()["id"] for number in range(5)]
    answer = repo.get("/repository/commits", params={"per_page": 3})
    check_response(f"GET {COMMITS}", 200, answer.json())
    assert [commit["id"] for commit in answer.json()] == made[:1:-1]
    assert answer.headers["X-Next-Page"] == "2"
    assert not {"X-Total", "X-Total-Pages"} & set(answer.headers)
    assert "last" not in answer.links
    second = repo.api.session.get(answer.links["next"]["url"], timeout=10)
    assert len(second.json()) == 3
    third = repo.api.session.get(second.links["next"]["url"], timeout=10)
    assert (third.json(), third.headers["X-Next-Page"]) == ([], "")


def test_commits_can_be_narrowed(repo: Repo) -> None:
    """By path (a folder as well) and by time."""
    touched = repo.commit(update("gpu_jobs/manifest.yaml")).json()["id"]
    repo.commit(create("elsewhere"))
    for path in ("gpu_jobs/manifest.yaml", "gpu_jobs"):
        found = repo.get("/repository/commits", params={"path": path, "per_page": 1}).json()
        assert [commit["id"] for commit in found] == [touched]
    assert repo.get("/repository/commits", params={"path": "never"}).json() == []
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    assert repo.get("/repository/commits", params={"since": tomorrow}).json() == []
    assert len(repo.get("/repository/commits", params={"until": tomorrow}).json()) == 3
    found = repo.get("/repository/commits", params={"with_stats": "true"}).json()
    assert found[0]["stats"]["additions"] == 1


def test_an_unknown_ref_has_no_commits_and_a_malformed_one_is_refused(repo: Repo) -> None:
    """An empty list is not an error here."""
    assert repo.get("/repository/commits", params={"ref_name": "nope"}).json() == []
    answer = repo.get("/repository/commits", params={"ref_name": "-x"})
    assert refused(answer, "ref_name is invalid")


def test_a_commit_is_shown_by_any_name(repo: Repo) -> None:
    """Full id, short id, branch, HEAD."""
    head = repo.head()
    for name in (head, head[:8], "main", "HEAD"):
        body = repo.get(f"/repository/commits/{name}").json()
        check_response(f"GET {COMMITS}/{{sha}}", 200, body)
        check_entity("commit/detail.json", body)
        assert body["id"] == head
    assert refused(repo.get("/repository/commits/nope"), "404 Commit Not Found", 404)


def test_a_diff_tells_what_a_commit_changed(repo: Repo) -> None:
    """File by file, with hunks and renames."""
    repo.commit(update("README.md", "# John\n"), move("gpu_jobs/manifest.yaml", "m.yaml"))
    found = repo.get("/repository/commits/main/diff").json()
    check_response(f"GET {COMMITS}/{{sha}}/diff", 200, found)
    by_path = {entry["new_path"]: entry for entry in found}
    assert by_path["README.md"]["diff"] == "@@ -1 +1 @@\n-# Luke\n+# John\n"
    assert by_path["m.yaml"]["renamed_file"] is True
