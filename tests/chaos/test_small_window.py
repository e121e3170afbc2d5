"""The moment between GitLab's check of an update and its commit: who syncs in it loses nothing.

The devserver calls us inside the commit, so that every order of events is certain and not a matter of luck.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from chaos.field import Field, claimant, job, patience
from chaos.translator import Translator
from support.codex_builders import BOT, PATH, as_bytes, cell, document, edit
from support.journals import MemoryJournal

from devserver.projects import Project
from devserver.world import CommitStage
from gitlab_jobs import claims
from gitlab_jobs.codex.changes import SetText
from gitlab_jobs.composition import compose
from gitlab_jobs.gitlab_store import GitLabStore
from gitlab_jobs.job import JobState
from gitlab_jobs.mending import mend
from gitlab_jobs.outbox import Contents
from gitlab_jobs.publication import Publication, new_mark
from gitlab_jobs.publisher import edit_context
from gitlab_jobs.store import Change, Committed

JOB = job("a1")
START = document(cell("1"), cell("2"), cell("3"), cell("4", "four"))
WANTED = {PATH: tuple(SetText(verse, f"heard {verse}", None, listed=False) for verse in "12")}
LATER = 2_000_000_000_000


class Stage:
    """One project, the worker on it, and people who act inside its commits."""

    def __init__(self, field: Field, project: str) -> None:
        self.field = field
        self.store: GitLabStore = field.store(project)
        world = field.server.world
        assert world is not None
        self._world = world
        found = world.find_project(project)
        assert found is not None
        self._repository = world.repository(found)
        self.journal = MemoryJournal()
        self.commit: Committed | None = None
        self._plan: list[tuple[CommitStage, Callable[[], None]]] = []
        world.on_commit = self._reached

    def person(self, name: str = "alice") -> Translator:
        """Somebody who has just synced."""
        return Translator(self._repository, name)

    def during_next(self, stage: CommitStage, act: Callable[[], None]) -> None:
        """Do something when a commit comes to this stage; each act waits for the one before it."""
        self._plan.append((stage, act))

    def publish(self) -> None:
        """Claim, then write two verses and the end of the job in one commit."""
        lease = claims.claim(self.store, JOB, claimant("box"), patience())
        self._world.on_commit = self._reached
        context = edit_context(JOB, BOT)
        publication = Publication(new_mark())

        def changes() -> Sequence[Change]:
            composed = compose(self.store, Contents(changes=WANTED), context).changes
            self.journal.note(publication.with_try(composed))
            return composed

        self.commit = lease.finish(changes, patience(), JobState.COMPLETED, publication.mark)

    def mend(self, *, knows_commit: bool = True) -> tuple[str, ...]:
        """Look after what was published; a successor of a killed worker does not know the commit."""
        (publication,) = self.journal.pending()
        commit = self.commit if knows_commit else None
        return mend(self.store, JOB.job_id, publication, commit, self.journal, patience())

    def lose_reply(self, after: int) -> None:
        """The reply to one commit, after some others, never comes."""
        rule = {"method": "POST", "endpoint": "*/commits", "action": "lose_reply", "count": 1}
        self.field.server.set_faults(rules=[{**rule, "skip": after}])

    def cells(self) -> dict[str, Any]:
        """The cells at the branch head by id."""
        content = self.store.read([PATH])[PATH].content
        return {found["metadata"]["id"]: found for found in json.loads(content)["cells"]}

    def texts(self) -> list[str]:
        """The text of each cell."""
        return [found["value"] for found in self.cells().values()]

    def _reached(self, _project: Project, stage: CommitStage) -> None:
        if self._plan and self._plan[0][0] is stage:
            self._plan.pop(0)[1]()


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Field]:
    """Fresh projects on one server in this process."""
    projects = [f"bible/p{number}" for number in range(20)]
    folder = tmp_path_factory.mktemp("window")
    with Field(folder, projects, files={PATH: as_bytes(START)}, in_process=True) as running:
        yield running


@pytest.fixture(scope="module")
def names(field: Field) -> Iterator[str]:
    """Projects that no test has touched."""
    return iter(field.projects)


@pytest.fixture
def stage(field: Field, names: Iterator[str]) -> Stage:
    """A project of the test's own."""
    return Stage(field, next(names))


def types(person: Translator, verse: str, text: str, at: int = LATER) -> Callable[[], None]:
    """A person who writes a verse and syncs."""

    def write(notebook: Any) -> None:
        for found in notebook["cells"]:
            if found["metadata"]["id"] == verse:
                found["value"] = text
                found["metadata"]["edits"].append(edit(text, at))

    def act() -> None:
        person.edit_notebook(PATH, write)
        person.sync()

    return act


def in_finish(stage: Stage, *acts: Callable[[], None], at: CommitStage) -> None:
    """Do these when the final commit, the second one after the claim, comes to a stage."""
    stage.during_next(CommitStage.DONE, lambda: None)
    for act in acts:
        stage.during_next(at, act)


def test_a_sync_inside_the_window_would_be_overwritten_and_is_put_back(stage: Stage) -> None:
    """The window is real: without the repair, the person's verse is gone from the branch."""
    in_finish(stage, types(stage.person(), "3", "typed"), at=CommitStage.VALIDATED)
    stage.publish()
    assert stage.texts() == ["heard 1", "heard 2", "", "four"]
    assert stage.mend() == (PATH,)
    assert stage.texts() == ["heard 1", "heard 2", "typed", "four"]


def test_a_verse_that_a_person_wrote_in_the_window_stays_theirs(stage: Stage) -> None:
    """The worker's other verse is written all the same."""
    in_finish(stage, types(stage.person(), "2", "typed"), at=CommitStage.VALIDATED)
    stage.publish()
    stage.mend()
    assert stage.texts() == ["heard 1", "typed", "", "four"]


def test_the_person_who_was_overwritten_ends_with_the_same_after_a_sync(stage: Stage) -> None:
    """Their clone fast-forwards over our commit, so only the branch can give their work back."""
    alice = stage.person()
    in_finish(stage, types(alice, "3", "typed"), at=CommitStage.VALIDATED)
    stage.publish()
    stage.mend()
    alice.sync()
    assert alice.files[PATH] == stage.store.read([PATH])[PATH].content


def test_somebody_may_go_on_before_the_repair(stage: Stage) -> None:
    """Their work on other verses and on the same one is kept beside what is put back."""
    alice, bob = stage.person(), stage.person("bob")
    in_finish(stage, types(alice, "3", "typed"), at=CommitStage.VALIDATED)
    stage.publish()
    types(bob, "4", "vier")()
    types(bob, "3", "later", LATER + 5)()
    assert stage.mend() == (PATH,)
    assert stage.texts() == ["heard 1", "heard 2", "later", "vier"]
    history = [entry["value"] for entry in stage.cells()["3"]["metadata"]["edits"]]
    assert sorted(history) == ["later", "typed"]


def test_the_older_of_two_texts_does_not_come_back(stage: Stage) -> None:
    """Put back is what the merge would have kept: the newer one."""
    alice, bob = stage.person(), stage.person("bob")
    in_finish(stage, types(alice, "3", "typed", LATER + 9), at=CommitStage.VALIDATED)
    stage.publish()
    types(bob, "3", "earlier", LATER)()
    stage.mend()
    assert stage.texts() == ["heard 1", "heard 2", "typed", "four"]


def test_the_repair_itself_may_pass_over_somebody(stage: Stage) -> None:
    """Then it is repaired again."""
    alice, bob = stage.person(), stage.person("bob")
    in_finish(
        stage,
        types(alice, "3", "typed"),
        types(bob, "4", "vier"),
        at=CommitStage.VALIDATED,
    )
    stage.publish()
    stage.mend()
    assert stage.texts() == ["heard 1", "heard 2", "typed", "vier"]


@pytest.mark.parametrize("at", [CommitStage.ASKED, CommitStage.BUILT, CommitStage.DONE])
def test_outside_the_window_git_itself_keeps_both(stage: Stage, at: CommitStage) -> None:
    """A sync earlier or later is seen by the commit, or sees it; nothing needs repair."""
    in_finish(stage, types(stage.person(), "3", "typed"), at=at)
    stage.publish()
    assert stage.mend() == ()
    assert stage.texts() == ["heard 1", "heard 2", "typed", "four"]


@pytest.mark.parametrize("is_told", [True, False], ids=["in the same life", "in the next life"])
def test_a_lost_reply_hides_nothing_even_if_a_person_commits_right_after(
    stage: Stage, is_told: bool
) -> None:
    """The commit is found again by its mark, by the worker or by its successor; not the person's."""
    alice, bob = stage.person(), stage.person("bob")
    in_finish(stage, types(alice, "3", "typed"), at=CommitStage.VALIDATED)
    stage.during_next(CommitStage.DONE, lambda: None)
    stage.during_next(CommitStage.DONE, types(bob, "4", "vier"))
    stage.lose_reply(after=1)
    stage.publish()
    assert stage.mend(knows_commit=is_told) == (PATH,)
    assert stage.texts() == ["heard 1", "heard 2", "typed", "vier"]


@pytest.mark.parametrize("is_after", [True, False], ids=["after it", "inside it and after"])
def test_a_repair_whose_reply_is_lost_is_looked_at_as_well(stage: Stage, is_after: bool) -> None:
    """Also if a person commits right after it, which is not taken for the repair."""
    alice, bob, carol = stage.person(), stage.person("bob"), stage.person("carol")
    in_finish(stage, types(alice, "3", "typed"), at=CommitStage.VALIDATED)
    stage.publish()
    stage.lose_reply(after=0)
    if not is_after:
        stage.during_next(CommitStage.VALIDATED, types(bob, "4", "vier"))
    stage.during_next(CommitStage.DONE, types(carol, "1", "anders"))
    assert stage.mend() == (PATH,)
    assert stage.texts() == ["anders", "heard 2", "typed", "four" if is_after else "vier"]
    assert stage.journal.pending() == []


def test_a_repair_is_done_once_by_whoever_comes_after(stage: Stage) -> None:
    """A worker that was killed between repair and note leaves both to be looked at; nothing changes."""
    in_finish(stage, types(stage.person(), "3", "typed"), at=CommitStage.VALIDATED)
    stage.publish()
    before = stage.journal.pending()
    assert stage.mend() == (PATH,)
    stage.journal.kept = {each.mark: each for each in before}
    head = stage.store.read([PATH])[PATH].commit_id
    stage.mend(knows_commit=False)
    assert stage.store.read([PATH])[PATH].commit_id == head


def test_where_nobody_else_commits_looking_costs_nothing(stage: Stage) -> None:
    """The commit's parent is the revision that was read; no request is needed to know that."""
    stage.publish()
    before = stage.store._session.transport.requests_sent
    assert stage.mend() == ()
    assert stage.store._session.transport.requests_sent == before
