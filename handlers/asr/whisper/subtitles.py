"""Subtitles of the recordings a job transcribed, beside its report. Knows cells, but no model.

A folder of the repository is no archive: the longest recordings get a file each, up to a bound.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from gitlab_jobs.callbacks import JobCallbacks, JobContext, Stage, Utterance
from handlers import corpus
from pipelines.asr.whisper.outputs import srt
from pipelines.asr.whisper.transcript import Transcript

FOLDER = "subtitles"
MOST_FILES = 200


def publish(
    context: JobContext,
    callbacks: JobCallbacks,
    heard: Sequence[tuple[Utterance, Transcript]],
) -> None:
    """Leave one SRT file per recording with text, named by its verse."""
    longest = sorted((pair for pair in heard if pair[1].text), key=lambda pair: -pair[1].duration_s)
    folder = callbacks.get_work_dir() / FOLDER
    folder.mkdir(exist_ok=True)
    files = {}
    for utterance, transcript in longest[:MOST_FILES]:
        name = f"{_plain(corpus.name(utterance))}.srt"
        if f"{context.folder}/{FOLDER}/{name}" in files:  # verses of two notebooks may share a name
            name = f"{_plain(utterance.cell_id)}.srt"
        path = folder / name
        path.write_text(srt(transcript), encoding="utf-8")
        files[f"{context.folder}/{FOLDER}/{name}"] = path
    if files:
        with callbacks.stage(Stage.UPLOAD):
            callbacks.upload_files_batch(files)


def _plain(name: str) -> str:
    """A verse as a file name: "MAT 1:1" becomes MAT_1_1."""
    return re.sub(r"\W+", "_", name).strip("_")[:100] or "verse"
