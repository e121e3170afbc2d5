"""Clients that nobody here wrote: python-gitlab and curl."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator

import gitlab
import pytest
from gitlab.v4.objects import Project
from support.devserver import DevServer
from support.rest_api import FILES, Repo


@pytest.fixture
def client(server: DevServer) -> Iterator[gitlab.Gitlab]:
    """python-gitlab, signed in as the worker."""
    with gitlab.Gitlab(server.url, private_token=server.token("worker")) as session:
        yield session


@pytest.fixture
def project(client: gitlab.Gitlab, repo: Repo) -> Project:
    """The test's project through python-gitlab."""
    return client.projects.get(repo.project.path)


def test_python_gitlab_signs_in(client: gitlab.Gitlab) -> None:
    """User, version and token."""
    client.auth()
    assert client.user is not None
    assert client.user.username == "worker"
    assert client.version()[0].startswith("18.")
    assert client.personal_access_tokens.get("self").scopes == ["api"]


def test_python_gitlab_reads_a_project(client: gitlab.Gitlab, project: Project) -> None:
    """Listings of any paging, files, commits, archives."""
    listed = client.projects.list(membership=True, iterator=True, per_page=2)
    assert project.id in [item.id for item in listed]
    by_key = client.projects.list(
        membership=True, iterator=True, pagination="keyset", order_by="id", per_page=2
    )
    assert project.id in [item.id for item in by_key]
    tree = project.repository_tree(path="files", recursive=True, get_all=True)
    assert [entry["path"] for entry in tree] == ["files/target", "files/target/LUK.codex"]
    file = project.files.get("gpu_jobs/manifest.yaml", ref="main")
    assert file.decode() == b"jobs: []\n"
    assert project.files.head("gpu_jobs/manifest.yaml", ref="main")["X-Gitlab-Blob-Id"]
    assert project.files.raw("README.md", ref="main") == b"# Luke\n"
    assert project.repository_raw_blob(file.blob_id) == b"jobs: []\n"
    assert project.commits.list(get_all=True)[0].title == "Initial commit"
    assert project.branches.get("main").can_push is True
    assert project.repository_archive(format="tar.gz").startswith(b"\x1f\x8b")
    assert {member.username for member in project.members_all.list(get_all=True)} >= {"worker"}


def test_python_gitlab_writes_to_a_project(project: Project) -> None:
    """Commits, files and branches; refusals become its exceptions."""
    data = {
        "branch": "main",
        "commit_message": "From a client",
        "actions": [{"action": "create", "file_path": "a/b", "content": "1"}],
    }
    commit = project.commits.create(data)
    assert commit.stats["additions"] == 1
    with pytest.raises(gitlab.GitlabCreateError) as refusal:
        project.commits.create(data)
    assert refusal.value.response_code == 400
    assert refusal.value.error_message == "A file with this name already exists"
    file = project.files.create(
        {"file_path": "one file", "branch": "main", "content": "x", "commit_message": "x"}
    )
    assert file.file_path == "one file"
    fetched = project.files.get("one file", ref="main")
    fetched.content = base64.b64encode(b"y").decode()
    fetched.save(branch="main", commit_message="y", encoding="base64")
    assert project.files.raw("one file", ref="main") == b"y"
    fetched.delete(branch="main", commit_message="gone")
    with pytest.raises(gitlab.GitlabGetError) as missing:
        project.files.get("one file", ref="main")
    assert missing.value.response_code == 404
    project.branches.create({"branch": "wip", "ref": "main"})
    project.branches.delete("wip")


def test_python_gitlab_hears_that_its_token_is_no_good(server: DevServer) -> None:
    """As an authentication error, not as a missing project."""
    with (
        gitlab.Gitlab(server.url, private_token="nonsense") as stranger,
        pytest.raises(gitlab.GitlabAuthenticationError),
    ):
        stranger.auth()


def curl(*arguments: str) -> str:
    """Run curl and return what it prints."""
    command = ["curl", "--silent", "--show-error", "--max-time", "20", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_curl_reads_and_writes(repo: Repo) -> None:
    """As the examples in GitLab's manual have it."""
    sign_in = f"PRIVATE-TOKEN: {repo.server.token('worker')}"
    base = repo.server.api(f"projects/{repo.project.path.replace('/', '%2F')}/repository")
    raw = curl("--header", sign_in, f"{base}/files/gpu_jobs%2Fmanifest%2Eyaml/raw?ref=main")
    assert raw == FILES["gpu_jobs/manifest.yaml"]
    head = curl("--head", "--header", sign_in, f"{base}/files/README%2Emd?ref=main")
    assert head.startswith("HTTP/1.1 200 OK")
    assert "x-gitlab-size: 7" in head.lower()
    body = json.dumps(
        {
            "branch": "main",
            "commit_message": "by curl",
            "actions": [{"action": "create", "file_path": "c", "content": "curl"}],
        }
    )
    made = curl(
        "--request", "POST", "--header", sign_in, "--header", "Content-Type: application/json",
        "--data", body, f"{base}/commits",
    )  # fmt: skip
    assert json.loads(made)["title"] == "by curl"
    form = ["--form", "branch=main", "--form", "commit_message=form", "--form", "content=x"]
    curl("--request", "POST", "--header", sign_in, *form, f"{base}/files/d")
    status = ["--output", "/dev/null", "--write-out", "%{http_code}"]
    deleted = curl(
        "--request", "DELETE", "--header", sign_in, *status,
        f"{base}/files/d?branch=main&commit_message=x",
    )  # fmt: skip
    assert deleted == "204"
    assert repo.text("c") == "curl"
    assert "d" not in repo.paths()
