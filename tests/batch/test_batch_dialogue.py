"""A dialogue of two people through the program itself: recogniser, speakers, summary and proofreading, all real."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pysubs2
from support.batch_runs import Place
from support.diarisation import diarisation_errors
from support.llm_server import changes, serving
from support.speech import SPEECH
from support.tiny_language_model import save_language_model

from batch.crew import ROOT
from pipelines.asr.diarize.turns import from_rttm
from pipelines.asr.whisper.outputs import read_result

DIALOGUE = SPEECH / "dialogue_2spk.flac"


def test_a_dialogue_gets_everything_that_can_be_had(tmp_path, capsys):
    """Two speakers in every output, a summary, a proofread copy; the error rate is printed."""
    place = Place(tmp_path)
    shutil.copy(DIALOGUE, place.input)
    model = save_language_model(tmp_path / "summariser", window=2048)
    with serving(changes()) as server:
        flags = [
            "-m", "tiny", "--language", "en", "--diarization", "--summary", str(model),
            "--refine", f"{server.url}/v1", "--refine-model", "m", "--json",
        ]  # fmt: skip
        done = subprocess.run(
            [sys.executable, str(ROOT / "batch_entry.py"), *place.argv(*flags)],
            capture_output=True, check=False, timeout=110,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    end = json.loads(done.stdout.decode().splitlines()[-1])
    assert end["warnings"] == {}

    found = from_rttm((place.output / "dialogue_2spk.flac.rttm").read_text("utf-8"))
    true = from_rttm(DIALOGUE.with_suffix(".rttm").read_text("utf-8"))
    errors = diarisation_errors(found, true)
    with capsys.disabled():
        sys.stderr.write(
            f"\ndialogue of two, through the batch: {len({turn.speaker for turn in found})} speakers, diarisation "
            f"error rate {errors.rate:.1%} (missed {errors.missed:.1%}, pauses within turns count; "
            f"invented {errors.invented:.1%}; confused {errors.confused:.1%})\n"
        )
    assert len({turn.speaker for turn in found}) == 2
    assert errors.confused < 0.02
    assert errors.invented < 0.05

    result = read_result(place.output / "dialogue_2spk.flac.json")
    segments = result.corrected.transcript.segments
    assert {segment.speaker for segment in segments} == {"SPEAKER_00", "SPEAKER_01"}
    assert result.summary
    assert (place.output / "dialogue_2spk.flac.summary.txt").read_text() == f"{result.summary}\n"
    paragraphs = (place.output / "dialogue_2spk.flac_formatted.txt").read_text().split("\n\n")
    assert [text.split(":")[0] for text in paragraphs] == ["SPEAKER_00", "SPEAKER_01"] * 3
    cues = pysubs2.load(str(place.output / "dialogue_2spk.flac_refined.srt"), encoding="utf-8")
    assert {cue.text.split(":")[0] for cue in cues} == {"SPEAKER_00", "SPEAKER_01"}
    assert len(server.requests) == 1
