"""Words of a known text found in sound, by a real CTC model that has learnt tones for letters."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC

from batch.stages.enriching import Align
from pipelines.asr.w2v2bert.vocabulary import Vocabulary
from pipelines.asr.whisper.transcript import Segment, Transcript, Word
from pipelines.asr.word_times import SAMPLE_RATE_HZ, WordAligner
from pipelines.audio.stored import store
from pipelines.errors import ModelNotFound

LETTERS = "abcde"
LETTER_S = 0.12
SPACE_S = 0.16


def speak(text: str) -> tuple[NDArray[np.float32], list[tuple[float, float]]]:
    """A tone for a letter, quiet for a space; and the true times of the words."""
    sound: list[NDArray[np.float32]] = []
    words: list[tuple[float, float]] = []
    at = start = 0.0
    for letter in f"{text} ":
        length_s = SPACE_S if letter == " " else LETTER_S
        times = np.arange(round(length_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
        hertz = 0 if letter == " " else 300 * (LETTERS.index(letter) + 1)
        sound.append((0.5 * np.sin(2 * np.pi * hertz * times)).astype(np.float32))
        if letter == " ":
            words.append((start, at))
            start = at + length_s
        at += length_s
    return np.concatenate(sound), words


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Learnt in some seconds: a tone is a letter."""
    folder = tmp_path_factory.mktemp("ctc")
    vocabulary = Vocabulary.from_texts([f"{LETTERS} {LETTERS}"])
    torch.manual_seed(0)
    network = Wav2Vec2ForCTC(
        Wav2Vec2Config(
            vocab_size=len(vocabulary),
            hidden_size=48,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=96,
            conv_dim=(48, 48, 48),
            conv_stride=(10, 8, 4),
            conv_kernel=(20, 16, 8),
            num_conv_pos_embeddings=16,
            num_conv_pos_embedding_groups=4,
            pad_token_id=vocabulary.blank_id,
            ctc_loss_reduction="mean",
            layerdrop=0.0,
            mask_time_prob=0.0,
            feat_proj_dropout=0.0,
            hidden_dropout=0.0,
            attention_dropout=0.0,
        )
    )
    generator = np.random.default_rng(0)
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3)
    for _ in range(120):
        texts = [
            " ".join("".join(generator.choice(list(LETTERS), 3)) for _ in range(3))
            for _ in range(8)
        ]
        sounds = torch.from_numpy(np.stack([_normalised(speak(text)[0]) for text in texts]))
        labels = torch.tensor([vocabulary.encode(text) for text in texts])
        loss = network(sounds, labels=labels).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    network.save_pretrained(folder)
    vocabulary.save(folder)
    Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder)
    return folder


def _normalised(sound: NDArray[np.float32]) -> NDArray[np.float32]:
    return (sound - sound.mean()) / np.sqrt(sound.var() + 1e-7)


def transcript(*segments: tuple[float, float, str]) -> Transcript:
    """Segments as an engine gives them, without words."""
    return Transcript(
        text=" ".join(text for _, _, text in segments),
        segments=tuple(Segment(start, end, text, 0.9) for start, end, text in segments),
        language="en",
        language_probability=1.0,
        duration_s=10.0,
        confidence=0.9,
    )


def test_words_get_the_times_at_which_they_were_said(model_dir: Path) -> None:
    """To a letter, which is as sharp as CTC is, though the segment's own times are half a second off."""
    sound, true = speak("abc dea bbd ce")

    done = WordAligner(model_dir).align(sound, transcript((0.5, 1.2, "Abc, dea bbd ce.")))

    words = done.transcript.segments[0].words
    assert [word.text for word in words] == [" Abc,", " dea", " bbd", " ce."]
    assert (done.aligned, done.kept) == (1, 0)
    for word, (start, end) in zip(words, true, strict=True):
        assert word.start_s == pytest.approx(start, abs=LETTER_S + 0.03)
        assert end - LETTER_S - 0.03 <= word.end_s <= end + SPACE_S + 0.03
    assert all(one.end_s <= other.start_s for one, other in pairwise(words))


def test_what_the_model_cannot_write_stands_between_its_neighbours(model_dir: Path) -> None:
    """Numbers are where other aligners fail."""
    sound, true = speak("abc dea bbd")

    done = WordAligner(model_dir).align(sound, transcript((0, 1.5, "abc 42 bbd")))

    first, number, last = done.transcript.segments[0].words
    assert first.end_s <= number.start_s <= number.end_s <= last.start_s
    assert last.start_s == pytest.approx(true[2][0], abs=LETTER_S + 0.03)


def test_each_segment_is_aligned_in_its_own_place(model_dir: Path) -> None:
    """Equal words of two segments are not confused."""
    sound, true = speak("abc dea abc dea")
    middle = (true[1][1] + true[2][0]) / 2

    done = WordAligner(model_dir).align(
        sound, transcript((0, middle, "abc dea"), (middle, 2.5, "abc dea"))
    )

    found = [word.start_s for segment in done.transcript.segments for word in segment.words]
    assert found == pytest.approx([start for start, _ in true], abs=LETTER_S + 0.03)


@pytest.mark.parametrize("text", ["", "123 456", "eee eee eee eee eee eee eee eee eee eee eee"])
def test_a_segment_that_does_not_fit_keeps_what_it_had(model_dir: Path, text: str) -> None:
    """No words, none that can be written, or more than there is room for."""
    sound, _ = speak("abc")

    done = WordAligner(model_dir).align(sound, transcript((0, 0.5, text)))

    assert (done.aligned, done.kept) == (0, 1)
    assert done.transcript.segments[0].words == ()


def test_a_folder_without_such_a_model_is_named(tmp_path: Path) -> None:
    """By what the operator wrote."""
    with pytest.raises(ModelNotFound, match=str(tmp_path)):
        WordAligner(tmp_path)


def test_the_stage_of_a_batch_reads_sound_from_disk_and_says_where_nothing_fits(
    model_dir: Path, tmp_path: Path
) -> None:
    """One recording in the model's language, one that nobody could decode, one of something else."""
    sound, true = speak("abc dea bbd")
    heard = [transcript((0, 1.5, "abc dea bbd")), None, transcript((0, 0.4, "123"))]
    for number, one in enumerate(heard):
        store([sound], tmp_path / f"{number}.pcm")
        (tmp_path / f"{number}.json").write_text(json.dumps(one.to_json() if one else None))
    failed = {"failed": {"code": "AUDIO_UNREADABLE", "message": "it is bad"}}
    decoded = [{"audio": "0.pcm", "seconds": 1.5}, failed, {"audio": "2.pcm", "seconds": 1.5}]
    said = [{"transcript": "0.json"}, failed, {"transcript": "2.json"}]
    stages = {
        name: {"values": {"pack": pack}, "folder": str(tmp_path)}
        for name, pack in (("decode", decoded), ("transcribe", said))
    }
    (tmp_path / "align").mkdir()
    task = Align(str(model_dir))
    task.setup("cpu")

    done = task.run({"stages": stages, "folder": str(tmp_path / "align")})["values"]["pack"]

    written = json.loads((tmp_path / "align" / done[0]["transcript"]).read_text())
    found = [word["start_s"] for word in written["segments"][0]["words"]]
    assert found == pytest.approx([start for start, _ in true], abs=LETTER_S + 0.03)
    assert done[1] == {}
    assert done[2]["warning"]["code"] == "ALIGNMENT_NO_FIT"
    assert "language" in done[2]["warning"]["message"]


def test_words_of_a_script_without_spaces_are_those_of_the_engine(model_dir: Path) -> None:
    """The text has no spaces to cut at, and gets none."""
    sound, _ = speak("abcdea")
    whole = transcript((0, 0.8, "abcdea"))
    engine = tuple(Word(0.0, 0.8, part, 0.5) for part in ("ab", "cd", "ea"))
    segment = replace(whole.segments[0], words=engine)

    done = WordAligner(model_dir).align(sound, replace(whole, segments=(segment,)))

    words = done.transcript.segments[0].words
    assert [word.text for word in words] == ["ab", "cd", "ea"]
    for number, word in enumerate(words):
        assert word.start_s == pytest.approx(2 * number * LETTER_S, abs=LETTER_S + 0.03)
