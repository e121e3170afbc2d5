"""Real git against the devserver: clone, push, and every way a push is refused."""

from __future__ import annotations

import gzip
import random
from pathlib import Path
from typing import Any

import pytest
import requests
from support.devserver import DevServer, project, write_world
from support.git_client import Git
from support.rest_api import NewRepo, Repo


@pytest.fixture
def git(tmp_path: Path) -> Git:
    """Git with a home of its own."""
    return Git(tmp_path)


@pytest.fixture
def guarded(new_repo: NewRepo) -> Repo:
    """A project whose default branch only maintainers push to."""
    return new_repo({"README.md": "hello\n"}, protected={"main": 40})


def url(repo: Repo, username: str) -> str:
    """Return what a user clones."""
    return repo.server.clone_url(username, repo.project.path)


def refs(repo: Repo, service: str = "git-upload-pack", **options: Any) -> requests.Response:
    """Send the first request of every fetch and push."""
    address = f"{repo.server.url}/{repo.project.path}.git/info/refs"
    return requests.get(address, params={"service": service}, timeout=10, **options)


def test_a_clone_edited_and_pushed_is_what_the_api_reads(guarded: Repo, git: Git) -> None:
    """What a person pushes is there for REST clients at once."""
    git.clone(url(guarded, "translator"))
    commit_id = git.commit("work", {"gpu_jobs/manifest.yaml": "version: 1\njobs: []\n"})
    git("push", cwd="work")
    branch = guarded.get("/repository/branches/main").json()
    assert branch["commit"]["id"] == commit_id


def test_a_push_is_recorded_as_an_event_of_the_pusher(guarded: Repo, git: Git) -> None:
    """The events endpoint tells who moved which branch, and by how many commits."""
    git.clone(url(guarded, "translator"))
    before = git("rev-parse", "HEAD", cwd="work").stdout.strip()
    git.commit("work", {"a.txt": "a"})
    after = git.commit("work", {"b.txt": "b"})
    git("push", cwd="work")
    (event,) = guarded.as_user("translator").get("/events").json()
    assert event["author_username"] == "translator"
    assert event["push_data"]["ref"] == "main"
    assert event["push_data"]["commit_from"] == before
    assert event["push_data"]["commit_to"] == after
    assert event["push_data"]["commit_count"] == 2


def test_a_push_of_a_large_pack_streams_through(guarded: Repo, git: Git) -> None:
    """More than git's post buffer, so that the request body is chunked and not gzipped."""
    git.clone(url(guarded, "translator"))
    noise = random.Random(1).randbytes(3_000_000)
    git.commit("work", {"noise.bin": noise})
    git("push", cwd="work")
    git.clone(url(guarded, "worker"), "again")
    assert (git.directory / "again/noise.bin").read_bytes() == noise


def test_a_developer_may_not_push_to_a_protected_branch(guarded: Repo, git: Git) -> None:
    """The refusal comes through the protocol, in GitLab's words; other branches are free."""
    git.clone(url(guarded, "worker"))
    git.commit("work", {"a.txt": "a"})
    refused = git("push", cwd="work", check=False)
    assert (
        "remote: GitLab: You are not allowed to push code to protected branches" in refused.stderr
    )
    assert "! [remote rejected] main -> main (pre-receive hook declined)" in refused.stderr
    git("push", "origin", "HEAD:feature", cwd="work")
    assert guarded.git.branches() == ["feature", "main"]


def test_a_moved_branch_refuses_the_second_pusher(guarded: Repo, git: Git) -> None:
    """A push is a compare-and-swap on the branch."""
    git.clone(url(guarded, "translator"), "one")
    git.clone(url(guarded, "translator"), "two")
    git.commit("one", {"a.txt": "a"})
    git.commit("two", {"b.txt": "b"})
    git("push", cwd="one")
    refused = git("push", cwd="two", check=False)
    assert "! [rejected]        main -> main (fetch first)" in refused.stderr
    git("pull", "--rebase", "--quiet", cwd="two")
    git("push", cwd="two")


def test_a_commit_through_the_api_refuses_a_push_that_did_not_see_it(
    guarded: Repo, git: Git
) -> None:
    """REST and git move the same branch by the same rule, in both directions."""
    git.clone(url(guarded, "translator"))
    translator = guarded.as_user("translator")
    create = {"action": "create", "file_path": "api.txt", "content": "a"}
    assert translator.commit(create).status_code == 201
    git.commit("work", {"git.txt": "g"})
    assert "(fetch first)" in git("push", cwd="work", check=False).stderr
    git("pull", "--rebase", "--quiet", cwd="work")
    git("push", cwd="work")
    repeated = translator.commit({**create, "file_path": "git.txt"})
    assert repeated.json() == {"message": "A file with this name already exists"}


def test_nobody_may_force_push_to_a_protected_branch(guarded: Repo, git: Git) -> None:
    """Not even a maintainer rewrites what others build on."""
    git.clone(url(guarded, "translator"))
    git("commit", "--amend", "--message", "rewritten", cwd="work")
    refused = git("push", "--force", cwd="work", check=False)
    text = "You are not allowed to force push code to a protected branch on this project."
    assert f"remote: GitLab: {text}" in refused.stderr


def test_an_unprotected_branch_may_be_rewritten_and_deleted(guarded: Repo, git: Git) -> None:
    """Only protection forbids it."""
    git.clone(url(guarded, "worker"))
    git("push", "origin", "HEAD:feature", cwd="work")
    git("commit", "--amend", "--message", "rewritten", cwd="work")
    git("push", "--force", "origin", "HEAD:feature", cwd="work")
    git("push", "origin", ":feature", cwd="work")
    assert "feature" not in git("ls-remote", cwd="work").stdout


def test_the_default_branch_cannot_be_deleted(guarded: Repo, git: Git) -> None:
    """Protected or not."""
    git.clone(url(guarded, "translator"))
    refused = git("push", "origin", ":main", cwd="work", check=False)
    assert "remote: GitLab: The default branch of a project cannot be deleted." in refused.stderr


def test_a_clone_without_blobs_fetches_them_when_needed(guarded: Repo, git: Git) -> None:
    """Partial and shallow clones work together."""
    options = ("--filter=blob:none", "--no-checkout", "--depth=1")
    git.clone(url(guarded, "worker"), "work", *options)
    missing = git("rev-list", "--objects", "--missing=print", "HEAD", cwd="work").stdout
    assert "?" in missing
    git("checkout", "--quiet", "main", cwd="work")
    assert (git.directory / "work/README.md").read_text() == "hello\n"


def test_a_public_project_is_cloned_without_credentials(new_repo: NewRepo, git: Git) -> None:
    """Anonymous fetches need no token."""
    repo = new_repo(visibility="public")
    git.clone(f"{repo.server.url}/{repo.project.path}")
    assert (git.directory / "work/README.md").exists()


@pytest.mark.parametrize("visibility", ["private", "public"])
@pytest.mark.parametrize(
    ("username", "password"),
    [
        ("oauth2", "wrong"),
        ("oauth2", "expired"),
        ("oauth2", "revoked"),
        ("oauth2", "read-user"),
        ("oauth2", "token-blocked"),
        ("gitlab-ci-token", "token-translator"),
        ("x-ci-token", "token-translator"),
    ],
)
def test_a_bad_credential_is_refused_in_plain_text(
    new_repo: NewRepo, visibility: str, username: str, password: str
) -> None:
    """Also for a public project, so that nothing is given away."""
    refused = refs(new_repo(visibility=visibility), auth=(username, password))
    assert refused.status_code == 401
    assert refused.text.startswith("HTTP Basic: Access denied.")
    assert refused.headers["WWW-Authenticate"] == 'Basic realm="GitLab"'


def test_a_bearer_token_opens_no_git(guarded: Repo) -> None:
    """Git paths know Basic only."""
    refused = refs(guarded, headers={"Authorization": "Bearer token-translator"})
    assert refused.status_code == 401


@pytest.mark.parametrize(
    ("settings", "token", "service", "status", "text"),
    [
        ({}, "", "git-upload-pack", 401, "HTTP Basic: Access denied."),
        ({"visibility": "public"}, "", "git-receive-pack", 401, "HTTP Basic: Access denied."),
        ({}, "token-stranger", "git-upload-pack", 404, "The project you were looking for"),
        ({}, "token-guest", "git-upload-pack", 403, "You are not allowed to download code"),
        ({}, "token-guest", "git-receive-pack", 403, "You are not allowed to push code"),
        ({"visibility": "public"}, "token-stranger", "git-receive-pack", 403, "You are not"),
        ({"archived": True}, "token-translator", "git-receive-pack", 403, "You are not allowed"),
        ({}, "token-worker", "git-nonsense", 403, ""),
    ],
)
def test_each_refusal_of_the_first_request(
    new_repo: NewRepo, settings: dict[str, Any], token: str, service: str, status: int, text: str
) -> None:
    """Status and text tell apart who is unknown, who may not see and who may not write."""
    refused = refs(new_repo(**settings), service, auth=("oauth2", token) if token else None)
    assert (refused.status_code, refused.text[: len(text)]) == (status, text)


@pytest.mark.parametrize(("token", "status"), [("", 401), ("token-worker", 404)])
def test_an_absent_project_looks_like_an_invisible_one(
    server: DevServer, token: str, status: int
) -> None:
    """Whoever is not signed in learns nothing, whoever is learns that there is nothing for them."""
    refused = requests.get(
        f"{server.url}/bible/none.git/info/refs?service=git-upload-pack",
        auth=("oauth2", token) if token else None,
        timeout=10,
    )
    assert refused.status_code == status


@pytest.mark.parametrize("token", ["read-repository", "read-api"])
def test_a_read_only_token_fetches_but_does_not_push(
    new_repo: NewRepo, git: Git, token: str
) -> None:
    """The token's scope counts, whatever its owner's role."""
    repo = new_repo(members={"limited": 40})
    host = repo.server.url.removeprefix("http://")
    git.clone(f"http://oauth2:{token}@{host}/{repo.project.path}.git")
    git.commit("work", {"a.txt": "a"})
    refused = git("push", cwd="work", check=False)
    assert "403" in refused.stderr
    assert "You are not allowed to push code to this project." in refused.stderr


def test_a_token_for_repositories_only_may_push(new_repo: NewRepo, git: Git) -> None:
    """`write_repository` opens git and nothing else."""
    repo = new_repo(members={"limited": 40})
    host = repo.server.url.removeprefix("http://")
    git.clone(f"http://oauth2:write-repository@{host}/{repo.project.path}.git")
    commit_id = git.commit("work", {"a.txt": "a"})
    git("push", cwd="work")
    assert repo.head() == commit_id


def test_head_on_the_refs_is_forbidden_and_a_missing_suffix_redirects(guarded: Repo) -> None:
    """Two small habits of GitLab."""
    address = f"{guarded.server.url}/{guarded.project.path}"
    tail = "info/refs?service=git-upload-pack"
    signed_in = ("oauth2", "token-worker")
    assert requests.head(f"{address}.git/{tail}", auth=signed_in, timeout=10).status_code == 403
    moved = requests.get(f"{address}/{tail}", allow_redirects=False, timeout=10)
    assert moved.status_code == 301
    assert moved.headers["Location"].endswith(f"{guarded.project.path}.git/{tail}")


def test_a_gzipped_request_in_protocol_2_is_understood(guarded: Repo) -> None:
    """Spoken by hand, so that the wire format is what is tested."""
    body = b"0014command=ls-refs\n00010009peel\n000csymrefs\n0000"
    answer = requests.post(
        f"{guarded.server.url}/{guarded.project.path}.git/git-upload-pack",
        data=gzip.compress(body),
        headers={
            "Content-Type": "application/x-git-upload-pack-request",
            "Content-Encoding": "gzip",
            "Git-Protocol": "version=2",
        },
        auth=("oauth2", "token-worker"),
        timeout=10,
    )
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/x-git-upload-pack-result"
    assert "refs/heads/main" in answer.text
    assert "symref-target:refs/heads/main" in answer.text


def test_a_push_to_a_server_process_survives_its_restart(tmp_path: Path, git: Git) -> None:
    """The hooks find everything they need on disk."""
    config = write_world(tmp_path, projects=[project("bible/demo", protected={"main": 40})])
    with DevServer(tmp_path / "root", config) as server:
        git.clone(server.clone_url("translator", "bible/demo"))
        commit_id = git.commit("work", {"a.txt": "a"})
        git("push", cwd="work")
        server.restart()
        assert commit_id in git("ls-remote", cwd="work").stdout
        git.commit("work", {"b.txt": "b"})
        worker_url = server.clone_url("worker", "bible/demo")
        refused = git("push", worker_url, "HEAD:main", cwd="work", check=False)
        assert "protected branches" in refused.stderr
