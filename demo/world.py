"""The demo's little world: one GitLab project, a translator, a worker, and three jobs to do.

Knows how to write it down for the devserver; starts nothing.
"""

from __future__ import annotations

import json
from pathlib import Path

from demo.project import NOTEBOOKS, cell_id, make_project

PROJECT = "workshop/printing"
WORKER_TOKEN = "demo-worker-token"
TRANSLATOR_TOKEN = "demo-translator-token"

WHISPER_JOB = "mmkbkzk0_demowhisper"
TRAINING_JOB = "mmkbm9uo_demotraining"
INFERENCE_JOB = "mmkbnk5c_demoinference"
CHECKPOINT = f"gpu_jobs/job_{TRAINING_JOB}/checkpoint/best_model.pt"
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
    """References of the cells that the jobs are to fill, and no others."""
    return [
        f"{book} 1:{number}"
        for book, count in (TRANSCRIBED_BY_WHISPER, TRANSCRIBED_BY_OWN_MODEL)
        for number in range(1, count + 1)
    ]


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
    chosen = "\n".join(
        f"        - {cell_id(f'{book} 1:{number}')}" for number in range(1, count + 1)
    )
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
{chosen}
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
      base_checkpoint: {CHECKPOINT}
    canceled: false
"""
