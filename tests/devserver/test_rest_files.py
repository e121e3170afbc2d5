"""Directory listings, single files, blobs: what is read, and the headers that come with it."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest
from support.gitlab_schemas import check_response
from support.rest_api import FILES, NewRepo, Repo

TREE = "GET /api/v4/projects/{id}/repository/tree"
FILE = "GET /api/v4/projects/{id}/repository/files/{file_path}"


def listing(repo: Repo, **params: Any) -> list[str]:
    """The paths one tree request lists."""
    answer = repo.get("/repository/tree", params=params)
    assert answer.status_code == 200, answer.text
    check_response(TREE, 200, answer.json())
    return [entry["path"] for entry in answer.json()]


def test_a_listing_shows_directories_before_files(repo: Repo) -> None:
    """Each in Git's order."""
    shown = listing(repo)
    assert shown[:3] == ["audio", "files", "gpu_jobs"]
    assert set(shown[3:]) == {".gitattributes", "README.md", "ünïcode & space.txt"}


def test_a_listing_goes_down_if_asked(repo: Repo) -> None:
    """Directories are entries of their own; a path narrows the listing."""
    assert {"files", "files/target", "files/target/LUK.codex"} <= set(listing(repo, recursive=True))
    assert listing(repo, path="files", recursive=True) == ["files/target", "files/target/LUK.codex"]
    entry = repo.get("/repository/tree", params={"path": "gpu_jobs"}).json()[0]
    assert entry["mode"] == "100644"
    assert entry["type"] == "blob"
    assert entry["id"] == repo.entry("gpu_jobs/manifest.yaml").id


def test_a_missing_directory_or_ref_is_not_found(repo: Repo, new_repo: NewRepo) -> None:
    """The texts differ; an empty repository has no tree at all."""
    path = repo.get("/repository/tree", params={"path": "nope"})
    assert (path.status_code, path.json()) == (
        404,
        {"message": "404 invalid revision or path Not Found"},
    )
    ref = repo.get("/repository/tree", params={"ref": "nope"})
    assert (ref.status_code, ref.json()) == (404, {"message": "404 Tree Not Found"})
    empty = new_repo(None, empty=True).get("/repository/tree")
    assert (empty.status_code, empty.json()) == (404, {"message": "404 Tree Not Found"})


@pytest.fixture
def wide(new_repo: NewRepo) -> Repo:
    """A directory of 45 files, several with the same content."""
    return new_repo({f"d/{number:02}.txt": f"{number % 7}" for number in range(45)})


def test_a_listing_comes_in_numbered_pages(wide: Repo) -> None:
    """With totals, like any list."""
    answer = wide.get("/repository/tree", params={"path": "d", "page": 3})
    assert len(answer.json()) == 5
    assert answer.headers["X-Total"] == "45"


@pytest.mark.parametrize("per_page", [7, 15, 45, 100])
def test_keyset_pages_cover_a_listing_once(wide: Repo, per_page: int) -> None:
    """Also where contents repeat, and without a link after the last entry."""
    params = {"path": "d", "pagination": "keyset", "per_page": per_page}
    answer = wide.get("/repository/tree", params=params)
    paths = [entry["path"] for entry in answer.json()]
    while "next" in answer.links:
        answer = wide.api.session.get(answer.links["next"]["url"], timeout=10)
        paths += [entry["path"] for entry in answer.json()]
    assert paths == [f"d/{number:02}.txt" for number in range(45)]


def test_a_recursive_listing_may_come_whole(wide: Repo) -> None:
    """`pagination=none` is for recursive listings alone."""
    assert len(listing(wide, recursive=True, pagination="none")) == 46
    answer = wide.get("/repository/tree", params={"pagination": "none"})
    text = 'pagination cannot be "none" unless "recursive" is true'
    assert (answer.status_code, answer.json()) == (400, {"error": text})


def test_a_file_comes_with_its_facts(repo: Repo) -> None:
    """In the body and, the content aside, in headers."""
    answer = repo.file("GET", "gpu_jobs/manifest.yaml", params={"ref": "main"})
    body = answer.json()
    check_response(FILE, 200, body)
    content = FILES["gpu_jobs/manifest.yaml"]
    assert isinstance(content, str)
    assert base64.b64decode(body["content"]).decode() == content
    assert body["content_sha256"] == hashlib.sha256(content.encode()).hexdigest()
    assert body["size"] == len(content)
    assert body["commit_id"] == body["last_commit_id"] == repo.head()
    assert body["execute_filemode"] is False
    for name, value in body.items():
        header = f"X-Gitlab-{name.replace('_', '-')}"
        if name == "content":
            assert header not in answer.headers
        else:
            assert answer.headers[header] == str(value).replace("False", "false")


def test_head_tells_the_facts_without_the_body(repo: Repo) -> None:
    """The cheapest way to ask for a blob id."""
    answer = repo.file("HEAD", "README.md", params={"ref": "HEAD"})
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["X-Gitlab-Blob-Id"] == repo.entry("README.md").id
    assert answer.headers["X-Gitlab-Ref"] == "HEAD"
    assert repo.file("HEAD", "nope", params={"ref": "main"}).status_code == 404


def test_a_name_in_any_script_can_be_asked_for(repo: Repo) -> None:
    """Encoded in the path, as UTF-8 in the headers."""
    name = "ünïcode & space.txt"
    answer = repo.file("GET", name, params={"ref": "main"})
    assert answer.json()["file_path"] == name
    header = answer.headers["X-Gitlab-File-Name"]
    assert header.encode("latin-1").decode() == name


@pytest.mark.parametrize(
    ("path", "params", "status", "body"),
    [
        ("README.md", {}, 400, {"error": "ref is missing, ref is empty"}),
        ("README.md", {"ref": ""}, 400, {"error": "ref is empty"}),
        ("README.md", {"ref": "nope"}, 404, {"message": "404 Commit Not Found"}),
        ("nope", {"ref": "main"}, 404, {"message": "404 File Not Found"}),
        ("gpu_jobs", {"ref": "main"}, 404, {"message": "404 File Not Found"}),
        ("../x", {"ref": "main"}, 400, {"error": "file_path should be a valid file path"}),
        ("/etc/x", {"ref": "main"}, 400, {"error": "file_path should be a valid file path"}),
    ],
)
def test_a_file_that_cannot_be_read_says_why(
    repo: Repo, path: str, params: dict[str, str], status: int, body: dict[str, str]
) -> None:
    """No ref, no such ref, no such file, no file at all."""
    answer = repo.file("GET", path, params=params)
    assert (answer.status_code, answer.json()) == (status, body)


def test_a_raw_file_is_the_file(repo: Repo) -> None:
    """Of the head unless a ref is named."""
    old = repo.head()
    repo.commit({"action": "update", "file_path": "README.md", "content": "new"})
    answer = repo.file("GET", "README.md", "/raw")
    assert answer.content == b"new"
    assert answer.headers["Content-Disposition"] == 'inline; filename="README.md"'
    assert "X-Gitlab-Blob-Id" in answer.headers
    assert repo.file("GET", "README.md", "/raw", params={"ref": old}).text == FILES["README.md"]


def test_a_pointer_stands_for_its_object(repo: Repo) -> None:
    """`raw` gives the pointer, `lfs=true` the object, and 404 if the project does not own it."""
    audio = FILES["audio/verse.wav"]
    pointer = repo.file("GET", "audio/verse.wav", "/raw").text
    assert pointer.startswith("version https://git-lfs.github.com/spec/v1\noid sha256:")
    answer = repo.file("GET", "audio/verse.wav", "/raw", params={"lfs": "true"})
    assert answer.content == audio
    other = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 3\n"
    repo.add_behind("foreign.wav", other.encode())
    missing = repo.file("GET", "foreign.wav", "/raw", params={"lfs": "true"})
    assert (missing.status_code, missing.json()) == (404, {"message": "404 Not Found"})


def test_a_blob_is_found_by_its_id(repo: Repo) -> None:
    """As JSON and raw; a tree is no blob."""
    found = repo.git.read_blob("main", "README.md")
    assert found is not None
    body = repo.get(f"/repository/blobs/{found[0]}").json()
    assert base64.b64decode(body["content"]) == found[1]
    assert (body["size"], body["encoding"], body["sha"]) == (len(found[1]), "base64", found[0])
    assert repo.get(f"/repository/blobs/{found[0]}/raw").content == found[1]
    for wrong in ("0" * 40, "xyz", repo.entry("files").id):
        answer = repo.get(f"/repository/blobs/{wrong}")
        assert (answer.status_code, answer.json()) == (404, {"message": "404 Blob Not Found"})


def test_last_commit_id_is_the_last_touch_of_the_path(repo: Repo) -> None:
    """Neither another file's commit nor one that changes nothing counts."""
    first = repo.head()
    repo.commit({"action": "create", "file_path": "other", "content": "x"})
    repo.commit({"action": "update", "file_path": "README.md", "content": FILES["README.md"]})
    answer = repo.file("HEAD", "README.md", params={"ref": "main"})
    assert answer.headers["X-Gitlab-Last-Commit-Id"] == first
    assert answer.headers["X-Gitlab-Commit-Id"] == repo.head() != first
    changed = repo.commit({"action": "update", "file_path": "README.md", "content": "new"}).json()
    again = repo.file("HEAD", "README.md", params={"ref": "main"})
    assert again.headers["X-Gitlab-Last-Commit-Id"] == changed["id"]


def test_files_are_written_one_at_a_time(repo: Repo) -> None:
    """Create, update, delete; the answers name file and branch and no commit."""
    body = {"branch": "main", "commit_message": "x", "content": "one"}
    created = repo.file("POST", "dir/new.txt", json=body)
    assert (created.status_code, created.json()) == (
        201,
        {"file_path": "dir/new.txt", "branch": "main"},
    )
    check_response(FILE.replace("GET", "POST"), 201, created.json())
    encoded = {**body, "content": base64.b64encode(b"\0two").decode(), "encoding": "base64"}
    updated = repo.file("PUT", "dir/new.txt", json=encoded)
    assert updated.status_code == 200
    check_response(FILE.replace("GET", "PUT"), 200, updated.json())
    assert repo.file("GET", "dir/new.txt", "/raw").content == b"\0two"
    params = {"branch": "main", "commit_message": "x"}
    deleted = repo.file("DELETE", "dir/new.txt", params=params)
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert "dir/new.txt" not in repo.paths()


def test_a_file_can_be_made_executable(repo: Repo) -> None:
    """With its first content and later."""
    body = {"branch": "main", "commit_message": "x", "content": "one"}
    repo.file("POST", "run.sh", json={**body, "execute_filemode": True})
    assert repo.entry("run.sh").mode == "100755"
    repo.file("PUT", "run.sh", json={**body, "execute_filemode": False})
    assert repo.entry("run.sh").mode == "100644"


@pytest.mark.parametrize(
    ("method", "path", "message"),
    [
        ("POST", "README.md", "A file with this name already exists"),
        ("PUT", "nope", "A file with this name doesn't exist"),
        ("DELETE", "nope", "A file with this name doesn't exist"),
    ],
)
def test_a_write_in_the_wrong_state_is_refused(
    repo: Repo, method: str, path: str, message: str
) -> None:
    """Existence decides, in the files API too."""
    body = {"branch": "main", "commit_message": "x", "content": "one"}
    answer = repo.file(method, path, json=body)
    assert (answer.status_code, answer.json()) == (400, {"message": message})


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (
            "PUT",
            "You are attempting to update a file that has changed since you started editing it.",
        ),
        ("DELETE", "You are attempting to delete a file that has been previously updated."),
    ],
)
def test_a_stale_write_is_refused_in_its_own_words(repo: Repo, method: str, message: str) -> None:
    """The hint is the last commit id that was read."""
    old = repo.head()
    repo.commit({"action": "update", "file_path": "README.md", "content": "theirs"})
    body = {"branch": "main", "commit_message": "x", "content": "mine", "last_commit_id": old}
    answer = repo.file(method, "README.md", json=body)
    assert (answer.status_code, answer.json()) == (400, {"message": message})


def test_fields_are_required_in_two_dialects(repo: Repo) -> None:
    """Writes with a body say `400 Bad request`, deletions speak Grape."""
    posted = repo.file("POST", "new", json={"branch": "main", "content": "x"})
    assert posted.json() == {"message": "400 Bad request - commit_message is required"}
    deleted = repo.file("DELETE", "README.md", params={"branch": "main"})
    assert deleted.json() == {"error": "commit_message is missing, commit_message is empty"}
