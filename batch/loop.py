"""A batch from beginning to end: list, plan, carry, note, report. The only writer of the state.

    assets ─► plan (resume table) ─► outputs made again ─► packs ─► Flow ─► one record per file ─► exit code

Everything that takes time happens elsewhere: in children, and in the flow's conductors.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from batch.auto import Auto, Experience
from batch.crew import Crew, Tasks
from batch.crews import crew_for
from batch.errors import BadData
from batch.flags.stages import wanted_steps
from batch.flow import POLL_S, Flow, Outcome
from batch.kept import SectionStore
from batch.outputs.after import AfterWriting, opened
from batch.outputs.writing import Writer
from batch.recordings.packing import Pack, pack
from batch.recordings.source import Asset, discover, read_assets
from batch.remote.crew import RemoteCrew
from batch.remote.flow import USER_CANCELED, begun
from batch.reporting.display import Display
from batch.reporting.metrics import metrics_served
from batch.reporting.tally import Tally
from batch.settings import BatchSettings
from batch.sinks.delivery import Sinks
from batch.sinks.work import SinkWork
from batch.staged import StagedFlow
from batch.state.file import StateFile, read_state
from batch.state.record import Record, Status
from batch.state.resume import Outputs, Plan, Wishes, make_plan
from batch.state.shards import shard
from batch.state.twins import Twin, apart, known_hash, outcomes
from pipelines.asr.whisper.outputs import Result
from runner.signals import Signals

if TYPE_CHECKING:
    from batch.crews import AnyCrew
    from batch.ray_crew import RayCrew

EXIT_DONE = 0
EXIT_AGAIN = 75
"""Interrupted, or failures are left that another run may repair."""
EXIT_PARTIAL = 80
REBUILT_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended; `report` is plain data."""

    exit_code: int
    report: dict[str, object]


class Batch:
    """One run."""

    def __init__(
        self,
        settings: BatchSettings,
        display: Display,
        signals: Signals,
        tasks: Tasks | None = None,
    ) -> None:
        """Describe the run; nothing is read or started yet.

        Args:
            settings: the command line.
            display: who is told.
            signals: when to stop.
            tasks: other stages, for tests; None for the real ones.
        """
        self._settings = settings
        self._display = display
        self._signals = signals
        self._tasks = tasks
        self._writer = Writer(settings)
        self._hash = settings.options_hash()
        self._sections = SectionStore(settings.state_path, self._hash)
        self._has_given_up = False

    def run(self) -> Ended:
        """Do everything that is to be done.

        Raises:
            BatchError: the run cannot begin.
        """
        with opened(self._settings) as after:
            self._writer.after = after
            return self._run(self._found())

    def _run(self, found: Sequence[Asset]) -> Ended:
        if self._settings.dry_run:
            plan = self._plan(found, read_state(self._settings.state_path))
            self._say_plan(plan)
            return Ended(EXIT_DONE, {"todo": len(plan.todo)})
        with StateFile(self._settings.state_path) as state:
            state.options = self._settings.shown()
            state.records = self._migrated(state.records, found)
            plan = self._plan(found, state.records)
            self._say_plan(plan)
            for name in plan.missing:
                state.put(name, replace(state.records[name], status=Status.MISSING))
            for name, record in plan.updated.items():
                state.put(name, record)
            with _scratch_of(state.path, self._settings.ray_scratch) as scratch:
                sinks = SinkWork(Sinks(self._settings, scratch / "sinks"), state, self._display)
                return self._carry(plan, state, scratch, sinks)

    def _found(self) -> list[Asset]:
        """Everything there is, whether this run is to do it or not."""
        settings = self._settings
        if settings.assets is not None:
            return read_assets(settings.assets, settings.asset_url)
        return discover(settings.input or "", follows_links=settings.follow_links)

    def _plan(self, found: Sequence[Asset], records: dict[str, Record]) -> Plan:
        settings = self._settings
        mine = shard(found[settings.skip :], *settings.shard_of)
        wishes = Wishes(
            options_hash=self._hash,
            read_hash=known_hash if settings.verify else None,
            redo_changed=settings.redo_changed,
            retry_failed=settings.retry_failed,
            retry_canceled=settings.retry_canceled,
            is_remote=settings.remote,
        )

        def are_whole(asset: Asset) -> bool:
            record = records.get(asset.name)
            return self._writer.are_whole(asset, record.outputs if record else ())

        outputs = Outputs(
            are_whole,
            self._writer.can_rebuild,
            is_begun=lambda asset: self._sections.has(asset.name),
        )
        there = {asset.name for asset in found}
        return make_plan(mine, there, records, wishes, outputs)

    def _migrated(self, records: dict[str, Record], assets: Sequence[Asset]) -> dict[str, Record]:
        """Give records of version 1, which go by base name, the name that they have now."""
        by_base: dict[str, list[str]] = {}
        for asset in assets:
            by_base.setdefault(asset.name.rpartition("/")[2], []).append(asset.name)
        migrated: dict[str, Record] = {}
        for name, record in records.items():
            candidates = by_base.get(name, [])
            if record.size is None and name not in candidates and candidates:
                if len(candidates) > 1 and not self._settings.yes:
                    raise BadData(
                        f'the old state knows "{name}", which may be {" or ".join(candidates)}',
                        "--yes takes it for the first of them",
                    )
                name = candidates[0]
            migrated[name] = record
        return migrated

    def _say_plan(self, plan: Plan) -> None:
        reasons = {str(action): count for action, count in plan.reasons.items()}
        words = [f"{count} {action}" for action, count in reasons.items()]
        if plan.missing:
            words.append(f"{len(plan.missing)} not there any more")
        self._display.say(
            "plan", "; ".join(words) or "nothing found", todo=len(plan.todo), reasons=reasons
        )
        steps = wanted_steps(self._settings)
        if steps:
            shown = f"Besides its transcript, each recording gets: {'; '.join(steps)}"
            self._display.say("steps", shown, steps=steps)

    def _rebuild(self, assets: Sequence[Asset], tally: Tally) -> None:
        """Make lost outputs again, several at once, since a part of them may wait for somebody else."""
        at_once = max([REBUILT_AT_ONCE, *(one.at_once for one in self._writer.after)])
        with ThreadPoolExecutor(at_once, "rebuilding") as pool:
            futures = {pool.submit(self._writer.rebuild, asset): asset for asset in assets}
            waiting = set(futures)
            while waiting:
                done, waiting = wait(waiting, POLL_S, FIRST_COMPLETED)
                if self._wants_stop:
                    pool.shutdown(wait=False, cancel_futures=True)
                if self._signals.wants_end_now:
                    self._writer.leave()
                for future in done - {one for one in done if one.cancelled()}:
                    tally.warn(future.result())
                    self._display.rebuilt(futures[future].name, future.result())

    @property
    def _wants_stop(self) -> bool:
        return self._signals.wants_stop or self._signals.wants_drain

    def _carry(self, plan: Plan, state: StateFile, scratch: Path, sinks: SinkWork) -> Ended:
        self._sections.sweep(asset.name for asset in plan.todo)
        tally = Tally(len(plan.todo), time.monotonic())
        todo, twins = self._apart(plan, state)
        self._writer.after = (*self._writer.after, *self._handing_over(sinks))
        try:
            self._rebuild(plan.rebuild, tally)
            sinks.catch_up(plan.kept, self._writer.outputs, is_redone=self._settings.redo_sinks)
            if todo:
                self._transcribe(todo, state, scratch, sinks, tally)
            self._share(twins, state, tally)
            sinks.finish(tally, lambda: self._wants_stop)
        finally:
            sinks.close(tally, at_once=self._signals.wants_end_now)
        code = self._exit_code(state)
        report = {**tally.report(time.monotonic()), **sinks.report(), "exit_code": code}
        self._display.end(report)
        return Ended(code, report)

    def _apart(self, plan: Plan, state: StateFile) -> tuple[Sequence[Asset], list[Twin]]:
        """What is transcribed, and what gets the transcript of a file with the same bytes."""
        if not self._settings.skip_duplicates:
            return plan.todo, []
        done = {asset.name: state.records[asset.name] for asset in plan.kept}
        same = {name: known for name, known in done.items() if known.options_hash == self._hash}
        todo, twins = apart(plan.todo, same)
        if twins:
            self._display.say("twins", f"{len(twins)} are copies of others", twins=len(twins))
        return todo, twins

    def _share(self, twins: Sequence[Twin], state: StateFile, tally: Tally) -> None:
        for twin, outcome in outcomes(twins, state.records, self._writer.copy):
            begun = self._begun(twin.asset, state.records.get(twin.asset.name))
            ended = self._ended(outcome, replace(begun, duplicate_of=twin.original))
            state.put(twin.asset.name, ended)
            tally.count(outcome)
            self._display.file(outcome)

    def _handing_over(self, sinks: SinkWork) -> list[AfterWriting]:
        """The last thing that is done with a file, since the others leave files beside it."""
        if not sinks.are_wanted:
            return []

        def hand_over(asset: Asset, _result: Result, _paths: Sequence[Path]) -> None:
            sinks.give(asset, self._writer.outputs(asset))

        return [AfterWriting("sinks", hand_over)]

    def _transcribe(
        self,
        todo: Sequence[Asset],
        state: StateFile,
        scratch: Path,
        sinks: SinkWork,
        tally: Tally,
    ) -> None:
        crew = crew_for(self._settings, self._tasks)
        self._display.say("crew", crew.shown, crew=crew.shown)
        try:
            with metrics_served(self._settings, crew.statuses) as address:
                if address is not None:
                    self._display.say("metrics", f"metrics on {address}", address=address)
                self._work(crew, scratch, todo, state, sinks, tally)
        finally:
            crew.close(0.0)

    def _work(
        self,
        crew: AnyCrew,
        scratch: Path,
        todo: Sequence[Asset],
        state: StateFile,
        sinks: SinkWork,
        tally: Tally,
    ) -> None:
        def begin(started: Pack) -> None:
            for asset in started.assets:
                state.put(asset.name, self._begun(asset, state.records.get(asset.name)))

        def should_stop() -> bool:
            sinks.note(tally)
            self._display.progress(tally, crew.statuses())
            if self._signals.wants_end_now:
                crew.close(0.0)
                self._writer.leave()
            return self._wants_stop or self._has_given_up

        for outcome in self._outcomes(crew, scratch, todo, state, begin, should_stop):
            state.put(outcome.asset.name, self._ended(outcome, state.records[outcome.asset.name]))
            if outcome.code is None:
                self._sections.forget(outcome.asset.name)
            if not outcome.is_interrupted:
                tally.count(outcome)
                self._display.file(outcome)
            self._has_given_up = self._has_given_up or self._is_too_much(tally)

    def _outcomes(
        self,
        crew: AnyCrew,
        scratch: Path,
        todo: Sequence[Asset],
        state: StateFile,
        begin: Callable[[Pack], None],
        should_stop: Callable[[], bool],
    ) -> Iterator[Outcome]:
        settings = self._settings
        if isinstance(crew, RemoteCrew):
            remote = crew.flow(self._writer.write, scratch / "remote", state)
            return remote.run(pack(todo, 1), begin, should_stop)
        packs = pack(todo, settings.pack)
        kept = partial(self._kept, crew, scratch)
        if settings.isolation == "pool" or not isinstance(crew, Crew):
            return kept().run(packs, begin, should_stop)
        staged = partial(StagedFlow, crew, self._writer.write, scratch, self._sections)
        if settings.isolation == "auto":
            auto = Auto(Experience(crew, settings), crew, kept, staged, self._display.say)
            return auto.run(packs, begin, should_stop)
        is_file_major = settings.isolation == "file"
        return staged(is_file_major=is_file_major).run(packs, begin, should_stop)

    def _kept(self, crew: Crew | RayCrew, scratch: Path) -> Flow:
        """Workers that keep their models, started."""
        finishing = max((one.at_once for one in self._writer.after), default=0)
        in_flight = self._settings.parallel or crew.in_flight + finishing
        stages, folder = crew.start(scratch), scratch / "packs"
        return Flow(stages, self._writer.write, folder, in_flight, self._sections)

    def _begun(self, asset: Asset, before: Record | None) -> Record:
        fresh = Record(
            status=Status.RUNNING,
            path=asset.location,
            size=asset.size,
            mtime_ns=asset.mtime_ns,
            attempts=(before.attempts if before else 0) + 1,
            options_hash=self._hash,
        )
        return begun(fresh, before) if self._settings.remote else fresh

    def _ended(self, outcome: Outcome, before: Record) -> Record:
        if outcome.is_interrupted:
            return replace(before, status=Status.PENDING, attempts=before.attempts - 1)
        if outcome.code is not None:
            return replace(
                before,
                status=Status.CANCELED if outcome.code == USER_CANCELED else Status.FAILED,
                error_code=outcome.code,
                error_message=outcome.message,
                elapsed_s=outcome.elapsed_s,
                failed_at=round(time.time(), 3),
                sha256=outcome.asset.sha256,
            )
        return replace(
            before,
            status=Status.COMPLETE,
            outputs=outcome.outputs,
            sha256=outcome.asset.sha256,
            audio_s=outcome.audio_s,
            elapsed_s=outcome.elapsed_s,
        )

    def _is_too_much(self, tally: Tally) -> bool:
        settings = self._settings
        most = 1 if settings.fail_fast else settings.max_failures
        return bool(most) and tally.failed >= most

    def _exit_code(self, state: StateFile) -> int:
        if self._signals.wants_end_now:
            return self._signals.exit_code
        records = state.records.values()
        if any(r.status in (Status.PENDING, Status.RUNNING) for r in records):
            return EXIT_AGAIN
        if self._signals.wants_stop or self._has_given_up:
            return EXIT_AGAIN
        failed = [record for record in records if record.status is Status.FAILED]
        if any(record.is_retryable for record in failed):
            return EXIT_AGAIN
        return EXIT_PARTIAL if failed else EXIT_DONE


@contextmanager
def _scratch_of(state_path: Path, shared: Path | None) -> Iterator[Path]:
    """A folder for what comes and goes; its name is fixed, so that what a killed run left is found and removed."""
    scratch = state_path.with_name(f".{state_path.stem}.scratch")
    if shared is not None:
        whose = hashlib.sha256(str(state_path.resolve()).encode()).hexdigest()[:8]
        scratch = shared.resolve() / f".{state_path.stem}-{whose}.scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(mode=0o700)
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
