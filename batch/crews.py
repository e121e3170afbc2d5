"""Chooses who does the work of a batch: this machine, a Ray cluster, or a controller's worker."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from batch.crew import Crew, Tasks, choose_crew
from batch.errors import CannotRun
from batch.remote.crew import RemoteCrew
from batch.settings import BatchSettings

if TYPE_CHECKING:
    from batch.ray_crew import RayCrew

    AnyCrew = Crew | RayCrew | RemoteCrew


def crew_for(settings: BatchSettings, tasks: Tasks | None) -> AnyCrew:
    """Choose, as the command line wants it.

    Args:
        settings: the command line.
        tasks: other stages, for tests; None for the real ones.

    Raises:
        CannotRun: a GPU, model, cluster or controller that is not there.
    """
    if settings.remote:
        return RemoteCrew(settings)
    if not settings.ray_address:
        return choose_crew(settings, tasks)
    if find_spec("ray") is None:
        raise CannotRun("ray is not installed", "pip install 'scriptorium[ray]'")
    # Ray costs a hundred megabytes, which only those pay who have a cluster.
    from batch.ray_crew import RayCrew

    return RayCrew(settings, tasks)
