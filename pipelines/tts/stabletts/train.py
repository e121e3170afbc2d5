"""Training a voice on one project's recordings, from published weights, an earlier voice or from scratch.

    texts ─► vocabulary ─► starting point ─┐
    clips ─► mels (cached by content) ─────┴─► `training.loop.fit` ─► best voice, one file

Knows no cells and no uploads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import torch

from pipelines.compute import choose_device, choose_dtype
from pipelines.progress import Progress
from pipelines.text.romanize import Romanize
from pipelines.training.clips import Clip, SkippedClip
from pipelines.training.holdout import hold_out
from pipelines.training.loop import METRICS_CSV, FitResult, best_so_far, fit
from pipelines.training.same_run import begin_afresh_if_changed, what_is_learned
from pipelines.training.team import join_team
from pipelines.training.together import on_all_gpus
from pipelines.tts.stabletts.cold_start import start_at_mean
from pipelines.tts.stabletts.dataset import Corpus, prepare
from pipelines.tts.stabletts.model import StableTTS
from pipelines.tts.stabletts.reference import choose
from pipelines.tts.stabletts.settings import TrainingConfig
from pipelines.tts.stabletts.task import VoiceTask
from pipelines.tts.stabletts.text import FrontEnd, TextSettings
from pipelines.tts.stabletts.vocabulary import Vocabulary, build
from pipelines.tts.stabletts.voice import FILE_NAME, Voice, load_voice
from pipelines.tts.stabletts.warm_start import HINTS, warm_start

__all__ = ["METRICS_CSV", "Clip", "TrainResult", "TrainingData", "best_so_far", "train"]


@dataclass(frozen=True, slots=True)
class TrainingData:
    """What to learn from, and where to keep state: `home` may hold an interrupted run."""

    clips: Sequence[Clip]
    home: Path
    cache_dir: Path  # mels by content, shared by all jobs
    base: Path | None = None  # published weights or an earlier voice to start from
    spelling: TextSettings | None = None  # None: the earlier voice's, else plain characters
    romanize: Romanize | None = None  # spells letters that are too rare to learn


@dataclass(frozen=True, slots=True)
class TrainResult:
    """A finished training."""

    voice_path: Path
    metrics_csv: Path
    epochs_completed: int
    best_epoch: int
    validation_loss: float | None
    training_clips: int
    validation_clips: int
    speech_s: float
    padding_waste: float
    skipped: tuple[SkippedClip, ...]
    reference: str  # the clip whose voice it speaks with
    reference_why: str
    vocabulary: Vocabulary


def train(
    config: TrainingConfig, data: TrainingData, *, device: str, progress: Progress
) -> TrainResult:
    """Train to the end, or from where an earlier run in `data.home` was stopped.

    Raises:
        EmptyCorpus, DeviceUnavailable, BadCheckpoint, TrainingDiverged: In words for the user.
        BaseException: Whatever `progress` raises; state and best voice so far are on disk then.
    """
    return on_all_gpus(partial(_train, config, data, device), device, progress)


def _train(
    config: TrainingConfig, data: TrainingData, device: str, progress: Progress
) -> TrainResult:
    """Train in this process, which may be one of a team."""
    team = join_team()
    processor = team.device(choose_device(device))
    data.home.mkdir(parents=True, exist_ok=True)
    model, vocabulary = _starting_point(config, data)
    config = replace(config.for_team(team.size), model=model.config)
    progress = team.report(progress)
    with team.writer_first():
        corpus = prepare(data.clips, vocabulary, config.limits, data.cache_dir, progress)
    if data.base is None:
        start_at_mean(model, corpus.examples)
    begin_afresh_if_changed(team.scratch(data.home), _facts(config, corpus, vocabulary))
    task = _task(model, vocabulary, config, corpus)
    width = config.model.hidden_channels
    # A convolution of F filters multiplies matrices far wider than the hidden state alone.
    wide = max(width, config.model.filter_channels)
    task.move_to(processor, choose_dtype(config.precision, processor, width=wide))
    result = fit(task, task.optimizer(), config, data.home, progress, team)
    return _summary(result, task, corpus, data.home)


def _starting_point(config: TrainingConfig, data: TrainingData) -> tuple[StableTTS, Vocabulary]:
    """Choose the spelling and bring weights to it."""
    texts = [clip.text for clip in data.clips]
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        if data.base is None:
            vocabulary = build(texts, data.spelling, data.romanize)
            return StableTTS(replace(config.model, n_vocab=len(vocabulary))), vocabulary
        return _from_base(load_voice(data.base), texts, data)


def _from_base(
    base: Voice, texts: Sequence[str], data: TrainingData
) -> tuple[StableTTS, Vocabulary]:
    """Keep an earlier voice's spelling; published weights get the project's own."""
    stored = base.vocabulary.settings
    is_ours = stored.front_end is FrontEnd.CHARACTERS
    if is_ours and data.spelling in (None, stored):
        vocabulary = base.vocabulary.extended(texts, data.romanize)
    else:
        vocabulary = build(texts, data.spelling, data.romanize)
    hints = {} if is_ours else HINTS
    model = warm_start(base, vocabulary, romanize=data.romanize, hints=hints)
    return model, vocabulary


def _task(
    model: StableTTS, vocabulary: Vocabulary, config: TrainingConfig, corpus: Corpus
) -> VoiceTask:
    examples = corpus.examples
    training, validation = hold_out(
        [example.group for example in examples],
        config.validation_fraction,
        config.min_validation_clips,
        config.seed,
    )
    task = VoiceTask(
        model,
        vocabulary,
        config,
        [examples[i] for i in training],
        [examples[i] for i in validation],
    )
    task.facts |= {"loudness_db": corpus.loudness_db, "symbols_per_s": corpus.symbols_per_s}
    task.reference = choose(examples)
    return task


def _facts(config: TrainingConfig, corpus: Corpus, vocabulary: Vocabulary) -> list[object]:
    """What decides what is learned."""
    return [
        what_is_learned(asdict(config)),
        vocabulary.to_json(),
        [(example.id, example.mel_path.name, example.ids) for example in corpus.examples],
    ]


def _summary(result: FitResult, task: VoiceTask, corpus: Corpus, home: Path) -> TrainResult:
    return TrainResult(
        voice_path=result.best / FILE_NAME,
        metrics_csv=home / METRICS_CSV,
        epochs_completed=result.epochs_completed,
        best_epoch=result.best_epoch,
        validation_loss=result.best_metrics.get("val_total_loss"),
        training_clips=len(task.training),
        validation_clips=len(task.validation),
        speech_s=corpus.duration_s,
        padding_waste=task.padding_waste,
        skipped=corpus.skipped,
        reference=task.reference.id if task.reference else "",
        reference_why=task.reference.why if task.reference else "",
        vocabulary=task.vocabulary,
    )
