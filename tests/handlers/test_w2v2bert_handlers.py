"""Wav2Vec2-BERT recipes against recording callbacks: real audio, real training, few epochs."""

from __future__ import annotations

import csv
import random
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from selectolax.lexbor import LexborHTMLParser
from support.fake_callbacks import RecordingCallbacks, job_context, project_data, utterance
from support.speech import spoken_clips

from gitlab_jobs.callbacks import ModelChoice, Purpose, Skipped, Stage
from gitlab_jobs.codex.changes import SetText
from gitlab_jobs.errors import InvalidJob, JobCanceledException
from gitlab_jobs.job import CancelReason, Mode
from handlers.asr.w2v2bert import inference, training, training_and_inference
from handlers.asr.w2v2bert.recipe import recipe
from pipelines.asr.corrector import network
from pipelines.asr.corrector.kinds import CorrectorKind
from pipelines.errors import BadCheckpoint, DeviceUnavailable, EmptyCorpus
from pipelines.text.normalize import spoken_form

FOLDER = "gpu_jobs/job_mmkbkzk0_abc"
MODEL = f"{FOLDER}/checkpoint/best_model.pt"
REPORT = f"{FOLDER}/report.html"
CURVE = f"{FOLDER}/checkpoint/training_metrics.csv"


@pytest.fixture
def training_data():
    """Every short clip as a recorded verse with text, and one verse that was skipped."""
    clips = spoken_clips(longest_s=4.0)
    return project_data(
        [
            utterance(f"cell-{number}", clip.path, clip.text, reference=f"MAT 1:{number}")
            for number, clip in enumerate(clips, start=1)
        ],
        [Skipped("cell-99", "MAT 1:99", "it has no recording")],
    )


@pytest.fixture
def unwritten_data():
    """Two recorded verses without text, in two notebooks."""
    first, second, *_ = spoken_clips(longest_s=4.0)
    return project_data(
        [
            utterance("cell-21", first.path, reference="MAT 2:1", listed=True),
            utterance("cell-22", second.path, reference="MAT 2:2", notebook="files/target/B.codex"),
        ]
    )


def test_training_publishes_a_model_and_its_curve(tmp_path, training_data):
    """The model file and the loss curve land where the editor looks, and the loss falls."""
    callbacks = RecordingCallbacks(tmp_path, {Purpose.TRAIN: training_data})
    result = training.run(job_context(Mode.TRAINING, epochs=5), callbacks)

    assert callbacks.uploaded == {MODEL, CURVE, REPORT}
    assert result.checkpoint_path == MODEL
    assert result.epochs_completed == 5
    assert "Trained on 4 recordings" in (result.summary or "")
    assert result.facts["training_skipped"] == ["MAT 1:99: it has no recording"]
    with (callbacks.repository / CURVE).open(encoding="ascii") as file:
        losses = [float(row["train_total_loss"]) for row in csv.DictReader(file)]
    assert len(losses) == 5
    assert losses[-1] < losses[0]


def test_progress_counts_completed_epochs_in_words(tmp_path, training_data):
    """A translator reads which epoch is running; the number is of completed ones."""
    callbacks = RecordingCallbacks(tmp_path, {Purpose.TRAIN: training_data})
    training.run(job_context(Mode.TRAINING, epochs=3), callbacks)
    assert (1, "Training epoch 2 of 3") in callbacks.heartbeats
    assert callbacks.stages == [Stage.DOWNLOAD, Stage.TRAIN, Stage.UPLOAD]


def test_inference_writes_into_each_notebook_what_the_published_model_hears(
    tmp_path, training_data, unwritten_data
):
    """A published model is usable by a later job, and each text goes to its own cell."""
    callbacks = RecordingCallbacks(
        tmp_path, {Purpose.TRAIN: training_data, Purpose.TRANSCRIBE: unwritten_data}
    )
    training.run(job_context(Mode.TRAINING, epochs=30, learning_rate=3e-3), callbacks)
    result = inference.run(job_context(Mode.INFERENCE, base_checkpoint=MODEL), callbacks)

    (change,) = callbacks.changes["files/target/MAT.codex"]
    assert isinstance(change, SetText)
    assert (change.cell_id, change.take_id, change.listed) == ("cell-21", "audio-cell-21", True)
    assert change.text
    assert len(callbacks.changes["files/target/B.codex"]) == 1
    assert result.facts["verses_transcribed"] == 2
    report = (callbacks.repository / FOLDER / "transcription.tsv").read_text("utf-8").splitlines()
    assert report[0].split("\t")[0] == "verse"
    assert {line.split("\t")[0] for line in report[1:]} == {"MAT 2:1", "MAT 2:2"}


def test_training_and_inference_uses_its_own_model_at_once(tmp_path, training_data, unwritten_data):
    """The two halves together fetch data once per purpose and publish both results."""
    callbacks = RecordingCallbacks(
        tmp_path, {Purpose.TRAIN: training_data, Purpose.TRANSCRIBE: unwritten_data}
    )
    context = job_context(Mode.TRAINING_AND_INFERENCE, epochs=30, learning_rate=3e-3)
    result = training_and_inference.run(context, callbacks)
    assert callbacks.downloads == [Purpose.TRAIN, Purpose.TRANSCRIBE]
    assert result.checkpoint_path == MODEL
    assert result.facts["verses_transcribed"] == 2
    assert {MODEL, CURVE} < callbacks.uploaded


def test_the_report_tells_what_the_kept_back_verses_say(tmp_path, training_data):
    """Error rates, the worst verses with their sound, confusions, and what was left out."""
    callbacks = RecordingCallbacks(tmp_path, {Purpose.TRAIN: training_data})
    training.run(job_context(Mode.TRAINING, epochs=5, val_split=0.5), callbacks)
    page = LexborHTMLParser((callbacks.repository / REPORT).read_text("utf-8"))
    headings = [node.text() for node in page.css("h2")]
    assert "Verses kept back, the worst first" in headings
    assert "What is taken for what" in headings
    assert "Recordings that were not used" in headings
    assert page.css("audio")
    text = page.body.text() if page.body else ""
    assert "characters wrong there" in text
    assert "MAT 1:99" in text


@pytest.mark.parametrize("switch", [True, False])
def test_case_41_the_switch_puts_a_corrector_into_the_model_that_later_jobs_use(
    tmp_path, training_data, unwritten_data, monkeypatch, switch
):
    """Asked for, it is in the model file and changes what a later job writes; else neither."""
    monkeypatch.setattr(network, "MOST_STEPS", 150)
    monkeypatch.setattr(network, "LEAST_STEPS", 150)
    dice = random.Random(1)
    words = spoken_form(" ".join(clip.text for clip in spoken_clips())).split()
    texts = [f"{' '.join(dice.sample(words, 5)).capitalize()}." for _ in range(150)]
    callbacks = RecordingCallbacks(
        tmp_path,
        {
            Purpose.TRAIN: replace(training_data, project_texts=tuple(texts)),
            Purpose.TRANSCRIBE: unwritten_data,
        },
    )
    wishes = {"epochs": 30, "learning_rate": 3e-3, "transmorgrifier": switch}
    trained = training.run(job_context(Mode.TRAINING, **wishes), callbacks)
    inference.run(job_context(Mode.INFERENCE, base_checkpoint=MODEL), callbacks)

    with tarfile.open(callbacks.repository / MODEL) as model:
        assert ("corrector.safetensors" in model.getnames()) is switch
    assert ("corrector" in (trained.summary or "")) is switch
    with (callbacks.repository / FOLDER / "transcription.tsv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, dialect="excel-tab"))
    assert any(row["uncorrected"] for row in rows) is switch
    assert any(row["text"].endswith(".") for row in rows) is switch


def test_a_user_who_cancels_keeps_the_best_model_so_far(tmp_path, training_data):
    """A cancel passes through, after the best model and the curve were uploaded."""
    callbacks = RecordingCallbacks(tmp_path, {Purpose.TRAIN: training_data}, cancel_at_epoch=6)
    with pytest.raises(JobCanceledException) as stop:
        training.run(job_context(Mode.TRAINING, epochs=100), callbacks)
    assert stop.value.reason is CancelReason.USER_CANCELED
    assert callbacks.uploaded == {MODEL, CURVE}


def test_a_cancel_before_the_first_model_leaves_nothing(tmp_path, training_data):
    """There is nothing to keep before the first evaluation."""
    callbacks = RecordingCallbacks(tmp_path, {Purpose.TRAIN: training_data}, cancel_at_epoch=1)
    with pytest.raises(JobCanceledException):
        training.run(job_context(Mode.TRAINING, epochs=100), callbacks)
    assert callbacks.uploaded == set()


def test_a_lost_lease_uploads_nothing(tmp_path, training_data):
    """A worker that does not own the job any more writes nothing."""
    callbacks = RecordingCallbacks(
        tmp_path,
        {Purpose.TRAIN: training_data},
        cancel_at_epoch=6,
        cancel_reason=CancelReason.LEASE_LOST,
    )
    with pytest.raises(JobCanceledException):
        training.run(job_context(Mode.TRAINING, epochs=100), callbacks)
    assert callbacks.uploaded == set()


def test_training_goes_on_from_an_earlier_model_with_new_letters(tmp_path, training_data):
    """Letters that the earlier model did not know are added to its vocabulary."""
    callbacks = RecordingCallbacks(tmp_path / "first", {Purpose.TRAIN: training_data})
    training.run(job_context(Mode.TRAINING, epochs=5), callbacks)
    first, *rest = training_data.utterances
    changed = project_data([utterance("cell-1", first.audio, "ñandú ħ"), *rest])
    later = RecordingCallbacks(tmp_path / "later", {Purpose.TRAIN: changed})
    later.repository.parent.mkdir(exist_ok=True, parents=True)
    callbacks.repository.rename(later.repository)
    result = training.run(job_context(Mode.TRAINING, epochs=5, base_checkpoint=MODEL), later)
    assert result.facts["training_verses"] == 4


def test_nothing_to_transcribe_is_a_finished_job(tmp_path, training_data):
    """A project whose recordings all have text is no failure."""
    callbacks = RecordingCallbacks(tmp_path, {Purpose.TRAIN: training_data})
    context = job_context(Mode.TRAINING_AND_INFERENCE, epochs=5)
    result = training_and_inference.run(context, callbacks)
    assert "No verse" in (result.summary or "")
    assert callbacks.changes == {}


def test_unreadable_recordings_are_left_out_and_named(tmp_path, training_data):
    """One broken take costs one verse, which is named."""
    broken = tmp_path / "broken.webm"
    broken.write_bytes(b"this is no recording")
    data = project_data(
        [*training_data.utterances, utterance("cell-50", broken, "words", reference="MAT 1:50")]
    )
    callbacks = RecordingCallbacks(tmp_path, {Purpose.TRAIN: data})
    result = training.run(job_context(Mode.TRAINING, epochs=5), callbacks)
    assert result.facts["training_verses"] == 4
    (note,) = result.facts["training_skipped"]
    assert note.startswith("MAT 1:50: the recording could not be read")


def test_without_one_usable_recording_the_job_says_why(tmp_path):
    """The failure names the reason in words."""
    broken = tmp_path / "broken.webm"
    broken.write_bytes(b"this is no recording")
    callbacks = RecordingCallbacks(
        tmp_path, {Purpose.TRAIN: project_data([utterance("cell-1", broken, "words")])}
    )
    with pytest.raises(EmptyCorpus, match="not a recording in a known format"):
        training.run(job_context(Mode.TRAINING, epochs=5), callbacks)


def test_inference_without_a_model_is_refused(tmp_path):
    """A hand-written job without a checkpoint fails at once."""
    callbacks = RecordingCallbacks(tmp_path, {})
    with pytest.raises(InvalidJob, match="names no trained model"):
        inference.run(job_context(Mode.INFERENCE), callbacks)


def test_a_checkpoint_of_another_kind_is_refused(tmp_path, unwritten_data):
    """A pickle under the model's name is not loaded."""
    callbacks = RecordingCallbacks(tmp_path, {Purpose.TRANSCRIBE: unwritten_data})
    path = callbacks.repository / MODEL
    path.parent.mkdir(parents=True)
    path.write_bytes(b"\x80\x02}q\x00." * 100)
    with pytest.raises(BadCheckpoint):
        inference.run(job_context(Mode.INFERENCE, base_checkpoint=MODEL), callbacks)


def test_a_missing_gpu_is_named(tmp_path, training_data):
    """The operator's setting is refused in words, not by a stack trace."""
    callbacks = RecordingCallbacks(
        tmp_path,
        {Purpose.TRAIN: training_data},
        models={"w2v2bert": ModelChoice("tiny", "cuda:7", "auto")},
    )
    with pytest.raises(DeviceUnavailable, match="GPU"):
        training.run(job_context(Mode.TRAINING, epochs=5), callbacks)


def test_a_small_gpu_gets_a_recipe_that_needs_less(tmp_path, training_data):
    """Less at once is the same training; longer clips are left out, and the result names them."""
    spare = ModelChoice(
        "tiny",
        "cpu",
        "auto",
        batch_share=0.25,
        accumulation=4,
        checkpoints_activations=True,
        longest_clip_s=2.0,
    )
    job = job_context(Mode.TRAINING, epochs=1)
    usual, config = (recipe(job.job, one) for one in (ModelChoice("tiny", "cpu", "auto"), spare))
    assert config.batch_s * config.accumulate == usual.batch_s * usual.accumulate
    assert config.gradient_checkpointing

    callbacks = RecordingCallbacks(
        tmp_path, {Purpose.TRAIN: training_data}, models={"w2v2bert": spare}
    )
    result = training.run(job, callbacks)
    left_out = [line for line in result.facts["training_skipped"] if "more than 2 s" in line]
    assert left_out
    assert all("s long, more than 2 s" in line for line in left_out)


@pytest.mark.parametrize("kind", list(CorrectorKind))
def test_the_operator_chooses_the_kind_of_corrector(kind):
    """For jobs that ask for one; others train none."""
    choice = ModelChoice("tiny", "cpu", "auto", {"corrector": kind.value})
    asking = job_context(Mode.TRAINING, transmorgrifier=True).job
    assert recipe(asking, choice).corrector is kind
    assert recipe(job_context(Mode.TRAINING).job, choice).corrector is None


def test_every_recipe_fits_on_a_page():
    """Recipes stay recipes."""
    folder = Path(training.__file__).parents[1]
    for path in set(folder.rglob("*.py")) - set(folder.rglob("report.py")):
        assert len(path.read_text("utf-8").splitlines()) <= 80, path
