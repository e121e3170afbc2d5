"""What a person or a program sees of a run: a live table, plain lines, or one JSON object per event.

A live table only on a terminal; JSON lines go to standard output and nothing else does then.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from types import TracebackType
from typing import Any, Self, TextIO

from rich.console import Console
from rich.live import Live
from rich.table import Table

from batch.flow import Outcome, Warned
from batch.reporting.tally import Tally
from batch.sinks.delivery import Stored
from runner.stats import PoolStatus

PLAIN_EVERY_S = 10.0


class Display(AbstractContextManager["Display"]):
    """Shows a run; used by the batch loop's thread alone."""

    def __init__(self, output: TextIO, errors: TextIO, *, is_json: bool) -> None:
        """Choose the form.

        Args:
            output: standard output.
            errors: standard error, for everything that is not the result.
            is_json: one JSON object per event on `output`.
        """
        self._output = output
        self._is_json = is_json
        self._console = Console(file=errors)
        is_live = self._console.is_terminal and not is_json
        self._live = Live(console=self._console, refresh_per_second=4) if is_live else None
        self._plain_at = 0.0

    def __enter__(self) -> Self:
        """Take over the terminal's last lines."""
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give them back."""
        if self._live:
            self._live.stop()

    def say(self, event: str, words: str, **fields: Any) -> None:
        """Tell about something other than a file."""
        if self._is_json:
            self._emit({"event": event, **fields})
        else:
            self._console.print(words, highlight=False, markup=False)

    def file(self, outcome: Outcome) -> None:
        """Tell about one file's end."""
        if self._is_json:
            self._emit(
                {
                    "event": "file",
                    "name": outcome.asset.name,
                    "status": "failed" if outcome.code else "complete",
                    "code": outcome.code,
                    "message": outcome.message or None,
                    "audio_s": outcome.audio_s,
                    "elapsed_s": outcome.elapsed_s,
                    "flags": list(outcome.flags),
                    "warnings": [asdict(warned) for warned in outcome.warnings],
                    "outputs": list(outcome.outputs),
                }
            )
        elif outcome.code:
            words = f"{outcome.asset.name}: {outcome.code}: {outcome.message}"
            self._console.print(words, style="red", markup=False, highlight=False)
        elif not self._is_json:
            for warned in outcome.warnings:
                self._warn(outcome.asset.name, warned)

    def rebuilt(self, name: str, warnings: Sequence[Warned]) -> None:
        """Tell about a file whose lost outputs were made again."""
        if self._is_json:
            listed = [asdict(warned) for warned in warnings]
            self._emit({"event": "rebuilt", "name": name, "warnings": listed})
            return
        for warned in warnings:
            self._warn(name, warned)

    def stored(self, stored: Stored) -> None:
        """Tell which sinks took a finished transcript."""
        if self._is_json:
            self._emit(
                {
                    "event": "stored",
                    "name": stored.name,
                    "sinks": sorted(stored.marks),
                    "warnings": [asdict(warned) for warned in stored.warnings],
                }
            )
            return
        for warned in stored.warnings:
            self._warn(stored.name, warned)

    def progress(self, tally: Tally, stages: Mapping[str, PoolStatus] | None = None) -> None:
        """Show how far it is; a plain line now and then where nothing can be redrawn."""
        now = time.monotonic()
        if self._live:
            self._live.update(_table(tally, stages or {}, now))
        elif not self._is_json and now - self._plain_at >= PLAIN_EVERY_S:
            self._plain_at = now
            self._console.print(progress_line(tally, now), highlight=False)

    def end(self, report: Mapping[str, Any]) -> None:
        """Show the end report."""
        if self._is_json:
            self._emit({"event": "end", **report})
            return
        for line in report_lines(report):
            self._console.print(line, highlight=False, markup=False)

    def _warn(self, name: str, warned: Warned) -> None:
        words = f"{name}: no {warned.step}: {warned.code}: {warned.message}"
        self._console.print(words, style="yellow", markup=False, highlight=False)

    def _emit(self, event: Mapping[str, Any]) -> None:
        self._output.write(json.dumps(event, ensure_ascii=False) + "\n")
        self._output.flush()


def progress_line(tally: Tally, now: float) -> str:
    """One line: done of total, failed, speed, time left."""
    return (
        f"{tally.done}/{tally.total} files, {tally.failed} failed, "
        f"{tally.speed(now):.1f} h of sound an hour, {_duration(tally.left_s(now))} left"
    )


def report_lines(report: Mapping[str, Any]) -> list[str]:
    """The end report for a person."""
    lines = [
        f"{report['complete']} of {report['total']} files transcribed, {report['failed']} failed, "
        f"{report['flagged']} to be checked.",
        f"{report['audio_s'] / 3600:.2f} h of sound in {_duration(report['elapsed_s'])}: "
        f"{report['audio_hours_per_hour']} h of sound an hour.",
    ]
    lines += [f"  {count:6} {code}" for code, count in report["failures"].items()]
    if report.get("sinks_left"):
        lines.append(f"{report['sinks_left']} transcripts wait for their sinks; run again.")
    if report["warnings"]:
        lines.append("Transcribed, but without what else was asked for:")
        lines += [f"  {count:6} {code}" for code, count in report["warnings"].items()]
    if report["slowest"]:
        named = (
            f"{entry['name']} ({_duration(entry['elapsed_s'])})" for entry in report["slowest"]
        )
        lines.append("Slowest: " + ", ".join(named))
    return lines


COLUMNS = ("files", "failed", "to check", "h of sound/h", "left", "stages", "failures", "warnings")


def _table(tally: Tally, stages: Mapping[str, PoolStatus], now: float) -> Table:
    table = Table(box=None)
    for column in COLUMNS:
        table.add_column(column)
    table.add_row(
        f"{tally.done}/{tally.total}",
        str(tally.failed),
        str(tally.flagged),
        f"{tally.speed(now):.1f}",
        _duration(tally.left_s(now)),
        "\n".join(
            f"{name} {pool.utilisation:.0%} busy, {pool.queue_depth} waiting"
            for name, pool in stages.items()
        ),
        _by_code(tally.failures),
        _by_code(tally.warnings),
    )
    return table


def _by_code(counts: Counter[str]) -> str:
    return ", ".join(f"{code} {count}" for code, count in counts.most_common(4)) or "–"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
