"""Git LFS: the HTTP interface by hand, and real `git lfs` on top of it."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from support.devserver import DevServer
from support.git_client import Git
from support.rest_api import NewRepo, Repo

from devserver.git_auth import Action, ActionTokens, basic_header
from devserver.lfs_store import Pointer

CONTENT = b"RIFF" + bytes(range(256)) * 40
POINTER = Pointer.of(CONTENT)
ATTRIBUTES = {".gitattributes": "*.wav filter=lfs diff=lfs merge=lfs -text\n"}


class Lfs:
    """The LFS endpoints of one project as one user."""

    def __init__(self, repo: Repo, token: str = "token-worker") -> None:
        self.root = f"{repo.server.url}/{repo.project.path}.git"
        self.auth = ("oauth2", token) if token else None

    def post(self, path: str, body: object = None, **options: Any) -> requests.Response:
        """Send a JSON body."""
        return requests.post(
            f"{self.root}/info/lfs/{path}", json=body, auth=self.auth, timeout=10, **options
        )

    def batch(self, operation: str, *pointers: Pointer) -> requests.Response:
        """Ask what to do with objects."""
        objects = [{"oid": pointer.oid, "size": pointer.size} for pointer in pointers]
        return self.post("objects/batch", {"operation": operation, "objects": objects})

    def action(self, operation: str, pointer: Pointer = POINTER) -> dict[str, Any]:
        """Return the action for one object."""
        (answer,) = self.batch(operation, pointer).json()["objects"]
        found: dict[str, Any] = answer["actions"][operation]
        return found

    def upload(self, content: bytes = CONTENT) -> Pointer:
        """Upload an object the way a client does."""
        pointer = Pointer.of(content)
        put(self.action("upload", pointer), content).raise_for_status()
        return pointer


def put(action: dict[str, Any], content: bytes, **headers: str) -> requests.Response:
    """Carry out an upload action with a Content-Length."""
    sent = {**action["header"], **headers}
    del sent["Transfer-Encoding"]
    return requests.put(action["href"], data=content, headers=sent, timeout=10)


@pytest.fixture
def lfs(repo: Repo) -> Lfs:
    """The project as its developer."""
    return Lfs(repo)


@pytest.fixture
def git(tmp_path: Path) -> Git:
    """Git with a home of its own and LFS filters."""
    made = Git(tmp_path)
    made("lfs", "install", "--skip-repo")
    return made


def test_an_object_goes_up_and_comes_down_whole(lfs: Lfs) -> None:
    """The answer has GitLab's keys and no others."""
    answer = lfs.batch("upload", POINTER)
    assert answer.headers["Content-Type"] == "application/vnd.git-lfs+json"
    assert set(answer.json()) == {"objects"}
    (item,) = answer.json()["objects"]
    assert set(item) == {"oid", "size", "actions"}
    assert set(item["actions"]) == {"upload"}
    upload = item["actions"]["upload"]
    assert upload["href"] == f"{lfs.root}/gitlab-lfs/objects/{POINTER.oid}/{POINTER.size}"
    assert set(upload["header"]) == {"Authorization", "Content-Type", "Transfer-Encoding"}
    stored = put(upload, CONTENT)
    assert (stored.status_code, stored.content) == (200, b"")
    assert lfs.batch("upload", POINTER).json() == {
        "objects": [{"oid": POINTER.oid, "size": POINTER.size}]
    }
    download = lfs.action("download")
    got = requests.get(download["href"], headers=download["header"], timeout=10)
    assert (got.headers["Content-Type"], got.content) == ("application/octet-stream", CONTENT)


def test_a_chunked_upload_is_taken_and_taken_again(lfs: Lfs) -> None:
    """As `Transfer-Encoding: chunked` in the action suggests; a repeat is harmless."""
    action = lfs.action("upload")
    for _ in range(2):
        sent = requests.put(
            action["href"],
            data=iter([CONTENT[:100], CONTENT[100:]]),
            headers=action["header"],
            timeout=10,
        )
        assert sent.status_code == 200


@pytest.mark.parametrize(
    ("asked", "status", "expected", "content_range"),
    [
        ("bytes=4-9", 206, CONTENT[4:10], f"bytes 4-9/{len(CONTENT)}"),
        ("bytes=10240-", 206, CONTENT[10240:], f"bytes 10240-10243/{len(CONTENT)}"),
        ("bytes=-4", 206, CONTENT[-4:], f"bytes 10240-10243/{len(CONTENT)}"),
        ("bytes=99999-", 416, None, f"bytes */{len(CONTENT)}"),
    ],
)
def test_a_download_continues_where_it_broke_off(
    lfs: Lfs, asked: str, status: int, expected: bytes | None, content_range: str
) -> None:
    """Range requests are what a resuming client lives on."""
    lfs.upload()
    action = lfs.action("download")
    got = requests.get(action["href"], headers={**action["header"], "Range": asked}, timeout=10)
    assert got.status_code == status
    assert got.headers["Content-Range"].removeprefix("bytes ") == content_range.removeprefix(
        "bytes "
    )
    assert expected is None or got.content == expected


def test_an_object_that_is_not_there_is_an_error_of_its_own(lfs: Lfs) -> None:
    """The others in the batch are answered."""
    present, absent = lfs.upload(), Pointer.of(b"never sent")
    answer = lfs.batch("download", present, absent)
    assert answer.status_code == 200
    first, second = answer.json()["objects"]
    assert "actions" in first
    assert second["error"]["code"] == 404
    assert "actions" not in second


def test_another_project_must_prove_that_it_has_the_bytes(new_repo: NewRepo) -> None:
    """An object on the server is not a licence to read it from everywhere."""
    here, there = Lfs(new_repo()), Lfs(new_repo())
    here.upload()
    (item,) = there.batch("download", POINTER).json()["objects"]
    assert item["error"]["code"] == 404
    there.upload()
    assert "actions" in there.batch("download", POINTER).json()["objects"][0]


@pytest.mark.parametrize(
    ("content", "status", "text"),
    [
        (CONTENT[:-1] + b"!", 400, "SHA256 or size mismatch"),
        (CONTENT[:-1], 400, "SHA256 or size mismatch"),
        (CONTENT + b"!", 413, "RequestBody: upload failed"),
    ],
)
def test_wrong_bytes_are_refused_and_forgotten(
    lfs: Lfs, content: bytes, status: int, text: str
) -> None:
    """Nothing is linked that was not verified."""
    refused = put(lfs.action("upload"), content)
    assert (refused.status_code, refused.text[: len(text)]) == (status, text)
    assert "actions" in lfs.batch("upload", POINTER).json()["objects"][0]


def test_an_upload_of_another_content_type_is_not_seen(lfs: Lfs) -> None:
    """Workhorse takes octet-streams only."""
    refused = put(lfs.action("upload"), CONTENT, **{"Content-Type": "application/json"})
    assert (refused.status_code, refused.text) == (422, "Unprocessable entity")


def test_action_tokens_are_short_lived_and_bound_to_what_they_were_given_for(
    new_repo: NewRepo, server: DevServer
) -> None:
    """Expired, for another project, for download only, or altered: all are 401 or 403."""
    repo = new_repo()
    lfs, other = Lfs(repo), Lfs(new_repo())
    assert server.world is not None
    worker = server.world.find_user("worker")
    assert worker is not None
    action = lfs.action("upload")
    past = ActionTokens(server.root).issue(
        Action(repo.project.id, worker.id, upload=True), lifetime_s=-1
    )
    altered = action["header"]["Authorization"][:-4] + "AAA="
    elsewhere = other.action("upload")["header"]["Authorization"]
    for bad in (basic_header("worker", past), altered, elsewhere):
        assert put(action, CONTENT, Authorization=bad).status_code == 401
    lfs.upload()
    for_reading = lfs.action("download")["header"]["Authorization"]
    assert put(action, CONTENT, Authorization=for_reading).status_code == 403
    assert put(action, CONTENT).status_code == 200


def test_an_upload_that_outlives_its_token_is_not_linked(repo: Repo, server: DevServer) -> None:
    """GitLab asks for the credential again at the end."""
    assert server.world is not None
    token = "soon-gone"
    translator = server.world.find_user("translator")
    assert translator is not None
    server.world.add_token(translator, token, ["api"])

    def body() -> Any:
        yield CONTENT[:100]
        assert server.world is not None
        server.world.revoke_token(token)
        yield CONTENT[100:]

    late = requests.put(
        f"{server.url}/{repo.project.path}.git/gitlab-lfs/objects/{POINTER.oid}/{POINTER.size}",
        data=body(),
        headers={"Content-Type": "application/octet-stream"},
        auth=("oauth2", token),
        timeout=10,
    )
    assert late.status_code == 401
    assert "actions" in Lfs(repo).batch("upload", POINTER).json()["objects"][0]


@pytest.mark.parametrize(
    ("token", "settings", "body", "status"),
    [
        ("", {}, {"operation": "download"}, 401),
        ("wrong", {}, {"operation": "download"}, 401),
        ("", {"visibility": "public"}, {"operation": "upload"}, 401),
        ("token-stranger", {}, {"operation": "download"}, 404),
        ("token-guest", {}, {"operation": "upload"}, 404),
        ("token-worker", {"lfs": False}, {"operation": "download"}, 404),
        ("token-worker", {}, {"operation": "download", "objects": []}, 404),
        ("token-stranger", {"visibility": "public"}, {"operation": "upload"}, 403),
        ("token-worker", {}, {"operation": "verify"}, 403),
    ],
)
def test_each_refusal_of_a_batch(
    new_repo: NewRepo, token: str, settings: dict[str, Any], body: dict[str, Any], status: int
) -> None:
    """Who may not read sees 404, who may not write 403."""
    objects = [{"oid": POINTER.oid, "size": POINTER.size}]
    refused = Lfs(new_repo(**settings), token).post("objects/batch", {"objects": objects, **body})
    assert refused.status_code == status
    messages = {404: "Not found.", 403: "Access forbidden. Check your access level."}
    if status in messages:
        assert refused.json()["message"] == messages[status]
        assert "documentation_url" in refused.json()


def test_a_public_project_is_downloaded_without_credentials(new_repo: NewRepo) -> None:
    """The action then carries no header, and says that none is needed."""
    repo = new_repo(visibility="public")
    Lfs(repo).upload()
    (item,) = Lfs(repo, "").batch("download", POINTER).json()["objects"]
    assert item["authenticated"] is True
    assert item["actions"]["download"]["header"] == {}
    assert requests.get(item["actions"]["download"]["href"], timeout=10).content == CONTENT


def test_locks_are_none_and_the_old_api_is_gone(lfs: Lfs) -> None:
    """What `git lfs push` asks on its way."""
    assert lfs.post("locks/verify", {"ref": {}}).json() == {"ours": [], "theirs": []}
    old = lfs.post("objects", {"oid": POINTER.oid})
    assert old.status_code == 501
    assert old.json()["message"].startswith("Server supports batch API only, ")


def test_parallel_uploads_of_one_object_leave_one_good_object(lfs: Lfs) -> None:
    """Writers never see each other's half-written bytes."""
    action = lfs.action("upload")
    with ThreadPoolExecutor(4) as pool:
        codes = list(pool.map(lambda _: put(action, CONTENT).status_code, range(8)))
    assert codes == [200] * 8
    download = lfs.action("download")
    got = requests.get(download["href"], headers=download["header"], timeout=10).content
    assert hashlib.sha256(got).hexdigest() == POINTER.oid


def test_git_lfs_pushes_and_pulls(new_repo: NewRepo, git: Git) -> None:
    """What one person records another hears."""
    repo = new_repo(ATTRIBUTES)
    address = repo.server.clone_url("translator", repo.project.path)
    git.clone(address)
    git.commit("work", {"verse.wav": CONTENT})
    git("push", cwd="work")
    assert repo.text("verse.wav") == POINTER.text().decode()
    git.clone(address, "again")
    assert (git.directory / "again/verse.wav").read_bytes() == CONTENT


def test_a_push_of_pointers_without_objects_is_declined(new_repo: NewRepo, git: Git) -> None:
    """The integrity check runs inside the push, before anything becomes visible."""
    repo = new_repo(ATTRIBUTES)
    git.clone(repo.server.clone_url("translator", repo.project.path))
    head = repo.head()
    git.commit("work", {"verse.wav": CONTENT})
    refused = git("push", "--no-verify", cwd="work", check=False)
    assert (
        "remote: GitLab: LFS objects are missing. Ensure LFS is properly set up" in refused.stderr
    )
    assert "(pre-receive hook declined)" in refused.stderr
    assert repo.head() == head


def test_a_project_without_lfs_takes_any_pointer(new_repo: NewRepo, git: Git) -> None:
    """There is nothing to check where LFS is off."""
    repo = new_repo({"a.txt": "a"}, lfs=False)
    git.clone(repo.server.clone_url("translator", repo.project.path))
    commit_id = git.commit("work", {"take.pointer": POINTER.text()})
    git("push", cwd="work")
    assert repo.head() == commit_id
