"""Who wins when several write at once: existence is the lock, the branch moves by compare-and-swap."""

from __future__ import annotations

import re
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from support.devserver import DevServer, project, write_world
from support.rest_api import Api, Repo

from devserver.world import CommitStage, Project

THREADS = 8
COLLISION = "9:reference update: reference does not point to expected object."
LOCKED = "9:reference update: reference is already locked."


def create(path: str, content: str = "x") -> dict[str, str]:
    """Return a create action."""
    return {"action": "create", "file_path": path, "content": content}


def at_once(work: Callable[[int], requests.Response]) -> list[requests.Response]:
    """Run the work from several threads that start together."""
    barrier = threading.Barrier(THREADS)

    def run(number: int) -> requests.Response:
        barrier.wait()
        return work(number)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(run, range(THREADS)))


def alone(repo: Repo) -> Repo:
    """Return the same project over a connection of its own."""
    return repo.as_user("worker")


def test_of_many_claims_exactly_one_succeeds(repo: Repo) -> None:
    """Twenty rounds; the losers hear why, and none of them left a commit."""
    before = len(list(repo.git.log("main")))
    for round_number in range(20):
        path = f"gpu_jobs/job_{round_number}/response.yaml"
        answers = at_once(
            lambda number, path=path: alone(repo).commit(create(path, f"worker: {number}\n"))
        )
        winners = [answer for answer in answers if answer.status_code == 201]
        assert len(winners) == 1
        for answer in answers:
            if answer.status_code != 201:
                assert answer.status_code == 400
                assert re.match(r"A file with this name|9:", answer.json()["message"])
        number = answers.index(winners[0])
        assert repo.text(path) == f"worker: {number}\n"
    assert len(list(repo.git.log("main"))) == before + 20


def test_commits_to_different_files_collide_and_a_retry_succeeds(repo: Repo) -> None:
    """Every file arrives, however often its commit had to be repeated."""

    def insist(number: int) -> requests.Response:
        mine = alone(repo)
        while True:
            answer = mine.commit(create(f"file-{number}"))
            if answer.status_code == 201:
                return answer
            assert answer.json()["message"] in (COLLISION, LOCKED)

    at_once(insist)
    assert {f"file-{number}" for number in range(THREADS)} <= repo.paths()


Meanwhile = Callable[[CommitStage, Callable[[], object]], None]


@pytest.fixture
def meanwhile(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> Meanwhile:
    """Let something happen once, at a stage of the next API commit to the test's project."""

    def arrange(stage: CommitStage, event: Callable[[], object]) -> None:
        pending = [event]

        def on_commit(project: Project, reached: CommitStage) -> None:
            if project.id == repo.project.id and reached is stage and pending:
                pending.pop()()

        monkeypatch.setattr(repo.server.world, "on_commit", on_commit)

    return arrange


def test_a_branch_that_moves_while_a_commit_is_made_refuses_it(
    repo: Repo, meanwhile: Meanwhile
) -> None:
    """Whoever moved it: here a push, seen by no lock of this server."""
    meanwhile(CommitStage.BUILT, lambda: repo.add_behind("theirs", b"x"))
    assert repo.commit(create("mine")).json() == {"message": COLLISION}
    assert "theirs" in repo.paths()
    assert "mine" not in repo.paths()


def test_a_branch_created_meanwhile_refuses_the_first_commit(
    repo: Repo, meanwhile: Meanwhile
) -> None:
    """The text differs where no branch was expected."""
    meanwhile(CommitStage.BUILT, lambda: repo.git.move_branch("new", repo.head(), None))
    answer = repo.commit(create("mine"), branch="new", start_branch="main")
    assert answer.json() == {"message": "9:reference update: reference already exists."}


def test_the_hint_is_no_lock(repo: Repo, meanwhile: Meanwhile) -> None:
    """A commit between validation and pinning is overwritten, and the request succeeds."""
    seen = repo.head()
    meanwhile(CommitStage.VALIDATED, lambda: repo.add_behind("README.md", b"theirs"))
    update = {"action": "update", "file_path": "README.md", "content": "mine"}
    assert repo.commit(update | {"last_commit_id": seen}).status_code == 201
    assert repo.text("README.md") == "mine"


def test_existence_is_judged_in_the_tree_the_branch_moves_from(
    repo: Repo, meanwhile: Meanwhile
) -> None:
    """What came before the parent was pinned is seen, however late."""
    meanwhile(CommitStage.VALIDATED, lambda: repo.add_behind("claim", b"theirs"))
    answer = repo.commit(create("claim"))
    assert answer.json() == {"message": "A file with this name already exists"}


def test_a_wide_window_makes_commits_collide(tmp_path: Path) -> None:
    """The setting for servers that run as a process of their own."""
    config = write_world(tmp_path, projects=[project("a/b")], limits={"commit_window_s": 0.3})
    with DevServer(tmp_path / "root", config, in_process=True) as server:
        assert server.world is not None
        found = server.world.projects[0]
        repos = [Repo(server, found, Api(server, "worker")) for _ in range(THREADS)]
        answers = at_once(lambda number: repos[number].commit(create(f"file-{number}")))
    refusals = [answer.json() for answer in answers if answer.status_code != 201]
    assert 0 < len(refusals) < THREADS
    assert {refusal["message"] for refusal in refusals} == {COLLISION}


def test_a_lock_held_by_git_refuses_the_commit(repo: Repo) -> None:
    """The lock is Git's own file, so both sides respect it."""
    lock = repo.git.path / "refs/heads/main.lock"
    lock.touch()
    try:
        assert repo.commit(create("a")).json() == {"message": LOCKED}
    finally:
        lock.unlink()
    assert repo.commit(create("a")).status_code == 201


def test_pushes_and_api_commits_lose_nothing_to_each_other(repo: Repo, tmp_path: Path) -> None:
    """Git itself swaps the branch from another process while the API commits: all must arrive."""
    rounds = 15

    def push() -> None:
        for number in range(rounds):
            while not _swap_with_git(repo, f"pushed-{number}"):
                pass

    thread = threading.Thread(target=push)
    thread.start()
    for number in range(rounds):
        while repo.commit(create(f"posted-{number}")).status_code != 201:
            pass
    thread.join()
    expected = {f"{kind}-{number}" for kind in ("pushed", "posted") for number in range(rounds)}
    assert expected <= repo.paths()


def _swap_with_git(repo: Repo, path: str) -> bool:
    head = repo.head()
    editor = repo.git.edit(head)
    item = editor.file("README.md")
    assert item is not None
    editor.put(path, item)
    who = ("A", "a@example.com")
    commit_id = repo.git.write_commit(editor.write(), [head], "x", who, who)
    command = ["git", "-C", str(repo.git.path), "update-ref", "refs/heads/main", commit_id, head]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
