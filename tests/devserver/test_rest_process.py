"""The server as a process: what it prints, what it keeps, how it ends, what it refuses to start with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from support.devserver import DevServer, project, user, write_world
from support.rest_api import Api

from devserver.__main__ import main


def commit(api: Api, path: str) -> requests.Response:
    """Create a file in the first project."""
    action = {"action": "create", "file_path": path, "content": "x"}
    body = {"branch": "main", "commit_message": path, "actions": [action]}
    return api.post("projects/1/repository/commits", json=body)


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_everything_survives_a_restart(tmp_path: Path, how: str) -> None:
    """Also a kill: commits, members, protection, large objects, events, activity."""
    files = {".gitattributes": "*.wav filter=lfs\n", "a.wav": b"sound"}
    config = write_world(tmp_path, projects=[project("a/b", files)], users={"late": user()})
    with DevServer(tmp_path / "root", config) as server:
        api, owner = Api(server, "worker"), Api(server, "translator")
        made = commit(api, "kept").json()
        late = api.get("users", params={"username": "late"}).json()[0]["id"]
        owner.post("projects/1/members", json={"user_id": late, "access_level": 20})
        owner.post("projects/1/protected_branches", json={"name": "main"})
        before = api.get("projects/1").json()
        port = int(server.url.rpartition(":")[2])
        getattr(server, how)()
        server.start(port)
        assert api.get("projects/1").json() == before
        assert api.get("projects/1/repository/branches/main").json()["commit"]["id"] == made["id"]
        assert Api(server, "late").get("projects/1").status_code == 200
        assert commit(api, "refused").status_code == 403
        sound = api.get("projects/1/repository/files/a.wav/raw", params={"lfs": "true"})
        assert sound.content == b"sound"
        events = api.get("events", params={"scope": "all"}).json()
        assert [event["push_data"]["commit_to"] for event in events] == [made["id"]]


def test_a_changed_world_file_only_adds(tmp_path: Path) -> None:
    """What is on the root stays as it is, also where the file says otherwise."""
    config = write_world(tmp_path / "one", projects=[project("a/b", members={"worker": 30})])
    with DevServer(tmp_path / "root", config) as server:
        commit(Api(server, "worker"), "kept")
    projects = [project("a/b", members={"worker": 10}), project("a/c", members={"worker": 10})]
    config = write_world(tmp_path / "two", projects=projects, users={"new": user()})
    with DevServer(tmp_path / "root", config) as server:
        api = Api(server, "worker")
        assert api.get("projects/1/repository/files/kept?ref=main").status_code == 200
        levels = [
            api.get(f"projects/{number}").json()["permissions"]["project_access"]["access_level"]
            for number in (1, 2)
        ]
        assert levels == [30, 10]
        assert Api(server, "new").get("user").json()["username"] == "new"


def test_it_announces_itself_in_one_line_and_ends_on_sigterm(tmp_path: Path) -> None:
    """The line names address and process; the exit code is 0."""
    command = [sys.executable, "-m", "devserver", "--root", str(tmp_path), "--demo"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        assert ready["pid"] == process.pid
        headers = {"PRIVATE-TOKEN": "demo-worker"}
        found = requests.get(f"{ready['url']}/api/v4/projects", headers=headers, timeout=10).json()
        assert [item["path_with_namespace"] for item in found] == ["bible/demo"]
        os.kill(process.pid, signal.SIGTERM)
        assert process.stdout.read() == ""
        assert process.wait(timeout=20) == 0


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[[users]\n", "Expected ']]'"),
        ("[[users]]\nname = 'x'\n", "users.0.username: Field required"),
        ("[[users]]\nusername = 'x'\nadmim = true\n", "users.0.admim: Extra inputs"),
        ("[[projects]]\npath = 'flat'\n", "projects.0.path: String should match"),
        ("[[projects]]\npath = 'a/b'\nfiles = 'nope'\n", "project a/b: no directory"),
        ("[[projects]]\npath = 'a/b'\nmembers = {x = 30}\n", "project a/b: no user named x"),
        ("[limits]\nthreads = 0\n", "limits.threads: Input should be greater than 0"),
    ],
)
def test_a_bad_world_file_is_explained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, complaint: str
) -> None:
    """The place and the reason in one line, exit code 2, and nothing on the root."""
    config = tmp_path / "world.toml"
    config.write_text(text)
    assert main(["--root", str(tmp_path / "root"), "--config", str(config)]) == 2
    printed = capsys.readouterr()
    assert complaint in printed.err
    assert printed.err.startswith((f"{config}: ", "project a/b: "))
    assert printed.err.count("\n") == 1
    assert printed.out == ""
    assert not (tmp_path / "root").exists()


def test_role_names_serve_as_levels(tmp_path: Path) -> None:
    """In memberships and protections."""
    projects = [project("a/b", members={}, protected={})]
    config = write_world(tmp_path, projects=projects)
    text = config.read_text().replace('"members" = {}', '"members" = {worker = "developer"}')
    config.write_text(text.replace('"protected" = {}', '"protected" = {main = "maintainer"}'))
    with DevServer(tmp_path / "root", config, in_process=True) as server:
        api = Api(server, "worker")
        branch = api.get("projects/1/repository/branches/main").json()
        assert (branch["protected"], branch["can_push"]) == (True, False)


def test_a_root_or_port_in_use_is_said_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two servers on one root would overwrite each other's state."""
    with DevServer(tmp_path / "root") as server:
        assert main(["--root", str(tmp_path / "root")]) == 2
        assert "another devserver runs on this root" in capsys.readouterr().err
        port = server.url.rpartition(":")[2]
        assert main(["--root", str(tmp_path / "other"), "--port", port]) == 2
        assert "Address already in use" in capsys.readouterr().err
