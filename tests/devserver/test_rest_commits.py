"""Commits by actions: what each action does, what it refuses, and that nothing is done by halves."""

from __future__ import annotations

import base64
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from support.commit_requests import (
    COMMITS,
    EXISTS,
    MISSING,
    chmod,
    create,
    delete,
    move,
    refused,
    update,
)
from support.gitlab_schemas import check_entity, check_response
from support.rest_api import NewRepo, Repo


def test_a_commit_is_answered_with_its_detail(repo: Repo) -> None:
    """201, whatever the published document says, and built on the head before."""
    before = repo.head()
    answer = repo.commit(create("a.txt", "one\ntwo\n"))
    body = answer.json()
    assert answer.status_code == 201
    check_response(f"POST {COMMITS}", 201, body)
    check_entity("commit/detail.json", body)
    assert body["id"] == repo.head()
    assert body["parent_ids"] == [before]
    assert body["stats"] == {"additions": 2, "deletions": 0, "total": 2}
    assert body["author_name"] == body["committer_name"] == "worker"


def test_the_dates_of_a_commit_are_the_servers(repo: Repo) -> None:
    """Comparable with the `Date` header, to the second."""
    answer = repo.commit(create("a.txt"))
    committed = datetime.fromisoformat(answer.json()["committed_date"])
    assert abs(parsedate_to_datetime(answer.headers["Date"]) - committed) <= timedelta(seconds=2)


def test_author_and_statistics_are_optional(repo: Repo) -> None:
    """The committer stays the user."""
    answer = repo.commit(
        create("a.txt"), author_name="Ann", author_email="ann@example.com", stats=False
    )
    body = answer.json()
    assert (body["author_name"], body["author_email"]) == ("Ann", "ann@example.com")
    assert body["committer_name"] == "worker"
    assert "stats" not in body


def test_each_action_does_its_work(repo: Repo) -> None:
    """All five kinds in one commit, in both encodings."""
    answer = repo.commit(
        create("dir/new.txt", base64.b64encode(b"\0bytes").decode(), encoding="base64"),
        update("README.md", "changed"),
        move("gpu_jobs/manifest.yaml", "moved.yaml"),
        delete("files/target/LUK.codex"),
        chmod("README.md", executable=True),
    )
    assert answer.status_code == 201
    assert repo.git.read_blob("main", "dir/new.txt")[1] == b"\0bytes"
    assert repo.text("README.md") == "changed"
    assert repo.entry("README.md").mode == "100755"
    assert repo.text("moved.yaml") == "jobs: []\n"
    assert not {"gpu_jobs/manifest.yaml", "files/target/LUK.codex"} & repo.paths()


def test_an_emptied_folder_disappears(repo: Repo) -> None:
    """Git has no empty directories."""
    repo.commit(delete("files/target/LUK.codex"))
    assert repo.git.entry("main", "files") is None


def test_a_folder_is_deleted_whole(repo: Repo) -> None:
    """One action takes everything below the path."""
    repo.commit(create("files/x/deep/er.txt"))
    assert repo.commit(delete("files")).status_code == 201
    assert not any(path.startswith("files/") for path in repo.paths())


def test_a_create_replaces_a_directory_silently(repo: Repo) -> None:
    """Only a file at the path stands in its way."""
    assert repo.commit(create("files", "now a file")).status_code == 201
    assert repo.text("files") == "now a file"
    assert "files/target/LUK.codex" not in repo.paths()


def test_a_move_keeps_mode_and_content_unless_content_is_given(repo: Repo) -> None:
    """Empty content is content."""
    repo.commit(create("run.sh", "#!", execute_filemode=True))
    repo.commit(move("run.sh", "bin/run.sh"))
    assert (repo.text("bin/run.sh"), repo.entry("bin/run.sh").mode) == ("#!", "100755")
    repo.commit(move("bin/run.sh", "empty.sh", content=""))
    assert repo.text("empty.sh") == ""


def test_later_actions_see_earlier_ones(repo: Repo) -> None:
    """Create, then move what was created; create again what was deleted."""
    answer = repo.commit(create("a", "1"), move("a", "b"), delete("README.md"), create("README.md"))
    assert answer.status_code == 201
    assert {"b", "README.md"} <= repo.paths()
    assert "a" not in repo.paths()


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (create("README.md"), EXISTS),
        (update("nope"), MISSING),
        (update("files"), MISSING),
        (delete("nope"), MISSING),
        (chmod("nope", executable=False), MISSING),
        (move("nope", "x"), MISSING),
        (move("README.md", ".gitattributes"), EXISTS),
        (create("a//b"), 'invalid path: "a//b"'),
        (create("../b"), "Path cannot include directory traversal"),
        (create("a/../../b"), "Path cannot include directory traversal"),
        (create(".git/config"), "invalid path: '.git/config'"),
        (create("a/.git/config"), "invalid path: 'a/.git/config'"),
        (create("/"), "You must provide a file path"),
    ],
)
def test_an_impossible_action_is_refused_and_nothing_is_done(
    repo: Repo, action: dict[str, Any], message: str
) -> None:
    """The refusal comes after a good action, which leaves no trace."""
    before = repo.head()
    answer = repo.commit(create("good.txt"), action)
    assert refused(answer, message)
    assert repo.head() == before


def test_a_leading_slash_is_dropped(repo: Repo) -> None:
    """As Gitaly does."""
    repo.commit(create("/root.txt"))
    assert "root.txt" in repo.paths()


def test_guards_assert_without_a_trace(repo: Repo) -> None:
    """Create and delete asserts absence, chmod to the same mode asserts presence."""
    tree = repo.git.commit(repo.head()).tree_id
    assert repo.commit(create("absent"), delete("absent")).status_code == 201
    assert repo.commit(chmod("README.md", executable=False)).status_code == 201
    assert repo.git.commit(repo.head()).tree_id == tree
    assert refused(repo.commit(create("README.md"), delete("README.md")), EXISTS)


def test_identical_content_still_makes_a_commit(repo: Repo) -> None:
    """It touches nothing, and says so."""
    before = repo.head()
    answer = repo.commit(update("README.md", repo.text("README.md") or ""))
    assert answer.status_code == 201
    assert answer.json()["id"] != before
    assert answer.json()["stats"]["total"] == 0


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"branch": None}, "branch is required"),
        ({"commit_message": ""}, "commit_message is required"),
        ({"actions": "x"}, "actions must be an array"),
        ({"actions": ["x"]}, "actions must be an array"),
        ({"actions": []}, "Provide at least one action, or set allow_empty to true"),
        ({"actions": [{"file_path": "a"}]}, "actions[0][action] is required"),
        ({"actions": [{"action": "create"}]}, "actions[0][file_path] is required"),
        (
            {"actions": [create("a"), {"action": "burn", "file_path": "a"}]},
            "actions[1][action] must be one of: create, update, move, delete, chmod",
        ),
        (
            {"actions": [{"action": "update", "file_path": "a"}]},
            "actions[0][content] is required for update action",
        ),
        (
            {"actions": [{"action": "move", "file_path": "a"}]},
            "actions[0][previous_path] is required for move action",
        ),
        (
            {"actions": [{"action": "chmod", "file_path": "a"}]},
            "actions[0][execute_filemode] is required for chmod action",
        ),
        (
            {"actions": [create("a", encoding="rot13")]},
            "actions[0][encoding] must be text or base64",
        ),
        (
            {"start_branch": "main", "start_sha": "0" * 40},
            "start_branch, start_sha are mutually exclusive",
        ),
    ],
)
def test_a_malformed_request_names_the_field(repo: Repo, body: dict[str, Any], reason: str) -> None:
    """In the words of 18.7 and later."""
    answer = repo.commit(create("a"), **body)
    assert refused(answer, f"400 Bad request - {reason}")


def test_what_is_not_json_is_refused_in_both_shapes(repo: Repo) -> None:
    """The one body with `message` and `error`."""
    for text in ("{", "[1]"):
        answer = repo(
            "POST",
            "/repository/commits",
            data=text,
            headers={"Content-Type": "application/json"},
        )
        assert answer.status_code == 400
        assert answer.json() == {"message": "Invalid json", "error": "Invalid json"}


@pytest.mark.parametrize("form", ["data", "files"])
def test_forms_are_understood_as_well(repo: Repo, form: str) -> None:
    """URL-encoded and multipart, with nested actions as Rack nests them."""
    fields = [
        ("branch", "main"),
        ("commit_message", "by form"),
        ("actions[][action]", "create"),
        ("actions[][file_path]", "one"),
        ("actions[][content]", "1"),
        ("actions[][action]", "create"),
        ("actions[][file_path]", "two"),
        ("actions[][content]", "2"),
    ]
    body: Any = [(name, (None, value)) for name, value in fields] if form == "files" else fields
    answer = repo("POST", "/repository/commits", **{form: body})
    assert answer.status_code == 201, answer.text
    assert (repo.text("one"), repo.text("two")) == ("1", "2")


def test_a_commit_without_actions_is_possible_on_request(repo: Repo) -> None:
    """`allow_empty`, since 18.8."""
    before = repo.head()
    assert repo.commit(allow_empty=True).json()["parent_ids"] == [before]


def test_a_stale_hint_is_refused(repo: Repo) -> None:
    """Any commit from the time of reading works as a hint, for as long as the path rests."""
    seen = repo.head()
    repo.commit(create("other"))
    assert repo.commit(update("README.md", "1", last_commit_id=seen)).status_code == 201
    text = "The file has changed since you started editing it: README.md"
    for action in (
        update("README.md", "2", last_commit_id=seen),
        delete("README.md", last_commit_id=seen),
        move("README.md", "x", last_commit_id=seen),
        chmod("README.md", executable=True) | {"last_commit_id": seen},
    ):
        assert refused(repo.commit(action), text)


def test_an_unknown_hint_is_ignored(repo: Repo) -> None:
    """The check is skipped, not failed."""
    answer = repo.commit(update("README.md", "x", last_commit_id="f" * 40))
    assert answer.status_code == 201


def test_a_developer_cannot_push_to_a_protected_branch(new_repo: NewRepo) -> None:
    """Which the branch tells beforehand; a maintainer can."""
    repo = new_repo(protected={"main": 40})
    text = "403 Forbidden - You are not allowed to push into this branch"
    assert refused(repo.commit(create("a")), text, 403)
    body = {"branch": "main", "commit_message": "x", "content": "x"}
    assert refused(repo.file("POST", "a", json=body), text, 403)
    assert repo.get("/repository/branches/main").json()["can_push"] is False
    assert repo.as_user("translator").commit(create("a")).status_code == 201
    assert repo.commit(create("b"), branch="mine", start_branch="main").status_code == 201


def test_nobody_writes_to_an_archived_project(new_repo: NewRepo) -> None:
    """Not even its owner."""
    repo = new_repo(archived=True, members={"worker": 50})
    assert repo.commit(create("a")).status_code == 403
    assert repo.get("/repository/branches/main").json()["can_push"] is False


def test_a_new_branch_starts_where_it_is_told(repo: Repo) -> None:
    """At another branch or at a commit; never by accident."""
    old = repo.head()
    repo.commit(create("later"))
    on = "You can only create or edit files when you are on a branch"
    assert refused(repo.commit(create("a"), branch="new"), on)
    assert repo.commit(create("a"), branch="new", start_branch="main").status_code == 201
    assert {"a", "later"} <= repo.paths("new")
    assert repo.commit(create("b"), branch="older", start_sha=old).json()["parent_ids"] == [old]
    assert "later" not in repo.paths("older")


def test_a_bad_starting_point_is_refused(repo: Repo) -> None:
    """Short, unknown, or for a branch that is there already."""
    head = repo.head()
    short = repo.commit(create("a"), branch="x", start_sha=head[:8])
    assert refused(short, f"Invalid start_sha '{head[:8]}'")
    unknown = repo.commit(create("a"), branch="x", start_sha="f" * 40)
    assert refused(unknown, f"Cannot find start_sha '{'f' * 40}'")
    repo.commit(create("a"), branch="taken", start_branch="main")
    taken = repo.commit(create("b"), branch="taken", start_branch="main")
    assert refused(
        taken,
        "A branch called 'taken' already exists. Switch to that branch in order to make changes",
    )


def test_force_overwrites_a_branch(repo: Repo) -> None:
    """And discards what others did there."""
    old = repo.head()
    repo.commit(create("theirs"))
    answer = repo.commit(create("mine"), start_sha=old, force=True)
    assert answer.status_code == 201
    assert "mine" in repo.paths()
    assert "theirs" not in repo.paths()


def test_the_first_commit_of_an_empty_repository_creates_the_branch(new_repo: NewRepo) -> None:
    """No starting point is needed, and there is no parent."""
    repo = new_repo(None, empty=True)
    assert repo.get("/repository/commits").json() == []
    answer = repo.commit(create("a"))
    assert answer.status_code == 201
    assert answer.json()["parent_ids"] == []
    assert repo.get().json()["empty_repo"] is False


def test_tracked_content_becomes_an_object_and_dangling_pointers_are_refused(repo: Repo) -> None:
    """Create converts, update does not; a pointer needs its object first."""
    repo.commit(create("audio/b.wav", "sound"))
    pointer = repo.text("audio/b.wav") or ""
    assert pointer.startswith("version https://git-lfs")
    assert repo.file("GET", "audio/b.wav", "/raw", params={"lfs": "true"}).text == "sound"
    dangling = pointer.replace(pointer.splitlines()[1], "oid sha256:" + "1" * 64)
    text = (
        "LFS objects are missing. Ensure LFS is properly set up or try a manual "
        '"git lfs push --all".'
    )
    assert refused(repo.commit(update("audio/b.wav", dangling)), text)
    assert refused(repo.commit(create("plain.lfsptr", dangling)), text)
    wanted = [create("c.lfsptr", pointer), move("c.lfsptr", "audio/c.wav")]
    assert repo.commit(*wanted).status_code == 201
    assert repo.text("audio/c.wav") == pointer


def test_the_files_api_converts_on_update_too(repo: Repo) -> None:
    """The difference between the two APIs."""
    body = {"branch": "main", "commit_message": "x", "content": "loud"}
    assert repo.file("PUT", "audio/verse.wav", json=body).status_code == 200
    assert (repo.text("audio/verse.wav") or "").startswith("version https://git-lfs")
    assert repo.file("GET", "audio/verse.wav", "/raw", params={"lfs": "true"}).text == "loud"


def test_an_author_cannot_break_the_commit(repo: Repo) -> None:
    """Line breaks and brackets are dropped, as Git drops them; the history stays readable."""
    answer = repo.commit(create("a"), author_name="A\n<b>", author_email="<a@example.com>\n")
    assert answer.json()["author_name"] == "Ab"
    assert repo.get("/repository/commits").json()[0]["author_email"] == "a@example.com"


ODD = ["a\0b", "a\nb", "@{-1}", "main^{tree}", "-x", "é" * 300, 0, {"a": 1}, [None]]


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize(
    "field", ["file_path", "previous_path", "last_commit_id", "content", "branch", "start_branch"]
)
def test_odd_values_are_answered_and_not_a_crash(repo: Repo, field: str, odd: object) -> None:
    """Whatever a client sends, the server knows an answer."""
    body = {field: odd} if "branch" in field else {}
    for action in (create("x"), update("README.md"), move("README.md", "y")):
        changed = {**action, field: odd} if not body else action
        assert repo.commit(changed, **body).status_code in (201, 400)
    assert repo.get("/repository/tree", params={"path": str(odd)}).status_code in (200, 404)
    answer = repo.file("GET", str(odd), params={"ref": str(odd)})
    assert answer.status_code in (200, 400, 404)


def test_half_a_surrogate_pair_is_no_json(repo: Repo) -> None:
    """It could not be stored anywhere."""
    body = '{"branch": "main", "commit_message": "\\ud800", "actions": []}'
    headers = {"Content-Type": "application/json"}
    assert repo("POST", "/repository/commits", data=body, headers=headers).status_code == 400
