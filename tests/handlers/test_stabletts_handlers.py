"""StableTTS recipes against recording callbacks: real audio, real training of a tiny voice, few epochs."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest
import soundfile
import torch
from selectolax.lexbor import LexborHTMLParser
from support.fake_callbacks import RecordingCallbacks, job_context, project_data, utterance
from support.speech import spoken_clip, spoken_clips

from gitlab_jobs.callbacks import ModelChoice, ProjectData, Purpose, Skipped, Stage
from gitlab_jobs.codex.changes import AddTake
from gitlab_jobs.errors import InvalidJob, JobCanceledException, JobError
from gitlab_jobs.job import CancelReason, JobResult, Mode
from gitlab_jobs.model_source import resolve_model
from gitlab_jobs.settings import load_settings
from gitlab_jobs.wire import MODEL_CHOICE
from handlers.asr.w2v2bert import training as asr
from handlers.tts.stabletts import inference, training, training_and_inference
from handlers.tts.stabletts.recipe import recipe, speaking_config
from pipelines.audio.decode import decode
from pipelines.errors import BadCheckpoint, EmptyCorpus, ModelNotFound, PipelineError
from pipelines.tts.stabletts.base import find_base
from pipelines.tts.stabletts.config import ModelConfig
from pipelines.tts.stabletts.model import StableTTS
from pipelines.tts.stabletts.synthesize import SpeakingConfig
from pipelines.tts.stabletts.voice import load_voice

FOLDER = "gpu_jobs/job_mmkbkzk0_abc"
MODEL = f"{FOLDER}/checkpoint/best_model.pt"
CURVE = f"{FOLDER}/checkpoint/training_metrics.csv"
TABLE = f"{FOLDER}/speech.tsv"
REPORT = f"{FOLDER}/report.html"
BOOK = "files/target/MAT.codex"
TEXTS = ("has never been surpassed.", "The earliest book printed, in the invention of printing.")


@pytest.fixture(autouse=True)
def one_thread():
    """Operations this small lose more to waiting than they gain."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def recorded() -> ProjectData:
    """Every short clip as a recorded verse with text, and one verse that was skipped."""
    return project_data(
        [
            utterance(f"cell-{number}", clip.path, clip.text, reference=f"MAT 1:{number}")
            for number, clip in enumerate(spoken_clips(longest_s=4.0), start=1)
        ],
        [Skipped("cell-99", "MAT 1:99", "it has no recording")],
    )


def unspoken() -> ProjectData:
    """Two verses to speak in two notebooks, and two that nobody can."""
    return project_data(
        [
            utterance("cell-21", None, TEXTS[0], reference="MAT 2:1", listed=True),
            utterance("cell-21", None, TEXTS[1], notebook="files/target/B.codex"),
            utterance("cell-23", None, "He was 42 years old.", reference="MAT 2:3"),
            utterance("cell-24", None, "Ελληνικά", reference="MAT 2:4"),
        ]
    )


DATA = {Purpose.TRAIN: recorded(), Purpose.SPEAK: unspoken()}
EPOCHS = 30


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[RecordingCallbacks, JobResult]:
    """One job that trained and spoke."""
    torch.set_num_threads(1)
    callbacks = RecordingCallbacks(tmp_path_factory.mktemp("finished"), DATA)
    context = job_context(Mode.TRAINING_AND_INFERENCE, "StableTTS", epochs=EPOCHS)
    return callbacks, training_and_inference.run(context, callbacks)


def again(root: Path, finished: RecordingCallbacks, **more) -> RecordingCallbacks:
    """A later job in the same project: the repository is as the first job left it."""
    callbacks = RecordingCallbacks(root, {**DATA, **more.pop("data", {})}, **more)
    shutil.copytree(finished.repository, callbacks.repository)
    return callbacks


def takes_in(callbacks: RecordingCallbacks) -> dict[str, AddTake]:
    """The takes that were handed over, by notebook."""
    found = {}
    for notebook, changes in callbacks.changes.items():
        (change,) = changes
        assert isinstance(change, AddTake)
        found[notebook] = change
    return found


def test_a_voice_is_published_with_its_curve_and_its_takes(finished):
    """One model file, the columns that the editor's graph knows, one take per verse."""
    callbacks, result = finished
    assert callbacks.uploaded == {MODEL, CURVE, TABLE, REPORT}
    assert (result.checkpoint_path, result.epochs_completed) == (MODEL, EPOCHS)
    with (callbacks.repository / CURVE).open(encoding="ascii") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == EPOCHS
    assert float(rows[-1]["train_total_loss"]) < float(rows[0]["train_total_loss"])
    assert callbacks.stages == [
        Stage.DOWNLOAD, Stage.TRAIN, Stage.UPLOAD, Stage.DOWNLOAD, Stage.INFER, Stage.UPLOAD,
    ]  # fmt: skip


def test_takes_are_playable_and_say_what_was_spoken(finished):
    """WebM/Opus at 48 kHz whose length is what the attachment claims."""
    takes = takes_in(finished[0])
    first, second = takes[BOOK], takes["files/target/B.codex"]
    assert (first.cell_id, first.spoken_text, first.listed) == ("cell-21", TEXTS[0], True)
    assert second.listed is False
    for take in takes.values():
        assert (take.media.mime_type, take.media.sample_rate_hz) == ("audio/webm", 48_000)
        audio = decode(take.audio)
        assert audio.duration_s == pytest.approx(take.media.duration_s, abs=0.1)
        assert 0.3 < audio.duration_s / (len(take.spoken_text) / 14) < 3


def test_what_cannot_be_spoken_is_left_out_and_named(finished):
    """Numbers nobody explained, letters that no recording had."""
    callbacks, result = finished
    assert result.facts["verses_spoken"] == 2
    named = result.facts["skipped"]
    assert "MAT 2:3: nobody said how to read 4 2" in named
    assert any(line.startswith("MAT 2:4: the voice does not know most of it") for line in named)
    assert "Spoke 2 of 4 verses. 2 were left out" in (result.summary or "")
    assert "metallic" in (result.summary or "")
    assert result.facts["vocoder"] == "griffin-lim"
    with (callbacks.repository / TABLE).open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, dialect="excel-tab"))
    assert len(rows) == 4
    assert rows[0]["problem"]
    assert rows[-1]["problem"] == ""


def test_the_report_tells_everything_about_the_job(finished):
    """How it learned, why this voice, what every verse came to, which letters it cannot say."""
    callbacks, _ = finished
    html = (callbacks.repository / REPORT).read_text("utf-8")
    assert len(html) < 400_000
    page = LexborHTMLParser(html)
    headings = [node.text() for node in page.css("h2")]
    assert headings == [
        "Training", "Learning curve", "Recordings that were not used", "Speaking", "Please note",
        "Verses", "Characters that cannot be spoken",
    ]  # fmt: skip
    text = page.body.text()
    assert "nearest to the middle in length" in text
    assert "MAT 1:99" in text
    assert "metallic" in text
    assert "characters of all texts that it knows" in text
    assert "U+03BB" in text
    rows = page.css("section:has(audio) tbody tr")
    assert [row.css_first(".badge").text() for row in rows].count("left out") == 2
    assert [bool(row.css("audio")) for row in rows] == [False, False, True, True]
    assert all(text in page.body.text() for text in TEXTS)


def test_the_automatic_voice_is_recorded_and_stays(finished, tmp_path):
    """A later job speaks with the same recording, without fetching any."""
    first, result = finished
    later = again(tmp_path, first)
    context = job_context(Mode.INFERENCE, "StableTTS", base_checkpoint=MODEL, audio_format="ogg")
    spoken = inference.run(context, later)
    assert later.downloads == [Purpose.SPEAK]
    assert spoken.facts["voice_reference"] in {u.reference for u in DATA[Purpose.TRAIN].utterances}
    assert spoken.facts["voice_reference"] == result.facts["voice_reference"]
    assert takes_in(later)[BOOK].audio.suffix == ".ogg"


def test_a_chosen_voice_is_the_one_that_is_heard(finished, tmp_path):
    """Whatever path the user's machine has; only its last part is told."""
    later = again(tmp_path, finished[0])
    chosen = ".project/attachments/pointers/MAT/audio-1.flac"
    target = later.repository / chosen
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(spoken_clip("LJ001-0008").path.read_bytes())
    fields = {"base_checkpoint": MODEL, "voice_reference": chosen}
    result = inference.run(job_context(Mode.INFERENCE, "StableTTS", **fields), later)
    assert result.facts["voice_reference"] == "audio-1.flac"


def test_takes_are_read_back_by_a_recogniser_of_the_project(finished, tmp_path, caplog):
    """The report says per verse how much was understood; the log says which characters are unknown."""
    later = again(tmp_path, finished[0])
    asr.run(job_context(Mode.TRAINING, epochs=2), RecordingCallbacks(tmp_path / "asr", DATA))
    ears = "gpu_jobs/job_ears/checkpoint/best_model.pt"
    (later.repository / ears).parent.mkdir(parents=True)
    shutil.copyfile(tmp_path / "asr/repository" / MODEL, later.repository / ears)
    context = job_context(
        Mode.INFERENCE, "StableTTS", base_checkpoint=MODEL, extra={"check_with": ears}
    )
    result = inference.run(context, later)
    assert result.facts["read_back_cer"] > 0
    assert 0.5 < result.facts["text_coverage"] < 1
    assert "numbers that nobody said how to read: 2 4 (MAT 2:3)" in caplog.text
    assert Stage.EVALUATE in later.stages
    with (later.repository / TABLE).open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, dialect="excel-tab"))
    assert [bool(row["cer"]) for row in rows] == [False, False, True, True]
    page = LexborHTMLParser((later.repository / REPORT).read_text("utf-8"))
    assert "heard: " in page.body.text()
    assert any("heard" in badge_row.text() for badge_row in page.css("tr:has(.check)"))


def test_a_recogniser_that_is_no_path_is_refused(tmp_path):
    """At once."""
    context = job_context(
        Mode.INFERENCE, "StableTTS", base_checkpoint=MODEL, extra={"check_with": 7}
    )
    callbacks = RecordingCallbacks(tmp_path, DATA)
    with pytest.raises(InvalidJob, match="check_with"):
        inference.infer(context, callbacks, tmp_path / "voice")
    assert callbacks.downloads == []


def test_a_missing_voice_ends_the_job_with_a_reason(finished, tmp_path):
    """Another voice instead would be a surprise."""
    fields = {"base_checkpoint": MODEL, "voice_reference": "audio-7.webm"}
    context = job_context(Mode.INFERENCE, "StableTTS", **fields)
    with pytest.raises(JobError, match="no recording at"):
        inference.run(context, again(tmp_path, finished[0]))


def test_a_silent_voice_ends_the_job_with_a_reason(finished, tmp_path):
    """In words about the recording, not about tensors."""
    later = again(tmp_path, finished[0])
    soundfile.write(later.repository / "silent.wav", [0.0] * 44_100, 44_100)
    fields = {"base_checkpoint": MODEL, "voice_reference": "silent.wav"}
    with pytest.raises(PipelineError, match="the recording is silent"):
        inference.run(job_context(Mode.INFERENCE, "StableTTS", **fields), later)


def test_published_and_older_voices_speak_without_a_stored_reference(tmp_path):
    """A bare state dict: spelt as older workers did, imitating a typical recording of the project."""
    torch.manual_seed(3)
    old = StableTTS(ModelConfig.tiny())
    with torch.no_grad():
        old.dp.proj.bias.fill_(1.0)
    plain = project_data([utterance("cell-21", None, TEXTS[0])])
    callbacks = RecordingCallbacks(tmp_path, {**DATA, Purpose.SPEAK: plain})
    path = callbacks.repository / MODEL
    path.parent.mkdir(parents=True)
    torch.save(old.state_dict(), path)
    context = job_context(Mode.INFERENCE, "StableTTS", base_checkpoint=MODEL, language="english")
    result = inference.run(context, callbacks)
    assert callbacks.downloads == [Purpose.SPEAK, Purpose.TRAIN]
    assert result.facts["voice_reference"].startswith("MAT 1:")


def test_training_goes_on_from_an_earlier_voice(finished, tmp_path):
    """Its spelling and its sizes are kept."""
    later = again(tmp_path, finished[0])
    before = load_voice(finished[0].repository / MODEL)
    context = job_context(Mode.TRAINING, "StableTTS", epochs=1, base_checkpoint=MODEL)
    training.run(context, later)
    after = load_voice(later.repository / MODEL)
    assert after.vocabulary.tokens == before.vocabulary.tokens


@pytest.mark.parametrize(
    ("reason", "uploaded"),
    [(CancelReason.USER_CANCELED, {MODEL, CURVE}), (CancelReason.LEASE_LOST, set())],
)
def test_a_canceled_training_leaves_the_best_voice_so_far(tmp_path, reason, uploaded):
    """If the user canceled it; a worker that lost its lease writes nothing."""
    callbacks = RecordingCallbacks(tmp_path, DATA, cancel_at_epoch=11, cancel_reason=reason)
    with pytest.raises(JobCanceledException):
        training.run(job_context(Mode.TRAINING, "StableTTS", epochs=100), callbacks)
    assert callbacks.uploaded == uploaded


def test_nothing_to_speak_is_a_finished_job(finished, tmp_path):
    """A project whose verses are all recorded is no failure."""
    later = again(tmp_path, finished[0], data={Purpose.SPEAK: project_data([])})
    context = job_context(Mode.INFERENCE, "StableTTS", base_checkpoint=MODEL)
    assert "No verse" in (inference.run(context, later).summary or "")
    assert later.changes == {}


def test_unreadable_recordings_are_named_and_all_of_them_are_an_error(tmp_path):
    """A broken take costs one verse; nothing but broken takes is a failure in words."""
    broken = tmp_path / "broken.webm"
    broken.write_bytes(b"this is no recording")
    bad = utterance("cell-50", broken, "words", reference="MAT 1:50")
    some = project_data([*DATA[Purpose.TRAIN].utterances[:2], bad])
    callbacks = RecordingCallbacks(tmp_path / "some", {Purpose.TRAIN: some})
    result = training.run(job_context(Mode.TRAINING, "StableTTS", epochs=1), callbacks)
    (note,) = result.facts["training_skipped"]
    assert note.startswith("MAT 1:50: the recording could not be read")
    callbacks = RecordingCallbacks(tmp_path / "none", {Purpose.TRAIN: project_data([bad])})
    with pytest.raises(EmptyCorpus, match="none of the 1 recordings"):
        training.run(job_context(Mode.TRAINING, "StableTTS", epochs=1), callbacks)


def test_inference_without_a_voice_is_refused(tmp_path):
    """A hand-written job without a checkpoint fails at once."""
    with pytest.raises(InvalidJob, match="names no trained voice"):
        inference.run(job_context(Mode.INFERENCE, "StableTTS"), RecordingCallbacks(tmp_path, {}))


def test_a_checkpoint_of_another_kind_is_refused(tmp_path):
    """A pickle under the model's name is not loaded."""
    callbacks = RecordingCallbacks(tmp_path, DATA)
    path = callbacks.repository / MODEL
    path.parent.mkdir(parents=True)
    path.write_bytes(b"\x80\x02}q\x00." * 100)
    context = job_context(Mode.INFERENCE, "StableTTS", base_checkpoint=MODEL)
    with pytest.raises(BadCheckpoint):
        inference.run(context, callbacks)


def test_a_base_with_a_vocoder_only_starts_small(tmp_path):
    """A published vocoder makes a voice from scratch listenable."""
    vocoder = tmp_path / "vocoders" / "vocos.pt"
    vocoder.parent.mkdir()
    vocoder.write_bytes(b"weights")
    base = find_base(str(tmp_path))
    assert (base.acoustic, base.vocoder_name) == (None, "vocos")


def test_an_operators_empty_base_directory_is_named(tmp_path):
    """Before anything is downloaded."""
    models = {"stabletts": ModelChoice(str(tmp_path), "cpu", "auto")}
    callbacks = RecordingCallbacks(tmp_path, DATA, models=models)
    with pytest.raises(ModelNotFound, match="holds no StableTTS weights"):
        training.run(job_context(Mode.TRAINING, "StableTTS", epochs=1), callbacks)
    assert callbacks.downloads == []


def test_what_a_job_asks_for_reaches_the_training():
    """Only what it names differs from the family's recipe."""
    choice = ModelChoice("tiny", "cpu", "float32")
    fields = {"epochs": 7, "batch_size": 4, "learning_rate": 0.5, "val_split": 0.2}
    config = recipe(job_context(Mode.TRAINING, "StableTTS", **fields).job, choice, is_tiny=True)
    assert (config.epochs, config.batch_s, config.learning_rate) == (7, 20.0, 0.5)
    assert (config.validation_fraction, config.min_validation_clips) == (0.2, 1)
    plain = recipe(job_context(Mode.TRAINING, "StableTTS").job, choice, is_tiny=True)
    assert (plain.epochs, plain.batch_s, plain.precision) == (60, 4.0, "float32")


def test_a_small_gpu_gets_a_recipe_that_needs_less(tmp_path):
    """Less at once is the same training; longer clips are left out, and the result names them."""
    spare = ModelChoice(
        "tiny",
        "cpu",
        "auto",
        batch_share=0.25,
        accumulation=4,
        checkpoints_activations=True,
        piece_share=0.5,
        longest_clip_s=2.0,
    )
    job = job_context(Mode.TRAINING, "StableTTS", epochs=1)
    plain = ModelChoice("tiny", "cpu", "auto")
    usual, config = (recipe(job.job, choice, is_tiny=True) for choice in (plain, spare))
    assert config.batch_s * config.accumulate == usual.batch_s * usual.accumulate
    assert config.gradient_checkpointing
    assert speaking_config(spare).most_symbols * 2 == speaking_config(plain).most_symbols

    callbacks = RecordingCallbacks(tmp_path, DATA, models={"stabletts": spare})
    result = training.run(job, callbacks)
    left_out = [line for line in result.facts["training_skipped"] if "more than 2 s" in line]
    assert left_out
    assert all("s long, more than 2 s" in line for line in left_out)


def test_what_the_operator_says_about_speaking_reaches_the_voice(tmp_path):
    """By the settings, over the wire to the child, into the recipe; what nobody asks for stays usual."""
    flags = ["--models.stabletts.compile", "--models.stabletts.solver", "rk4"]
    flags += ["--models.stabletts.steps", "4"]
    said = []
    for asked in ([], flags):
        families = load_settings(["--models.stabletts.base", "tiny", *asked]).models
        choice = resolve_model(families, "stabletts", device="cpu", cache_dir=tmp_path)
        carried = MODEL_CHOICE.validate_json(MODEL_CHOICE.dump_json(choice))
        said.append(speaking_config(carried))
    usual, wished = said
    assert usual == SpeakingConfig()
    assert (wished.compiled, wished.sampling.solver, wished.sampling.steps) == (True, "rk4", 4)


def test_every_recipe_fits_on_a_page():
    """Recipes stay recipes."""
    for module in (training, inference, training_and_inference):
        path = Path(module.__file__)
        assert len(path.read_text("utf-8").splitlines()) <= 80, path
