"""How a file's record changes as the file is begun and ended, and the exit code that all records come to. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from batch.flow import Outcome
from batch.recordings.source import Asset
from batch.state.record import REMOTE, USER_CANCELED, Record, Status

EXIT_DONE = 0
EXIT_AGAIN = 75
"""Interrupted, or failures are left that another run may repair."""
EXIT_PARTIAL = 80


def begun(asset: Asset, before: Record | None, options_hash: str) -> Record:
    """The record of a file that this machine begins."""
    return Record(
        status=Status.RUNNING,
        path=asset.location,
        size=asset.size,
        mtime_ns=asset.mtime_ns,
        attempts=(before.attempts if before else 0) + 1,
        options_hash=options_hash,
    )


def begun_remotely(asset: Asset, before: Record | None, options_hash: str) -> Record:
    """The record of a file that a controller begins: as an interrupted run left it, if its job can be followed.

    The number of attempts is part of the job's key, so that a followed file finds the same job.
    """
    fresh = begun(asset, before, options_hash)
    if (
        before is not None
        and before.is_with_controller
        and (before.size, before.mtime_ns) == (fresh.size, fresh.mtime_ns)
        and before.options_hash == fresh.options_hash
    ):
        return before
    return replace(fresh, execution_mode=REMOTE)


def ended(before: Record, outcome: Outcome, now: float) -> Record:
    """The record of a file that has come to an end.

    Args:
        before: as it was begun.
        outcome: what became of it; an interrupted file has not been tried.
        now: in seconds since 1970.
    """
    if outcome.is_interrupted:
        return replace(before, status=Status.PENDING, attempts=before.attempts - 1)
    settled = replace(before, sha256=outcome.asset.sha256, elapsed_s=outcome.elapsed_s)
    if outcome.code is not None:
        return replace(
            settled,
            status=Status.CANCELED if outcome.code == USER_CANCELED else Status.FAILED,
            error_code=outcome.code,
            error_message=outcome.message,
            failed_at=round(now, 3),
        )
    return replace(
        settled, status=Status.COMPLETE, outputs=outcome.outputs, audio_s=outcome.audio_s
    )


def exit_code(records: Collection[Record], *, is_cut_short: bool) -> int:
    """What a run's end comes to.

    Args:
        records: of all files.
        is_cut_short: whether somebody stopped it, or it gave up.
    """
    if is_cut_short or any(r.status in (Status.PENDING, Status.RUNNING) for r in records):
        return EXIT_AGAIN
    failed = [record for record in records if record.status is Status.FAILED]
    if any(record.is_retryable for record in failed):
        return EXIT_AGAIN
    return EXIT_PARTIAL if failed else EXIT_DONE
