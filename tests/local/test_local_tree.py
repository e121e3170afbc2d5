from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gitlab_jobs.errors import UnsafePath
from gitlab_jobs.git_objects import blob_id
from gitlab_jobs.local_store import LocalStore
from gitlab_jobs.local_tree import Effect, LocalTree
from gitlab_jobs.store import Create

KILLED_MID_COMMIT = """
import os, signal, sys
from pathlib import Path
from gitlab_jobs import local_tree
from gitlab_jobs.store import Create, Delete, Update
from gitlab_jobs.local_store import LocalStore

carried_out = local_tree.LocalTree._carry_out
def die_at_the_second(self, effect):
    if effect.path == "b.txt":
        os.kill(os.getpid(), signal.SIGKILL)
    carried_out(self, effect)
local_tree.LocalTree._carry_out = die_at_the_second

LocalStore(Path(sys.argv[1])).commit(
    [Create("a.txt", b"new"), Update("b.txt", b"new"), Delete("c.txt")], "interrupted"
)
"""


@pytest.fixture
def crashed(tmp_path: Path) -> Path:
    """A folder whose writer was killed between the first and the second file of a commit."""
    (tmp_path / "b.txt").write_bytes(b"old")
    (tmp_path / "c.txt").write_bytes(b"old")
    done = subprocess.run(
        [sys.executable, "-c", KILLED_MID_COMMIT, str(tmp_path)], check=False, timeout=60
    )
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / "a.txt").read_bytes() == b"new"
    assert (tmp_path / "b.txt").read_bytes() == b"old"
    return tmp_path


def test_a_commit_cut_short_by_a_kill_is_finished_by_the_next_reader(crashed: Path) -> None:
    """The journal tells what was left to do."""
    found = LocalStore(crashed).read(["a.txt", "b.txt", "c.txt"])
    assert {path: version.content for path, version in found.items()} == {
        "a.txt": b"new",
        "b.txt": b"new",
    }
    assert not (crashed / ".scriptorium/journal.json").exists()


def test_finishing_a_commit_leaves_what_a_person_edited_meanwhile(crashed: Path) -> None:
    """People always win."""
    (crashed / "b.txt").write_bytes(b"a person's words")
    found = LocalStore(crashed).read(["b.txt", "c.txt"])
    assert {path: version.content for path, version in found.items()} == {
        "b.txt": b"a person's words"
    }


def test_a_change_in_a_checkout_leaves_no_file_of_ours_in_the_tree(tmp_path: Path) -> None:
    """The journal lives in `.git`, where no sync picks it up."""
    (tmp_path / ".git").mkdir()
    LocalStore(tmp_path).commit([Create("gpu_jobs/a.yaml", b"1")], "create")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".git", "gpu_jobs"]


def test_deleting_the_last_file_of_a_folder_removes_the_folder(tmp_path: Path) -> None:
    """As git does; a job folder left empty would still look claimed."""
    tree = LocalTree(tmp_path)
    with tree.locked():
        tree.apply([Effect("a/b/c.txt", None, b"1")])
        tree.apply([Effect("a/b/c.txt", blob_id(b"1"), None)])
    assert not (tmp_path / "a").exists()


def test_an_executable_stays_executable(tmp_path: Path) -> None:
    """New content, old mode."""
    script = tmp_path / "run.sh"
    script.write_bytes(b"1")
    script.chmod(0o755)
    tree = LocalTree(tmp_path)
    with tree.locked():
        tree.apply([Effect("run.sh", blob_id(b"1"), b"2")])
    assert os.access(script, os.X_OK)


@pytest.mark.parametrize(
    "path", ["../x", "/etc/x", "a/../../x", ".git/config", "", "a//b", "link/x"]
)
def test_a_path_that_leads_outside_is_refused(tmp_path: Path, path: str) -> None:
    """Also through a link inside the project."""
    project = tmp_path / "project"
    project.mkdir()
    (project / "link").symlink_to(tmp_path)
    with pytest.raises(UnsafePath):
        LocalTree(project).local_path(path)


def test_a_linked_worktree_keeps_its_objects_in_the_main_repository(tmp_path: Path) -> None:
    """There, `.git` is a file that points elsewhere."""
    for command in (
        ["init", "-q", "main"],
        [
            "-C",
            "main",
            "-c",
            "user.name=a",
            "-c",
            "user.email=a@b",
            "commit",
            "-q",
            "--allow-empty",
            "-m",
            "x",
        ],
        ["-C", "main", "worktree", "add", "-q", "../linked"],
    ):
        subprocess.run(["git", *command], cwd=tmp_path, check=True, capture_output=True)
    assert LocalTree(tmp_path / "linked").git_dir == (tmp_path / "main/.git").resolve()
