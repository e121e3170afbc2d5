"""Taking over: what counts as stale, who may, how often, and what a person's sync does to it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator
from datetime import UTC, datetime, timedelta

import pygit2
import pytest
from chaos.field import Field, claimant, job, patience
from chaos.history import steps, violations
from chaos.translator import Translator
from chaos.zombies import LEASE_S, STALE_S, finish

from gitlab_jobs import claims, paths
from gitlab_jobs.errors import AlreadyExists, LeaseLost, Unavailable
from gitlab_jobs.gitlab_store import GitLabStore
from gitlab_jobs.job import CancelReason
from gitlab_jobs.lease import Lease
from gitlab_jobs.response import parse_response
from gitlab_jobs.store import Committed, Create, Delete, FileVersion
from gitlab_jobs.takeover import examine, take_over

JOB = job("a1")
RESPONSE = paths.response_path("a1")
THIEVES = 4


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Field]:
    """Fresh projects on one server in this process."""
    projects = [f"bible/p{number}" for number in range(12)]
    with Field(tmp_path_factory.mktemp("takeover"), projects, in_process=True) as running:
        yield running


@pytest.fixture(scope="module")
def names(field: Field) -> Iterator[str]:
    """Projects that no test has touched."""
    return iter(field.projects)


@pytest.fixture
def project(names: Iterator[str]) -> str:
    """A project of the test's own."""
    return next(names)


def translator(field: Field, project: str) -> Translator:
    """A person who has just synced."""
    assert field.server.world is not None
    found = field.server.world.find_project(project)
    assert found is not None
    return Translator(field.server.world.repository(found), "alice")


def thieves(field: Field, project: str, *, max_attempts: int = 3) -> list[Lease | None]:
    """What becomes of several take-overs that have all seen the same; losers are left out."""
    together = threading.Barrier(THIEVES)
    outcomes: list[Lease | None] = []

    def steal(number: int) -> None:
        store = field.store(project)
        stale = examine(store, JOB)
        together.wait(timeout=30)
        assert stale is not None
        try:
            who = claimant(f"thief-{number}")
            outcomes.append(take_over(store, stale, who, patience(), max_attempts))
        except AlreadyExists:
            pass

    threads = [threading.Thread(target=steal, args=(number,)) for number in range(THIEVES)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def lost(act: Callable[[], object]) -> CancelReason:
    """Why an act of an old owner failed."""
    with pytest.raises(LeaseLost) as caught:
        act()
    return caught.value.reason


def commit_long_ago(field: Field, project: str, text: str, days: float) -> None:
    """Put a response there as a worker without leases did, days ago by the server's clock."""
    repository = field.repository(project)
    head = repository.branches["main"].peel(pygit2.Commit)
    index = pygit2.Index()
    index.read_tree(head.tree)
    blob = repository.create_blob(text.encode())
    index.add(pygit2.IndexEntry(RESPONSE, blob, pygit2.enums.FileMode.BLOB))
    at = int((datetime.now(UTC) - timedelta(days=days)).timestamp())
    who = pygit2.Signature("Old Worker", "old@example.com", at, 0)
    tree = index.write_tree(repository)
    repository.create_commit("refs/heads/main", who, who, "Claim", tree, [head.id])


def older_response(days: float) -> str:
    """What a worker that knows no leases writes."""
    at = datetime.now(UTC) - timedelta(days=days)
    return f"worker_id: old-box\nstate: running\ntimestamp: '{at.isoformat()}'\nretry_count: 1\n"


def test_of_several_that_adopt_a_job_of_an_older_worker_one_wins(
    field: Field, project: str
) -> None:
    """The name of the lease is made from what they all saw."""
    commit_long_ago(field, project, older_response(2), days=2)
    won = thieves(field, project)
    assert len(won) == 1
    assert won[0] is not None
    assert (won[0].attempt, won[0].response.retry_count) == (2, 2)
    won[0].renew(patience())
    finish(won[0])
    life = steps(field.repository(project))["a1"]
    assert [step.state for step in life] == ["running", "running", "running", "completed"]
    assert violations(life) == []


def test_an_older_worker_is_left_alone_for_a_day(field: Field, project: str) -> None:
    """That is its own rule."""
    commit_long_ago(field, project, older_response(0.9), days=0.9)
    assert examine(field.store(project), JOB) is None


def test_a_wrong_clock_in_the_file_makes_nobody_stale(field: Field, project: str) -> None:
    """The file says last year, the server says just now."""
    store = field.store(project)
    store.commit([Create(RESPONSE, older_response(365).encode())], "claim")
    assert examine(store, JOB) is None


def test_after_the_last_attempt_the_job_fails_once(field: Field, project: str) -> None:
    """In the very commit that takes it over, by one of those who try."""
    claims.claim(field.store(project), JOB, claimant("box", LEASE_S), patience(), attempt=3)
    time.sleep(STALE_S)
    assert thieves(field, project, max_attempts=3) == [None]
    life = steps(field.repository(project))["a1"]
    assert [step.state for step in life] == ["running", "failed"]
    assert violations(life) == []
    assert life[-1].leases == ()


def test_a_response_that_a_sync_rolled_back_makes_nobody_steal(field: Field, project: str) -> None:
    """The old text has come back, but the lease file is the owner's newest."""
    lease = claims.claim(field.store(project), JOB, claimant("box", LEASE_S), patience())
    alice = translator(field, project)
    time.sleep(STALE_S)
    lease.renew(patience())
    alice.files["notes.txt"] = b"something of her own\n"
    alice.sync()
    store = field.store(project)
    rolled_back = parse_response(store.read([RESPONSE])[RESPONSE].content)
    assert rolled_back is not None
    assert rolled_back.lease_n == 1
    assert examine(store, JOB) is None
    lease.renew(patience())
    assert lease.path in store.list_folder(paths.lease_folder("a1"))


def test_a_rolled_back_response_does_not_keep_a_dead_owner_alive(
    field: Field, project: str
) -> None:
    """The newest lease file is what is taken over, whatever the text names."""
    lease = claims.claim(field.store(project), JOB, claimant("box", LEASE_S), patience())
    alice = translator(field, project)
    lease.renew(patience())
    alice.files["notes.txt"] = b"something of her own\n"
    alice.sync()
    time.sleep(STALE_S)
    won = thieves(field, project)
    assert len(won) == 1
    assert lost(lambda: finish(lease)) is CancelReason.LEASE_LOST
    assert won[0] is not None
    finish(won[0])


def test_an_owner_whose_response_was_deleted_does_not_come_back(field: Field, project: str) -> None:
    """Not before the next claim and not after it, although its lease file was left over."""
    store = field.store(project)
    owner = claims.claim(store, JOB, claimant("box"), patience())
    store.commit([Delete(RESPONSE)], "a person cleans up")
    assert lost(lambda: owner.renew(patience())) is CancelReason.FOLDER_DELETED
    heir = claims.claim(field.store(project), JOB, claimant("other box"), patience())
    assert store.list_folder(paths.lease_folder("a1")) == (heir.path,)
    assert lost(lambda: owner.renew(patience())) is CancelReason.LEASE_LOST
    assert lost(lambda: finish(owner)) is CancelReason.LEASE_LOST
    finish(heir)


def test_an_end_that_was_written_and_rolled_back_before_anybody_heard_of_it_counts(
    field: Field, project: str
) -> None:
    """The reply is lost, a sync brings the old response back: still the job has ended once."""
    lease = claims.claim(field.store(project), JOB, claimant("box"), patience())
    alice = translator(field, project)
    alice.files["notes.txt"] = b"something of her own\n"
    rule = {"method": "POST", "endpoint": "*/commits", "action": "lose_reply", "count": 1}
    field.server.set_faults(rules=[rule])
    world = field.server.world
    assert world is not None
    world.on_commit = lambda _, stage: alice.sync() if stage == "done" else None
    try:
        finish(lease)
    finally:
        world.on_commit = lambda *_: None
    store = field.store(project)
    seen = parse_response(store.read([RESPONSE])[RESPONSE].content)
    assert seen is not None
    assert not seen.is_final
    assert store.list_folder(paths.lease_folder("a1")) == ()


def test_a_claim_goes_on_if_a_leftover_vanishes_under_its_hands(field: Field, project: str) -> None:
    """Somebody else cleaned up first; the job is still to be had."""
    store = field.store(project)
    leftover = paths.lease_path("a1", 1, "ab" * 16)
    store.commit([Create(leftover, b"n: 1\n")], "left over")

    class Vanishing(GitLabStore):
        def list_folder(self, path: str) -> tuple[str, ...]:
            found = super().list_folder(path)
            if leftover in found:
                store.commit([Delete(leftover)], "somebody cleans up")
            return found

    slow = Vanishing(store._session, store.project, store._transfer)
    lease = claims.claim(slow, JOB, claimant("box"), patience())
    assert store.list_folder(paths.lease_folder("a1")) == (lease.path,)


def test_a_renewal_that_nobody_heard_of_does_not_cost_the_job(field: Field, project: str) -> None:
    """The server went away right after it; the end is written from the name that it left."""

    class Deaf(GitLabStore):
        is_deaf = False

        def read(
            self, paths: Collection[str], revision: str | None = None
        ) -> dict[str, FileVersion]:
            self._listen()
            return super().read(paths, revision)

        def last_commit(self, path: str, mark: str = "") -> Committed | None:
            self._listen()
            return super().last_commit(path, mark)

        def _listen(self) -> None:
            if self.is_deaf:
                raise Unavailable("nobody answers")

    known = field.store(project)
    store = Deaf(known._session, known.project, known._transfer)
    lease = claims.claim(store, JOB, claimant("box"), patience())
    field.server.set_faults(
        rules=[{"method": "POST", "endpoint": "*/commits", "action": "lose_reply", "count": 1}]
    )
    store.is_deaf = True
    with pytest.raises(Unavailable):
        lease.renew(patience(total_s=0.0))
    store.is_deaf = False
    finish(lease)
    life = steps(field.repository(project))["a1"]
    assert [step.state for step in life] == ["running", "running", "completed"]
    assert violations(life) == []
