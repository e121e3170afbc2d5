"""Between the batch loop and the sinks: who is to be stored, and what is noted when that is done.

Used by the loop's thread, since it writes the state; only `give` comes from others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from batch.recordings.source import Asset
from batch.reporting.display import Display
from batch.reporting.tally import Tally
from batch.side_by_side import POLL_S
from batch.sinks.delivery import Sinks
from batch.state.file import StateFile
from batch.state.record import Status


class SinkWork:
    """Notes marks in the state and warnings in the tally."""

    def __init__(self, sinks: Sinks, state: StateFile, display: Display) -> None:
        self._sinks = sinks
        self._state = state
        self._display = display
        self._stored = 0

    @property
    def are_wanted(self) -> bool:
        """Whether the operator has chosen any."""
        return self._sinks.are_wanted

    def give(self, asset: Asset, files: Sequence[Path]) -> None:
        """Queue a file that was just written; from any thread."""
        self._sinks.give(asset, files)

    def catch_up(
        self,
        kept: Iterable[Asset],
        outputs: Callable[[Asset], Sequence[Path]],
        *,
        is_redone: bool,
    ) -> None:
        """Give finished files again whose sinks are not done, or are done with other options.

        Args:
            kept: files that this run does not transcribe.
            outputs: names the files that there are of one, the JSON first.
            is_redone: whether marks do not count.
        """
        for asset in kept:
            done = {} if is_redone else self._state.records[asset.name].sinks
            todo = self._sinks.undone(done)
            if todo:
                self._sinks.give(asset, outputs(asset), todo)
        if self._sinks.waiting:
            words = f"{self._sinks.waiting} finished transcripts go to their sinks"
            self._display.say("sinks", words, waiting=self._sinks.waiting)

    def note(self, tally: Tally, wait_s: float = 0.0) -> None:
        """Note what was stored since the last call."""
        for stored in self._sinks.finished(wait_s):
            record = self._state.records[stored.name]
            if stored.marks:
                self._state.put(
                    stored.name, replace(record, sinks={**record.sinks, **stored.marks})
                )
                self._stored += 1
            tally.warn(stored.warnings)
            self._display.stored(stored)

    def finish(self, tally: Tally, should_stop: Callable[[], bool]) -> None:
        """Wait for the sinks; what is not stored when somebody wants to stop, the next run stores."""
        while self._sinks.waiting and not should_stop():
            self.note(tally, POLL_S)

    def close(self, tally: Tally, *, at_once: bool) -> None:
        """Let what is being stored end, unless nobody has time for it."""
        self._sinks.close(0.0) if at_once else self._sinks.close()
        self.note(tally)

    def report(self) -> dict[str, int]:
        """How many files were stored, and how many finished ones are not; part of the end report."""
        if not self.are_wanted:
            return {}
        records = self._state.records.values()
        done = [record.sinks for record in records if record.status is Status.COMPLETE]
        left = sum(bool(self._sinks.undone(marks)) for marks in done)
        return {"sinks_stored": self._stored, "sinks_left": left}
