"""Every kind of fault, at every endpoint that the worker asks, ends as the table says."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.certificates import self_signed
from support.daemon import await_true
from support.fault_table import EXCEPTIONS, ROWS, End, Fault, Row, end_of
from support.fault_uses import BRIEFLY, COMMITS, USES, Box, Stage, Use
from support.gitlab_clients import asked, clear
from support.http_stub import HttpStub, Reply
from support.relay import Relay

from gitlab_jobs import claims, paths
from gitlab_jobs.backoff import RetryOptions
from gitlab_jobs.claims import Claimant
from gitlab_jobs.errors import (
    ConfigError,
    Denied,
    OutcomeUnknown,
    StoreError,
    Unavailable,
)
from gitlab_jobs.gitlab_errors import RequestFailed, Untrusted
from gitlab_jobs.job import Job, JobType, Mode, ModelSpec
from gitlab_jobs.lease import Lease, Patience
from gitlab_jobs.store import Create

EXIT_UNAVAILABLE = 69
TIMES = 2
POST_COMMITS = f"POST {COMMITS}"
QUICK_ROWS = {"reply lost", "500 502 503 504 520-524", "401"}
SAMPLE = ("one file", "object up")
"""Statuses of one row are told apart by nothing but one list: two uses stand for all."""
STUBBORN = RetryOptions(
    attempts=1000, base_s=0.01, cap_s=0.05, budget_burst=1000, breaker_failures=1000
)


@dataclass(frozen=True)
class Case:
    """One fault at one place."""

    row: Row
    fault: Fault
    name: str = ""

    @property
    def use(self) -> Use:
        """What is asked."""
        return USES[self.name]

    @property
    def end(self) -> End:
        """How it must end."""
        return end_of(self.row, self.name)


def cases(*ends: End) -> list[Any]:
    """All cases of repeatable requests that end like this; those of a few rows are quick."""
    return [
        pytest.param(
            Case(row, fault, name),
            id=f"{row.name}{f' ({number})' if number else ''}: {name}",
            marks=[] if row.name in QUICK_ROWS and not number else [pytest.mark.slow],
        )
        for row in ROWS
        if row.read is not None
        for number, fault in enumerate(row.faults)
        for name in (SAMPLE if number else USES)
        if end_of(row, name) in ends
    ]


def lasting() -> list[Any]:
    """Passing faults that do not pass: a server that breaks stands for one that is gone."""
    quick = [param for param in cases(End.AGAIN) if not param.marks]
    return [param for param in quick if param.values[0].fault.get("status")]


def commits(*ends: End) -> list[Any]:
    """The same for commits."""
    return [
        pytest.param(
            Case(row, fault),
            id=f"{row.name}{f' ({number})' if number else ''}",
            marks=[pytest.mark.slow] if number else [],
        )
        for row in ROWS
        for number, fault in enumerate(row.faults)
        if row.write in ends
    ]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One server for all cases."""
    with Stage(tmp_path_factory.mktemp("faults")) as stage:
        yield stage


@pytest.fixture(scope="module")
def calm(stage: Stage) -> dict[str, Any]:
    """What each use gets from a server without faults."""
    clear(stage.server)
    return {name: use.act(stage.box()) for name, use in USES.items()}


@pytest.fixture
def box(stage: Stage, calm: dict[str, Any]) -> Iterator[Box]:
    """A worker that was just started, and a server without faults."""
    assert calm
    clear(stage.server)
    yield stage.box()
    clear(stage.server)


@pytest.fixture
def lease(box: Box) -> Lease:
    """A job of the test's own that has just been claimed."""
    number = len(box.store.list_folder("gpu_jobs"))
    name = f"job-{number}-{box.folder.name}"
    job = Job(job_id=name, job_type=JobType.ASR, mode=Mode.TRAINING, model=ModelSpec(type="X"))
    claimant = Claimant("box", "boot", 1800, lambda *_: None)
    claimed = claims.claim(box.store, job, claimant, patience())
    clear(box.stage.server)
    return claimed


def patience(total_s: float = 30.0) -> Patience:
    """Tries again at once."""
    return Patience(total_s, threading.Event(), longest_wait_s=0.02)


def disturb(box: Box, place: dict[str, str], fault: Fault, count: int | None = None) -> None:
    """Let requests to one endpoint go wrong, all of them or so many."""
    rule = {**place, **fault}
    box.stage.server.set_faults(rules=[rule if count is None else {**rule, "count": count}])


def fired(box: Box) -> int:
    """How often the fault struck."""
    return sum(int(rule["fired"]) for rule in box.stage.server.fault_rules())


@pytest.mark.parametrize("case", cases(End.AGAIN))
def test_what_goes_wrong_twice_is_right_the_third_time(
    box: Box, calm: dict[str, Any], case: Case
) -> None:
    """The result is what it would have been."""
    disturb(box, case.use.rule, case.fault, TIMES)
    assert case.use.act(box) == calm[case.name]
    assert fired(box) == TIMES


@pytest.mark.parametrize("case", lasting())
def test_what_lasts_is_told_as_a_passing_fault_after_a_few_tries(box: Box, case: Case) -> None:
    """Nobody takes an outage for an answer; a start that comes to nothing says so by its exit code."""
    disturb(box, case.use.rule, case.fault)
    with pytest.raises((Unavailable, ConfigError)) as caught:
        case.use.act(box)
    if isinstance(caught.value, ConfigError):
        assert caught.value.exit_code == EXIT_UNAVAILABLE
    # A scan asks for smaller pages at once before it counts a failure as one.
    assert asked(box.stage.server, case.use.endpoint) in range(BRIEFLY.attempts, 12)


@pytest.mark.parametrize("case", cases(End.TOLD_AT_START))
def test_a_daemon_does_not_start_on_a_server_that_does_not_work(box: Box, case: Case) -> None:
    """One request; the exit code lets the service manager try again, but for an address without GitLab."""
    disturb(box, case.use.rule, case.fault)
    with pytest.raises(ConfigError) as caught:
        case.use.act(box)
    is_page = case.row.name == "HTML instead of data"
    assert (caught.value.exit_code == EXIT_UNAVAILABLE) is not is_page
    assert asked(box.stage.server, case.use.endpoint) == 1


@pytest.mark.parametrize("case", cases(End.REFUSED))
def test_a_refusal_is_told_at_once(box: Box, case: Case) -> None:
    """By an error that says what it was, and without asking the same again."""
    disturb(box, case.use.rule, case.fault)
    with pytest.raises((case.row.error, ConfigError)) as caught:
        case.use.act(box)
    assert not isinstance(caught.value, Unavailable)
    asks_for_another_link = "another one" in EXCEPTIONS.get((case.row.name, case.name), ("", ""))[1]
    assert asked(box.stage.server, case.use.endpoint) == 1 + asks_for_another_link


@pytest.mark.parametrize("case", cases(End.STOPPED))
def test_nothing_more_is_sent_after_the_token_was_refused(box: Box, case: Case) -> None:
    """Whichever endpoint refused it."""
    disturb(box, case.use.rule, case.fault)
    with pytest.raises((Denied, ConfigError)):
        case.use.act(box)
    assert fired(box) == 1
    before = box.session.transport.requests_sent
    for use in USES.values():
        with pytest.raises((Denied, ConfigError)):
            use.act(box)
    assert box.session.transport.requests_sent == before


@pytest.mark.parametrize("case", cases(End.FOLLOWED))
def test_a_read_follows_a_redirect_within_the_server(
    box: Box, calm: dict[str, Any], case: Case
) -> None:
    """And asks nobody else."""
    disturb(box, case.use.rule, case.fault, 1)
    assert case.use.act(box) == calm[case.name]
    assert fired(box) == 1


@pytest.mark.parametrize("case", cases(End.ANSWERED))
def test_some_refusals_are_answers(box: Box, calm: dict[str, Any], case: Case) -> None:
    """The work goes on without what was refused: by REST, without that project, without that object."""
    disturb(box, case.use.rule, case.fault)
    without: dict[str, Any] = {"object down": {}}
    if case.row.read is End.REFUSED:
        without["manifest changed?"] = dict.fromkeys(calm["projects"])
    assert case.use.act(box) == without.get(case.name, calm[case.name])
    assert fired(box) >= 1


@pytest.mark.parametrize("case", commits(End.READ_BACK, End.MADE_ANEW))
def test_a_disturbed_commit_is_made_once(box: Box, lease: Lease, case: Case) -> None:
    """Whether the disturbed one happened or not: the lease moves by one name, in one commit."""
    disturb(box, {"method": "POST", "endpoint": COMMITS}, case.fault, TIMES)
    lease.renew(patience())
    happened = case.row.name in ("reply lost", "reply cut short")
    assert asked(box.stage.server, POST_COMMITS) == (1 if happened else 1 + TIMES)
    clear(box.stage.server)
    (there,) = box.store.list_folder(paths.lease_folder(lease.job.job_id))
    name = paths.parse_lease_path(there)
    assert name is not None
    assert (name.n, there) == (2, lease.path)


@pytest.mark.parametrize("case", commits(End.READ_BACK, End.MADE_ANEW))
def test_a_commit_is_sent_once_and_its_sender_told_whether_it_may_have_happened(
    box: Box, case: Case
) -> None:
    """Only who holds the lease can decide."""
    disturb(box, {"method": "POST", "endpoint": COMMITS}, case.fault)
    path = f"notes/{box.folder.name}.txt"
    with pytest.raises(StoreError) as caught:
        box.store.commit([Create(path, b"x")], "note")
    assert isinstance(caught.value, OutcomeUnknown) is (case.row.write is End.READ_BACK)
    assert asked(box.stage.server, POST_COMMITS) == 1


@pytest.mark.parametrize("case", commits(End.REFUSED, End.STOPPED))
def test_a_refused_commit_is_told_at_once_and_changes_nothing(
    box: Box, lease: Lease, case: Case
) -> None:
    """The lease still stands; after a refused token nothing more is sent."""
    disturb(box, {"method": "POST", "endpoint": COMMITS}, case.fault)
    with pytest.raises(case.row.commit_error or case.row.error):
        lease.renew(patience())
    assert asked(box.stage.server, POST_COMMITS) == 1
    before = box.session.transport.requests_sent
    if case.row.write is End.STOPPED:
        with pytest.raises(Denied):
            lease.renew(patience())
        assert box.session.transport.requests_sent == before
    clear(box.stage.server)
    calm_box = box.stage.box()
    assert calm_box.store.list_folder(paths.lease_folder(lease.job.job_id)) == (lease.path,)


@pytest.mark.slow
@pytest.mark.parametrize("name", USES)
def test_a_reply_that_does_not_come_in_time_is_asked_for_again(
    stage: Stage, calm: dict[str, Any], name: str
) -> None:
    """The server is slow once; its late answer is nobody's any more."""
    clear(stage.server)
    box = stage.box(read_s=0.5)
    disturb(box, USES[name].rule, {"latency_s": 2.0}, 1)
    if name == "account":
        with pytest.raises(ConfigError):
            USES[name].act(box)
    else:
        assert USES[name].act(box) == calm[name]
    assert fired(box) == 1
    sent = box.session.transport.requests_sent
    await_true(lambda: stage.server.requests()["total"] == sent, "the late answer")


@pytest.mark.parametrize(
    "name",
    [name if name in SAMPLE else pytest.param(name, marks=pytest.mark.slow) for name in USES],
)
def test_a_server_that_is_down_for_a_moment_is_asked_until_it_is_back(
    stage: Stage, calm: dict[str, Any], name: str
) -> None:
    """Connections are refused; nothing was sent, so everything may be tried again."""
    clear(stage.server)
    assert stage.server.world is not None
    home = stage.server.world.external_url
    with Relay(stage.server.url) as relay:
        stage.server.world.external_url = relay.url
        box = stage.box(relay.url, STUBBORN)
        USES["folder"].act(box)
        relay.refuse()
        back = threading.Timer(0.1, relay.admit)
        back.start()
        try:
            act = partial(USES[name].act, box)
            if name in ("account", "token"):
                with pytest.raises(ConfigError) as caught:
                    act()
                assert caught.value.exit_code == EXIT_UNAVAILABLE
            else:
                assert act() == calm[name]
        finally:
            back.join()
            stage.server.world.external_url = home


def test_a_certificate_that_nobody_vouches_for_is_never_tried_again(
    stage: Stage, tmp_path: Path
) -> None:
    """By any endpoint: nothing reaches a server that may be anybody."""
    with HttpStub(lambda _request: Reply(), self_signed(tmp_path)) as stub:
        for use in USES.values():
            box = stage.box(stub.url)
            with pytest.raises((Untrusted, ConfigError)) as caught:
                use.act(box)
            assert not isinstance(caught.value, RequestFailed)
            assert box.session.transport.requests_sent == 1
        assert stub.seen == []


def test_every_exception_is_about_a_row_and_a_use() -> None:
    """The table has no dead entries."""
    rows = {row.name for row in ROWS}
    assert {row for row, _ in EXCEPTIONS} <= rows
    assert {use for _, use in EXCEPTIONS} <= {*USES}


def test_the_table_that_people_read_has_the_same_rows() -> None:
    """`docs/reliability.md` shows each row with its two ends."""
    page = (Path(__file__).parents[2] / "docs/reliability.md").read_text(encoding="utf-8")
    for row in ROWS:
        assert f"| {row.name} | {row.read or '–'} | {row.write} |" in page


def test_the_uses_are_all_endpoints_that_a_worker_asks(stage: Stage, box: Box) -> None:
    """No request of any adapter goes past this table: what the server counted is what is listed."""
    for use in USES.values():
        use.act(stage.box())
    counted = set(box.stage.server.requests()["endpoints"])
    assert counted == {use.endpoint for use in USES.values()}


def test_a_temporary_failure_of_the_archive_limit_is_told_from_others(box: Box) -> None:
    """Old servers do not say for how long; the window of that limit is known."""
    disturb(box, USES["whole project"].rule, {"action": "status", "status": 429})
    box.session.stop.set()
    with pytest.raises(RequestFailed) as caught:
        USES["whole project"].act(box)
    assert caught.value.retry_after_s == 60.0
