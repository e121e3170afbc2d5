"""A worker's publication among people: every order of events that the seed draws, and what must hold after.

    claim ─► look ─► renew ─► look ─► finish ─► mend ─► look again
      ▲        ▲       ▲        ▲     ▲ ▲ ▲ ▲     ▲
      └────────┴───────┴────────┴─────┴─┴─┴─┴─────┴──── two translators edit and sync, in between and
                                                         inside of each commit, at every stage of it

One thing happens at a time, so a seed is a whole story and can be told again.
"""

from __future__ import annotations

import itertools
import json
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from chaos import verdict
from chaos.field import SUBMITTED, Field, claimant, job
from chaos.habits import Habits, Memory
from chaos.translator import Translator
from support.codex_builders import BOT, PATH, as_bytes, cell, document, recorded
from support.devserver import project as described
from support.manifests import manifest_of

from devserver.repository import Repository
from devserver.world import CommitStage, Project
from gitlab_jobs import claims, paths
from gitlab_jobs.codex.changes import AddTake, CellChange, SetText, TakeMedia
from gitlab_jobs.composition import compose
from gitlab_jobs.errors import AlreadyExists, LeaseLost
from gitlab_jobs.gitlab_session import GitLabSession
from gitlab_jobs.gitlab_store import GitLabStore
from gitlab_jobs.heartbeat import Heartbeat, Status
from gitlab_jobs.job import CancelReason, JobState
from gitlab_jobs.lease import Lease, Patience
from gitlab_jobs.ledger import Ledger, Standing
from gitlab_jobs.lfs import Pointer
from gitlab_jobs.lfs_transfer import LfsTransfer
from gitlab_jobs.mending import mend
from gitlab_jobs.object_cache import ObjectCache
from gitlab_jobs.outbox import Contents
from gitlab_jobs.publication import Publication, new_mark
from gitlab_jobs.publisher import edit_context
from gitlab_jobs.recovery import is_rolled_back, reassert
from gitlab_jobs.response import parse_response
from gitlab_jobs.store import Change, ProjectRef

OTHER = "files/target/MRK.codex"
GITATTRIBUTES = "*.webm filter=lfs diff=lfs merge=lfs -text\n"
MEDIA = TakeMedia("audio/webm", sample_rate_hz=48_000, channels=1, duration_s=1.0)
DAY_MS = 86_400_000
SUBMITTED_MS = int(SUBMITTED.timestamp() * 1000)
BUSY = 0.35
MOST_INSIDE = 8
LOSE_REPLY = 0.2
KNOWS_COMMIT = 0.7
SILENT, SPOKEN = ("1", "2", "3"), ("4", "5", "6")
"""Verses with a recording and no text, and verses with a text and no recording."""


def start_files(job_id: str) -> dict[str, bytes | str]:
    """The project before anybody does anything."""
    cells = [recorded(verse) for verse in SILENT]
    cells += [cell(verse, f"text {verse}") for verse in SPOKEN]
    entry = {
        "job_id": job_id,
        "job_type": "asr",
        "mode": "inference",
        "submitted_at": SUBMITTED.isoformat(),
        "model": {"type": "Fast"},
        "canceled": False,
    }
    return {
        ".gitattributes": GITATTRIBUTES,
        paths.MANIFEST_PATH: manifest_of(entry),
        PATH: as_bytes(document(*cells)),
        OTHER: as_bytes(document(*cells, id="MRK")),
    }


@dataclass
class Tally:
    """What came out of many stories; `broken` tells the seed and what was wrong in it."""

    runs: int = 0
    acts: int = 0
    syncs: int = 0
    inside_commits: int = 0
    published: int = 0
    stopped: int = 0
    mended: int = 0
    rolled_back: int = 0
    broken: list[str] = field(default_factory=list)

    @property
    def failures(self) -> int:
        """Everything that must not be."""
        return len(self.broken)


def run(directory: Path, seed: int, runs: int) -> Tally:
    """Tell as many stories, each from a seed of its own."""
    tally = Tally()
    with Field(directory, ["bible/none"], in_process=True) as field_:
        ledger = Ledger(directory / "ledger.sqlite3")
        box = Box(field_.session(), ObjectCache(directory / "cache"), ledger)
        for number in range(runs):
            story = Story(field_, box, f"{seed}-{number}", directory)
            wrong = story.tell(tally)
            tally.broken += [f"seed {seed}-{number}: {text}" for text in wrong]
            tally.runs += 1
        ledger.close()
    return tally


@dataclass(frozen=True)
class Box:
    """What a worker keeps from job to job."""

    session: GitLabSession
    cache: ObjectCache
    ledger: Ledger


class Story:
    """One project, one job, two people."""

    def __init__(self, field_: Field, box: Box, seed: str, directory: Path) -> None:
        self._rng = random.Random(seed)
        self._field = field_
        self._ledger = box.ledger
        self._directory = directory / seed
        self._job = job(f"job-{seed}")
        path = f"bible/{seed}"
        described_ = described(path, files=start_files(self._job.job_id))
        added = field_.server.add_project(self._directory, described_)
        assert field_.server.world is not None
        self._world = field_.server.world
        self._repository: Repository = self._world.repository(added)
        ref = ProjectRef(str(added.id), path, added.default_branch)
        self._store = GitLabStore(box.session, ref, LfsTransfer(box.session, box.cache))
        self.memory = Memory()
        clock = _clock(self._rng)
        self._people = [
            Habits(
                Translator(self._repository, name), self._rng, clock, self.memory, self._job.job_id
            )
            for name in ("alice", "bob")
        ]
        self._inside = 0
        self._reason: CancelReason | None = None
        self._patience = Patience(30.0, threading.Event(), 0.02)

    def tell(self, tally: Tally) -> list[str]:
        """Live through it; returns what is wrong in the end."""
        contents = self._contents()
        self._world.on_commit = self._meanwhile
        if self._rng.random() < LOSE_REPLY:
            self._lose_a_reply(self._rng.randrange(4))
        try:
            state, mended = self._work(contents)
        finally:
            self._world.on_commit = lambda *_: None
            self._field.clear_faults()
        for person in self._rng.sample(self._people * 2, k=4):
            person.sync()
        tally.rolled_back += self._settle(state)
        for person in self._people * 2:
            person.sync()
        tally.acts += self.memory.acts
        tally.syncs += self.memory.syncs
        tally.inside_commits += self._inside
        tally.published += state is JobState.COMPLETED
        tally.stopped += state is not JobState.COMPLETED
        tally.mended += mended
        return list(self._wrong(contents, state, mended=mended))

    def _work(self, contents: Contents) -> tuple[JobState | None, bool]:
        """The worker's side; returns the end it wrote, and whether it had to put edits back."""
        self._people_act()
        try:
            box = replace(claimant("box"), announce=self._ledger.claiming)
            lease = claims.claim(self._store, self._job, box, self._patience)
            for _ in range(self._rng.randint(0, 2)):
                self._look(lease)
                self._people_act()
                if self._reason is None:
                    lease.renew(self._patience)
            self._look(lease)
            return self._publish(lease, contents)
        except (AlreadyExists, LeaseLost):
            return None, False

    def _publish(self, lease: Lease, contents: Contents) -> tuple[JobState | None, bool]:
        if self._reason in (CancelReason.FOLDER_DELETED, CancelReason.LEASE_LOST):
            return None, False
        state = JobState.COMPLETED if self._reason is None else JobState.CANCELED
        results = contents if state is JobState.COMPLETED else Contents()
        # The worker makes its takes before anybody can hear them, by every clock of the story.
        context = replace(edit_context(self._job, BOT), now_ms=SUBMITTED_MS + DAY_MS // 2)

        publication = Publication(new_mark())
        journal = self._ledger.journal(self._store.project, self._job.job_id)

        def changes() -> tuple[Change, ...]:
            nonlocal publication
            self._people_act()
            composed = compose(self._store, results, context).changes
            publication = publication.with_try(composed)
            journal.note(publication)
            self._people_act()
            return composed

        committed = lease.finish(changes, self._patience, state, publication.mark)
        self._ledger.note(self._store.project, self._job.job_id, Standing.DONE, lease.response)
        self._people_act()
        # Sometimes the look is left to a successor, which has the journal alone.
        known = committed if self._rng.random() < KNOWS_COMMIT else None
        job_id = self._job.job_id
        mended = mend(self._store, job_id, publication, known, journal, self._patience)
        return state, bool(mended)

    def _look(self, lease: Lease) -> None:
        """Ask twice, as the keeper does before it believes that an entry is gone."""

        def stop(reason: CancelReason) -> None:
            self._reason = self._reason or reason

        keeper = Heartbeat(
            lease,
            self._store,
            watch_s=60,
            heartbeat_s=3600,
            status=lambda: Status(None, {}),
            on_stop=stop,
        )
        for _ in range(2):
            keeper.turn(time.monotonic())

    def _settle(self, state: JobState | None) -> bool:
        """What the daemon's next scan does: an end that a sync rolled back is written again."""
        path = paths.response_path(self._job.job_id)
        version = self._store.read([path]).get(path)
        there = parse_response(version.content) if version is not None else None
        row = self._ledger.find(self._store.project, self._job.job_id)
        if state is None or row is None or not is_rolled_back(row, there):
            return False
        reassert(self._store, row)
        return True

    def _people_act(self) -> None:
        while self._rng.random() < BUSY:
            self._rng.choice(self._people).do_something()

    def _meanwhile(self, _project: Project, _stage: CommitStage) -> None:
        if self._inside < MOST_INSIDE and self._rng.random() < BUSY:
            self._inside += 1
            person = self._rng.choice(self._people)
            person.do_something()
            person.sync()

    def _lose_a_reply(self, skip: int) -> None:
        rule = {"method": "POST", "endpoint": "*/repository/commits", "action": "lose_reply"}
        self._field.server.set_faults(rules=[{**rule, "skip": skip, "count": 1}])

    def _contents(self) -> Contents:
        """A text for each silent verse, a take for each spoken one, a table and a model."""
        takes: dict[Path, Pointer] = {}
        changes: dict[str, tuple[CellChange, ...]] = {}
        for notebook in (PATH, OTHER):
            wanted: list[CellChange] = [
                SetText(verse, f"heard {verse}", f"audio-{verse}", listed=self._rng.random() < 0.3)
                for verse in SILENT
            ]
            for verse in SPOKEN:
                audio = self._directory / f"{Path(notebook).stem}-{verse}.webm"
                audio.write_bytes(f"{notebook} {verse}".encode())
                listed = self._rng.random() < 0.3
                wanted.append(AddTake(verse, audio, MEDIA, f"text {verse}", listed))
                takes[audio] = Pointer("", 0)
            changes[notebook] = tuple(wanted)
        takes = self._store.send_objects(list(takes), lambda *_: None)
        model = next(iter(takes.values()))
        folder = paths.job_folder(self._job.job_id)
        return Contents(
            pointers={f"{folder}/checkpoint/best_model.pt": model},
            texts={paths.metrics_path(self._job.job_id): "epoch,loss\n1,0.5\n"},
            changes=changes,
            takes=takes,
        )

    def _wrong(self, contents: Contents, state: JobState | None, *, mended: bool) -> Iterator[str]:
        files = Translator(self._repository, "checker").files
        cells = {
            (path, found["metadata"]["id"]): found
            for path in (PATH, OTHER)
            for found in json.loads(files[path])["cells"]
        }
        yield from verdict.lost_work(self.memory, cells)
        yield from verdict.undone_decisions(self.memory, cells)
        yield from verdict.half_results(files, cells, mended=mended)
        is_published = state is JobState.COMPLETED
        yield from verdict.missing_results(contents, cells, self.memory, is_published=is_published)
        yield from self._wrong_end(files, state)

    def _wrong_end(self, files: dict[str, bytes], state: JobState | None) -> Iterator[str]:
        version = files.get(paths.response_path(self._job.job_id))
        if self.memory.wants_deletion:
            if version is not None and state is None:
                yield "the deleted job has come back"
            return
        there = parse_response(version) if version is not None else None
        if state is None or there is None or there.state is not state:
            yield f"the job ended {state}, the branch says {there and there.state}"
        folder = paths.lease_folder(self._job.job_id)
        if left := [path for path in files if path.startswith(f"{folder}/")]:
            yield f"leases are left: {left}"


def _clock(rng: random.Random) -> Iterator[int]:
    steps = (rng.randint(1, 5000) for _ in itertools.count())
    return itertools.accumulate(steps, initial=SUBMITTED_MS + DAY_MS)
