"""A lease on the real server when replies are lost, connections break, and others interfere."""

from __future__ import annotations

import threading
from pathlib import Path
from urllib.parse import quote

import pytest
import requests
from support.gitlab_clients import store_of
from support.job_world import PROJECT, JobWorld

from devserver.projects import CommitStage, Project
from gitlab_jobs import claims
from gitlab_jobs.claims import Claimant
from gitlab_jobs.errors import AlreadyExists, Conflict, LeaseLost
from gitlab_jobs.gitlab_store import GitLabStore
from gitlab_jobs.job import CancelReason, Job, JobState, JobType, Mode, ModelSpec
from gitlab_jobs.lease import Lease, Patience
from gitlab_jobs.response import IllegalTransition
from gitlab_jobs.store import Change, Create, Delete, Update

COMMITS = "/projects/:id/repository/commits"
JOB = Job(job_id="j1", job_type=JobType.ASR, mode=Mode.TRAINING, model=ModelSpec(type="X"))
FOLDER = "gpu_jobs/job_j1"
RESULT = f"{FOLDER}/result.txt"
US = Claimant("us", "boot", 1800, lambda *_: None)
THEM = Claimant("them", "boot", 1800, lambda *_: None)
ACTIONS = ["drop", "lose_reply", "truncate", "status"]


@pytest.fixture
def store(world: JobWorld, tmp_path: Path) -> GitLabStore:
    """Our store of the project."""
    return store_of(world.server, PROJECT, tmp_path / "cache")


@pytest.fixture
def lease(store: GitLabStore) -> Lease:
    """A job that we have just claimed."""
    return claims.claim(store, JOB, US, patience())


def patience(total_s: float = 30) -> Patience:
    """Tries again at once."""
    return Patience(total_s, threading.Event(), longest_wait_s=0.02)


def disturb(world: JobWorld, action: str) -> None:
    """Let the next two commits go wrong."""
    world.server.set_faults(action=action, method="POST", endpoint=COMMITS, count=2)


def result() -> list[Change]:
    """What the job publishes."""
    return [Create(RESULT, b"done")]


@pytest.mark.parametrize("action", ACTIONS)
def test_a_disturbed_claim_is_made_once(world: JobWorld, store: GitLabStore, action: str) -> None:
    """And is ours."""
    disturb(world, action)
    lease = claims.claim(store, JOB, US, patience())
    assert world.read(lease.path) is not None
    assert world.response("j1")["worker_id"] == "us"
    assert len(world.by_worker()) == 1


@pytest.mark.parametrize("action", ACTIONS)
def test_a_disturbed_renewal_moves_the_lease_once(
    world: JobWorld, lease: Lease, action: str
) -> None:
    """To the second name, not further, and the next one follows from there."""
    disturb(world, action)
    lease.renew(patience(), epochs_completed=4)
    assert (world.response("j1")["lease_n"], world.response("j1")["epochs_completed"]) == (2, 4)
    lease.renew(patience())
    assert (world.response("j1")["lease_n"], world.response("j1")["epochs_completed"]) == (3, 4)
    assert len(world.by_worker()) == 3


@pytest.mark.parametrize("action", ACTIONS)
def test_a_disturbed_end_is_published_once(world: JobWorld, lease: Lease, action: str) -> None:
    """Results, state and the lease's end in one commit."""
    disturb(world, action)
    lease.finish(result, patience(), JobState.COMPLETED)
    assert world.state("j1") == "completed"
    assert world.read(RESULT) == b"done"
    assert world.read(lease.path) is None
    assert len(world.by_worker()) == 2


@pytest.mark.parametrize("publishes", ["part", "end"])
def test_a_commit_whose_reply_is_lost_is_told_from_a_persons_right_after_it(
    world: JobWorld, lease: Lease, publishes: str
) -> None:
    """Both touch the same file; the mark in the message says which one is ours."""
    person = _Meddler(world, RESULT, b"a person's")
    world.server.set_faults(action="lose_reply", method="POST", endpoint=COMMITS, count=1)
    if publishes == "part":
        committed = lease.publish_part(result, patience(), "MAT")
    else:
        committed = lease.finish(result, patience(), JobState.COMPLETED)
    assert person.has_acted
    assert world.read(RESULT) == b"a person's"
    assert committed is not None
    (ours,) = [
        commit["id"] for commit in _history(world, RESULT) if commit["author_name"] == "worker"
    ]
    assert committed.id == ours
    assert len(world.by_worker()) == 2


def test_a_write_that_may_not_follow_the_one_before_is_refused(lease: Lease) -> None:
    """A mistake of the worker is loud, and reaches no user."""
    lease.finish(result, patience(), JobState.COMPLETED)
    with pytest.raises(IllegalTransition, match="completed job cannot become failed"):
        lease.finish(tuple, patience(), JobState.FAILED)


@pytest.mark.parametrize("action", ACTIONS)
def test_a_disturbed_release_leaves_nothing(world: JobWorld, lease: Lease, action: str) -> None:
    """The job is pending."""
    disturb(world, action)
    lease.release(patience())
    assert not [path for path in world.files() if path.startswith(FOLDER)]


def test_of_two_claims_the_second_is_told(store: GitLabStore, lease: Lease) -> None:
    """That the job is somebody's."""
    with pytest.raises(AlreadyExists):
        claims.claim(store, JOB, THEM, patience())


def test_a_lost_claim_that_somebody_else_won_is_not_ours(
    world: JobWorld, store: GitLabStore
) -> None:
    """Our request never arrived; theirs came before we tried again."""
    world.server.set_faults(action="drop", method="POST", endpoint=COMMITS, count=1)
    racing = _Racing(store, lambda: claims.claim(store, JOB, THEM, patience()))
    with pytest.raises(AlreadyExists):
        claims.claim(racing, JOB, US, patience())
    assert world.response("j1")["worker_id"] == "them"
    assert len(world.by_worker()) == 1


@pytest.mark.parametrize("step", ["renew", "finish", "release"])
@pytest.mark.parametrize("action", [None, "drop", "lose_reply"])
def test_a_job_taken_over_is_not_written_to(
    world: JobWorld, store: GitLabStore, lease: Lease, step: str, action: str | None
) -> None:
    """Whatever we try, with and without disturbances."""
    taken = {**world.response("j1"), "worker_id": "them", "claim": "another"}
    response = f"{FOLDER}/response.yaml"
    store.commit(
        [
            Delete(lease.path),
            Create(f"{FOLDER}/lease/2-another.yaml", b"n: 2\n"),
            Update(response, str(taken).encode()),
        ],
        "take over",
    )
    if action is not None:
        disturb(world, action)
    before = world.files()
    with pytest.raises(LeaseLost) as lost:
        _do(lease, step)
    assert lost.value.reason is CancelReason.LEASE_LOST
    assert world.files() == before


@pytest.mark.parametrize("step", ["renew", "finish"])
def test_a_folder_that_was_deleted_is_not_made_again(
    world: JobWorld, store: GitLabStore, lease: Lease, step: str
) -> None:
    """Neither the response nor the results."""
    store.commit([Delete(lease.path), Delete(f"{FOLDER}/response.yaml")], "delete the job")
    with pytest.raises(LeaseLost) as lost:
        _do(lease, step)
    assert lost.value.reason is CancelReason.FOLDER_DELETED
    assert not [path for path in world.files() if path.startswith(FOLDER)]


def test_an_end_is_composed_anew_after_every_collision(world: JobWorld, lease: Lease) -> None:
    """Somebody created the same file in between: the next try looks again."""
    tries: list[int] = []

    def compose() -> list[Change]:
        tries.append(1)
        if len(tries) == 1:
            raise Conflict("the notebook changed while it was being read")
        return result()

    lease.finish(compose, patience(), JobState.COMPLETED)
    assert len(tries) == 2
    assert world.read(RESULT) == b"done"


def test_patience_ends(world: JobWorld, lease: Lease) -> None:
    """With the last error; the lease still stands and can be used again."""
    world.server.set_faults(action="status", method="POST", endpoint=COMMITS, count=3)
    with pytest.raises(Conflict, match="the lease still stands"):
        lease.renew(patience(total_s=0))
    assert world.response("j1")["lease_n"] == 1
    lease.renew(patience())
    assert world.response("j1")["lease_n"] == 2


def test_patience_can_be_cut_short(world: JobWorld, lease: Lease) -> None:
    """By whoever stops the daemon for good: one try and no more."""
    enough = threading.Event()
    enough.set()
    world.server.set_faults(action="status", method="POST", endpoint=COMMITS, count=100)
    with pytest.raises(Conflict):
        lease.renew(Patience(3600, enough))


def _do(lease: Lease, step: str) -> None:
    if step == "renew":
        lease.renew(patience())
    elif step == "finish":
        lease.finish(result, patience(), JobState.COMPLETED)
    else:
        lease.release(patience())


class _Meddler:
    """A person who writes a file in the moment in which a commit of ours has become visible."""

    def __init__(self, world: JobWorld, path: str, content: bytes) -> None:
        assert world.server.world is not None
        world.server.world.on_commit = self._act
        self._write = lambda: world.write(path, content)
        self.has_acted = False

    def _act(self, _project: Project, stage: CommitStage) -> None:
        if stage is CommitStage.DONE and not self.has_acted:
            self.has_acted = True
            self._write()


def _history(world: JobWorld, path: str) -> list[dict[str, str]]:
    """Commits that touched a file, newest first, as the server lists them."""
    url = world.server.api(f"projects/{quote(PROJECT, safe='')}/repository/commits")
    query, headers = {"path": path}, world.server.headers("admin")
    found: list[dict[str, str]] = requests.get(url, query, headers=headers, timeout=30).json()
    return found


class _Racing:
    """A store whose reader is slow: somebody acts before the first read."""

    def __init__(self, store: GitLabStore, act: object) -> None:
        self._store = store
        self._act = act

    def read(self, *arguments: object) -> object:
        act, self._act = self._act, None
        if act is not None:
            act()
        return self._store.read(*arguments)

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)
