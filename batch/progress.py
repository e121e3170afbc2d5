"""What is noted as files begin and end: in the state, in the tally, on the display.

Used by the thread of the batch alone, since it writes the state.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from batch.flow import Outcome, Warned
from batch.kept import SectionStore
from batch.recordings.packing import Pack
from batch.recordings.source import Asset
from batch.reporting.display import Display
from batch.reporting.tally import Tally
from batch.settings import BatchSettings
from batch.state.changes import begun, begun_remotely, ended
from batch.state.file import StateFile
from batch.state.record import Record
from batch.state.twins import Twin


class Progress:
    """The books of one run."""

    def __init__(
        self,
        settings: BatchSettings,
        options_hash: str,
        state: StateFile,
        sections: SectionStore,
        tally: Tally,
        display: Display,
    ) -> None:
        self.tally = tally
        self._state = state
        self._sections = sections
        self._display = display
        self._options_hash = options_hash
        self._begun = begun_remotely if settings.remote else begun
        self._most_failures = 1 if settings.fail_fast else settings.max_failures

    @property
    def is_too_much(self) -> bool:
        """Whether so many files have failed that the rest is not worth trying."""
        return bool(self._most_failures) and self.tally.failed >= self._most_failures

    def begin(self, started: Pack) -> None:
        """A pack is on its way."""
        for asset in started.assets:
            self._state.put(asset.name, self._fresh(asset))

    def end(self, outcome: Outcome) -> None:
        """A file has come to an end; of one that is done, no sections are needed any more."""
        self._note(self._state.records[outcome.asset.name], outcome)
        if outcome.code is None:
            self._sections.forget(outcome.asset.name)
        self._tell(outcome)

    def copied(self, twin: Twin, outcome: Outcome) -> None:
        """A file got what another one of the same bytes has."""
        self._note(replace(self._fresh(twin.asset), duplicate_of=twin.original), outcome)
        self._tell(outcome)

    def rebuilt(self, asset: Asset, warnings: Sequence[Warned]) -> None:
        """A finished file's outputs are whole again, but for these."""
        self.tally.warn(warnings)
        self._display.rebuilt(asset.name, warnings)

    def _fresh(self, asset: Asset) -> Record:
        return self._begun(asset, self._state.records.get(asset.name), self._options_hash)

    def _note(self, before: Record, outcome: Outcome) -> None:
        self._state.put(outcome.asset.name, ended(before, outcome, time.time()))

    def _tell(self, outcome: Outcome) -> None:
        if not outcome.is_interrupted:
            self.tally.count(outcome)
            self._display.file(outcome)
