"""A small recogniser learns real clips by heart, and everything that is done with it afterwards."""

from __future__ import annotations

import csv
import shutil
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch
from support.sound import tone
from support.speech import spoken_clip, spoken_clips
from transformers import AutoModelForCTC, SeamlessM4TFeatureExtractor, Wav2Vec2CTCTokenizer

from pipelines.asr.w2v2bert import archive, listening
from pipelines.asr.w2v2bert.config import tiny
from pipelines.asr.w2v2bert.train import TrainingData, train
from pipelines.asr.w2v2bert.transcribe import Recording, Transcriber
from pipelines.audio.decode import decode
from pipelines.progress import ignore_progress
from pipelines.text.metrics import spoken_error_rates
from pipelines.text.normalize import spoken_form
from pipelines.training.clips import Clip

pytestmark = pytest.mark.timeout(600)  # seconds of work, minutes on a busy machine

EPOCHS = 26
RATE = 16_000


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Two spinning threads are ten times slower than one where other tests run beside."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """One training on all clips, shared by the tests of this file."""
    clips = [Clip(clip.path.stem, clip.path, clip.text, clip.speaker) for clip in spoken_clips()]
    data = TrainingData(clips, tmp_path_factory.mktemp("training"))
    return train(replace(tiny(), epochs=EPOCHS), data, device="cpu", progress=ignore_progress)


@pytest.fixture(scope="module")
def transcriber(trained):
    """The trained model, loaded."""
    return Transcriber(trained.model_directory, device="cpu")


def _hear(transcriber, *paths):
    recordings = [Recording(path.name, path) for path in paths]
    return list(transcriber.transcribe(recordings, ignore_progress))


def test_the_loss_falls_and_the_clips_are_learnt(trained):
    """The promise of the tiny preset."""
    with trained.metrics_csv.open(encoding="ascii") as file:
        losses = [float(row["train_total_loss"]) for row in csv.DictReader(file)]
    assert len(losses) == EPOCHS
    assert losses[-1] < 0.2 * losses[0]
    assert trained.train_cer < 0.2
    assert (trained.training_clips, trained.validation_clips) == (18, 0)
    assert trained.skipped == ()


def test_it_hears_its_clips_with_spaces_and_confidence(transcriber):
    """Results come in the order asked for, with word borders."""
    clips = spoken_clips()
    heard = _hear(transcriber, *(clip.path for clip in clips))
    assert [result.id for result in heard] == [clip.path.name for clip in clips]
    rates = spoken_error_rates([clip.text for clip in clips], [result.text for result in heard])
    assert rates.cer < 0.2
    for clip, result in zip(clips, heard, strict=True):
        assert abs(result.text.count(" ") - spoken_form(clip.text).count(" ")) <= 3
        assert 0.5 < result.confidence <= 1.0
        assert result.problem is None


def test_company_does_not_change_what_is_heard(transcriber):
    """Padding of a batch leaks into no result."""
    paths = [clip.path for clip in spoken_clips()]
    together = _hear(transcriber, *paths)
    for path, in_batch in zip(paths, together, strict=True):
        (alone,) = _hear(transcriber, path)
        assert alone.text == in_batch.text
        assert alone.confidence == pytest.approx(in_batch.confidence, abs=1e-3)


def test_a_long_recording_is_heard_in_pieces(transcriber, tmp_path):
    """Beyond one piece, cut at pauses."""
    clips = [clip for clip in spoken_clips() if clip.speaker == "lj"][:6]
    pause = np.zeros(RATE // 2, np.float32)
    sound = np.concatenate([part for clip in clips for part in (decode(clip.path).samples, pause)])
    soundfile.write(tmp_path / "long.wav", sound, RATE)
    (heard,) = _hear(transcriber, tmp_path / "long.wav")
    words = sum(len(clip.text.split()) for clip in clips)
    assert heard.duration_s > 35.0
    assert len(heard.text.split()) == pytest.approx(words, rel=0.3)
    assert spoken_error_rates([" ".join(clip.text for clip in clips)], [heard.text]).cer < 0.6


def test_a_cut_in_the_middle_of_speech_changes_no_word(trained, transcriber):
    """Without a pause anywhere, what is heard in pieces is what is heard at once."""
    clip = max(spoken_clips(), key=lambda clip: clip.seconds)
    (whole,) = _hear(transcriber, clip.path)
    share = clip.seconds / 2.5 / listening.LONGEST_PIECE_S
    cutting = Transcriber(trained.model_directory, device="cpu", piece_share=share)
    (in_pieces,) = _hear(cutting, clip.path)
    assert spoken_error_rates([whole.text], [in_pieces.text]).cer < 0.1
    assert [word.text for word in in_pieces.words] == in_pieces.text.split()
    assert in_pieces.words[-1].end_s == pytest.approx(whole.words[-1].end_s, abs=0.3)


def test_what_is_no_speech_is_not_trusted(transcriber, tmp_path):
    """Humming is flagged, silence and rubbish are named."""
    clip = spoken_clip("LJ001-0004")
    soundfile.write(tmp_path / "tone.wav", tone(3.0), RATE)
    soundfile.write(tmp_path / "silence.wav", np.zeros(RATE, np.float32), RATE)
    (tmp_path / "text.wav").write_text("no recording")
    humming, silent, text, speech = _hear(
        transcriber,
        tmp_path / "tone.wav",
        tmp_path / "silence.wav",
        tmp_path / "text.wav",
        clip.path,
    )
    assert humming.confidence < speech.confidence
    assert humming.flags
    assert (silent.text, silent.problem) == ("", "the recording is silent")
    assert "could not be read" in (text.problem or "")
    assert speech.text


def test_one_file_carries_the_whole_model(trained, transcriber, tmp_path):
    """Packed twice it is the same file, unpacked the same model."""
    for name in ("one.pt", "two.pt"):
        archive.pack(trained.model_directory, tmp_path / name)
    assert (tmp_path / "one.pt").read_bytes() == (tmp_path / "two.pt").read_bytes()
    archive.unpack(tmp_path / "one.pt", tmp_path / "model")
    clip = spoken_clip("LJ001-0002")
    unpacked = Transcriber(tmp_path / "model", device="cpu")
    assert _hear(unpacked, clip.path) == _hear(transcriber, clip.path)


def test_other_tools_can_use_the_model(trained, transcriber):
    """The directory is a plain transformers model."""
    directory = trained.model_directory
    clip = spoken_clip("LJ001-0008")
    model = AutoModelForCTC.from_pretrained(directory).eval()
    tokenizer = Wav2Vec2CTCTokenizer.from_pretrained(directory)
    extractor = SeamlessM4TFeatureExtractor.from_pretrained(directory)
    inputs = extractor(decode(clip.path).samples, sampling_rate=RATE, return_tensors="pt")
    with torch.inference_mode():
        ids = model(**inputs).logits.argmax(-1)
    (ours,) = _hear(transcriber, clip.path)
    assert spoken_error_rates([ours.text], tokenizer.batch_decode(ids)).cer < 0.15


def test_bfloat16_hears_the_same(trained, transcriber):
    """Half the digits are enough to listen."""
    paths = [clip.path for clip in spoken_clips()]
    narrow = Transcriber(trained.model_directory, device="cpu", precision="bfloat16")
    texts = [result.text for result in _hear(transcriber, *paths)]
    rates = spoken_error_rates(texts, [result.text for result in _hear(narrow, *paths)])
    assert rates.cer < 0.05


def test_held_out_clips_decide_how_to_read(tmp_path):
    """Their decision is part of the model file, and no text of theirs is in the language model."""
    clips = [Clip(clip.path.stem, clip.path, clip.text) for clip in spoken_clips(longest_s=4.0)]
    data = TrainingData(clips, tmp_path / "home", texts=["more of the language"])
    config = replace(tiny(), epochs=2, validation_fraction=0.3, min_validation_clips=1)
    result = train(config, data, device="cpu", progress=ignore_progress)
    assert result.validation_clips == 1
    assert result.validation_cer <= result.greedy_cer
    archive.pack(result.model_directory, tmp_path / "model.pt")
    archive.unpack(tmp_path / "model.pt", tmp_path / "model")
    assert (tmp_path / "model" / "decoding.json").is_file()
    clip = spoken_clip("LJ001-0002")
    assert _hear(Transcriber(tmp_path / "model", device="cpu"), clip.path)


def test_training_on_starts_from_what_was_learnt(trained, tmp_path):
    """One gentle epoch on an earlier model forgets nothing."""
    clip = spoken_clip("LJ001-0005")
    start = tmp_path / "start"
    shutil.copytree(trained.model_directory, start)
    data = TrainingData([Clip("a", clip.path, clip.text + " ñ")], tmp_path / "home", start=start)
    config = replace(tiny(), epochs=1, evaluate_every_epochs=1, learning_rate=1e-5)
    result = train(config, data, device="cpu", progress=ignore_progress)
    assert result.train_cer < 0.3
