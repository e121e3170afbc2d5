"""The two real stages, in this process: from a recording to a transcript by way of files."""

from __future__ import annotations

import json

import numpy as np
import soundfile
from support.speech import spoken_clip

from batch.stages import tasks
from pipelines.asr.whisper.engine import Listening
from pipelines.asr.whisper.transcript import Transcript


def _passed(stage, told, folder):
    """What a stage tells, as the next one is told."""
    folder.mkdir()
    return {**stage.run({**told, "folder": str(folder)}), "folder": str(folder)}


def test_a_recording_longer_than_a_section_is_read_in_pieces(tmp_path, monkeypatch):
    """The whole is never in memory, the transcript is one, and a bad file beside it fails alone."""
    samples, rate = soundfile.read(spoken_clip("LJ001-0002").path, dtype="float32")
    pause = np.zeros(2 * rate, np.float32)
    soundfile.write(tmp_path / "long.wav", np.concatenate([samples, pause, samples]), rate)
    (tmp_path / "bad.wav").write_bytes(b"nothing")
    told = {"item": {"pack": [{"path": str(tmp_path / name)} for name in ("bad.wav", "long.wav")]}}
    decoded = _passed(tasks.Decode(), {**told, "stages": {}}, tmp_path / "decode")

    engine = {"name": "faster-whisper", "model": "tiny", "precision": "auto", "threads": 1}
    words = {"vocabulary": None, "replacements": None}
    listening = Listening("en", beam=1).to_json()
    transcribe = tasks.Transcribe(engine, listening, words, len(samples) / rate + 2)
    transcribe.setup("cpu")
    lengths = []
    listen = transcribe._listen
    monkeypatch.setattr(
        transcribe, "_listen", lambda sound: lengths.extend(map(len, sound)) or listen(sound)
    )
    heard = _passed(transcribe, {**told, "stages": {"decode": decoded}}, tmp_path / "transcribe")

    bad, good = heard["values"]["pack"]
    assert bad["failed"]["code"] == "AUDIO_UNREADABLE"
    transcript = Transcript.parse(
        json.loads((tmp_path / "transcribe" / good["transcript"]).read_text())
    )
    assert len(lengths) == 2
    assert max(lengths) < len(samples) + 2 * rate + 1
    assert transcript.text.lower().count("modern") == 2
    assert transcript.segments[-1].start_s > len(samples) / rate
