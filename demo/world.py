"""The demo's little world: one GitLab project, a translator, a worker, and five jobs to do.

Knows how to write it down for the devserver; starts nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from demo.project import NOTEBOOKS, cell_id, make_project

PROJECT = "workshop/printing"
WORKER_TOKEN = "demo-worker-token"
TRANSLATOR_TOKEN = "demo-translator-token"

WHISPER_JOB = "mmkbkzk0_demowhisper"
TRAINING_JOB = "mmkbm9uo_demotraining"
INFERENCE_JOB = "mmkbnk5c_demoinference"
VOICE_JOB = "mmkboug0_demovoice"
SPEAKING_JOB = "mmkbq123_demospeaking"
JOBS = (WHISPER_JOB, TRAINING_JOB, INFERENCE_JOB, VOICE_JOB, SPEAKING_JOB)
RECOGNISER = f"gpu_jobs/job_{TRAINING_JOB}/checkpoint/best_model.pt"
VOICE = f"gpu_jobs/job_{VOICE_JOB}/checkpoint/best_model.pt"
VOICE_EPOCHS = 40
VOICE_VERSES = (2, 4, 6, 8, 11)
"""Verses of XXA that the voice learns from: the short ones, as a laptop has little time."""
SPOKEN = ("XXD", 4)
"""Notebook, and how many of its first verses can be spoken; nobody says how to read "15"."""
TRANSCRIBED_BY_WHISPER = ("XXB", 6)
"""Notebook, and how many of its first verses are waiting for text."""
TRANSCRIBED_BY_OWN_MODEL = ("XXC", len(NOTEBOOKS["XXC"][1]))


def write_world(directory: Path, clips_dir: Path, *, epochs: int) -> Path:
    """Make the project's files and the devserver's world file; returns the latter's path."""
    files = directory / "project"
    make_project(clips_dir, files)
    manifest = files / "gpu_jobs" / "manifest.yaml"
    manifest.parent.mkdir()
    manifest.write_text(_manifest(epochs), encoding="utf-8")
    world = directory / "world.toml"
    world.write_text(
        "\n".join(
            [
                *_user("translator", TRANSLATOR_TOKEN),
                *_user("speech-worker", WORKER_TOKEN),
                "[[projects]]",
                f'path = "{PROJECT}"',
                'visibility = "public"',
                'default_branch = "main"',
                f"files = {json.dumps(str(files))}",
                "lfs = true",
                'members = { translator = 40, "speech-worker" = 30 }',
                "protected = { main = 30 }",
                "",
            ]
        ),
        encoding="utf-8",
    )
    return world


def waiting_verses() -> list[str]:
    """References of the cells that are to get text, and no others."""
    return [
        f"{book} 1:{number}"
        for book, count in (TRANSCRIBED_BY_WHISPER, TRANSCRIBED_BY_OWN_MODEL)
        for number in range(1, count + 1)
    ]


def unspoken_verses() -> list[str]:
    """References of the cells that are to get a take, and no others."""
    book, count = SPOKEN
    return [f"{book} 1:{number}" for number in range(1, count + 1)]


def _user(name: str, token: str) -> list[str]:
    return [
        "[[users]]",
        f'username = "{name}"',
        "[[users.tokens]]",
        f'value = "{token}"',
        'scopes = ["api"]',
    ]


def _manifest(epochs: int) -> str:
    book, count = TRANSCRIBED_BY_WHISPER
    return f"""\
version: 1
jobs:
  - job_id: {WHISPER_JOB}
    name: Transcribe with Whisper
    job_type: asr
    mode: inference
    submitted_at: '2026-03-10T09:00:00.000Z'
    model:
      type: Whisper
    inference:
      include_verses:
{_listed(book, range(1, count + 1))}
    language: en
    canceled: false
  - job_id: {TRAINING_JOB}
    name: Train our own recogniser
    job_type: asr
    mode: training
    submitted_at: '2026-03-10T09:01:00.000Z'
    model:
      type: W2V2BERT
    epochs: {epochs}
    transmorgrifier:
      enabled: false
    canceled: false
  - job_id: {INFERENCE_JOB}
    name: Transcribe with our own recogniser
    job_type: asr
    mode: inference
    submitted_at: '2026-03-10T09:02:00.000Z'
    model:
      type: W2V2BERT
      base_checkpoint: {RECOGNISER}
    canceled: false
  - job_id: {VOICE_JOB}
    name: Train a voice
    job_type: tts
    mode: training
    submitted_at: '2026-03-10T09:03:00.000Z'
    model:
      type: StableTTS
    epochs: {VOICE_EPOCHS}
    training:
      include_verses:
{_listed("XXA", VOICE_VERSES)}
    digits:
      2: two
    canceled: false
  - job_id: {SPEAKING_JOB}
    name: Speak what has no recording
    job_type: tts
    mode: inference
    submitted_at: '2026-03-10T09:04:00.000Z'
    model:
      type: StableTTS
      base_checkpoint: {VOICE}
    check_with: {RECOGNISER}
    canceled: false
"""


def _listed(book: str, numbers: Iterable[int]) -> str:
    """Verses as a manifest lists them."""
    return "\n".join(f"        - {cell_id(f'{book} 1:{number}')}" for number in numbers)
