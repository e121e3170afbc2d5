"""What can go wrong in speech work, in words that a translator can act on.

Knows no jobs: handlers turn these into job errors. `code` is a stable word for programs.

    PipelineError
    ├─ AudioUnreadable      a file that is no audio, or none that we accept
    │  └─ AudioTooLong      one that does not end where it may
    ├─ EmptyCorpus          nothing left to learn from or to work on
    ├─ BadCheckpoint        a model file that is damaged, foreign or unsafe
    ├─ ModelNotFound        weights that are not on this machine
    ├─ DeviceUnavailable    a processor or number format that this machine does not have
    └─ TrainingDiverged     the loss stopped being a number
"""

from __future__ import annotations

from pathlib import Path


class PipelineError(Exception):
    """Root of the errors that pipelines raise on purpose."""

    code = "HANDLER_ERROR"


class AudioUnreadable(PipelineError):
    """A recording that cannot be used; `reason` completes the sentence "… could not be read:"."""

    code = "INPUT_INVALID"

    def __init__(self, path: Path, reason: str) -> None:
        """Keep file and reason apart, so that a caller can name the verse instead of the file."""
        super().__init__(f"{path.name} could not be read: {reason}")
        self.path = path
        self.reason = reason


class AudioTooLong(AudioUnreadable):
    """A recording that goes on beyond the limit: a mistake, or a small file made to unfold without end."""


class EmptyCorpus(PipelineError):
    """No usable recording is left after the unusable ones were set aside."""

    code = "INPUT_MISSING"


class BadCheckpoint(PipelineError):
    """A model file or directory that must not or cannot be loaded."""

    code = "INPUT_INVALID"


class ModelNotFound(PipelineError):
    """The weights of a model are not where the settings say."""

    code = "MODEL_UNKNOWN"


class DeviceUnavailable(PipelineError):
    """The settings ask for hardware that is not there."""

    code = "CONFIG"


class TrainingDiverged(PipelineError):
    """The loss was not a finite number, again after starting over with half the rate."""
