"""A voice is trained from recordings, survives interruption, and knows what it left out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from support.sound import tone

from pipelines.errors import BadCheckpoint, EmptyCorpus
from pipelines.progress import ignore_progress
from pipelines.training.clips import Clip
from pipelines.tts.stabletts import settings
from pipelines.tts.stabletts.cold_start import start_at_mean
from pipelines.tts.stabletts.config import SAMPLE_RATE, ModelConfig
from pipelines.tts.stabletts.dataset import Corpus, Limits, prepare
from pipelines.tts.stabletts.model import Batch, StableTTS
from pipelines.tts.stabletts.task import VoiceTask, fixed_draws
from pipelines.tts.stabletts.text import TextSettings
from pipelines.tts.stabletts.train import TrainingData, TrainResult, train
from pipelines.tts.stabletts.vocabulary import build
from pipelines.tts.stabletts.voice import Voice, load_voice

SMALL = replace(
    settings.tiny(),
    epochs=4,
    batch_s=3.0,
    evaluate_every_epochs=1,
    checkpoint_every_epochs=1,
    model=ModelConfig(
        hidden_channels=16,
        filter_channels=24,
        n_heads=2,
        n_enc_layers=1,
        n_dec_layers=2,
        gin_channels=16,
    ),
)


class Interrupted(Exception):
    """Stands for a cancel, a lost lease, a shutdown."""


def write(path: Path, samples: np.ndarray) -> Path:
    """Write a recording at the rate of the model."""
    soundfile.write(path, samples, SAMPLE_RATE, subtype="FLOAT")
    return path


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    """Eight short recordings in four chapters."""
    home = tmp_path_factory.mktemp("clips")
    made = []
    for i, text in enumerate(["aba", "bab", "ab", "ba", "abb", "baa", "aab", "bba"]):
        parts = [tone(0.25, SAMPLE_RATE, 400.0 if letter == "a" else 900.0) for letter in text]
        path = write(home / f"{i}.wav", np.concatenate(parts))
        made.append(Clip(f"GEN {i // 2 + 1}:{i % 2 + 1}", path, text, f"GEN {i // 2 + 1}"))
    return made


def run(home: Path, clips: list[Clip], progress: object = ignore_progress) -> TrainResult:
    """Train the small voice in `home`."""
    config = replace(SMALL, validation_fraction=0.25, min_validation_clips=2)
    data = TrainingData(clips, home / "run", home / "mels")
    return train(config, data, device="cpu", progress=progress)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, clips: list[Clip]) -> TrainResult:
    """One finished training."""
    return run(tmp_path_factory.mktemp("trained"), clips)


def test_result_and_curve_are_what_the_editor_shows(trained: TrainResult) -> None:
    """Columns are the ones that the graph knows; held-out losses fall."""
    header, *rows = trained.metrics_csv.read_text().splitlines()
    assert header == (
        "epoch,train_total_loss,train_diff_loss,train_dur_loss,train_prior_loss,"
        "val_total_loss,val_diff_loss,val_dur_loss,val_prior_loss"
    )
    assert len(rows) == trained.epochs_completed == 4
    curve = [list(map(float, row.split(","))) for row in rows]
    first, last = curve[0], curve[-1]
    assert last[5] < first[5]
    assert last[5] == pytest.approx(sum(last[6:]), rel=1e-4)
    assert trained.validation_loss == pytest.approx(min(row[5] for row in curve), rel=1e-4)
    assert (trained.training_clips, trained.validation_clips) == (6, 2)


def test_a_voice_is_one_file_that_knows_its_spelling(trained: TrainResult) -> None:
    """Sizes, vocabulary, loudness and settings travel with the weights."""
    voice = load_voice(trained.voice_path)
    assert voice.vocabulary.tokens[-2:] == ("a", "b")
    assert voice.model.config == replace(SMALL.model, n_vocab=len(voice.vocabulary))
    assert voice.facts["loudness_db"] == pytest.approx(-9.0, abs=0.5)
    assert voice.facts["training"]["epochs"] == 4
    assert len(voice.facts["validation_clips"]) == 2


def test_a_resumed_training_equals_an_uninterrupted_one(
    tmp_path: Path, clips: list[Clip], trained: TrainResult
) -> None:
    """Stopped in the middle of an epoch, twice, and gone on."""
    calls = 0

    def stop_now_and_then(message: str, **_: object) -> None:
        nonlocal calls
        calls += message.startswith("Training")
        if calls in (3, 8):
            calls += 1
            raise Interrupted

    for _ in range(2):
        with pytest.raises(Interrupted):
            run(tmp_path, clips, stop_now_and_then)
    resumed = run(tmp_path, clips, stop_now_and_then)
    expected = load_voice(trained.voice_path).model.state_dict()
    actual = load_voice(resumed.voice_path).model.state_dict()
    assert all(torch.equal(actual[name], expected[name]) for name in expected)
    assert resumed.metrics_csv.read_text() == trained.metrics_csv.read_text()


def test_a_changed_project_is_not_mixed_into_an_interrupted_run(
    tmp_path: Path, clips: list[Clip]
) -> None:
    """Weights of half a run on other texts would be nobody's voice."""

    def stop(message: str, **_: object) -> None:
        if message.startswith("Training epoch 2"):
            raise Interrupted

    with pytest.raises(Interrupted):
        run(tmp_path / "changed", clips, stop)
    begun_anew = run(tmp_path / "changed", clips[:-1])
    fresh = run(tmp_path / "fresh", clips[:-1])
    assert begun_anew.metrics_csv.read_text() == fresh.metrics_csv.read_text()


def test_an_earlier_voice_learns_new_letters(
    tmp_path: Path, clips: list[Clip], trained: TrainResult
) -> None:
    """Rows that are there keep their meaning, new ones come behind."""
    more = [*clips, replace(clips[0], id="GEN 9:1", text="éx")]
    data = TrainingData(more, tmp_path / "run", tmp_path / "mels", base=trained.voice_path)
    result = train(replace(SMALL, epochs=1), data, device="cpu", progress=ignore_progress)
    old, new = load_voice(trained.voice_path), load_voice(result.voice_path)
    known = len(old.vocabulary)
    assert new.vocabulary.tokens[:known] == old.vocabulary.tokens
    assert set(new.vocabulary.tokens[known:]) == {"e", "x", "\u0301"}
    assert new.model.config.n_heads == 2


def test_training_starts_from_an_official_state_dict(tmp_path: Path, clips: list[Clip]) -> None:
    """A bare file of 401 rows, spelt with the project's own letters from then on."""
    torch.manual_seed(1)
    sizes = replace(SMALL.model, n_vocab=401, n_heads=1)
    torch.save(StableTTS(sizes).state_dict(), tmp_path / "checkpoint_0.pt")
    data = TrainingData(
        clips, tmp_path / "run", tmp_path / "mels", base=tmp_path / "checkpoint_0.pt"
    )
    result = train(replace(SMALL, epochs=1), data, device="cpu", progress=ignore_progress)
    assert load_voice(result.voice_path).vocabulary.tokens[-2:] == ("a", "b")


def corpus(clips: list[Clip], cache: Path, limits: Limits | None = None) -> Corpus:
    """Prepare clips that spell with their own letters."""
    vocabulary = build([clip.text for clip in clips])
    return prepare(clips, vocabulary, limits or Limits(), cache, ignore_progress)


def test_every_clip_that_is_left_out_is_named_with_its_reason(
    tmp_path: Path, clips: list[Clip]
) -> None:
    """Nothing vanishes: not long verses, not broken files, not numbers."""
    (tmp_path / "broken.webm").write_bytes(b"no media")
    loud = np.clip(tone(1.0, SAMPLE_RATE, amplitude=3.0), -1, 1)
    good = clips[0].audio
    bad = {
        "missing": (tmp_path / "nowhere.wav", "a", "is not there"),
        "broken": (tmp_path / "broken.webm", "a", "could not be read"),
        "silent": (write(tmp_path / "silent.wav", np.zeros(44_100)), "a", "silent"),
        "loud": (write(tmp_path / "loud.wav", loud), "a", "distorted"),
        "short": (write(tmp_path / "short.wav", tone(0.1, SAMPLE_RATE)), "a", "only 0.1 s"),
        "long": (write(tmp_path / "long.wav", tone(3.0, SAMPLE_RATE)), "a", "more than 2 s"),
        "digits": (good, "a 3", "how to read 3"),
        "empty": (good, "", "nothing to say"),
        "crowded": (good, "ab" * 40, "text is too long"),
    }
    made = [Clip(name, path, text) for name, (path, text, _) in bad.items()]
    result = corpus([*made, clips[0]], tmp_path / "mels", Limits(max_s=2.0))
    assert [example.id for example in result.examples] == [clips[0].id]
    reasons = {clip.id: clip.reason for clip in result.skipped}
    assert reasons.keys() == bad.keys()
    for name, (_, _, reason) in bad.items():
        assert reason in reasons[name]
    with pytest.raises(EmptyCorpus, match="none of the 9 recordings"):
        corpus(made, tmp_path / "mels", Limits(max_s=2.0))


def test_recordings_are_read_once_for_all_jobs(tmp_path: Path, clips: list[Clip]) -> None:
    """The cache goes by content: same bytes under another name are not decoded again."""
    first = corpus(clips, tmp_path)
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")}
    moved = tmp_path.parent / "moved.wav"
    moved.write_bytes(clips[0].audio.read_bytes())
    second = corpus([replace(clips[0], audio=moved), *clips[1:]], tmp_path)
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")} == before
    assert len(before) == len(clips)
    assert [e.mel_path for e in first.examples] == [e.mel_path for e in second.examples]


def test_quiet_and_loud_recordings_give_the_same_mel(tmp_path: Path) -> None:
    """The voice is learnt at one loudness, and the project's own is remembered."""
    paths = [
        write(tmp_path / f"{level}.wav", tone(0.5, SAMPLE_RATE, amplitude=level))
        for level in (0.02, 0.5)
    ]
    quiet, loud = corpus([Clip(p.stem, p, "a") for p in paths], tmp_path / "mels").examples
    assert quiet.loudness_db == pytest.approx(loud.loudness_db - 28, abs=0.5)
    assert float((quiet.mel() - loud.mel()).abs().median()) < 0.1


def test_evaluation_gives_the_same_number_twice(tmp_path: Path, clips: list[Clip]) -> None:
    """Fixed noise, times and crops: a better number means a better voice."""
    prepared = corpus(clips, tmp_path)
    vocabulary = build([clip.text for clip in clips])
    model = StableTTS(replace(SMALL.model, n_vocab=len(vocabulary)))
    task = VoiceTask(model, vocabulary, SMALL, prepared.examples[:4], prepared.examples[4:])
    task.model.eval()
    with torch.no_grad():
        first, second = task.evaluate(lambda: None), task.evaluate(lambda: None)
    assert first == second


def test_a_voice_from_nothing_starts_at_the_mean_frame(tmp_path: Path, clips: list[Clip]) -> None:
    """Before its first step it predicts mels about as well as one frame can for all."""
    prepared = corpus(clips, tmp_path).examples
    frames = torch.cat([example.mel() for example in prepared], dim=1)
    vocabulary = build([clip.text for clip in clips])
    torch.manual_seed(3)
    model = StableTTS(replace(SMALL.model, n_vocab=len(vocabulary))).eval()
    start_at_mean(model, prepared)
    ids, lengths = torch.tensor([prepared[0].ids]), torch.tensor([len(prepared[0].ids)])
    with torch.no_grad():
        voice = model.voice(prepared[0].mel()[None])
        prior, _, _ = model.plan(ids, lengths, voice)
    misses = prior.mu[0].mean(dim=1) - frames.mean(dim=1)
    spread = frames.std(dim=1).mean()
    assert misses.abs().mean() < spread < frames.abs().mean()


def test_activations_that_are_computed_twice_teach_the_same(
    tmp_path: Path, clips: list[Clip]
) -> None:
    """Dropout included: the same gradients, with less kept for them."""
    prepared = corpus(clips, tmp_path).examples
    vocabulary = build([clip.text for clip in clips])
    found: list[tuple[int, list[torch.Tensor]]] = []
    for saves in (False, True):
        torch.manual_seed(7)
        model = StableTTS(replace(SMALL.model, n_vocab=len(vocabulary), n_dec_layers=6))
        config = replace(SMALL, gradient_checkpointing=saves)
        task = VoiceTask(model, vocabulary, config, prepared, prepared)
        task.model.train()
        kept = 0

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal kept
            kept += tensor.nbytes
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = task.loss(((0, 1, 2), "seed")).total
        loss.backward()
        found.append((kept, [p.grad for p in model.parameters() if p.grad is not None]))
    (usual_bytes, usual), (fewer_bytes, same) = found
    assert fewer_bytes < usual_bytes / 2
    assert len(usual) == len(same)
    for left, right in zip(usual, same, strict=True):
        torch.testing.assert_close(left, right)


def test_fixed_noise_does_not_depend_on_padding() -> None:
    """A longer neighbour in the batch does not change a clip's number."""
    ids, mel = torch.zeros(1, 3, dtype=torch.int64), torch.zeros(1, 4, 9)
    lengths = (torch.tensor([3]), torch.tensor([9]))
    alone = Batch(ids, lengths[0], mel, lengths[1], mel, lengths[1])
    padded = replace(alone, y=torch.zeros(1, 4, 20))
    short, long = fixed_draws(alone, [3]), fixed_draws(padded, [3])
    assert torch.equal(short.noise, long.noise[:, :, :9])
    assert torch.equal(short.time, long.time)


class Trap:
    """What a malicious checkpoint would run on loading."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("pwned"),))


def test_broken_and_malicious_checkpoints_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trained: TrainResult
) -> None:
    """Nothing in a file is ever run, and every refusal says why."""
    monkeypatch.chdir(tmp_path)
    whole = trained.voice_path.read_bytes()
    torch.save({"model": Trap()}, tmp_path / "trap.pt")
    torch.save({"a": torch.zeros(2)}, tmp_path / "foreign.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    torch.save({"nested": {"a": torch.zeros(1)}}, tmp_path / "nested.pt")
    (tmp_path / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "pointer.pt").write_text("version https://git-lfs.github.com/spec/v1\n")
    (tmp_path / "empty.pt").write_bytes(b"")
    for path in sorted(tmp_path.iterdir()):
        with pytest.raises(BadCheckpoint):
            load_voice(path)
    assert not (tmp_path / "pwned").exists()


def test_a_checkpoint_of_unknown_spelling_is_refused(tmp_path: Path) -> None:
    """A bare state dict with another number of symbols says nothing about its letters."""
    torch.save(StableTTS(replace(SMALL.model, n_vocab=77)).state_dict(), tmp_path / "x.pt")
    with pytest.raises(BadCheckpoint, match="how its 77 symbols are spelt"):
        load_voice(tmp_path / "x.pt")


def test_a_damaged_description_is_refused(tmp_path: Path, trained: TrainResult) -> None:
    """Weights without their vocabulary would speak nonsense."""
    whole = trained.voice_path.read_bytes()
    (tmp_path / "v.safetensors").write_bytes(whole.replace(b"vocabulary", b"vocabulari", 1))
    with pytest.raises(BadCheckpoint, match="damaged"):
        load_voice(tmp_path / "v.safetensors")


def test_saving_and_loading_a_voice_changes_nothing(tmp_path: Path) -> None:
    """Any script and any setting."""
    spelling = TextSettings(keep_case=True, digits={"፫": "ሦስት"})
    vocabulary = build(["በመጀመሪያ Ọ̀rọ̀"], spelling)
    model = StableTTS(replace(SMALL.model, n_vocab=len(vocabulary))).eval()
    Voice(model, vocabulary, {"loudness_db": -20.5}).save(tmp_path / "v.safetensors")
    again = load_voice(tmp_path / "v.safetensors")
    assert again.vocabulary == vocabulary
    assert json.dumps(again.facts) == '{"loudness_db": -20.5}'
    assert all(map(torch.equal, again.model.parameters(), model.parameters()))
