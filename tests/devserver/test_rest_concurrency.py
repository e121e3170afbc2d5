"""Who wins when several write at once: existence is the lock, the branch moves by compare-and-swap."""

from __future__ import annotations

import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from support.devserver import DevServer, project, write_world
from support.rest_api import Api, Repo

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


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[Callable[..., Repo]]:
    """Start a server whose commits take their time at a named point."""
    servers: list[DevServer] = []

    def start(**limits: float) -> Repo:
        config = write_world(tmp_path, projects=[project("a/b", {"f": "0"})], limits=limits)
        server = DevServer(tmp_path / "root", config, in_process=True)
        servers.append(server)
        assert server.world is not None
        return Repo(server, server.world.projects[0], Api(server, "worker"))

    yield start
    for server in servers:
        server.stop()


def in_background(work: Callable[[], requests.Response]) -> Callable[[], requests.Response]:
    """Start the work in a thread; the function returned waits for its answer."""
    answers: list[requests.Response] = []
    thread = threading.Thread(target=lambda: answers.append(work()))
    thread.start()

    def join() -> requests.Response:
        thread.join()
        return answers[0]

    return join


def test_a_branch_that_moves_while_a_commit_is_made_refuses_it(slow: Callable[..., Repo]) -> None:
    """Whoever moved it: here a push, seen by no lock of this server."""
    repo = slow(commit_window_s=0.5)
    answer = in_background(lambda: repo.commit(create("mine")))
    time.sleep(0.2)
    repo.add_behind("theirs", b"x")
    assert answer().json() == {"message": COLLISION}
    assert repo.paths() == {"f", "theirs"}


def test_a_branch_created_meanwhile_refuses_the_first_commit(slow: Callable[..., Repo]) -> None:
    """The text differs where no branch was expected."""
    repo = slow(commit_window_s=0.5)
    answer = in_background(lambda: repo.commit(create("mine"), branch="new", start_branch="main"))
    time.sleep(0.2)
    repo.git.move_branch("new", repo.head(), None)
    assert answer().json() == {"message": "9:reference update: reference already exists."}


def test_a_lock_held_by_git_refuses_the_commit(repo: Repo) -> None:
    """The lock is Git's own file, so both sides respect it."""
    lock = repo.git.path / "refs/heads/main.lock"
    lock.touch()
    try:
        assert repo.commit(create("a")).json() == {"message": LOCKED}
    finally:
        lock.unlink()
    assert repo.commit(create("a")).status_code == 201


def test_the_hint_is_no_lock(slow: Callable[..., Repo]) -> None:
    """A commit between validation and pinning is overwritten, and the request succeeds."""
    repo = slow(validation_window_s=0.5)
    seen = repo.head()
    update = {"action": "update", "file_path": "f", "content": "mine", "last_commit_id": seen}
    answer = in_background(lambda: repo.commit(update))
    time.sleep(0.2)
    repo.add_behind("f", b"theirs")
    assert answer().status_code == 201
    assert repo.text("f") == "mine"


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
