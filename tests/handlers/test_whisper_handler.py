"""The Whisper recipe with real weights against recording callbacks."""

from __future__ import annotations

import pysubs2
import pytest
from support.fake_callbacks import RecordingCallbacks, job_context, project_data, utterance
from support.speech import SPEECH, spoken_clip

from gitlab_jobs.callbacks import ModelChoice, Purpose
from gitlab_jobs.errors import InvalidJob
from gitlab_jobs.job import Mode
from handlers.asr.whisper import inference
from pipelines.text.metrics import spoken_error_rates


def _run(callbacks, **fields):
    return inference.run(job_context(Mode.INFERENCE, "Whisper", **fields), callbacks)


def test_recorded_verses_get_their_text(tmp_path):
    """Readable takes are written, an unreadable one is named, a verse without a take is left."""
    clips = [spoken_clip(name) for name in ("LJ001-0002", "LJ001-0008")]
    broken = tmp_path / "broken.webm"
    broken.write_bytes(b"nothing")
    data = project_data(
        [
            utterance("a", clips[0].path, reference="MAT 1:1"),
            utterance("b", clips[1].path, reference="MAT 1:2"),
            utterance("c", broken, reference="MAT 1:3"),
            utterance("d", None, reference="MAT 1:4"),
        ]
    )
    callbacks = RecordingCallbacks(tmp_path, {Purpose.TRANSCRIBE: data})
    result = _run(callbacks)

    changes = callbacks.changes["files/target/MAT.codex"]
    assert [(change.cell_id, change.take_id) for change in changes] == [
        ("a", "audio-a"),
        ("b", "audio-b"),
    ]
    rates = spoken_error_rates([clip.text for clip in clips], [change.text for change in changes])
    assert rates.cer <= 0.1
    assert result.facts["verses_transcribed"] == 2
    assert result.facts["skipped"][0].startswith("MAT 1:3: the recording could not be read")
    assert result.checkpoint_path is None
    folder = callbacks.repository / "gpu_jobs/job_mmkbkzk0_abc"
    shown = {path.name: pysubs2.load(str(path)) for path in (folder / "subtitles").iterdir()}
    assert sorted(shown) == ["MAT_1_1.srt", "MAT_1_2.srt"]
    assert "".join(e.plaintext for e in shown["MAT_1_1.srt"]).replace("\n", " ") == changes[0].text
    assert not [path for path in folder.rglob("*") if path.suffix == ".json"]
    report = folder / "transcription.tsv"
    worst = report.read_text("utf-8").splitlines()[1].split("\t")
    assert worst[0] == "MAT 1:3"
    assert (None, "Reading recording 2 of 3") in callbacks.heartbeats


def test_subtitles_name_the_speakers_if_the_operator_wants_that(tmp_path):
    """Two people talk in one recording; the verse's text stays what was said."""
    data = project_data([utterance("a", SPEECH / "dialogue_2spk.flac", reference="MAT 1:1")])
    models = {"whisper": ModelChoice("tiny", "cpu", "auto", options={"diarization": True})}
    callbacks = RecordingCallbacks(tmp_path, {Purpose.TRANSCRIBE: data}, models=models)
    _run(callbacks, language="en")

    (srt,) = callbacks.repository.rglob("subtitles/*.srt")
    assert {cue.plaintext.split(":")[0] for cue in pysubs2.load(str(srt))} == {
        "SPEAKER_00",
        "SPEAKER_01",
    }
    (change,) = callbacks.changes["files/target/MAT.codex"]
    assert "SPEAKER" not in change.text


def test_no_recordings_are_no_failure(tmp_path):
    """A finished job with nothing to do."""
    result = _run(RecordingCallbacks(tmp_path, {}))
    assert "No verse" in (result.summary or "")


def test_a_checkpoint_is_not_ignored_silently(tmp_path):
    """The user would believe that it was used."""
    with pytest.raises(InvalidJob, match="base_checkpoint"):
        _run(RecordingCallbacks(tmp_path, {}), base_checkpoint="gpu_jobs/job_1/x.pt")
