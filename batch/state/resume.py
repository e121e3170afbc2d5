"""What to do with each file when a run starts: the table of resuming, row by row. Only `Outputs` asks the disk.

complete, outputs there, unchanged      skip
complete, an output missing             make it again from the stored JSON; without one, do it again
complete, the recording changed         do it again, and say so (by size and time; with --verify by its bytes)
complete, other options                 skip and say so, or do it again with --redo-changed
running                                 a run was interrupted: go on behind the last finished section
running, remote                         follow its job; one that the controller does not know is queued again
pending                                 do it
failed, may not happen again            do it again, a few times, later each time
failed for good                         skip, unless --retry-failed
canceled                                skip, unless --retry-canceled
not there any more                      keep the record, mark it missing
there again                             as if it had never been away
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from batch.recordings.source import Asset
from batch.state.record import Record, Status


class Action(StrEnum):
    """What happens to a file, and why."""

    NEW = "new"
    DONE = "already done"
    REBUILD = "outputs made again from the stored JSON"
    OUTPUT_LOST = "outputs missing, done again"
    INPUT_CHANGED = "recording changed, done again"
    OPTIONS_CHANGED = "other options, done again"
    OPTIONS_KEPT = "done with other options; --redo-changed does them again"
    INTERRUPTED = "interrupted, done again"
    FOLLOWED = "left to the controller, followed"
    CONTINUED = "interrupted, gone on with"
    RETRIED = "failed before, tried again"
    FAILED_FOR_GOOD = "failed for good; --retry-failed tries again"
    CANCELED = "canceled; --retry-canceled does them"

    @property
    def is_work(self) -> bool:
        """Whether the recording is transcribed."""
        return self not in (
            Action.DONE,
            Action.REBUILD,
            Action.OPTIONS_KEPT,
            Action.FAILED_FOR_GOOD,
            Action.CANCELED,
        )


@dataclass(frozen=True, slots=True)
class Wishes:
    """The switches of a run that this table asks about."""

    options_hash: str
    read_hash: Callable[[Asset], str | None] | None = None
    """Tells changed recordings by their bytes; None if size and time are enough."""
    redo_changed: bool = False
    retry_failed: bool = False
    retry_canceled: bool = False
    is_remote: bool = False


@dataclass(slots=True)
class Plan:
    """What a run will do."""

    todo: list[Asset] = field(default_factory=list)
    rebuild: list[Asset] = field(default_factory=list)
    kept: list[Asset] = field(default_factory=list)
    """Files that are done and stay as they are, those with outputs made again among them."""
    missing: list[str] = field(default_factory=list)
    updated: dict[str, Record] = field(default_factory=dict)
    """New records of files that are still done: some were away, some were only touched."""
    reasons: Counter[Action] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Outputs:
    """How much of a finished file is still there."""

    are_whole: Callable[[Asset], bool]
    """Whether all wanted outputs exist and are not empty."""
    can_rebuild: Callable[[Asset], bool]
    """Whether the JSON that the others are made from exists."""
    is_begun: Callable[[Asset], bool] = lambda _: False
    """Whether finished sections of it exist."""


def make_plan(
    assets: Iterable[Asset],
    there: Container[str],
    records: Mapping[str, Record],
    wishes: Wishes,
    outputs: Outputs,
) -> Plan:
    """Decide about every file.

    Args:
        assets: those of this run.
        there: the names of all files of the input, also of those that this run leaves out.
        records: what is known.
        wishes: the run's switches.
        outputs: what is left of finished files.
    """
    plan = Plan()
    later: list[Asset] = []
    for asset in assets:
        record = records.get(asset.name)
        action = decide(asset, record, wishes, outputs)
        plan.reasons[action] += 1
        if action is Action.RETRIED and record is not None and record.is_retryable:
            later.append(replace(asset, due_at=record.due_at))
        elif action.is_work:
            plan.todo.append(asset)
        elif action is Action.REBUILD:
            plan.rebuild.append(asset)
        if action in (Action.DONE, Action.OPTIONS_KEPT, Action.REBUILD):
            plan.kept.append(asset)
        if record and not action.is_work and (updated := _updated(asset, record)) != record:
            plan.updated[asset.name] = updated
    plan.todo += later
    plan.missing = [
        name
        for name, record in records.items()
        if name not in there and record.status is not Status.MISSING
    ]
    return plan


def decide(asset: Asset, record: Record | None, wishes: Wishes, outputs: Outputs) -> Action:
    """Decide about one file."""
    if record is None or record.status is Status.PENDING:
        return Action.NEW
    if record.status is Status.MISSING and not record.outputs:
        return Action.NEW
    if record.status is Status.RUNNING:
        if wishes.is_remote and record.is_with_controller:
            return Action.FOLLOWED
        return Action.CONTINUED if outputs.is_begun(asset) else Action.INTERRUPTED
    if record.status is Status.CANCELED:
        return Action.RETRIED if wishes.retry_canceled else Action.CANCELED
    if record.status is Status.FAILED:
        again = record.is_retryable or wishes.retry_failed or _is_changed(asset, record, wishes)
        return Action.RETRIED if again else Action.FAILED_FOR_GOOD
    return _decide_complete(asset, record, wishes, outputs)


def _decide_complete(asset: Asset, record: Record, wishes: Wishes, outputs: Outputs) -> Action:
    if _is_changed(asset, record, wishes):
        return Action.INPUT_CHANGED
    has_other_options = bool(record.options_hash) and record.options_hash != wishes.options_hash
    if has_other_options and wishes.redo_changed:
        return Action.OPTIONS_CHANGED
    if not outputs.are_whole(asset):
        return Action.REBUILD if outputs.can_rebuild(asset) else Action.OUTPUT_LOST
    return Action.OPTIONS_KEPT if has_other_options else Action.DONE


def _updated(asset: Asset, record: Record) -> Record:
    """The record of a file that stays as it is: no longer missing, and with the time that it has now."""
    if record.status is Status.MISSING:
        record = replace(record, status=Status.COMPLETE)
    if record.status is Status.COMPLETE and asset.mtime_ns is not None:
        record = replace(record, mtime_ns=asset.mtime_ns)
    return record


def _is_changed(asset: Asset, record: Record, wishes: Wishes) -> bool:
    """Whether its bytes differ, if they are to be read; else size or time, as far as both are known."""
    if wishes.read_hash is not None and record.sha256:
        found = wishes.read_hash(asset)
        if found is not None:
            return found != record.sha256
    pairs = ((asset.size, record.size), (asset.mtime_ns, record.mtime_ns))
    return any(now is not None and then is not None and now != then for now, then in pairs)
