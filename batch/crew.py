"""Who does the work: devices, workers and threads, chosen once, shown, and started.

    GPUs      one warm worker per GPU (or --threads of them), decoders beside them
    no GPU    one worker with all cores (or --threads that share the cores), said aloud

A GPU that was asked for and is not there ends the run: nothing falls back to the CPU in silence.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from batch.errors import CannotRun
from batch.flow import Stage
from batch.memory import device_name
from batch.settings import BatchSettings
from batch.stages.extras import Extra, chosen_extras
from gitlab_jobs.model_source import ModelUnavailable, resolve_model
from gitlab_jobs.settings import FamilySettings, WhisperSettings
from runner.errors import PoolClosed
from runner.executors import Site, thread_executor, warm_executor
from runner.gpu import inventory
from runner.limits import Limits
from runner.pool import Pool, PoolOptions
from runner.stats import PoolStatus
from runner.task import TaskSpec

ROOT = Path(__file__).parents[1]
CPU = "cpu"
NO_GPU = "none"
_LIBRARIES = {"faster-whisper": "faster_whisper", "openai-whisper": "whisper"}
"""What takes seconds to import, by engine."""
WAITING_PACKS = 2
"""Decoded packs that stand ready for each worker."""
CORES_TO_DECODE_ON = 8
"""From so many cores on, one is kept for decoding."""
LEAST_TIMEOUT_S = 900.0
SLOWEST = 30.0
"""Times real time that a large model may take on a CPU before it counts as stuck."""


@dataclass(frozen=True, slots=True)
class Tasks:
    """What the stages run; tests put others in their place."""

    decode: TaskSpec
    transcribe: TaskSpec
    is_command: bool = False
    """Whether transcribing waits for a program of its own, so that a thread is enough."""
    extras: tuple[Extra, ...] = ()
    """In their order; each may add something to the transcript that the one before it left."""


@dataclass(frozen=True, slots=True)
class Shares:
    """How many workers there are, the threads of each, and how many decoders of one thread."""

    workers: int
    threads: int
    decoders: int


@dataclass(frozen=True, slots=True)
class Crew:
    """Devices of the workers, threads of each, and what they run."""

    devices: tuple[str, ...]
    threads: int | None
    tasks: Tasks
    shown: str
    """One line for the operator."""
    decoders: int = 1
    _pools: list[Pool] = field(default_factory=list)

    @property
    def in_flight(self) -> int:
        """Packs between fetching and writing that keep everybody busy."""
        return (len(self.devices) + len(self.tasks.extras)) * (1 + WAITING_PACKS) + self.decoders

    def site(self, scratch: Path, name: str, devices: Sequence[str]) -> Site:
        """Where a stage's children live."""
        threads = self.threads if devices == self.devices else 1
        return Site(scratch / name, tuple(devices), limits=Limits(threads=threads))

    def start(self, scratch: Path) -> list[Stage]:
        """Start the workers; returns when the model is loaded once.

        Raises:
            CannotRun: none of them could be started, with the reasons.
        """
        options = PoolOptions(queue_limit=1000)
        tasks = self.tasks
        try:
            decode = warm_executor(
                tasks.decode, self.site(scratch, "decoders", (CPU,) * self.decoders), options
            )
            self._pools.append(decode)
            transcribe = (
                thread_executor(tasks.transcribe, len(self.devices), options)
                if tasks.is_command
                else warm_executor(
                    tasks.transcribe, self.site(scratch, "workers", self.devices), options
                )
            )
            self._pools.append(transcribe)
            extras = [self._start_extra(extra, scratch, options) for extra in tasks.extras]
        except PoolClosed as error:
            self.close(0.0)
            raise CannotRun(
                str(error), "see --model, --gpus, --precision and the optional stages"
            ) from error
        return [
            Stage("decode", decode, lambda _: LEAST_TIMEOUT_S),
            Stage("transcribe", transcribe, timeout_s),
            *extras,
        ]

    def _start_extra(self, extra: Extra, scratch: Path, options: PoolOptions) -> Stage:
        """A worker beside each GPU's, or one on a core of its own."""
        devices = tuple(dict.fromkeys(self.devices))
        site = Site(scratch / extra.name, devices, limits=Limits(threads=1))
        pool = warm_executor(extra.task, site, options)
        self._pools.append(pool)
        return Stage(extra.name, pool, timeout_s, is_needed=False)

    def statuses(self) -> dict[str, PoolStatus]:
        """How the pools are now, by stage; empty while there are none."""
        names = ("decode", "transcribe", *(extra.name for extra in self.tasks.extras))
        return {name: pool.status() for name, pool in zip(names, tuple(self._pools), strict=False)}

    def close(self, grace_s: float = 30.0) -> None:
        """End the workers."""
        for pool in self._pools:
            pool.close(grace_s)
        self._pools.clear()


def timeout_s(audio_s: float) -> float:
    """How long a pack may take."""
    return LEAST_TIMEOUT_S + SLOWEST * audio_s


def choose_crew(settings: BatchSettings, tasks: Tasks | None = None) -> Crew:
    """Choose devices and models.

    Raises:
        CannotRun: a GPU or model that is not there.
    """
    extras = tasks.extras if tasks else chosen_extras(settings)
    cores = os.cpu_count() or 1
    beside = len(extras) if settings.isolation in ("pool", "auto") else 0
    gpus = _gpus(settings.gpus)
    if gpus:
        share = shares(cores, settings.threads, gpus=len(gpus), beside=beside)
        devices = tuple(gpus[number % len(gpus)] for number in range(share.workers))
        place = f"{counted(share.workers, 'worker')} on {counted(len(gpus), 'GPU')}"
    else:
        share = shares(cores, settings.threads, beside=beside)
        devices = (CPU,) * share.workers
        workers, threads = counted(share.workers, "worker"), counted(share.threads, "thread")
        place = f"{workers} of {threads} on the CPU"
    chosen = tasks or replace(chosen_tasks(settings, devices[0], share.threads), extras=extras)
    shown = f"{settings.engine}, model {settings.model}, {settings.precision} precision: {place}"
    if extras:
        shown += f", then {', '.join(extra.name for extra in extras)}"
    return Crew(devices, share.threads, chosen, shown, share.decoders)


def shares(cores: int, wanted: int = 0, *, gpus: int = 0, beside: int = 0) -> Shares:
    """Divide the cores, so that all threads together are no more than they; everybody gets one.

    Only on a CPU of a few cores is there none for decoding, which is a hundredth of the work: it takes what it needs
    from the model.

    Args:
        cores: of the machine.
        wanted: workers; 0 for one per GPU, or one.
        gpus: how many.
        beside: optional stages that run at the same time, with a thread each (on each GPU).
    """
    if gpus:
        workers = wanted or gpus
        decoders = max(1, min(workers, cores // 4))
        free = cores - decoders - beside * gpus
        return Shares(workers, max(1, free // workers), decoders)
    free = max(1, cores - beside - (cores >= CORES_TO_DECODE_ON))
    workers = min(wanted or 1, free)
    return Shares(workers, free // workers, 1)


def counted(number: int, noun: str) -> str:
    """A number and what is counted, for people."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _gpus(wanted: str) -> list[str]:
    """GPUs by UUID: all of them, those that are named by number, or none."""
    if wanted == NO_GPU:
        return []
    found = inventory()
    if not wanted:
        return [gpu.uuid for gpu in found]
    by_index = {str(gpu.index): gpu.uuid for gpu in found}
    names = [name.strip() for name in wanted.split(",") if name.strip()]
    absent = [name for name in names if name not in by_index]
    if absent:
        raise CannotRun(
            f"--gpus {wanted}: this machine has no usable GPU {', '.join(absent)}",
            f'there are {len(found)}; "--gpus none" works on the CPU',
        )
    return [by_index[name] for name in names]


def chosen_tasks(settings: BatchSettings, device: str, threads: int) -> Tasks:
    """Decoding and transcribing as the command line wants them, for workers of so many threads.

    Raises:
        CannotRun: a model that is not here and cannot be fetched.
    """
    decode = _spec("batch.stages.tasks:Decode", {"longest_s": settings.max_hours * 3600})
    if settings.engine == "whisper.cpp":
        options = {
            "model": settings.model,
            "threads": threads,
            "language": settings.language,
            "beam": settings.beam,
        }
        return Tasks(decode, _spec("batch.stages.whisper_cpp:WhisperCpp", options), is_command=True)
    engine = {
        "name": settings.engine,
        "model": _model(settings, device),
        "precision": settings.precision,
        "threads": threads if device == CPU else 0,
    }
    listening = {
        "language": settings.language,
        "mode": settings.mode,
        "beam": settings.beam,
        "has_words": settings.words,
        "batch_size": 8 if device == CPU else 48,
    }
    vocabulary = {
        "vocabulary": _absolute(settings.vocabulary),
        "replacements": _absolute(settings.replacements),
    }
    learned = {"folder": str(settings.cache_dir.absolute()), "device": device_name(device)}
    options = {
        "engine": engine,
        "listening": listening,
        "vocabulary": vocabulary,
        "learned": learned,
    }
    library = _LIBRARIES.get(settings.engine)
    return Tasks(
        decode, _spec("batch.stages.tasks:Transcribe", options, *([library] if library else []))
    )


def _spec(name: str, options: Mapping[str, Any], *libraries: str) -> TaskSpec:
    preload = ("batch.stages.tasks", *libraries)
    return TaskSpec(name, options, import_paths=(ROOT,), preload=preload)


def _model(settings: BatchSettings, device: str) -> str:
    """The model on this machine's disk; the original engine finds its own."""
    if settings.engine == "openai-whisper":
        path = Path(settings.model)
        return str(path.resolve()) if path.exists() else settings.model
    families = FamilySettings(whisper=WhisperSettings(base=settings.model))
    try:
        return resolve_model(families, "whisper", device=device, cache_dir=settings.cache_dir).base
    except ModelUnavailable as error:
        raise CannotRun(
            f"the model {settings.model} is not here and cannot be fetched",
            "give --model a directory, or a name that the hub has",
        ) from error


def _absolute(path: Path | None) -> str | None:
    return str(path.resolve()) if path else None
