"""Whether workers keep their models or every stage gives its memory back: by what the stages were seen to hold.

    never measured ─► the first pack, every stage in a fresh child ─┐
    measured before ────────────────────────────────────────────────┴─► all fit together?  keep them : one at a time

What is measured is remembered by stage, model and device (`batch.memory`), so a second batch has no detour. The choice
itself is the process engine's (`runner.isolation`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import psutil

from batch.crew import Crew
from batch.flow import Flow, Outcome
from batch.memory import PEAKS_FILE, device_name
from batch.recordings.packing import Pack
from batch.settings import BatchSettings
from batch.staged import StagedFlow
from runner.gpu import inventory
from runner.isolation import Choice, Isolation, choose_isolation
from runner.peak import Peak
from runner.peak_store import PeakStore


class Experience:
    """What the stages of a crew need, as far as this machine has seen them."""

    def __init__(self, crew: Crew, settings: BatchSettings) -> None:
        """Read what earlier batches have left in the cache folder."""
        self._store = PeakStore(settings.cache_dir / PEAKS_FILE)
        self._model = f"{settings.engine} {settings.model} {settings.precision}"
        self._device = device_name(crew.devices[0])
        self._gpus = len(set(crew.devices))
        self._children = {"decode": crew.decoders}
        if not crew.tasks.is_command:  # a program of its own keeps nothing
            self._children["transcribe"] = len(crew.devices)
        self._children.update((extra.name, self._gpus) for extra in crew.tasks.extras)

    @property
    def is_complete(self) -> bool:
        """Whether every stage has been measured."""
        return all(self._store.learned(self._key(stage)) for stage in self._children)

    def learn(self, peaks: Mapping[str, Peak]) -> None:
        """Remember the most that one child of each stage has held."""
        for stage in self._children:
            if peaks.get(stage, Peak()) != Peak():
                self._store.record(self._key(stage), peaks[stage])

    def choice(self, room: Peak) -> Choice:
        """Keep all children of all stages beside each other, or one stage's at a time."""
        return choose_isolation([self._need(stage) for stage in self._children], room)

    def _need(self, stage: str) -> Peak | None:
        """Of all the stage's children: in main memory, and on each GPU."""
        learned = self._store.learned(self._key(stage))
        if learned is None:
            return None
        count = self._children[stage]
        peak = learned.peak
        return Peak(peak.host_bytes * count, peak.gpu_bytes * -(-count // self._gpus))

    def _key(self, stage: str) -> str:
        return f"{stage}: {self._model} on {self._device}"


class MakeStaged(Protocol):
    """What gives memory back."""

    def __call__(self, *, is_file_major: bool) -> StagedFlow:
        """After every file, or after every stage of many files."""


@dataclass(frozen=True, slots=True)
class Auto:
    """Measures if it must, chooses, says why, carries; one run."""

    experience: Experience
    crew: Crew
    kept: Callable[[], Flow]
    staged: MakeStaged
    say: Callable[..., None]
    """Event, words, fields."""

    def run(
        self,
        packs: Iterable[Pack],
        on_begin: Callable[[Pack], None],
        should_stop: Callable[[], bool],
    ) -> Iterator[Outcome]:
        """Carry packs, whichever way."""
        source = iter(packs)
        if not self.experience.is_complete:
            measuring = self.staged(is_file_major=True)
            yield from measuring.run(itertools.islice(source, 1), on_begin, should_stop)
            self.experience.learn(measuring.peaks)
        following = next(source, None)
        if following is None:
            return
        rest = itertools.chain([following], source)
        choice = self.experience.choice(free_memory())
        keeps = choice.isolation is Isolation.KEPT
        words = "workers keep their models" if keeps else "one stage at a time"
        told = {"isolation": choice.isolation, "reason": choice.reason}
        self.say("isolation", f"{words}: {choice.reason}", **told)
        if keeps:
            yield from self.kept().run(rest, on_begin, should_stop)
            self.experience.learn(_peaks(self.crew))
        else:
            staged = self.staged(is_file_major=False)
            yield from staged.run(rest, on_begin, should_stop)
            self.experience.learn(staged.peaks)


def free_memory() -> Peak:
    """What nobody uses: main memory, and of the GPU that has least."""
    free = [gpu.free_bytes for gpu in inventory()]
    return Peak(psutil.virtual_memory().available, min(free, default=0))


def _peaks(crew: Crew) -> dict[str, Peak]:
    found: dict[str, Peak] = {}
    for stage, status in crew.statuses().items():
        for worker in status.workers:
            found[stage] = found.get(stage, Peak()) | worker.peak
    return found
