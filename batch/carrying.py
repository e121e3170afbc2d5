"""Chooses how packs are carried from a recording to its outputs: the crew and `--isolation` say which way.

    a controller's worker           one recording at a time, followed there          `batch.remote.flow`
    a Ray cluster, or pool          workers that keep their models                   `batch.flow`
    file, stage                     stages that give their memory back               `batch.staged`
    auto                            whichever of the two this machine has room for   `batch.auto`

Notes nothing: outcomes go to the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from batch.auto import Auto, Experience
from batch.crew import Crew
from batch.flow import Flow, Outcome
from batch.kept import SectionStore
from batch.outputs.writing import Writer
from batch.recordings.packing import Pack
from batch.remote.crew import RemoteCrew
from batch.remote.flow import Keeping
from batch.reporting.display import Display
from batch.settings import BatchSettings
from batch.staged import StagedFlow

if TYPE_CHECKING:
    from batch.crews import AnyCrew
    from batch.ray_crew import RayCrew


class Way(Protocol):
    """One way of carrying packs."""

    def run(
        self,
        packs: Iterable[Pack],
        on_begin: Callable[[Pack], None],
        should_stop: Callable[[], bool],
    ) -> Iterator[Outcome]:
        """Carry packs; both callbacks are called in the caller's thread."""


@dataclass(frozen=True, slots=True)
class Carrying:
    """What the ways need, whichever is chosen."""

    settings: BatchSettings
    writer: Writer
    sections: SectionStore
    scratch: Path
    display: Display

    def way(self, crew: AnyCrew, keeping: Keeping) -> Way:
        """Choose.

        Args:
            crew: who does the work.
            keeping: where a file's job at a controller is noted.

        Raises:
            CannotRun: workers that keep their models could not be started.
        """
        if isinstance(crew, RemoteCrew):
            return crew.flow(self.writer.write, self.scratch / "remote", keeping)
        isolation = self.settings.isolation
        if isolation == "pool" or not isinstance(crew, Crew):
            return self._kept(crew)
        staged = partial(StagedFlow, crew, self.writer.write, self.scratch, self.sections)
        if isolation == "auto":
            experience = Experience(crew, self.settings)
            return Auto(experience, crew, partial(self._kept, crew), staged, self.display.say)
        return staged(is_file_major=isolation == "file")

    def _kept(self, crew: Crew | RayCrew) -> Flow:
        """Workers that keep their models, started."""
        finishing = max((one.at_once for one in self.writer.after), default=0)
        in_flight = self.settings.parallel or crew.in_flight + finishing
        stages, folder = crew.start(self.scratch), self.scratch / "packs"
        return Flow(stages, self.writer.write, folder, in_flight, self.sections)
