"""Where a model family's base weights come from: a preset, a directory, or a hub.

The supervisor fetches hub models (resumable, cached) before a child needs them, since children have no
network. Knows nothing of what is inside the weights.
"""

from __future__ import annotations

import logging
from pathlib import Path

from gitlab_jobs.callbacks import ModelChoice
from gitlab_jobs.errors import JobError
from gitlab_jobs.settings import FamilySettings, ModelSettings

logger = logging.getLogger(__name__)

TINY = "tiny"
_WHISPER_OWNERS = {"large-v3-turbo": "mobiuslabsgmbh", "turbo": "mobiuslabsgmbh"}


class ModelUnavailable(JobError):
    """The base weights cannot be had on this machine; the operator has to act."""

    code = "MODEL_UNAVAILABLE"


def resolve_model(
    families: FamilySettings, family: str, *, device: str, cache_dir: Path
) -> ModelChoice:
    """The base model of a family, on this machine's disk.

    Args:
        families: the operator's settings.
        family: model type of a job, in lower case.
        device: what the job's child was given, "cpu" or a GPU's id.
        cache_dir: where hub models are kept.

    Raises:
        ModelUnavailable: no such family, or the hub does not answer.
    """
    settings = families.of(family)
    if settings is None:
        raise ModelUnavailable(f"this worker has no model family called {family!r}")
    has_gpu = device != "cpu"
    if settings.device == "cuda" and not has_gpu:
        raise ModelUnavailable(f"models.{family}.device is cuda, but this worker has no free GPU")
    use_gpu = has_gpu and settings.device != "cpu"
    return ModelChoice(
        base=local_base(family, settings.base, cache_dir),
        device="cuda" if use_gpu else "cpu",
        precision=settings.precision,
        options=settings.model_dump(mode="json", exclude=set(ModelSettings.model_fields)),
    )


def local_base(family: str, base: str, cache_dir: Path) -> str:
    """The folder of a model that is named by directory or hub id; presets stay names.

    Raises:
        ModelUnavailable: no such directory, or the hub does not answer.
    """
    if base == TINY:
        return TINY
    path = Path(base).expanduser()
    if path.exists():
        return str(path.resolve())
    if path.is_absolute() or base.startswith((".", "~")):
        raise ModelUnavailable(
            f"the base model of {family} is not at the place the worker's settings name"
        )
    return str(_fetch_from_hub(family, _hub_id(family, base), cache_dir))


def _hub_id(family: str, base: str) -> str:
    """Short Whisper names ("small", "large-v3") stand for converted models of a known owner."""
    if family == "whisper" and "/" not in base:
        return f"{_WHISPER_OWNERS.get(base, 'Systran')}/faster-whisper-{base}"
    return base


def _fetch_from_hub(family: str, hub_id: str, cache_dir: Path) -> Path:
    # Imported late: it costs 23 MB, and most boxes have their models already.
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        fetched = snapshot_download(
            hub_id, cache_dir=cache_dir, ignore_patterns=["*.msgpack", "*.h5", "*.onnx"]
        )
    except (OSError, HfHubHTTPError, HFValidationError) as error:
        logger.warning("could not fetch %s for %s: %s", hub_id, family, error)
        raise ModelUnavailable(
            f"the base model {hub_id} cannot be fetched; the operator can set models.{family}.base "
            "to a local directory"
        ) from error
    logger.info("the base model of %s is %s", family, hub_id)
    return Path(fetched)
