"""Training a recogniser on one project's recordings, from base weights or from scratch.

    texts ─► vocabulary ─┐
    clips ─► features ───┼─► `training.loop.fit` ─► best epoch ─► `finishing` ─► model directory
    base weights ────────┘

Knows no cells and no uploads. With too few clips to hold some out, the best epoch is the one that
reproduces the training texts best, and the result says so.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import torch

from pipelines.asr.corrector.proof import Proof
from pipelines.asr.w2v2bert import model
from pipelines.asr.w2v2bert.config import RecogniserConfig
from pipelines.asr.w2v2bert.dataset import Corpus, at_other_speeds, prepare
from pipelines.asr.w2v2bert.finishing import Finished, HeldOutClips, finish
from pipelines.asr.w2v2bert.held_out import HeldOutVerse
from pipelines.asr.w2v2bert.model import Recogniser
from pipelines.asr.w2v2bert.optimizer import optimizer_for
from pipelines.asr.w2v2bert.split import split
from pipelines.asr.w2v2bert.task import RecogniserTask
from pipelines.asr.w2v2bert.trust import Judged
from pipelines.asr.w2v2bert.vocabulary import Vocabulary
from pipelines.compute import choose_device, choose_dtype
from pipelines.progress import Progress
from pipelines.training.clips import Clip, SkippedClip
from pipelines.training.loop import METRICS_CSV, FitResult, best_so_far, fit
from pipelines.training.same_run import begin_afresh_if_changed, what_is_learned
from pipelines.training.team import join_team
from pipelines.training.together import on_all_gpus

__all__ = ["METRICS_CSV", "Clip", "TrainResult", "TrainingData", "best_so_far", "train"]


FINAL = "final"


@dataclass(frozen=True, slots=True)
class TrainingData:
    """What to learn from, and where to keep state: `home` may hold an interrupted run.

    `base` is a directory with base weights, `start` one of an earlier recogniser to go on from;
    `texts` are more of the language, recorded or not.
    """

    clips: Sequence[Clip]
    home: Path
    base: Path | None = None
    start: Path | None = None
    texts: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class TrainResult:
    """A finished training; `model_directory` is ready for `transcribe` and for `archive`."""

    model_directory: Path
    final_directory: Path | None
    """The model after the last epoch, where it is not the best one."""
    metrics_csv: Path
    epochs_completed: int
    best_epoch: int
    train_cer: float | None
    validation_cer: float | None
    validation_wer: float | None
    greedy_cer: float | None
    """What `validation_cer` would be without the language model."""
    confidence_correlation: float | None
    """Spearman's, of confidence with CER per held-out verse: −1 is perfect."""
    proof: Proof
    """Of the text corrector."""
    held_out: tuple[HeldOutVerse, ...]
    words: tuple[Judged, ...]
    """Of the held-out verses."""
    training_clips: int
    validation_clips: int
    speech_s: float
    padding_waste: float
    skipped: tuple[SkippedClip, ...]


def train(
    config: RecogniserConfig, data: TrainingData, *, device: str, progress: Progress
) -> TrainResult:
    """Train to the end, or from where an earlier run in `data.home` was stopped.

    Raises:
        EmptyCorpus, DeviceUnavailable, BadCheckpoint, TrainingDiverged: in words for the user.
        BaseException: whatever `progress` raises; state and best model so far are on disk then.
    """
    return on_all_gpus(partial(_train, config, data, device), device, progress)


def _train(
    config: RecogniserConfig, data: TrainingData, device: str, progress: Progress
) -> TrainResult:
    """Train in this process, which may be one of a team."""
    team = join_team()
    processor = team.device(choose_device(device))
    progress = team.report(progress)
    data.home.mkdir(parents=True, exist_ok=True)
    own = team.scratch(data.home)
    recogniser = _starting_point(config, data)
    corpus = prepare(
        data.clips, recogniser.vocabulary, config, own / "features.f32", progress, ear=recogniser
    )
    config = config.fitted_to(corpus.duration_s).for_team(team.size)
    begin_afresh_if_changed(own, _facts(config, corpus, recogniser.vocabulary))
    training, validation = split(corpus.examples, config, data.start)
    if config.speeds:
        training = at_other_speeds(
            corpus, training, data.clips, config.speeds, progress, ear=recogniser
        )
    dtype = choose_dtype(config.precision, processor, width=recogniser.hidden_size)
    task = RecogniserTask(
        recogniser,
        config,
        corpus.features,
        training=training,
        validation=validation,
    )
    task.move_to(processor, dtype)
    result = fit(task, optimizer_for(recogniser, config), config, data.home, progress, team)
    final = _export_final(task, result)
    texts = chain((clip.text for clip in data.clips), data.texts)
    poll = partial(progress, "Choosing how to read", epoch=result.epochs_completed)
    finished = finish(
        result.best,
        HeldOutClips(corpus.features, task.validation),
        list(texts),
        (processor, dtype),
        poll,
        corrector=config.corrector,
    )
    return _summary(result, finished, task, corpus, final)


def _export_final(task: RecogniserTask, result: FitResult) -> Path | None:
    """The model after the last epoch, where it is not the best one."""
    if result.best_epoch == result.epochs_completed:
        return None
    directory = result.best.with_name(FINAL)
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    task.export(directory)
    return directory


def _starting_point(config: RecogniserConfig, data: TrainingData) -> Recogniser:
    texts = [clip.text for clip in data.clips]
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        if data.start is not None:
            old = model.load(data.start)
            return model.with_vocabulary(old, old.vocabulary.extended(texts))
        vocabulary = Vocabulary.from_texts(texts)
        if data.base is not None:
            return model.load_base(data.base, vocabulary)
        return model.build(config, vocabulary)


def _facts(config: RecogniserConfig, corpus: Corpus, vocabulary: Vocabulary) -> list[object]:
    """What decides what is learned."""
    return [
        what_is_learned(config.as_json()),
        vocabulary.symbols,
        [(example.id, example.frames, example.labels) for example in corpus.examples],
    ]


def _summary(
    result: FitResult,
    finished: Finished,
    task: RecogniserTask,
    corpus: Corpus,
    final: Path | None,
) -> TrainResult:
    tuned = finished.tuned
    return TrainResult(
        model_directory=finished.directory,
        final_directory=final,
        metrics_csv=finished.directory.with_name(METRICS_CSV),
        epochs_completed=result.epochs_completed,
        best_epoch=result.best_epoch,
        train_cer=result.best_metrics.get("train_cer"),
        validation_cer=tuned.cer,
        validation_wer=tuned.wer,
        greedy_cer=tuned.greedy_cer,
        confidence_correlation=tuned.rank_correlation,
        proof=finished.proof,
        held_out=finished.held_out,
        words=tuned.words,
        training_clips=len(task.training),
        validation_clips=len(task.validation),
        speech_s=corpus.duration_s,
        padding_waste=task.padding_waste,
        skipped=corpus.skipped,
    )
