"""What a run is about and what it is going to do, as the command line wants it; said in words, too.

The table of what happens to which file is `batch.state.resume`'s. Changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from batch.flags.stages import wanted_steps
from batch.kept import SectionStore
from batch.outputs.writing import Writer
from batch.recordings.source import Asset, discover, read_assets
from batch.reporting.display import Display
from batch.settings import BatchSettings
from batch.state.record import Record
from batch.state.resume import Outputs, Plan, Wishes, make_plan
from batch.state.shards import shard
from batch.state.twins import known_hash


def everything(settings: BatchSettings) -> list[Asset]:
    """All recordings that there are, whether this run is to do them or not."""
    if settings.assets is not None:
        return read_assets(settings.assets, settings.asset_url)
    return discover(settings.input or "", follows_links=settings.follow_links)


def plan_run(
    settings: BatchSettings,
    options_hash: str,
    found: Sequence[Asset],
    records: Mapping[str, Record],
    outputs: Outputs,
) -> Plan:
    """Decide about every file of this run.

    Args:
        settings: the command line.
        options_hash: what its options come to.
        found: everything there is.
        records: what earlier runs have left.
        outputs: what is left of finished files.
    """
    mine = shard(found[settings.skip :], *settings.shard_of)
    wishes = Wishes(
        options_hash=options_hash,
        read_hash=known_hash if settings.verify else None,
        redo_changed=settings.redo_changed,
        retry_failed=settings.retry_failed,
        retry_canceled=settings.retry_canceled,
        is_remote=settings.remote,
    )
    return make_plan(mine, {asset.name for asset in found}, records, wishes, outputs)


def outputs_left(writer: Writer, sections: SectionStore, records: Mapping[str, Record]) -> Outputs:
    """How much of finished files, and of begun ones, is still there."""

    def are_whole(asset: Asset) -> bool:
        record = records.get(asset.name)
        return writer.are_whole(asset, record.outputs if record else ())

    return Outputs(are_whole, writer.can_rebuild, is_begun=lambda asset: sections.has(asset.name))


def say_plan(plan: Plan, settings: BatchSettings, display: Display) -> None:
    """Tell what is going to happen to how many files, and what is added to each transcript."""
    reasons = {str(action): count for action, count in plan.reasons.items()}
    words = [f"{count} {action}" for action, count in reasons.items()]
    if plan.missing:
        words.append(f"{len(plan.missing)} not there any more")
    display.say("plan", "; ".join(words) or "nothing found", todo=len(plan.todo), reasons=reasons)
    steps = wanted_steps(settings)
    if steps:
        shown = f"Besides its transcript, each recording gets: {'; '.join(steps)}"
        display.say("steps", shown, steps=steps)
