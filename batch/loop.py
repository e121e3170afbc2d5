"""A batch from beginning to end: list, plan, carry, note, report.

    assets ─► plan (resume table) ─► outputs made again ─► packs ─► Flow ─► one record per file ─► exit code

Everything that takes time happens elsewhere: in children, and in the flow's conductors. This thread alone writes the state.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from batch.carrying import Carrying, Way
from batch.crew import Tasks
from batch.crews import crew_for
from batch.kept import SectionStore
from batch.outputs.after import AfterWriting, opened
from batch.outputs.rebuilding import rebuilt
from batch.outputs.writing import Writer
from batch.planning import everything, outputs_left, plan_run, say_plan
from batch.progress import Progress
from batch.recordings.packing import pack
from batch.recordings.source import Asset
from batch.reporting.display import Display
from batch.reporting.metrics import metrics_served
from batch.reporting.tally import Tally
from batch.scratch import scratch_of
from batch.settings import BatchSettings
from batch.sinks.delivery import Sinks
from batch.sinks.work import SinkWork
from batch.state.changes import EXIT_DONE, exit_code
from batch.state.file import StateFile, read_state
from batch.state.migration import migrated
from batch.state.record import Record, Status
from batch.state.resume import Plan
from batch.state.twins import Twin, apart, outcomes
from pipelines.asr.whisper.outputs import Result
from runner.signals import Signals

if TYPE_CHECKING:
    from batch.crews import AnyCrew


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
        settings = self._settings
        with opened(settings) as after:
            self._writer.after = after
            found = everything(settings)
            if settings.dry_run:
                plan = self._plan(found, read_state(settings.state_path))
                return Ended(EXIT_DONE, {"todo": len(plan.todo)})
            with StateFile(settings.state_path) as state:
                plan = self._planned(found, state)
                with scratch_of(state.path, settings.ray_scratch) as scratch:
                    return self._carry(plan, state, scratch)

    def _plan(self, found: Sequence[Asset], records: dict[str, Record]) -> Plan:
        """Decide, and say so."""
        left = outputs_left(self._writer, self._sections, records)
        plan = plan_run(self._settings, self._hash, found, records, left)
        say_plan(plan, self._settings, self._display)
        return plan

    def _planned(self, found: Sequence[Asset], state: StateFile) -> Plan:
        """Decide, and note what is known by that alone."""
        state.options = self._settings.shown()
        names = [asset.name for asset in found]
        state.records = migrated(state.records, names, takes_first=self._settings.yes)
        plan = self._plan(found, state.records)
        for name in plan.missing:
            state.put(name, replace(state.records[name], status=Status.MISSING))
        for name, record in plan.updated.items():
            state.put(name, record)
        return plan

    def _carry(self, plan: Plan, state: StateFile, scratch: Path) -> Ended:
        settings, writer = self._settings, self._writer
        sinks = SinkWork(Sinks(settings, scratch / "sinks"), state, self._display)
        self._sections.sweep(asset.name for asset in plan.todo)
        tally = Tally(len(plan.todo), time.monotonic())
        progress = Progress(settings, self._hash, state, self._sections, tally, self._display)
        todo, twins = self._apart(plan, state)
        writer.after = (*writer.after, *self._handing_over(sinks))
        try:
            for asset, warnings in rebuilt(plan.rebuild, writer, self._signals):
                progress.rebuilt(asset, warnings)
            sinks.catch_up(plan.kept, writer.outputs, is_redone=settings.redo_sinks)
            if todo:
                self._transcribe(todo, state, scratch, progress, sinks)
            for twin, outcome in outcomes(twins, state.records, writer.copy):
                progress.copied(twin, outcome)
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
        progress: Progress,
        sinks: SinkWork,
    ) -> None:
        crew = crew_for(self._settings, self._tasks)
        self._display.say("crew", crew.shown, crew=crew.shown)
        try:
            with metrics_served(self._settings, crew.statuses) as address:
                if address is not None:
                    self._display.say("metrics", f"metrics on {address}", address=address)
                carrying = Carrying(
                    self._settings, self._writer, self._sections, scratch, self._display
                )
                self._work(crew, carrying.way(crew, state), todo, progress, sinks)
        finally:
            crew.close(0.0)

    def _work(
        self,
        crew: AnyCrew,
        way: Way,
        todo: Sequence[Asset],
        progress: Progress,
        sinks: SinkWork,
    ) -> None:
        def should_stop() -> bool:
            sinks.note(progress.tally)
            self._display.progress(progress.tally, crew.statuses())
            if self._signals.wants_end_now:
                crew.close(0.0)
                self._writer.leave()
            return self._wants_stop or self._has_given_up

        packs = pack(todo, 1 if self._settings.remote else self._settings.pack)
        for outcome in way.run(packs, progress.begin, should_stop):
            progress.end(outcome)
            self._has_given_up = progress.is_too_much

    @property
    def _wants_stop(self) -> bool:
        return self._signals.wants_stop or self._signals.wants_drain

    def _exit_code(self, state: StateFile) -> int:
        if self._signals.wants_end_now:
            return self._signals.exit_code
        is_cut_short = self._signals.wants_stop or self._has_given_up
        return exit_code(state.records.values(), is_cut_short=is_cut_short)
