"""How pipelines say where they are, and learn that they must stop.

Knows nothing of heartbeats or jobs: a handler passes in something that does.
"""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called once per epoch, per step and per batch; must be cheap, and may raise to stop the work.

    Whatever it raises leaves the pipeline unchanged, after a training state has been saved.
    """

    def __call__(
        self, message: str, *, epoch: int | None = None, fraction: float | None = None
    ) -> None:
        """Report a sentence for the user, completed epochs, and the share done (0…1)."""


def ignore_progress(
    message: str,
    *,
    epoch: int | None = None,
    fraction: float | None = None,
) -> None:
    """Report to nobody."""
