"""Carries packs through the stages, so many at a time that the device always has its next one waiting.

    conductor threads, one per pack in flight:

    fetch ─► [decode: CPU children] ─► [transcribe: warm children, one per device] ─► [optional stages] ─► write
                   own limit                      own limit, own queue                   own limit, own queue

A conductor waits where its pack waits; each executor bounds its own stage. Since there are more conductors than
workers, a decoded pack stands ready whenever a worker is. A pack that fails as a whole is taken apart, and its
files are carried one by one: only the guilty one fails, or is written with a warning where the stage is optional.
Knows no model and no state file.
"""

from __future__ import annotations

import itertools
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, Self

from batch.kept import SectionStore
from batch.recordings.fetch import FetchFailed, brought
from batch.recordings.packing import Pack
from batch.recordings.source import Asset
from batch.side_by_side import POLL_S, side_by_side
from runner.errors import NoWorker, PoolClosed, RunnerError
from runner.executor import Executor
from runner.frames import JsonObject

WRITTEN_AT_ONCE = 4
"""Files of one pack."""


@dataclass(frozen=True, slots=True)
class Warned:
    """Something optional that was not done for a file, whose transcript is there all the same."""

    step: str
    """The stage, or what was to be done after writing."""
    code: str
    message: str

    @classmethod
    def by(cls, step: str, error: RunnerError) -> Self:
        """What a stage's failure comes to; one that could not begin has interrupted nobody."""
        return cls(step, "NO_WORKER" if isinstance(error, NoWorker) else error.code, str(error))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one file."""

    asset: Asset
    audio_s: float = 0.0
    elapsed_s: float = 0.0
    outputs: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    code: str | None = None
    """Why it failed; None if it did not."""
    message: str = ""
    warnings: tuple[Warned, ...] = ()

    @property
    def is_interrupted(self) -> bool:
        """Whether it was not the file's fault: the run was told to stop."""
        return self.code == PoolClosed.code


@dataclass(frozen=True, slots=True)
class Heard:
    """What the stages made of one file; the paths are gone once it is written."""

    transcript: Path
    """As the last stage left it that had something to add."""
    engine: JsonObject
    turns: Path | None = None
    """Who spoke when, if somebody listened for it."""
    summary: str | None = None
    warnings: tuple[Warned, ...] = ()


class Write(Protocol):
    """What turns a finished transcript into files."""

    def __call__(self, asset: Asset, heard: Heard) -> Outcome:
        """Write the outputs of one file; raises `OSError`."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage that runs in children; its executor bounds it."""

    name: str
    executor: Executor
    timeout_s: Callable[[float], float]
    """From seconds of audio (0 if unknown) to how long a pack may take."""
    is_needed: bool = True
    """Whether a file without it has failed; an optional stage that fails is a warning."""


class Flow:
    """Stages and where packs leave their intermediate files."""

    def __init__(
        self,
        stages: Sequence[Stage],
        write: Write,
        scratch: Path,
        in_flight: int,
        sections: SectionStore | None = None,
    ) -> None:
        """Describe the flow; it starts nothing.

        Args:
            stages: "decode" and "transcribe", then those that add something to a transcript.
            write: the last step, in the conductor's own thread.
            scratch: emptied behind each pack.
            in_flight: packs between fetching and writing.
            sections: where pieces of long recordings outlive a kill; None if nobody would go on with them.
        """
        self._sections = sections
        self._stages = stages
        self._write = write
        self._scratch = scratch
        self._in_flight = in_flight
        self._numbers = itertools.count()
        self.is_stopping = False

    def run(
        self,
        packs: Iterable[Pack],
        on_begin: Callable[[Pack], None],
        should_stop: Callable[[], bool],
    ) -> Iterator[Outcome]:
        """Carry packs; yield each file's outcome as it comes.

        Args:
            packs: in the order of their start.
            on_begin: called in this thread before a pack starts.
            should_stop: asked often; once true no more packs start, those in flight are finished.
        """

        def start(pack: Pack) -> Future[list[Outcome]]:
            on_begin(pack)
            return conductors.submit(self.carry, pack)

        def is_stopping() -> bool:
            self.is_stopping = should_stop() or self.is_stopping
            return self.is_stopping

        with ThreadPoolExecutor(self._in_flight, "conductor") as conductors:
            for ended in side_by_side(packs, start, self._in_flight, is_stopping):
                for future in ended:
                    yield from future.result()

    def carry(self, pack: Pack) -> list[Outcome]:
        """Take one pack through everything, once it is due."""
        if not await_due(pack, lambda: self.is_stopping):
            return [Outcome(asset, code=PoolClosed.code) for asset in pack.assets]
        begun = time.monotonic()
        folder = self._scratch / f"{next(self._numbers):06}"
        folder.mkdir(parents=True)
        try:
            outcomes = self._carry(pack, folder)
        except RunnerError as error:
            if len(pack.assets) > 1 and not isinstance(error, PoolClosed):
                return [o for asset in pack.assets for o in self.carry(Pack((asset,)))]
            outcomes = [Outcome(a, code=error.code, message=str(error)) for a in pack.assets]
        except OSError as error:
            outcomes = [Outcome(a, code="DISK_FULL", message=str(error)) for a in pack.assets]
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        share_s = (time.monotonic() - begun) / len(outcomes)
        return [replace(outcome, elapsed_s=round(share_s, 3)) for outcome in outcomes]

    def _carry(self, pack: Pack, folder: Path) -> list[Outcome]:
        here, outcomes = fetched(pack, folder)
        if not here:
            return outcomes
        told: JsonObject = {"item": described(here, self._sections), "stages": {}}
        warnings: list[Warned] = []
        for stage in self._stages:
            try:
                values = self._pass(stage, told, folder / stage.name)
            except RunnerError as error:
                if not _is_excused(stage, error, len(here)):
                    raise
                warnings.append(Warned.by(stage.name, error))
                continue
            told["stages"][stage.name] = {"values": values, "folder": str(folder / stage.name)}
        assets = [asset for asset, _ in here]
        return outcomes + list(written(assets, told["stages"], self._write, warnings))

    def _pass(self, stage: Stage, told: JsonObject, folder: Path) -> JsonObject:
        folder.mkdir()
        audio_s = _seconds(told["stages"])
        future = stage.executor.submit(
            {**told, "folder": str(folder)}, timeout_s=stage.timeout_s(audio_s), audio_s=audio_s
        )
        values: JsonObject = future.result()["values"]
        return values


def _is_excused(stage: Stage, error: RunnerError, files: int) -> bool:
    """Whether a pack goes on without this stage: a pack of several is taken apart first, to find the guilty file."""
    if stage.is_needed:
        return False
    if isinstance(error, PoolClosed):
        return isinstance(error, NoWorker)
    return files == 1


def written(
    assets: Sequence[Asset], stages: JsonObject, write: Write, warnings: Iterable[Warned] = ()
) -> Iterator[Outcome]:
    """Write the files of a pack that has been through all stages, several at once: they may have to wait then.

    Args:
        assets: the files of the pack.
        stages: by name, what each stage that was done said, and its folder.
        write: writes one file.
        warnings: of optional stages that were not done.
    """
    decoded = stages["decode"]["values"]["pack"]
    transcribed = stages["transcribe"]["values"]["pack"]
    warned = tuple(warnings)

    def outcome_of(number: int) -> Outcome:
        asset, failed = assets[number], transcribed[number].get("failed")
        if failed:
            return Outcome(asset, code=failed["code"], message=failed["message"])
        outcome = write(asset, _heard(stages, number, warned))
        return replace(outcome, audio_s=decoded[number]["seconds"])

    with ThreadPoolExecutor(min(len(assets), WRITTEN_AT_ONCE), "writer") as writers:
        yield from writers.map(outcome_of, range(len(assets)))


def _heard(stages: JsonObject, number: int, warnings: tuple[Warned, ...]) -> Heard:
    """Put together what the stages said about one file of a pack; later ones say it better."""
    found: dict[str, Any] = {}
    for name, stage in stages.items():
        said = stage["values"]["pack"][number]
        for kind in ("transcript", "turns"):
            if kind in said:
                found[kind] = Path(stage["folder"], said[kind])
        found["summary"] = said.get("summary", found.get("summary"))
        told = said.get("warning")
        if told:
            warnings += (Warned(name, told["code"], told["message"]),)
    engine = stages["transcribe"]["values"].get("engine", {})
    return Heard(engine=engine, warnings=warnings, **found)


def await_due(pack: Pack, is_stopping: Callable[[], bool]) -> bool:
    """Wait until files that failed before may be tried again; False if a stop came first."""
    due_at = max(asset.due_at for asset in pack.assets)
    while time.time() < due_at:
        if is_stopping():
            return False
        time.sleep(POLL_S)
    return True


def fetched(pack: Pack, folder: Path) -> tuple[list[tuple[Asset, Path]], list[Outcome]]:
    """The pack's files on this machine, and those that could not be brought here."""
    here: list[tuple[Asset, Path]] = []
    failed: list[Outcome] = []
    for number, asset in enumerate(pack.assets):
        try:
            here.append(brought(asset, folder, number))
        except FetchFailed as error:
            failed.append(Outcome(asset, code=error.code, message=str(error)))
    return here, failed


def described(
    here: Sequence[tuple[Asset, Path]], sections: SectionStore | None = None
) -> JsonObject:
    """What the children are told about a pack."""
    return {
        "pack": [
            {"path": str(path), "kept": sections.told(asset) if sections else None}
            for asset, path in here
        ]
    }


def _seconds(stages: JsonObject) -> float:
    decoded: Any = stages.get("decode")
    if decoded is None:
        return 0.0
    return float(sum(file.get("seconds", 0.0) for file in decoded["values"]["pack"]))
